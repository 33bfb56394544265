"""What makes a coordinator one of several workers: its place among them, the bus that joins it, what it has to pass on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from hushnet.coordinator.app.services import Services
from hushnet.coordinator.bus import Alone, Bus, WorkerBus
from hushnet.coordinator.bus.frames import BudgetsChanged, KeysChanged, PricesChanged, ProviderBarred
from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.coordinator.ledger.store import Lease, LedgerStore
from hushnet.coordinator.serving.assembly import Serving
from hushnet.foundation.ids import AccountId, ApiKeyId, ProviderId

_LANE_BITS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A worker's number from 1, how many there are, and the folder of their sockets.

    `fallen` are the claims (`Ledger.origin`) of workers that this one replaces and that are known to be dead.
    """

    number: int
    count: int
    folder: Path
    fallen: tuple[int, ...] = ()


async def bury(store: LedgerStore, fallen: tuple[int, ...]) -> None:
    """Give back the lanes of dead workers, so that the sweep at the start settles what they left open, not a minute later."""
    for origin in fallen:
        lane = origin & (1 << _LANE_BITS) - 1
        claim = Lease(lane, origin, lease_ms=0, seq=0, head=b"", last_fact=0, database_ms=None)
        await store.renew_lane(claim, until_ms=0)


class Elsewhere:
    """`bus.News`: what was changed on another worker takes effect here."""

    def __init__(self, services: Services, fleet: Fleet) -> None:
        self._services = services
        self._fleet = fleet

    def keys_changed(self, account_id: AccountId, key_id: ApiKeyId | None, *, is_barred: bool) -> None:
        self._services.accounts.changed(account_id, key_id, is_barred=is_barred)

    def provider_barred(self, provider_id: ProviderId, reason: str | None) -> None:
        self._services.providers.changed(provider_id, reason)
        live = self._fleet.get(provider_id)
        if reason is not None and live is not None:
            live.link.close("suspended")

    async def prices_changed(self) -> None:
        await self._services.catalog.load()
        await self._services.discounts.load()

    def budgets_changed(self, account_id: AccountId) -> None:
        self._services.bounds.budgets.changed(account_id)


def join_bus(place: Place | None, serving: Serving, services: Services) -> Bus:
    """Make the bus of this process and have everything that others must hear of sent over it."""
    if place is None:
        return Alone()
    accounts, providers, metrics = services.accounts, services.providers, services.metrics
    catalog, discounts, budgets = services.catalog, services.discounts, services.bounds.budgets
    bus = WorkerBus(
        place.folder,
        worker=place.number,
        count=place.count,
        network=serving.network,
        fleet=serving.fleet,
        trust=serving.trust,
        serials=serving.gate.serials,
        clock=serving.clock,
        render=metrics.render,
        news=Elsewhere(services, serving.fleet),
    )
    serving.service.claims = bus.claims

    async def keys(account_id: AccountId, key_id: ApiKeyId | None, is_barred: bool) -> None:
        await bus.tell(partial(KeysChanged, account_id=account_id, key_id=key_id, is_barred=is_barred))

    async def suspensions(provider_id: ProviderId, reason: str | None) -> None:
        await bus.tell(partial(ProviderBarred, provider_id=provider_id, reason=reason))

    async def prices() -> None:
        await bus.tell(PricesChanged)

    async def bounds(account_id: AccountId) -> None:
        await bus.tell(partial(BudgetsChanged, account_id=account_id))

    accounts.spread, providers.spread, catalog.spread, discounts.spread = keys, suspensions, prices, prices
    budgets.spread = bounds
    metrics.gauge("hush_workers_connected", "Other workers that are reached now", lambda: bus.connected)
    metrics.gauge("hush_attempts_hosted", "Attempts of other workers at providers here", lambda: bus.hosted)
    metrics.gauge("hush_attempts_crossing", "Attempts at providers of other workers", lambda: bus.crossing)
    return bus
