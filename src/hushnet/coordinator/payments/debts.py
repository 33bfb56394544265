"""Debts are repaid out of deposits that have become available since, once an hour (design/ledger.md section 4, `repay`).

A deposit repays a debt at once. What a running request held just then is free again when the request ends, and the
owner stays frozen until it has repaid what it can. Earnings are never touched.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final

from hushnet.coordinator.ledger.chart import Kind
from hushnet.coordinator.ledger.model import Code, Fact, Repay
from hushnet.coordinator.ledger.transaction import MoneyStore, Transaction, View
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import HushnetError

_LOG = logging.getLogger(__name__)

PERIOD_S: Final = 3600.0
_PAGE: Final = 500


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


async def repay_forever(store: MoneyStore, clock: Clock) -> None:
    """Repay what can be repaid, every hour, until cancelled."""
    while True:
        try:
            await repay(store, clock)
        except HushnetError as error:
            _LOG.warning("debts were not repaid", extra={"error": error.error_code})
        await asyncio.sleep(PERIOD_S)


async def repay(store: MoneyStore, clock: Clock) -> int:
    """Repay the debts of everybody who has something to repay them with; return how many owners that were."""
    count, below, hour = 0, (1 << 63) - 1, clock.now_ms() // 3_600_000
    while True:
        page = await store.read(partial(_owing, below=below))
        for owner in await store.read(partial(_able, accounts=page)):
            await store.transact(partial(_repay, owner=owner, hour=hour))
            count += 1
        if len(page) < _PAGE:
            return count
        below = page[-1].id


def _owing(view: View, *, below: int) -> list[_Account]:
    """Return a page of the accounts in which debts are, paid ones too."""
    return view.rows(_Account).find(kind=Kind.OWED, descending=True, below=("id", below), limit=_PAGE)


def _able(view: View, *, accounts: Sequence[_Account]) -> list[int]:
    owners = [one.owner for one in accounts if one.debits > one.credits]
    paid = view.rows(_Account).find(owner=owners, kind=Kind.PAID, limit=_PAGE) if owners else []
    return [one.owner for one in paid if one.credits - one.debits - one.held > 0]


def _repay(tx: Transaction, *, owner: int, hour: int) -> None:
    tx.post(Fact(f"repay:{owner}:{hour}", Code.DEBT_REPAID, (Repay(owner),), actor="repay", owner=owner))
