"""The state machines of a link and of an attempt, at both ends, as tables.

A trigger is a frame or data record by its name, with its direction seen from this end: `<- x` received, `-> x` sent.
What is not in a table is refused: a received trigger is a fault, a sent one a `LocalProtocolError`. `end` stands for
every way in which a link closes. docs/wire.md draws these tables and a test holds the drawings to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeAlias, TypeVar


class LinkState(StrEnum):
    """Where a link is; one end starts `GREETED`, the other `DIALLED`."""

    DIALLED = "dialled"
    GREETED = "greeted"
    REGISTERING = "registering"
    SERVING = "serving"
    DRAINING = "draining"
    CLOSED = "closed"


class AttemptState(StrEnum):
    """Where an attempt is; `OVER` ones are forgotten, and what still arrives for them is late, not wrong."""

    RECEIVING = "receiving"
    WAITING = "waiting"
    STREAMING = "streaming"
    CANCELLED = "cancelled"
    ENDED = "ended"
    OVER = "over"


StateT = TypeVar("StateT", LinkState, AttemptState)
LinkTable: TypeAlias = Mapping[tuple[LinkState, str], LinkState]
AttemptTable: TypeAlias = Mapping[tuple[AttemptState, str], AttemptState]

_S: Final = LinkState
_A: Final = AttemptState


def _stay(states: tuple[StateT, ...], *triggers: str) -> dict[tuple[StateT, str], StateT]:
    return {(state, trigger): state for state in states for trigger in triggers}


_COORDINATOR_REPORTS: Final = (
    "<- heartbeat",
    "<- challenge_reply",
    "<- statement",
    "<- models",
    "<- load_failed",
    "<- refused",
    "<- finished",
    "<- record",
    "-> cancel",
    "-> credit",
    "-> challenge",
    "-> fault",
)

COORDINATOR_LINK: Final[LinkTable] = {
    (_S.GREETED, "<- register"): _S.REGISTERING,
    (_S.REGISTERING, "-> registered"): _S.SERVING,
    (_S.REGISTERING, "-> rejected"): _S.CLOSED,
    **_stay((_S.SERVING, _S.DRAINING), *_COORDINATOR_REPORTS),
    **_stay((_S.SERVING,), "-> attempt", "-> load_model", "-> unload_model"),
    (_S.SERVING, "<- draining"): _S.DRAINING,
    (_S.SERVING, "-> drain"): _S.DRAINING,
    **_stay((_S.DRAINING,), "<- draining", "-> drain"),
    (_S.GREETED, "end"): _S.CLOSED,
    (_S.REGISTERING, "end"): _S.CLOSED,
    (_S.SERVING, "end"): _S.CLOSED,
    (_S.DRAINING, "end"): _S.CLOSED,
}
"""The coordinator's end of a link: greets, admits, serves, drains."""

_PROVIDER_EXCHANGE: Final = (
    "<- attempt",
    "<- envelope",
    "<- cancel",
    "<- credit",
    "<- challenge",
    "<- load_model",
    "<- unload_model",
    "<- fault",
    "-> heartbeat",
    "-> challenge_reply",
    "-> statement",
    "-> models",
    "-> load_failed",
    "-> refused",
    "-> finished",
    "-> record",
)

PROVIDER_LINK: Final[LinkTable] = {
    (_S.DIALLED, "<- hello"): _S.GREETED,
    (_S.GREETED, "-> register"): _S.REGISTERING,
    (_S.REGISTERING, "<- registered"): _S.SERVING,
    (_S.REGISTERING, "<- rejected"): _S.CLOSED,
    **_stay((_S.SERVING, _S.DRAINING), *_PROVIDER_EXCHANGE),
    (_S.SERVING, "<- drain"): _S.DRAINING,
    (_S.SERVING, "-> draining"): _S.DRAINING,
    **_stay((_S.DRAINING,), "<- drain", "-> draining"),
    (_S.DIALLED, "end"): _S.CLOSED,
    (_S.GREETED, "end"): _S.CLOSED,
    (_S.REGISTERING, "end"): _S.CLOSED,
    (_S.SERVING, "end"): _S.CLOSED,
    (_S.DRAINING, "end"): _S.CLOSED,
}
"""The provider's end of a link: waits for the hello, registers, serves, drains."""

COORDINATOR_ATTEMPT: Final[AttemptTable] = {
    (_A.WAITING, "<- record"): _A.STREAMING,
    (_A.WAITING, "<- final"): _A.ENDED,
    (_A.WAITING, "<- refused"): _A.OVER,
    (_A.WAITING, "-> cancel"): _A.CANCELLED,
    (_A.STREAMING, "<- record"): _A.STREAMING,
    (_A.STREAMING, "<- final"): _A.ENDED,
    (_A.STREAMING, "-> cancel"): _A.CANCELLED,
    (_A.CANCELLED, "<- record"): _A.CANCELLED,
    (_A.CANCELLED, "<- final"): _A.ENDED,
    (_A.CANCELLED, "<- refused"): _A.OVER,
    (_A.CANCELLED, "<- finished"): _A.OVER,
    (_A.ENDED, "<- finished"): _A.OVER,
}
"""An attempt as the coordinator follows it. `<- final` is a record with the FINAL flag."""

PROVIDER_ATTEMPT: Final[AttemptTable] = {
    (_A.RECEIVING, "<- envelope"): _A.RECEIVING,
    (_A.RECEIVING, "<- envelope_last"): _A.WAITING,
    (_A.RECEIVING, "<- cancel"): _A.OVER,
    (_A.WAITING, "-> record"): _A.STREAMING,
    (_A.WAITING, "-> final"): _A.ENDED,
    (_A.WAITING, "-> refused"): _A.OVER,
    (_A.WAITING, "-> finished"): _A.OVER,
    (_A.WAITING, "<- cancel"): _A.CANCELLED,
    (_A.STREAMING, "-> record"): _A.STREAMING,
    (_A.STREAMING, "-> final"): _A.ENDED,
    (_A.STREAMING, "-> finished"): _A.OVER,
    (_A.STREAMING, "<- cancel"): _A.CANCELLED,
    (_A.CANCELLED, "-> record"): _A.CANCELLED,
    (_A.CANCELLED, "-> final"): _A.ENDED,
    (_A.CANCELLED, "-> refused"): _A.OVER,
    (_A.CANCELLED, "-> finished"): _A.OVER,
    (_A.CANCELLED, "<- cancel"): _A.CANCELLED,
    (_A.ENDED, "-> finished"): _A.OVER,
    (_A.ENDED, "<- cancel"): _A.ENDED,
}
"""An attempt as the provider runs it: its envelope arrives, it waits for a first record, streams, ends."""
