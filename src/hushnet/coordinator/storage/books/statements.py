"""An owner's movements and past balances: found by the owner's facts and requests, never by a scan of all transfers.

Every transfer of an owner belongs to a fact that names it, to a request that it made, or to one that its machine served.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Select, cast, func, literal, or_, select, union

from hushnet.coordinator.ledger.chart import Kind, user_account
from hushnet.coordinator.ledger.model import Phase
from hushnet.coordinator.ledger.reports.model import Movement, Scope
from hushnet.coordinator.storage.tables import accounts, facts, transfers, usage

_KIND_MASK: Final = 0xF


def balances_at(connection: Connection, owner: int, at_ms: int, *, from_id: int) -> Mapping[Kind, int]:
    """Take what was posted at `at_ms` or later, by facts from `from_id` on, off the balances as they are."""
    columns = select(accounts.c.kind, accounts.c.credits - accounts.c.debits).where(accounts.c.owner == owner)
    balances = Counter[Kind]({Kind(kind): balance for kind, balance in connection.execute(columns)})
    queries = (query.where(column >= first) for query, column, first in _facts_of(owner, from_id))
    found = union(*(query.with_only_columns(query.selected_columns.fact) for query in queries)).subquery()
    later = (transfers.c.fact == found.c.fact, transfers.c.phase == Phase.POSTED, transfers.c.at_ms >= at_ms)
    for sign, column in ((1, transfers.c.debit), (-1, transfers.c.credit)):
        total = select(column, cast(func.sum(transfers.c.amount), BigInteger))
        moved = total.join_from(found, transfers, later[0]).where(*later[1:], _is_of(owner, column)).group_by(column)
        for account, amount in connection.execute(moved):
            balances[Kind(account & _KIND_MASK)] += sign * amount
    return balances


def movements(
    connection: Connection, scope: Scope, *, low: int, high: int, limit: int
) -> tuple[list[Movement], int | None]:
    """Return what the next `limit` facts of an owner with ids in `low..high` moved, and the id to go on after."""
    found: dict[int, tuple[str, str]] = {}
    for query, column, first in _facts_of(scope.owner, low):
        page = query.where(column >= first, column <= high).order_by(column).limit(limit)
        for fact, reference, detail in connection.execute(page):
            found.setdefault(fact, (reference, detail))
    ids = sorted(found)[:limit]
    changes: dict[int, Counter[Kind]] = {}
    times: dict[int, tuple[int, int]] = {}
    for fact, code, debit, credit, amount, at_ms in connection.execute(_legs(scope, ids)):
        for sign, account in ((-1, debit), (1, credit)):
            if account >> 4 == scope.owner:
                changes.setdefault(fact, Counter())[Kind(account & _KIND_MASK)] += sign * amount
        times[fact] = (at_ms, code)
    rows = [Movement(fact, *times[fact], *found[fact], changes[fact]) for fact in ids if fact in changes]
    return rows, ids[-1] if len(ids) == limit else None


def _facts_of(owner: int, first: int) -> tuple[tuple[Select[Any], Any, int], ...]:
    """Return the three places that name an owner's facts: a query of (fact, reference, detail), its id, its least id.

    A request's money moved in its finaliser, the id after its own.
    """
    request = usage.c.id
    reference = cast(request, facts.c.key.type)
    columns = ((request + 1).label("fact"), reference.label("reference"))
    mine = select(*columns, usage.c.model.label("detail")).where(usage.c.owner == owner, usage.c.cost > 0)
    served = select(*columns, (usage.c.model + " " + usage.c.machine).label("detail"))
    served = served.where(usage.c.provider == owner, usage.c.to_provider > 0)
    named = select(facts.c.id.label("fact"), facts.c.key.label("reference"), literal("").label("detail"))
    return (
        (named.where(facts.c.owner == owner), facts.c.id, first),
        (mine, request, first - 1),
        (served, request, first - 1),
    )


def _legs(scope: Scope, ids: list[int]) -> Select[Any]:
    legs = select(
        transfers.c.fact,
        transfers.c.code,
        transfers.c.debit,
        transfers.c.credit,
        transfers.c.amount,
        transfers.c.at_ms,
    )
    return legs.where(
        transfers.c.fact.in_(ids),
        transfers.c.phase == Phase.POSTED,
        transfers.c.at_ms.between(scope.from_ms, scope.to_ms - 1),
        or_(_is_of(scope.owner, transfers.c.debit), _is_of(scope.owner, transfers.c.credit)),
    )


def _is_of(owner: int, account: Any) -> Any:
    return account.between(user_account(owner, Kind.PROMO), user_account(owner, Kind.OWED))
