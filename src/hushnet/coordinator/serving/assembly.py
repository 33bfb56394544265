"""Joins fleet, trust, routing, admission and serving into what `app` needs, and keeps time for all of them."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final

from hushnet.attestation.evidence import EvidenceRegistry
from hushnet.coordinator.admission.queue import QueueLimits
from hushnet.coordinator.fleet.beliefs import BeliefPolicy
from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.coordinator.fleet.gate import Gate
from hushnet.coordinator.fleet.store import FULL_PRICE, Markups, ProviderTokens
from hushnet.coordinator.serving.service import RequestService
from hushnet.coordinator.serving.settings import ServingLimits
from hushnet.coordinator.serving.store import Budgets, RequestLedger, Silence, Tariffs, Telemetry
from hushnet.coordinator.trust.challenges import ChallengeBook, TrustSettings
from hushnet.foundation.clock import Clock
from hushnet.foundation.tasks import TaskSet

_LOG = logging.getLogger(__name__)

PERIOD_S: Final = 0.1
"""Precision of every deadline; a full pass over 1,000 requests takes under a millisecond."""
FLEET_EVERY: Final = 10
"""Passes between two looks at challenges and statements, which are counted in seconds."""


class Pulse:
    """The hand of the clock: ticks the service, joins the fleet's links with the book of challenges."""

    def __init__(self, service: RequestService, fleet: Fleet, book: ChallengeBook) -> None:
        self._service = service
        self._fleet = fleet
        self._book = book

    async def run(self) -> None:
        """Tick until cancelled."""
        passes = 0
        while True:
            await asyncio.sleep(PERIOD_S)
            passes += 1
            try:
                self._service.tick()
                if passes % FLEET_EVERY == 0:
                    self.tick_fleet()
            except Exception as error:  # without the pulse no deadline of anybody would ever come again
                _LOG.error("a pass of the pulse failed", extra={"error": type(error).__name__})

    def tick_fleet(self) -> None:
        """Send the challenges that are due, count the missed, retire expired statements, plan which models are loaded."""
        due, missed = self._book.due()
        silent = frozenset(missed)
        for provider_id in missed:
            if (provider := self._fleet.get(provider_id)) is not None:
                self._fleet.note_challenge(provider, is_answered=False)
                self._fleet.judged(provider, self._book.verdict(provider_id).tier)
        for challenge in due:
            if (provider := self._fleet.get(challenge.provider_id)) is not None:
                if challenge.provider_id not in silent:
                    # The one before, the registration's own at first, was answered: rightly, or else it counts as missed.
                    self._fleet.note_challenge(
                        provider, is_answered=self._book.record(challenge.provider_id).missed == 0
                    )
                provider.link.challenge(challenge.nonce)
        self._fleet.retire_stale()
        self._service.pool.tick()


@dataclass(slots=True)
class Serving:
    """The joined parts. `gate` goes to the provider listener, `service` to the chat endpoint, `fleet` to discovery."""

    network: str
    clock: Clock
    fleet: Fleet
    trust: ChallengeBook
    gate: Gate
    service: RequestService
    pulse: Pulse
    _tasks: TaskSet = field(default_factory=TaskSet)

    def start(self) -> None:
        """Start the pulse."""
        self._tasks.spawn(self.pulse.run(), name="serving-pulse")

    async def aclose(self, *, drain_s: float = 0.0) -> None:
        """Let requests finish for `drain_s`, stop the rest, wait until every one has settled, then stop the pulse."""
        await self.service.drain(drain_s)
        await self.service.aclose()
        await self._tasks.aclose()


def build_serving(
    *,
    network: str,
    clock: Clock,
    ledger: RequestLedger,
    tariffs: Tariffs,
    tokens: ProviderTokens,
    limits: ServingLimits | None = None,
    queue_limits: QueueLimits | None = None,
    trust_settings: TrustSettings | None = None,
    evidence: EvidenceRegistry | None = None,
    telemetry: Telemetry | None = None,
    beliefs: BeliefPolicy | None = None,
    markups: Markups = FULL_PRICE,
    budgets: Budgets | None = None,
) -> Serving:
    """Build everything between the edges and the ledger; needs a running event loop, starts nothing."""
    telemetry = telemetry or Silence()
    fleet = Fleet(clock, beliefs)
    fleet.markups = markups
    trust = ChallengeBook(clock, settings=trust_settings, registry=evidence)
    service = RequestService(
        fleet=fleet,
        ledger=ledger,
        tariffs=tariffs,
        clock=clock,
        limits=limits,
        queue_limits=queue_limits,
        telemetry=telemetry,
        budgets=budgets,
    )
    return Serving(
        network=network,
        clock=clock,
        fleet=fleet,
        trust=trust,
        gate=Gate(
            fleet,
            network=network,
            tokens=tokens,
            trust=trust,
            clock=clock,
            on_doubt=lambda doubt: telemetry.finding(kind=doubt),
        ),
        service=service,
        pulse=Pulse(service, fleet, trust),
    )
