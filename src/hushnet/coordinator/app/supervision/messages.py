"""What supervisor and worker tell each other: JSON lines, down the worker's stdin and up its stdout.

The order carries the database's password, so it is neither an argument nor in the environment. The worker keeps its stdin
open: its end says that the supervisor is gone.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from hushnet.foundation.errors import ConfigurationError, HushnetError


class Order(msgspec.Struct, frozen=True):
    """What a worker is to be. `settings` are all of them, resolved, with the ports that are reserved."""

    number: int
    count: int
    folder: str
    settings: dict[str, Any]
    fallen: tuple[int, ...] = ()
    """Claims of ledger lanes whose processes are dead (`app.workers.bury`)."""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The worker serves; `origin` is its claim of a ledger lane."""

    base_url: str
    link_url: str
    is_initialised: bool
    origin: int


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The worker could not start, for a reason that it knows."""

    message: str
    code: str
    hint: str
    is_configuration: bool

    @classmethod
    def of(cls, error: HushnetError) -> Failed:
        return cls(str(error), error.error_code, error.hint(), isinstance(error, ConfigurationError))

    def error(self) -> HushnetError:
        """Return the error as the worker raised it."""
        kind = ConfigurationError if self.is_configuration else HushnetError
        return kind(self.message, code=self.code, hint=self.hint)


Report: TypeAlias = Ready | Failed
LINE_BYTES_MAX = 1 << 20


def encode_line(message: Order | Report) -> bytes:
    return msgspec.json.encode(message) + b"\n"


def decode_order(line: bytes) -> Order:
    """Read an order; raises `ConfigurationError` for what no supervisor wrote."""
    try:
        return msgspec.json.decode(line, type=Order)
    except msgspec.MsgspecError:
        raise ConfigurationError(
            "a worker is started by its supervisor alone", hint="run `hush coordinator serve --workers N`"
        ) from None


def decode_report(line: bytes) -> Report | None:
    """Read a report; None for anything else."""
    try:
        return msgspec.json.decode(line, type=Ready | Failed)
    except msgspec.MsgspecError:
        return None
