"""Settlement batches: requested coin payouts, the oldest first, under limits of a batch and of a day.

A plan reads and asks for rates, and writes nothing. Running one claims each payout of it in a transaction of its own: the
quote is fixed, the day's sum grows, and the call to the gateway is due, all or none. The day's row is locked first, so
that batches at once pass no limit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

from hushnet.coordinator.ledger.transaction import MoneyStore, Transaction, View
from hushnet.coordinator.payments.coins.addresses import AddressError, Destination, check_address
from hushnet.coordinator.payments.coins.assets import Family, Pair, pair_of
from hushnet.coordinator.payments.coins.rail import MANUAL, GatewayRail
from hushnet.coordinator.payments.coins.rates import RateError, RateSource
from hushnet.coordinator.payments.coins.units import UnitsError, units_for
from hushnet.coordinator.payments.model import note_finding
from hushnet.coordinator.payments.payouts.coin_rail import claim_coins
from hushnet.coordinator.payments.payouts.model import COIN, Payout, PayoutMethod, PayoutState
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import HushnetError

_LOG = logging.getLogger(__name__)

DAY_MS: Final = 86_400_000
_CANDIDATES: Final = 200
_POLL_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What one batch and one day may send; amounts in micro-USD. `cancel_ms`: a payout is left alone for this long."""

    payouts_max: int = 20
    usd_max: int = 1_000_000_000
    day_usd_max: int = 5_000_000_000
    cancel_ms: int = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementDay:
    """What the batches of one day (days since 1970, UTC) have sent, in micro-USD."""

    TABLE: ClassVar[str] = "coin_settlement_days"
    KEY: ClassVar[tuple[str, ...]] = ("day",)

    day: int
    usd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One payout of a batch: `units` for `net` micro-USD at `rate` micro-USD per coin, sent by `gateway`."""

    payout: int
    owner: int
    pair: Pair
    to: Destination
    net: int
    units: int
    rate: int
    gateway: str

    @property
    def is_by_hand(self) -> bool:
        return self.gateway == MANUAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a batch would send, or has sent; `left_out` says of which payouts why not, with a word of a closed set."""

    items: tuple[Item, ...] = ()
    left_out: tuple[tuple[int, str], ...] = ()

    @property
    def usd(self) -> int:
        return sum(item.net for item in self.items)


