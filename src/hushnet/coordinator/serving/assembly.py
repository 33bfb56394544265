"""Joins fleet, trust, routing, admission and serving into what `app.py` needs: one call, one object."""

from __future__ import annotations

from dataclasses import dataclass, field

from hushnet.attestation.evidence import EvidenceRegistry
from hushnet.coordinator.admission.queue import QueueLimits
from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.coordinator.fleet.gate import Gate
from hushnet.coordinator.fleet.store import ProviderTokens
from hushnet.coordinator.serving.pulse import Pulse
from hushnet.coordinator.serving.service import RequestService
from hushnet.coordinator.serving.settings import ServingLimits
from hushnet.coordinator.serving.store import RequestLedger, Tariffs, Telemetry
from hushnet.coordinator.trust.challenges import ChallengeBook, TrustSettings
from hushnet.foundation.clock import Clock
from hushnet.foundation.tasks import TaskSet


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
) -> Serving:
    """Build everything between the edges and the ledger; needs a running event loop, starts nothing."""
    fleet = Fleet(clock)
    trust = ChallengeBook(clock, settings=trust_settings, registry=evidence)
    service = RequestService(
        fleet=fleet,
        ledger=ledger,
        tariffs=tariffs,
        clock=clock,
        limits=limits,
        queue_limits=queue_limits,
        telemetry=telemetry,
    )
    return Serving(
        network=network,
        clock=clock,
        fleet=fleet,
        trust=trust,
        gate=Gate(fleet, network=network, tokens=tokens, trust=trust, clock=clock),
        service=service,
        pulse=Pulse(service, fleet, trust),
    )
