"""The service of budgets: which caps apply, from a bounded memory; changes through the store.

- The ceiling is enforced by the ledger, read under the lock in the hold's own transaction: a ceiling that any process has
  changed acts on the next hold of every process, however old what is remembered here is.
- What is remembered is only *which* caps there are, and what a single request may cost, which has no window to lock. What
  is new there acts at once in the process that made it and in every worker that the bus reaches; elsewhere within
  `cache_s`. A key that is made with budgets has them from the start.
- What was read while something changed is used once and not remembered. Nothing is remembered of a failed look-up: without
  knowing its caps no request is served.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from hushnet.coordinator.budgets import rules
from hushnet.coordinator.budgets.model import NO_CEILING, Allowance, Budget, Cap, CapScope, CapWindow, Period
from hushnet.coordinator.ledger.model import Capped
from hushnet.coordinator.ledger.transaction import MoneyStore, Rows, Transaction, View
from hushnet.coordinator.settings import BudgetSettings
from hushnet.foundation.clock import Clock
from hushnet.foundation.ids import AccountId, ApiKeyId
from hushnet.foundation.money import TRANSFER_MICRO_USD_MAX, require_int

_LOG = logging.getLogger(__name__)

LOOKUPS_MAX: Final = 16
"""Look-ups in the database at once: a burst of keys that are not remembered must not take it from the ledger."""
_ACCOUNT_SCOPES: Final = (CapScope.ACCOUNT, CapScope.OPERATOR)


@dataclass(frozen=True, slots=True)
class _Remembered:
    account_id: AccountId
    caps: tuple[Cap, ...]
    until_s: float


class BudgetBook:
    """The budgets of one coordinator; one instance a process (`serving.store.Budgets`)."""

    def __init__(self, store: MoneyStore, clock: Clock, *, settings: BudgetSettings | None = None) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings or BudgetSettings()
        self._memory: OrderedDict[ApiKeyId, _Remembered] = OrderedDict()
        self._epoch = 0
        self._lookups = asyncio.Semaphore(LOOKUPS_MAX)
        self.spread: Callable[[AccountId], Awaitable[None]] | None = None
        """Has the other workers forget an account's budgets before it returns; set where there are any."""

    # On the path of a request.

    async def allowance(self, account_id: AccountId, key_id: ApiKeyId) -> Allowance:
        """Return what a request through a key may cost and counts against. Raises `StorageError`."""
        known = self._remembered(key_id) or await self._look_up(account_id, key_id)
        return rules.allowance_of(known.caps, self._clock.now_ms())

    async def room(self, account_id: AccountId, amount: int) -> Allowance | None:
        """Return what a request without a key, over `amount`, counts against; None when a budget leaves less now.

        Read anew each time: who comes without a key writes more than this reads. The ledger has the last word. Raises
        `StorageError`.
        """
        now_ms = self._clock.now_ms()

        def work(view: View) -> list[Budget]:
            return [
                _budget(view, cap, now_ms)
                for scope in _ACCOUNT_SCOPES
                for cap in _caps(view.rows(Cap), scope, account_id)
            ]

        async with self._lookups:
            found = await self._store.read(work)
        if any(budget.left < amount for budget in found):
            return None
        return rules.allowance_of([budget.cap for budget in found], now_ms)

    def words(self, key_id: ApiKeyId, refusal: Capped) -> str | None:
        """Say, for the key's own holder, which budget refused a hold; None when it is not remembered any more."""
        known = self._memory.get(key_id)
        cap = None if known is None else next((cap for cap in known.caps if cap.id == refusal.cap), None)
        return None if cap is None else rules.words_of(cap, refusal.left, self._clock.now_ms())

    def words_of_maximum(self, request_max: int, amount: int) -> str:
        """Say that one request may cost more than one may."""
        return rules.words_of_maximum(request_max, amount)

    # For owners and operators.

    async def budgets_of(self, *subjects: tuple[CapScope, int]) -> list[Budget]:
        """Return the budgets of each scope and subject with what their windows hold now, shortest period first."""
        now_ms = self._clock.now_ms()

        def work(view: View) -> list[Budget]:
            caps = [cap for scope, subject in subjects for cap in _caps(view.rows(Cap), scope, subject)]
            return [_budget(view, cap, now_ms) for cap in caps]

        return await self._store.read(work)

    async def put(
        self, account_id: AccountId, scope: CapScope, subject: int, ceilings: Mapping[Period, int]
    ) -> list[Budget]:
        """Set budgets of one subject, which is of that account, all or none; what was spent in a window stays counted.

        Raises `AmountError` for an amount outside 0..10**15, `StorageError`, `CapacityError`.
        """
        for ceiling in ceilings.values():
            require_int("amount", ceiling, 0, TRANSFER_MICRO_USD_MAX)
        found = await self._write(account_id, scope, subject, ceilings)
        _LOG.info("budget set", extra={"account_id": account_id, "scope": scope.name.lower(), "count": len(found)})
        return found

    async def remove(self, account_id: AccountId, scope: CapScope, subject: int, period: Period) -> bool:
        """Take a budget away; False when there is none."""
        if not any(each.cap.period is period for each in await self.budgets_of((scope, subject))):
            return False
        await self._write(account_id, scope, subject, {period: NO_CEILING})
        _LOG.info("budget removed", extra={"account_id": account_id, "scope": scope.name.lower()})
        return True

    def changed(self, account_id: AccountId) -> None:
        """Forget what is remembered of an account: somebody has changed its budgets."""
        self._epoch += 1
        for key_id in [id_ for id_, known in self._memory.items() if known.account_id == account_id]:
            del self._memory[key_id]

    # Inside.

    async def _write(
        self, account_id: AccountId, scope: CapScope, subject: int, ceilings: Mapping[Period, int]
    ) -> list[Budget]:
        def work(tx: Transaction) -> list[Budget]:
            wanted = [Cap(tx.next_id(), scope, subject, period, ceilings[period]) for period in sorted(ceilings)]
            return [_budget(tx, _put(tx.rows(Cap), cap), tx.now_ms) for cap in wanted]

        try:
            return await self._store.transact(work)
        finally:  # also when it is not known whether it was committed
            self.changed(account_id)
            if self.spread is not None:
                await self.spread(account_id)

    def _remembered(self, key_id: ApiKeyId) -> _Remembered | None:
        known = self._memory.get(key_id)
        if known is None or known.until_s <= self._clock.monotonic_s():
            return None
        self._memory.move_to_end(key_id)
        return known

    async def _look_up(self, account_id: AccountId, key_id: ApiKeyId) -> _Remembered:
        async with self._lookups:
            if (known := self._remembered(key_id)) is not None:
                return known
            epoch = self._epoch
            until_s = self._clock.monotonic_s() + self._settings.cache_s
            caps = await self._store.read(lambda view: _applying(view, account_id, key_id))
            known = _Remembered(account_id, caps, until_s)
            if epoch == self._epoch:
                self._memory[key_id] = known
                self._memory.move_to_end(key_id)
                if len(self._memory) > self._settings.keys_cached_max:
                    self._memory.popitem(last=False)
            return known


