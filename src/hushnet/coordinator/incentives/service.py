"""All incentives of one coordinator, and their clockwork: what expires, what is swept, what is paid."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from hushnet.coordinator.incentives.corrections import Corrections
from hushnet.coordinator.incentives.grants import Grants
from hushnet.coordinator.incentives.invites import Invites
from hushnet.coordinator.incentives.programmes import Programmes
from hushnet.coordinator.incentives.referrals import Referrals
from hushnet.coordinator.incentives.rewards import Rewards
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import CapacityError, StorageError

_LOG = logging.getLogger(__name__)

ROUND_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Incentives:
    """`rewards` is None where the pool is empty, or where another process pays them."""

    grants: Grants
    invites: Invites
    referrals: Referrals
    corrections: Corrections
    programmes: Programmes
    rewards: Rewards | None
    clock: Clock

    async def run(self) -> None:
        """Take expired credit back and sweep referral shares until cancelled; each has keys, so any process may."""
        while True:
            await self.round()
            await asyncio.sleep(ROUND_S)

    async def round(self) -> None:
        """Do what is due now; what fails is due again the next time."""
        await self._try("promo-expiry", lambda: self.grants.expire_due(self.clock.now_ms()))
        await self._try("referral-sweep", lambda: self.referrals.sweep(self.clock.now_ms()))

    async def _try(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except (StorageError, CapacityError) as error:
            _LOG.warning("background work of incentives failed", extra={"task": name, "error": error.error_code})
