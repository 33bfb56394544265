"""Works out what an epoch pays and posts it, each machine's reward once, never more than the pool has left.

What is due is written down when an epoch ends; a row goes with its fact, so that a restart goes on where it was. The pool
is a budget of the ledger's (scope 4): it is checked in the very transaction that pays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from hushnet.coordinator.incentives.model import RewardDue
from hushnet.coordinator.incentives.posting import COORDINATOR
from hushnet.coordinator.incentives.programmes import base_rewards, month_start_ms
from hushnet.coordinator.incentives.rewards.attendance import Attendance, Epoch, Present
from hushnet.coordinator.incentives.rewards.rules import EPOCH_MS, RewardTerms, reward
from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import Capped, CapUse, Code, Fact, Leg
from hushnet.coordinator.ledger.transaction import MoneyStore, PostingRefusedError, Transaction
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import CapacityError, StorageError

_LOG = logging.getLogger(__name__)

LOOK_S: Final = 10.0
LOOKS_MIN: Final = 15
"""An epoch that was looked at less than half of the time pays nobody: too little is known."""
PAID_AT_ONCE: Final = 32
DUE_AT_ONCE: Final = 500


class Rewards:
    """The base rewards of one coordinator; where several processes see the same machines, one of them runs this."""

    def __init__(
        self,
        store: MoneyStore,
        clock: Clock,
        terms: RewardTerms,
        *,
        present: Callable[[], Iterable[Present]],
    ) -> None:
        """`present` says who stands by now."""
        self._store = store
        self._clock = clock
        self._terms = terms
        self._present = present
        self._attendance = Attendance()

    async def run(self) -> None:
        """Look, and pay what is due, until cancelled."""
        while True:
            try:
                await self.step()
            except (StorageError, CapacityError) as error:
                _LOG.warning("base rewards wait", extra={"code": error.error_code})
            await asyncio.sleep(LOOK_S)

    async def step(self) -> int:
        """Look once; when that ends an epoch, pay for it. Returns how many rewards were posted."""
        ended = self._attendance.look(self._clock.now_ms() // EPOCH_MS, self._present())
        if ended is None:
            return 0
        await self.note(ended)
        return await self.pay()

    async def note(self, epoch: Epoch) -> None:
        """Write down what an epoch pays; what was noted before stays as it was."""
        if epoch.looks < LOOKS_MIN:
            return
        due = [
            RewardDue(machine=each.machine, epoch=epoch.number, owner=each.owner, amount=amount)
            for each in epoch.attended
            if (amount := reward(self._terms.floor_of(each.memory_bytes), present=each.present, looks=epoch.looks))
        ]
        for at in range(0, len(due), DUE_AT_ONCE):
            await self._store.transact(partial(_note, due=sorted(due[at : at + DUE_AT_ONCE], key=_order)))

    async def pay(self) -> int:
        """Post what is due; what the pool has no room for is not paid later. Returns how many were posted."""
        pool = await self._store.transact(base_rewards(self._terms.pool).open)
        posted = 0
        while due := await self._store.read(lambda view: view.rows(RewardDue).find(limit=DUE_AT_ONCE)):
            for at in range(0, len(due), PAID_AT_ONCE):
                posted += await self._pay(due[at : at + PAID_AT_ONCE], pool)
        return posted

    async def _pay(self, due: Sequence[RewardDue], pool: int) -> int:
        try:
            return await self._store.transact(partial(_post, due=due, pool=pool))
        except PostingRefusedError as error:
            if len(due) > 1:
                return sum([await self._pay([each], pool) for each in due])
            if not isinstance(error.outcome, Capped):
                _LOG.error("a base reward was refused", extra={"reason": type(error.outcome).__name__})
            await self._store.transact(lambda tx: tx.rows(RewardDue).remove(due[0].machine, due[0].epoch))
            return 0


def _note(tx: Transaction, *, due: Sequence[RewardDue]) -> None:
    for each in due:
        tx.rows(RewardDue).add(each)


def _post(tx: Transaction, *, due: Sequence[RewardDue], pool: int) -> int:
    rows = tx.rows(RewardDue)
    mine = [each for each in due if rows.get(each.machine, each.epoch) is not None]
    for each in mine:
        rows.remove(each.machine, each.epoch)
    if mine:
        tx.post(*(_fact(each, pool) for each in mine))
    return len(mine)


def _fact(due: RewardDue, pool: int) -> Fact:
    leg = Leg(operator_account(Kind.REWARD_EXPENSE), user_account(due.owner, Kind.EARNINGS), due.amount)
    window = CapUse(pool, month_start_ms(due.epoch * EPOCH_MS))
    key = f"reward:{due.machine}:{due.epoch}"
    return Fact(key, Code.REWARD, (leg,), actor=COORDINATOR, owner=due.owner, caps=(window,))


def _order(due: RewardDue) -> tuple[str, int]:
    return due.machine, due.epoch