def _applying(view: View, account_id: AccountId, key_id: ApiKeyId) -> tuple[Cap, ...]:
    rows = view.rows(Cap)
    found = [cap for scope in _ACCOUNT_SCOPES for cap in _caps(rows, scope, account_id)]
    return (*_caps(rows, CapScope.KEY, key_id), *found)


def _caps(rows: Rows[Cap], scope: CapScope, subject: int) -> Sequence[Cap]:
    return sorted(rules.in_force(rows.find(scope=scope, subject=subject)), key=lambda cap: cap.period)


def _put(rows: Rows[Cap], wanted: Cap) -> Cap:
    """Write a ceiling over the one that is there; the row is made once and keeps its id and its windows."""
    found = _same(rows, wanted)
    if found is None and rows.add(wanted):
        return wanted
    found = found or _same(rows, wanted)  # a rival's, who was first
    assert found is not None, "a budget that could not be added is there"
    rows.get(found.id)
    changed = replace(found, ceiling=wanted.ceiling)
    rows.save(changed)
    return changed


def _same(rows: Rows[Cap], cap: Cap) -> Cap | None:
    return next(iter(rows.find(scope=cap.scope, subject=cap.subject, period=cap.period)), None)


def _budget(view: View, cap: Cap, now_ms: int) -> Budget:
    if cap.period is Period.REQUEST:
        return Budget(cap)
    empty = rules.window_of(cap, now_ms)
    # Read unlocked: the ledger's writer must never wait for somebody who only looks.
    window = next(iter(view.rows(CapWindow).find(cap=cap.id, start_ms=empty.start_ms)), empty)
    return Budget(cap, window.spent, window.held, window.start_ms, rules.resets_ms(cap.period, window.start_ms))
