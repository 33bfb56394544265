"""What the owners of providers take off prices: answered from memory, changed through the store.

A discount belongs to an account, so that it holds for every machine that is linked to it. `bps_of` is asked whenever the
fleet looks at a provider's prices; a request is settled with what the router saw when it chose (`serving.rules.bills`).
Other processes see a change at once where they are joined to this one, else at their next `load`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from hushnet.coordinator.catalog import rules
from hushnet.coordinator.catalog.model import EVERY_MODEL, Discount
from hushnet.coordinator.catalog.store import DiscountStore
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import RequestError
from hushnet.foundation.ids import AccountId, ModelId
from hushnet.foundation.money import BASIS_POINTS_ONE, require_int

_LOG = logging.getLogger(__name__)

CHANGES_MAX: Final = 50
"""Discounts that an owner may set within a day or announce: every process keeps those that count in memory."""
DAY_MS: Final = 86_400_000
SAME_MS_TRIES: Final = 8


class DiscountBook:
    """The discounts of every owner; `load` before the first use."""

    def __init__(self, store: DiscountStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._by_owner: Mapping[AccountId, Mapping[ModelId, Sequence[Discount]]] = {}
        self._listeners: list[Callable[[], None]] = []
        self.spread: Callable[[], Awaitable[None]] | None = None
        """Tells the other workers to load again; set where there are any."""

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Have `listener` called after every load: something may have changed, or an announced time may have come."""
        self._listeners.append(listener)

    async def load(self) -> None:
        """Read what is in force and what is announced."""
        found: dict[AccountId, dict[ModelId, list[Discount]]] = {}
        rows = await self._store.discounts(now_ms=self._clock.now_ms())
        for row in sorted(rows, key=lambda row: row.from_ms, reverse=True):
            found.setdefault(row.owner, {}).setdefault(row.model, []).append(row)
        self._by_owner = found
        for listener in self._listeners:
            listener()

    def bps_of(self, owner: AccountId, model: ModelId) -> int:
        """Return what the machines of `owner` take off the price of `model` now, in basis points."""
        mine = self._by_owner.get(owner)
        if mine is None:
            return 0
        for name in (model, EVERY_MODEL):
            found = rules.in_force(mine.get(name, ()), self._clock.now_ms())
            if found is not None:
                return found.bps
        return 0

    async def of(self, owner: AccountId) -> Sequence[Discount]:
        """Return what `owner` gives now and has announced, by model and time."""
        rows = await self._store.discounts(now_ms=self._clock.now_ms(), owner=owner)
        return sorted(rows, key=lambda row: (row.model, row.from_ms))

    async def set(self, owner: AccountId, model: str, bps: int, *, from_ms: int | None = None) -> Discount:
        """Give a discount from `from_ms` (now when None) on; the same again adds nothing.

        Raises `RequestError` for a name that no model can have, a number outside 0..10,000, a moment in the past or more
        than a year ahead, and for too many changes in a day.
        """
        name = EVERY_MODEL if model == EVERY_MODEL else rules.checked_model(model)
        require_int("discount", bps, 0, BASIS_POINTS_ONE)
        now_ms = self._clock.now_ms()
        if from_ms is not None and not now_ms <= from_ms <= now_ms + rules.AHEAD_MS_MAX:
            raise RequestError("a discount holds from now or a moment within a year", code="out_of_range")
        current = rules.in_force(self._by_owner.get(owner, {}).get(name, ()), now_ms)
        if from_ms is None and current is not None and current.bps == bps:
            return current
        start_ms = now_ms if from_ms is None else from_ms
        for shift_ms in range(SAME_MS_TRIES):
            if await self._add(found := Discount(owner, name, bps, start_ms + shift_ms), now_ms):
                return found
        raise RequestError("this discount was just set by somebody else", code="conflict")

    async def _add(self, discount: Discount, now_ms: int) -> bool:
        added = await self._store.add_discount(discount, since_ms=now_ms - DAY_MS, changes_max=CHANGES_MAX)
        if added is None:
            raise RequestError(f"discounts change at most {CHANGES_MAX} times a day", code="too_many_changes")
        if added:
            await self.load()
            _LOG.info("discount set", extra={"account_id": discount.owner, "model": discount.model})
            if self.spread is not None:
                await self.spread()
        return added
