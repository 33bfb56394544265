"""The rows of the inbox, the outbox and the findings; times are milliseconds since 1970 UTC."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Final

from hushnet.coordinator.ledger.transaction import Transaction

BODY_BYTES_MAX: Final = 262_144
_DETAIL_MAX: Final = 500


class EventState(IntEnum):
    """Where an event stands; applied and ignored are final, stuck waits for a person, forgotten has lost its body."""

    NEW = 0
    APPLIED = 1
    IGNORED = 2
    WAITING = 3
    STUCK = 4
    FORGOTTEN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxEvent:
    """One event of one source, as it was received and verified; `error` is a word of ours, never of the source."""

    TABLE: ClassVar[str] = "payment_inbox"
    KEY: ClassVar[tuple[str, ...]] = ("source", "event")

    source: str
    event: str
    kind: str
    subject: str
    body: bytes
    state: EventState = EventState.NEW
    attempts: int = 0
    next_ms: int
    received_ms: int
    error: str = ""


class CallState(IntEnum):
    """Where a call stands; done and refused are final, forgotten has lost what was asked and answered."""

    DUE = 0
    SENDING = 1
    DONE = 2
    REFUSED = 3
    LOOK_UP = 4
    FORGOTTEN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call out. `request` (JSON) and `idem_key` are frozen: every try sends exactly the same."""

    TABLE: ClassVar[str] = "payment_calls"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: int
    rail: str
    action: str
    subject: int
    attempt: int = 1
    idem_key: str
    request: str
    state: CallState = CallState.DUE
    tries: int = 0
    first_ms: int | None = None
    next_ms: int
    lease_ms: int = 0
    outcome: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that does not add up and that a person has to look at, until `resolved_ms`."""

    TABLE: ClassVar[str] = "money_findings"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: int
    kind: str
    subject: str
    detail: str = ""
    at_ms: int
    resolved_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far something periodic has come."""

    TABLE: ClassVar[str] = "money_cursors"
    KEY: ClassVar[tuple[str, ...]] = ("name",)

    name: str
    value: str
    at_ms: int


def note_finding(tx: Transaction, kind: str, subject: str, detail: str = "") -> None:
    """Write a finding down, once while it is open."""
    findings = tx.rows(Finding)
    if not findings.find(kind=kind, subject=subject, resolved_ms=None, limit=1):
        findings.add(Finding(id=tx.next_id(), kind=kind, subject=subject, detail=detail[:_DETAIL_MAX], at_ms=tx.now_ms))
