"""The providers that have registered, whose they are, and which of them the operator has suspended.

A suspension is answered from memory: it is asked for at every registration, also by whoever hammers the door.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from hushnet.foundation.clock import Clock
from hushnet.foundation.ids import AccountId, ProviderId

_LOG = logging.getLogger(__name__)

SEEN_AGAIN_MS: Final = 60_000
"""A provider whose link flaps is written down once a minute, not once a link."""
NOTED_MAX: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRecord:
    """A provider as it registered last; `trust` is the tier's number, `suspended_ms` is None while it may serve."""

    id: ProviderId
    account: AccountId
    agent_version: str
    trust: int
    first_ms: int
    last_ms: int
    suspended_ms: int | None = None
    reason: str = ""


class ProviderStore(Protocol):
    """Rows of providers. Every method raises `StorageError` when the database fails."""

    async def note(self, record: ProviderRecord) -> None:
        """Insert, or update account, version, trust and last time of the provider; a suspension stays."""
        ...

    async def suspended(self) -> Mapping[ProviderId, str]:
        """Return every suspended provider and the reason."""
        ...

    async def set_suspended(self, provider_id: ProviderId, *, at_ms: int | None, reason: str) -> bool:
        """Suspend, or restore with None; False when there is no such provider."""
        ...

    async def providers(self, *, after: str, limit: int, account: AccountId | None = None) -> Sequence[ProviderRecord]:
        """Return providers by ascending id, those after `after`, where one is named those of that account."""
        ...


class ProviderBook:
    """Who has registered; `load` before the first use."""

    def __init__(self, store: ProviderStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._suspended: dict[ProviderId, str] = {}
        self._noted: dict[ProviderId, tuple[AccountId, int, int]] = {}
        self.spread: Callable[[ProviderId, str | None], Awaitable[None]] | None = None
        """Tells the other workers of a suspension, or with None that it is over; set where there are any."""

    async def load(self) -> None:
        """Read the suspensions; call again to see those of other processes."""
        self._suspended = dict(await self._store.suspended())

    def is_suspended(self, provider_id: ProviderId) -> bool:
        return provider_id in self._suspended

    async def note(self, provider_id: ProviderId, account: AccountId, *, agent_version: str, trust: int) -> None:
        """Write down that a provider has registered."""
        now_ms = self._clock.now_ms()
        last = self._noted.get(provider_id)
        if last is not None and last[:2] == (account, trust) and now_ms - last[2] < SEEN_AGAIN_MS:
            return
        self._noted[provider_id] = (account, trust, now_ms)
        if len(self._noted) > NOTED_MAX:
            self._noted.clear()
        await self._store.note(
            ProviderRecord(
                id=provider_id,
                account=account,
                agent_version=agent_version[:64],
                trust=trust,
                first_ms=now_ms,
                last_ms=now_ms,
            )
        )

    async def suspend(self, provider_id: ProviderId, *, reason: str) -> bool:
        """Let the provider register no more; False when it never did."""
        if not await self._store.set_suspended(provider_id, at_ms=self._clock.now_ms(), reason=reason):
            return False
        self.changed(provider_id, reason)
        _LOG.warning("provider suspended", extra={"provider_id": provider_id})
        if self.spread is not None:
            await self.spread(provider_id, reason)
        return True

    def changed(self, provider_id: ProviderId, reason: str | None) -> None:
        """Take a suspension for `reason`, or with None its end, that is in the database already."""
        if reason is None:
            self._suspended.pop(provider_id, None)
        else:
            self._suspended[provider_id] = reason

    async def restore(self, provider_id: ProviderId) -> bool:
        """Let the provider register again; False when there is none such."""
        found = await self._store.set_suspended(provider_id, at_ms=None, reason="")
        self.changed(provider_id, None)
        if self.spread is not None:
            await self.spread(provider_id, None)
        return found

    async def providers(
        self, *, after: str = "", limit: int = 100, account: AccountId | None = None
    ) -> Sequence[ProviderRecord]:
        """Return providers by ascending id, those after `after`, where one is named those of that account."""
        return await self._store.providers(after=after, limit=limit, account=account)
