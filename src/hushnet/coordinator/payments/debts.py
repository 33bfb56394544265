"""Debts are repaid out of deposits that have become available since, once an hour (design/ledger.md section 4, `repay`).

A deposit repays a debt at once. What a running request held just then is free again when the request ends, and the
owner stays frozen until it has repaid what it can. Earnings are touched only when their owner asks for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final

from hushnet.coordinator.ledger.chart import Kind, user_account
from hushnet.coordinator.ledger.model import Code, Conflict, Fact, Posted, Repay
from hushnet.coordinator.ledger.transaction import MoneyStore, PostingRefusedError, Transaction, View
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import HushnetError, RequestError
from hushnet.foundation.ids import AccountId
from hushnet.foundation.money import TRANSFER_MICRO_USD_MAX, require_int

_LOG = logging.getLogger(__name__)

PERIOD_S: Final = 3600.0
_PAGE: Final = 500
_LEGS_MAX: Final = 2
_BUCKETS: Final = (Kind.PAID, Kind.EARNINGS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    """One of a user's accounts in the ledger; read only."""

    TABLE: ClassVar[str] = "ledger_accounts"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: int
    owner: int
    kind: int
    credits: int
    debits: int
    held: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _FactKey:
    """Which fact has a key; read only."""

    TABLE: ClassVar[str] = "ledger_facts"
    KEY: ClassVar[tuple[str, ...]] = ("key",)

    key: str
    id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Transfer:
    """One leg of a fact; read only."""

    TABLE: ClassVar[str] = "ledger_transfers"
    KEY: ClassVar[tuple[str, ...]] = ("fact", "leg")

    fact: int
    leg: int
    debit: int
    amount: int


async def repay_forever(store: MoneyStore, clock: Clock) -> None:
    """Repay what can be repaid, every hour, until cancelled."""
    while True:
        try:
            await repay(store, clock)
        except HushnetError as error:
            _LOG.warning("debts were not repaid", extra={"error": error.error_code})
        await asyncio.sleep(PERIOD_S)


async def repay(store: MoneyStore, clock: Clock) -> int:
    """Repay the debts of everybody who has something to repay them with; return how many owners that were.

    Whose repayment is refused holds up nobody else.
    """
    count, below, hour = 0, (1 << 63) - 1, clock.now_ms() // 3_600_000
    while True:
        page = await store.read(partial(_owing, below=below))
        for owner in await store.read(partial(_able, accounts=page)):
            try:
                await store.transact(partial(_repay, owner=owner, hour=hour))
            except PostingRefusedError as error:
                _LOG.warning("a debt was not repaid", extra={"account_id": owner, "error": error.error_code})
                continue
            count += 1
        if len(page) < _PAGE:
            return count
        below = page[-1].id


@dataclass(frozen=True, slots=True)
class Repaid:
    """What a repayment came to, by bucket, and the debt that is left now; micro-USD."""

    paid: int
    earnings: int
    debt: int


async def repay_from_earnings(store: MoneyStore, owner: AccountId, *, most: int, client_key: str) -> Repaid:
    """Repay an owner's debt: what paid has available, then up to `most` micro-USD of earnings. Once for each `client_key`.

    The same key again tells what it came to then. Raises `RequestError`: `out_of_range`, `no_debt`, `not_available` when
    nothing is there to repay with, `conflict` when the key was used with another amount.
    """
    require_int("amount", most, 1, TRANSFER_MICRO_USD_MAX)
    key = f"repay:{owner}:asked:{client_key}"
    fact = Fact(key, Code.DEBT_REPAID, (Repay(owner, earnings=most),), actor="owner", owner=owner)

    def work(tx: Transaction) -> Repaid:
        (outcome,) = tx.post(fact)
        legs = outcome.legs if isinstance(outcome, Posted) else _posted_legs(tx, key)
        debt = _debt_of(tx, owner)
        if isinstance(outcome, Posted) and not legs:
            code = "not_available" if debt else "no_debt"  # what nothing came of is not kept, nor its key
            raise RequestError("there is nothing to repay with" if debt else "this account owes nothing", code=code)
        parts = {kind: sum(leg.amount for leg in legs if leg.debit == user_account(owner, kind)) for kind in _BUCKETS}
        return Repaid(parts[Kind.PAID], parts[Kind.EARNINGS], debt)

    try:
        return await store.transact(work)
    except PostingRefusedError as error:
        if isinstance(error.outcome, Conflict):
            raise RequestError("this id was used before for another amount", code="conflict") from None
        raise


def _posted_legs(tx: Transaction, key: str) -> list[_Transfer]:
    facts = tx.rows(_FactKey).find(key=key, limit=1)
    return tx.rows(_Transfer).find(fact=facts[0].id, limit=_LEGS_MAX) if facts else []


def _debt_of(tx: Transaction, owner: int) -> int:
    found = tx.rows(_Account).find(id=user_account(owner, Kind.OWED), limit=1)
    return found[0].debits - found[0].credits if found else 0


def _owing(view: View, *, below: int) -> list[_Account]:
    """Return a page of the accounts in which debts are, paid ones too."""
    return view.rows(_Account).find(kind=Kind.OWED, descending=True, below=("id", below), limit=_PAGE)


def _able(view: View, *, accounts: Sequence[_Account]) -> list[int]:
    owners = [one.owner for one in accounts if one.debits > one.credits]
    paid = view.rows(_Account).find(owner=owners, kind=Kind.PAID, limit=_PAGE) if owners else []
    return [one.owner for one in paid if one.credits - one.debits - one.held > 0]


def _repay(tx: Transaction, *, owner: int, hour: int) -> None:
    tx.post(Fact(f"repay:{owner}:{hour}", Code.DEBT_REPAID, (Repay(owner),), actor="repay", owner=owner))
