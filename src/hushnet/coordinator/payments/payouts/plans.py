"""Payouts that nobody has to ask for: at each date of an owner's plan, everything that may leave, if it is enough.

A date asks under its own client id, so whoever notes that it is over may die before: the next one finds the same payout.
What stands in the way that day (too little, another payout on its way, a method that cools down) is noted, and the next
date is awaited.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hushnet.coordinator.ledger.transaction import MoneyStore, Transaction
from hushnet.coordinator.payments.payouts.asking import Terms, Wish, request_payout
from hushnet.coordinator.payments.payouts.fees import CENT, PayoutTooSmallError
from hushnet.coordinator.payments.payouts.methods import own_method
from hushnet.coordinator.payments.payouts.model import PayoutPlan, Period
from hushnet.foundation.errors import AccessError, RequestError
from hushnet.foundation.ids import AccountId
from hushnet.foundation.money import TRANSFER_MICRO_USD_MAX, require_int

_BATCH = 50
_DECEMBER = 12


def next_date_ms(now_ms: int, period: Period) -> int:
    """Return the next Monday or first of a month after `now_ms`, midnight UTC."""
    today = datetime.fromtimestamp(now_ms // 1000, UTC).replace(hour=0, minute=0, second=0)
    if period is Period.WEEKLY:
        date = today + timedelta(days=7 - today.weekday())
    else:
        is_last = today.month == _DECEMBER
        date = today.replace(day=1, month=1 if is_last else today.month + 1, year=today.year + is_last)
    return int(date.timestamp()) * 1000


def set_plan(
    tx: Transaction, owner: AccountId, period: Period, *, threshold: int, method: int | None, least: int
) -> PayoutPlan:
    """Pay `owner` regularly from the next date on; raises `UnknownMethodError`, `PayoutTooSmallError` below `least`."""
    require_int("threshold", threshold, 1, TRANSFER_MICRO_USD_MAX)
    if threshold < least:
        raise PayoutTooSmallError(f"a payout is at least {least // CENT} cents")
    if method is not None:
        own_method(tx, owner, method)
    rows = tx.rows(PayoutPlan)
    plan = PayoutPlan(owner, period, threshold, method, next_date_ms(tx.now_ms, period), "", tx.now_ms)
    if not rows.add(plan):
        rows.save(plan)
    return plan


async def ask_planned(store: MoneyStore, terms: Terms, *, now_ms: int) -> int:
    """Ask for the payouts whose date has come; return how many dates there were."""
    asked = 0
    while True:
        due = await store.read(lambda view: view.rows(PayoutPlan).find(at_most=("next_ms", now_ms), limit=_BATCH))
        for plan in due:
            await _take_turn(store, terms, plan)
        asked += len(due)
        if len(due) < _BATCH:
            return asked


async def _take_turn(store: MoneyStore, terms: Terms, plan: PayoutPlan) -> None:
    reason = await _ask(store, terms, plan)
    await store.transact(lambda tx: _await_next(tx, plan, reason))


async def _ask(store: MoneyStore, terms: Terms, plan: PayoutPlan) -> str:
    client = f"plan-{plan.next_ms}"
    wish = Wish(AccountId(plan.owner), client, None, plan.method, least=plan.threshold)
    try:
        await store.transact(lambda tx: request_payout(tx, wish, terms))
    except (RequestError, AccessError) as error:
        return error.error_code
    return ""


def _await_next(tx: Transaction, plan: PayoutPlan, reason: str) -> None:
    rows = tx.rows(PayoutPlan)
    row = rows.get(plan.owner)
    if row is not None and row.next_ms == plan.next_ms:  # else its owner has changed it, or another process was here
        rows.save(replace(row, next_ms=next_date_ms(tx.now_ms, row.period), reason=reason))