class Settlement:
    """Plans batches, runs them, and where the operator wants it runs them by itself."""

    def __init__(
        self,
        store: MoneyStore,
        clock: Clock,
        rail: GatewayRail,
        *,
        rates: RateSource,
        limits: BatchLimits | None = None,
        sent: Callable[[], None] = lambda: None,
    ) -> None:
        """`sent` is told when calls have become due."""
        self._store = store
        self._clock = clock
        self._rail = rail
        self._rates = rates
        self._limits = limits or BatchLimits()
        self._sent = sent

    async def plan(self) -> Batch:
        """Return the batch that `run` would send now. Writes nothing."""
        now_ms = self._clock.now_ms()
        candidates, sent_today = await self._store.read(
            lambda view: (list(_requested(view, now_ms - self._limits.cancel_ms)), _day(view, now_ms).usd)
        )
        room = min(self._limits.usd_max, self._limits.day_usd_max - sent_today)
        items: list[Item] = []
        left_out: list[tuple[int, str]] = []
        for payout, method in candidates:
            word = self._why_not(payout, room)
            item = word or await self._item(payout, method)
            if isinstance(item, str):
                left_out.append((payout.id, item))
            elif len(items) == self._limits.payouts_max:
                left_out.append((payout.id, "batch_full"))
            else:
                items.append(item)
                room -= item.net
        return Batch(items=tuple(items), left_out=tuple(left_out))

    async def run(self) -> Batch:
        """Plan a batch and claim its payouts, each with its quote; return those that were claimed."""
        planned = await self.plan()
        claimed, left_out = [], list(planned.left_out)
        for item in planned.items:
            if await self._store.transact(lambda tx, item=item: self._claim(tx, item)):  # type: ignore[misc]
                claimed.append(item)
            else:
                left_out.append((item.payout, "overtaken"))
        for payout, word in left_out:
            if word in ("above_limit", "bad_address"):
                await self._store.transact(
                    lambda tx, payout=payout, word=word: note_finding(  # type: ignore[misc]
                        tx, "coin_payout_left_out", str(payout), word
                    )
                )
        if claimed:
            self._sent()
        return Batch(items=tuple(claimed), left_out=tuple(left_out))

    async def run_every(self, seconds: float) -> None:
        """Run batches until cancelled, the first after one interval."""
        next_s = self._clock.monotonic_s() + seconds
        while True:
            await asyncio.sleep(min(seconds, _POLL_S))
            if self._clock.monotonic_s() < next_s:
                continue
            next_s = self._clock.monotonic_s() + seconds
            try:
                await self.run()
            except HushnetError as error:
                _LOG.warning("a settlement batch failed", extra={"error": error.error_code})

    def _why_not(self, payout: Payout, room: int) -> str:
        """Say why a payout is not sent now, before anything is asked about it; empty when it may be."""
        if payout.asset is None or payout.network is None:
            return "no_coin"
        if pair_of(payout.asset, payout.network).name not in self._rail.gateways:
            return "no_gateway"
        if payout.net > min(self._limits.usd_max, self._limits.day_usd_max):
            return "above_limit"
        return "limit_reached" if payout.net > room else ""

    async def _item(self, payout: Payout, method: PayoutMethod) -> Item | str:
        pair = pair_of(method.asset, method.network)
        try:
            to = _destination(pair, method)
            rate = await self._rates.rate(pair)
            units = units_for(payout.net, rate, pair.scale)
        except AddressError:
            return "bad_address"
        except RateError:
            return "no_rate"
        except UnitsError:
            return "too_small"
        return Item(
            payout=payout.id,
            owner=payout.owner,
            pair=pair,
            to=to,
            net=payout.net,
            units=units,
            rate=rate,
            gateway=self._rail.gateways[pair.name].name,
        )

    def _claim(self, tx: Transaction, item: Item) -> bool:
        days = tx.rows(SettlementDay)
        today = _day(tx, tx.now_ms)
        days.add(today)
        locked = days.get(today.day)
        assert locked is not None, "the day's row was just made sure of"
        payout = tx.rows(Payout).get(item.payout)
        if payout is None or payout.state is not PayoutState.REQUESTED:
            return False
        if locked.usd + payout.net > self._limits.day_usd_max:
            return False
        days.save(SettlementDay(day=locked.day, usd=locked.usd + payout.net))
        claim_coins(tx, payout.id, units=item.units, rate=item.rate, gateway=item.gateway, actor="settlement")
        return True


def _requested(view: View, before_ms: int) -> Iterator[tuple[Payout, PayoutMethod]]:
    found = view.rows(Payout).find(
        state=PayoutState.REQUESTED,
        rail=COIN,
        at_most=("created_ms", before_ms),
        order_by="created_ms",
        limit=_CANDIDATES,
    )
    for payout in found:
        (method,) = view.rows(PayoutMethod).find(id=payout.method)
        yield payout, method


def _day(view: View, now_ms: int) -> SettlementDay:
    """Return today's row, or what it is before the first batch."""
    day = now_ms // DAY_MS
    found = view.rows(SettlementDay).find(day=day)
    return found[0] if found else SettlementDay(day=day, usd=0)


def _destination(pair: Pair, method: PayoutMethod) -> Destination:
    """Check an address again as it was stored: XRP without a tag came from an X-address that says so."""
    if pair.family is Family.RIPPLE and method.tag is None:
        return check_address(pair, method.address, 0)._replace(tag=None)
    return check_address(pair, method.address, method.tag)
