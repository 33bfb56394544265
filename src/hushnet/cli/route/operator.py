"""The operator's key on the command line: the flag, the environment, or the one that `hush up` keeps in its home."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer

from hushnet.cli.local.accounts import STATE_FILE, State
from hushnet.foundation.errors import AccessError, ConfigurationError
from hushnet.foundation.redaction import Secret
from hushnet.sdk.client import Client
from hushnet.sdk.settings import ConsumerSettings, resolve

OPERATOR_KEY_VARIABLE: Final = "HUSH_OPERATOR_KEY"
ADVICE: Final = (
    f"pass the operator's key with --api-key or {OPERATOR_KEY_VARIABLE}: `hush coordinator init` shows it once "
    "(--new-key replaces a lost one), and `hush up` keeps the one of its own network in its home"
)
TIMEOUT_S: Final = 60.0
_KEY_REFUSED: Final = frozenset({"invalid_api_key", "wrong_scope"})

OperatorKey = Annotated[
    str | None,
    typer.Option("--api-key", help=f"The operator's key ({OPERATOR_KEY_VARIABLE}).", metavar="KEY"),
]


@contextmanager
def operator_client(base_url: str | None, api_key: str | None, home: Path | None) -> Iterator[Client]:
    """Make a client that sends the operator's key; a refusal of the key says where to find the right one."""
    settings = operator_settings(base_url, api_key, home)
    if settings.api_key is None:
        raise ConfigurationError("no operator's key is known here", code="missing_api_key", hint=ADVICE)
    with Client(settings=settings, timeout=TIMEOUT_S) as client:
        try:
            yield client
        except AccessError as error:
            if error.error_code not in _KEY_REFUSED:
                raise
            raise AccessError(str(error), code=error.error_code, hint=ADVICE) from None


def operator_settings(base_url: str | None, api_key: str | None, home: Path | None) -> ConsumerSettings:
    """Join flag, environment and files. A key from a file goes to the coordinator that it belongs to, and nowhere else."""
    given = api_key or os.environ.get(OPERATOR_KEY_VARIABLE)
    if given:
        return resolve(base_url=base_url, api_key=given, home=home)
    environ = {name: value for name, value in os.environ.items() if name != "HUSH_API_KEY"}
    stored = resolve(base_url=base_url, home=home, environ=environ)
    kept = State.load(stored.home)
    # The stored consumer key is of this address, and of the same network as the operator's key beside it.
    if kept.operator_key and stored.api_key is not None and stored.api_key.reveal() == kept.api_key:
        return replace(stored, api_key=Secret(kept.operator_key), key_source=str(stored.home / STATE_FILE))
    return resolve(base_url=base_url, home=home)
