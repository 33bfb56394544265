"""A running coordinator: what starts in which order, and what stops in which."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from typing import Final

from hushnet.coordinator.accounts import Accounts, ProviderBook
from hushnet.coordinator.api.dispatch import Dispatcher
from hushnet.coordinator.api.http import HttpListener, bind_error
from hushnet.coordinator.api.provider_socket import ProviderListener
from hushnet.coordinator.app import addresses
from hushnet.coordinator.app.money import Money
from hushnet.coordinator.bus import Bus
from hushnet.coordinator.catalog import Catalog, DiscountBook
from hushnet.coordinator.fleet.reputation.keeper import RecordKeeper
from hushnet.coordinator.ledger.books.keeper import BookKeeper
from hushnet.coordinator.ledger.service import Ledger
from hushnet.coordinator.serving.assembly import Serving
from hushnet.coordinator.settings import CoordinatorSettings
from hushnet.coordinator.storage.database import Database
from hushnet.coordinator.telemetry import Metrics
from hushnet.foundation.errors import StorageError
from hushnet.foundation.tasks import TaskSet

_LOG = logging.getLogger(__name__)

DRAIN_APART_S: Final = 5.0
"""Workers end their drain this far apart at most: requests that were cut off settle first."""
REFRESH_S: Final = 30.0
"""How late this process sees prices and suspensions that another process set."""


@dataclass(slots=True, kw_only=True)
class Coordinator:
    """All parts, joined by `build`. `start` once, `aclose` once, also after a `start` that failed."""

    settings: CoordinatorSettings
    database: Database
    ledger: Ledger
    accounts: Accounts
    catalog: Catalog
    money: Money
    discounts: DiscountBook
    providers: ProviderBook
    records: RecordKeeper
    keeper: BookKeeper | None
    """Closes days; one process of those that start together does it."""
    serving: Serving
    dispatcher: Dispatcher
    http: HttpListener
    links: ProviderListener
    bus: Bus
    metrics: Metrics
    tasks: TaskSet
    link_port: int = 0
    is_stopping: bool = False
    _is_closed: bool = field(default=False)

    async def start(self) -> None:
        """Join the other workers, then open both listeners, the providers' first.

        Raises `ConfigurationError` when an address cannot be had.
        """
        await self.catalog.load()
        await self.discounts.load()
        await self.providers.load()
        await self.records.load()
        self.serving.start()
        await self.bus.start()
        link = self.settings.link
        try:
            self.link_port = await self.links.start(link.host, link.port)
        except OSError as error:
            raise bind_error(error, link.host, link.port, setting="link.port") from None
        await self.http.start()
        self.money.start()
        self.tasks.spawn(self._refresh(), name="refresh")
        self.tasks.spawn(self.records.run(), name="keep-records")
        if self.keeper is not None:
            self.tasks.spawn(self.keeper.run(), name="keep-books")
        _LOG.info("coordinator started", extra={"network": self.settings.network, "port": self.http.port})

    async def aclose(self) -> None:
        """Stop in the order of the promises: no new requests, running ones end and settle, links, ledger, database.

        Links stay until the other workers, which stop at the same time, need them no more.
        """
        if self._is_closed:
            return
        self._is_closed = self.is_stopping = True
        clock, drain_s = self.serving.clock, self.settings.http.drain_s_max
        ends_s = clock.monotonic_s() + drain_s
        async with contextlib.AsyncExitStack() as stack:  # last in, first out, and none is left out when one fails
            for close in (
                self.database.aclose,
                self.ledger.aclose,
                self.money.aclose,
                self.tasks.aclose,
                self.bus.aclose,
                self.links.aclose,
            ):
                stack.push_async_callback(close)
            await asyncio.gather(self.http.aclose(), self.serving.aclose(drain_s=drain_s))
            await self.records.save()  # before links end: that we stop is nobody's flap
            await self.bus.drain(max(ends_s - clock.monotonic_s(), 0.0) + DRAIN_APART_S)
        _LOG.info("coordinator stopped", extra={"network": self.settings.network})

    @property
    def base_url(self) -> str:
        """Where clients reach it, without a slash at the end."""
        return addresses.base_url(self.settings, self.http.port)

    @property
    def link_url(self) -> str:
        """Where providers dial."""
        return addresses.link_url(self.settings, self.link_port)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            with contextlib.suppress(StorageError):
                await self.catalog.load()
                await self.discounts.load()
                await self.providers.load()
