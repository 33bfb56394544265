"""The clock hand of serving: one task that looks at deadlines, challenges and statements, a few times a second."""

from __future__ import annotations

import asyncio
from typing import Final

from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.coordinator.serving.service import RequestService
from hushnet.coordinator.trust.challenges import ChallengeBook

PERIOD_S: Final = 0.1
"""Precision of every deadline; a full pass over 1,000 requests takes under a millisecond."""
FLEET_EVERY: Final = 10
"""Passes between two looks at challenges and statements, which are counted in seconds."""


class Pulse:
    """Ticks the service; joins the fleet's links with the book of challenges."""

    def __init__(self, service: RequestService, fleet: Fleet, book: ChallengeBook) -> None:
        self._service = service
        self._fleet = fleet
        self._book = book

    async def run(self) -> None:
        """Tick until cancelled."""
        passes = 0
        while True:
            await asyncio.sleep(PERIOD_S)
            self._service.tick()
            passes += 1
            if passes % FLEET_EVERY == 0:
                self.tick_fleet()

    def tick_fleet(self) -> None:
        """Send the challenges that are due, count the missed, retire expired statements."""
        due, missed = self._book.due()
        for provider_id in missed:
            if (provider := self._fleet.get(provider_id)) is not None:
                self._fleet.judged(provider, self._book.verdict(provider_id).tier)
        for challenge in due:
            if (provider := self._fleet.get(challenge.provider_id)) is not None:
                provider.link.challenge(challenge.nonce)
        self._fleet.retire_stale()
