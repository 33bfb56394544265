"""This process's lane: its lease, the head of its audit chain, and the ids that it makes."""

from __future__ import annotations

import logging

from hushnet.coordinator.ledger.ids import FactIds
from hushnet.coordinator.ledger.plan import Moment
from hushnet.coordinator.ledger.store import BatchRow, Lease, LedgerStore
from hushnet.coordinator.ledger.writing.settings import LedgerSettings
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import ConfigurationError

_LOG = logging.getLogger(__name__)


class Lane:
    """A claimed lane. The writer alone moves the head; the keeper moves the lease's end."""

    def __init__(self, store: LedgerStore, clock: Clock, settings: LedgerSettings, lease: Lease) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._adopt(lease)

    @staticmethod
    async def claim(store: LedgerStore, clock: Clock, settings: LedgerSettings) -> Lane:
        """Claim a lane; raises `ConfigurationError` when our clock and the database's disagree."""
        lease = await store.claim_lane(now_ms=clock.now_ms(), lease_ms=settings.lease_ms)
        lane = Lane(store, clock, settings, lease)
        if not lane._is_clock_right(lease):
            await store.renew_lane(lease, until_ms=0)
            raise ConfigurationError(
                "this machine's clock and the database's disagree", hint="synchronise both clocks (NTP)"
            )
        return lane

    @property
    def number(self) -> int:
        return self._lease.lane

    @property
    def origin(self) -> int:
        """What names this claim on every hold that it opens."""
        return self._lease.origin

    @property
    def is_ours(self) -> bool:
        """Whether the lease reaches this far; when not, no hold may be taken."""
        return self._clock.now_ms() < self._until_ms

    def next_id(self) -> int:
        """Return a fresh even id; raises `CapacityError` when the lease has ended."""
        return self._ids.next()

    def moment(self, now_ms: int) -> Moment:
        """Return where the next batch is decided."""
        return Moment(self._lease.lane, self._lease.origin, self._seq, self._head, now_ms)

    def advance(self, link: BatchRow) -> None:
        """Note that `link` is committed."""
        self._seq, self._head = link.seq, link.digest

    async def renew(self) -> bool:
        """Move the lease's end; return whether the lane is still ours.

        A lane whose lease has lapsed stays ours as long as nobody has taken it. While the clocks disagree the lease
        is left to run out.
        """
        until_ms = self._clock.now_ms() + self._settings.lease_ms
        renewed = await self._store.renew_lane(self._lease, until_ms=until_ms)
        if renewed is None:
            self._until_ms = 0
            _LOG.warning("the ledger's lane was taken", extra={"lane": self.number})
            return False
        if self._is_clock_right(renewed):
            self._until_ms = renewed.lease_ms
            self._ids.extend(renewed.lease_ms)
        return True

    async def recover(self) -> None:
        """Find out where the chain stands, on our lane if it is still ours, on a new one if not. For the writer."""
        now_ms = self._clock.now_ms()
        renewed = await self._store.renew_lane(self._lease, until_ms=now_ms + self._settings.lease_ms)
        if renewed is None:
            self._adopt(await self._store.claim_lane(now_ms=now_ms, lease_ms=self._settings.lease_ms))
            return
        self._seq, self._head, self._until_ms = renewed.seq, renewed.head, renewed.lease_ms
        self._ids.extend(renewed.lease_ms)

    async def release(self) -> None:
        """Give the lane back."""
        self._until_ms = 0
        await self._store.renew_lane(self._lease, until_ms=0)

    def _adopt(self, lease: Lease) -> None:
        self._lease = lease
        self._seq, self._head, self._until_ms = lease.seq, lease.head, lease.lease_ms
        self._ids = FactIds(lease.lane, self._clock, last_fact=lease.last_fact, until_ms=lease.lease_ms)

    def _is_clock_right(self, lease: Lease) -> bool:
        limit_ms = self._settings.clock_skew_ms_max
        if limit_ms is None or lease.database_ms is None:
            return True
        is_right = abs(self._clock.now_ms() - lease.database_ms) <= limit_ms
        if not is_right:
            _LOG.error("this machine's clock and the database's disagree")
        return is_right
