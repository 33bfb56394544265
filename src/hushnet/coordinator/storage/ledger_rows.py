"""Rows of the ledger's tables to and from the ledger's values, alike on both databases.

The value functions return columns in the order of `storage.tables`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from hushnet.coordinator.ledger.chart import account_info
from hushnet.coordinator.ledger.model import CapUse, Held, Mode, Tier, Usage, UsageOutcome, UsageRecord
from hushnet.coordinator.ledger.store import AccountState, StoredHold, Transfer, Writes


class NewAccount(NamedTuple):
    """The columns of an account row that its id implies."""

    id: int
    owner: int
    kind: int
    asset: str
    lane: int
    floor: int


def new_accounts(ids: Iterable[int]) -> list[NewAccount]:
    """Return the rows to make for these accounts; each id must be one that can exist."""
    rows = []
    for id_ in ids:
        info = account_info(id_)
        assert info is not None, "the planner asks for accounts of the chart only"
        rows.append(NewAccount(id_, info.owner, info.kind, info.asset, info.lane, info.floor))
    return rows


def transfer_values(writes: Writes) -> list[tuple[int | None, ...]]:
    number = writes.batch.number
    return [(*row, number) for row in writes.transfers]


def account_state(row: Sequence[Any]) -> AccountState:
    """From (credits, debits, held, closed)."""
    credits_, debits, held, closed = row
    return AccountState(credits_, debits, held, bool(closed))


def hold_values(hold: StoredHold) -> tuple[int | str | None, ...]:
    parts = hold.parts
    return (
        hold.id,
        hold.owner,
        parts.promo,
        parts.paid,
        parts.earnings,
        parts.total,
        hold.opened_ms,
        hold.expires_ms,
        hold.origin,
        caps_text(hold.caps),
    )


def stored_hold(row: Sequence[Any]) -> StoredHold:
    """From all columns of ledger_holds."""
    id_, owner, promo, paid, earnings, _, opened_ms, expires_ms, origin, caps, draft = row
    return StoredHold(id_, owner, Held(promo, paid, earnings), opened_ms, expires_ms, origin, caps_from(caps), draft)


def caps_text(caps: Sequence[CapUse]) -> str | None:
    return json.dumps(caps, separators=(",", ":")) if caps else None


def caps_from(text: str | None) -> tuple[CapUse, ...]:
    return tuple(CapUse(*pair) for pair in json.loads(text)) if text else ()


def usage_values(record: UsageRecord) -> tuple[int | str | None, ...]:
    use = record.usage
    return (
        record.id,
        record.owner,
        use.api_key,
        use.provider,
        use.model,
        use.outcome,
        use.tokens_in,
        use.tokens_cached,
        use.tokens_out,
        record.held,
        record.cost,
        record.to_provider,
        record.to_platform,
        record.to_referrer,
        record.at_ms,
        use.referrer,
        use.machine,
        use.price,
        use.tier,
        use.mode,
    )


def usage_record(row: Sequence[Any]) -> UsageRecord:
    """From all columns of usage_records."""
    (id_, owner, api_key, provider, model, outcome, tokens_in, tokens_cached, tokens_out, *amounts) = row
    held, cost, to_provider, to_platform, to_referrer, at_ms, referrer, machine, price, tier, mode = amounts
    use = Usage(
        api_key=api_key,
        model=model,
        outcome=UsageOutcome(outcome),
        provider=provider,
        machine=machine,
        tokens_in=tokens_in,
        tokens_cached=tokens_cached,
        tokens_out=tokens_out,
        tier=Tier(tier),
        mode=Mode(mode),
        price=price,
        referrer=referrer,
    )
    return UsageRecord(id_, owner, use, held, cost, to_provider, to_platform, to_referrer, at_ms)


def by_hold(rows: Iterable[Transfer]) -> dict[int, list[Transfer]]:
    """Group the rows of holds and finalisers under the hold's id."""
    found: dict[int, list[Transfer]] = {}
    for row in rows:
        found.setdefault(row.fact & ~1, []).append(row)
    return found
