"""The sweeper: finalises holds that were left open, by a dead process or past their time, each exactly once.

It posts the hold's draft, the settlement as its process last noted it, or expires the hold when there is none. It goes
through the writer like everybody else, so that of a sweeper and a late settlement one wins and the other is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from msgspec.structs import replace

from hushnet.coordinator.ledger.model import Close, Closed, CloseKind, CloseOutcome, Invalid, Usage, UsageOutcome
from hushnet.coordinator.ledger.store import LedgerStore, StoredHold
from hushnet.foundation.ids import ApiKeyId, ModelId

_LOG = logging.getLogger(__name__)

_HOLDS_AT_ONCE: Final = 256


def encode_draft(close: Close) -> str:
    """Write a settlement as it is stored on its hold."""
    return msgspec.json.encode(close).decode()


def decode_draft(text: str) -> Close | None:
    """Read a stored settlement; None when this release cannot."""
    try:
        return msgspec.json.decode(text, type=Close)
    except msgspec.MsgspecError:
        return None


async def sweep(store: LedgerStore, close: Callable[[Close], Awaitable[CloseOutcome]], *, now_ms: int) -> int:
    """Finalise every hold that is due and return how many there were; what the ledger cannot take now waits."""
    swept = 0
    while True:
        due = await store.due_holds(now_ms=now_ms, limit=_HOLDS_AT_ONCE)
        outcomes = await asyncio.gather(*(_finalise(hold, close) for hold in due))
        closed = sum(isinstance(outcome, Closed) for outcome in outcomes)
        swept += closed
        if len(due) < _HOLDS_AT_ONCE or not closed:
            break
    if swept:
        _LOG.info("open holds were finalised", extra={"count": swept})
    return swept


async def _finalise(hold: StoredHold, close: Callable[[Close], Awaitable[CloseOutcome]]) -> CloseOutcome:
    draft = decode_draft(hold.draft) if hold.draft else None
    if draft is not None:
        usage = replace(draft.usage, outcome=UsageOutcome.ORPHANED)
        outcome = await close(
            replace(draft, id=hold.id, owner=hold.owner, parts=hold.parts, caps=hold.caps, usage=usage)
        )
        if not isinstance(outcome, Invalid):
            return outcome
        _LOG.error("a draft does not fit its hold", extra={"request_id": hold.id})
    return await close(released(hold, CloseKind.EXPIRE, UsageOutcome.ORPHANED))


def released(hold: StoredHold, kind: CloseKind, outcome: UsageOutcome) -> Close:
    """Return the close that gives a hold back whole, for a request of which nothing else is known."""
    return Close(
        id=hold.id,
        owner=hold.owner,
        parts=hold.parts,
        kind=kind,
        usage=Usage(api_key=ApiKeyId(0), model=ModelId(""), outcome=outcome),
        caps=hold.caps,
    )
