"""What every request works with: the collaborators of the service, in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.coordinator.ledger.prices import Terms
from hushnet.coordinator.serving.attempt import Attempt
from hushnet.coordinator.serving.route import Placement
from hushnet.coordinator.serving.settings import ServingLimits
from hushnet.coordinator.serving.store import RequestLedger, Tariffs, Telemetry
from hushnet.foundation.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """`linger` takes an attempt that has ended and whose provider has not yet said that its slot is free."""

    fleet: Fleet
    placement: Placement
    ledger: RequestLedger
    tariffs: Tariffs
    clock: Clock
    limits: ServingLimits
    terms: Terms
    telemetry: Telemetry
    linger: Callable[[Attempt], None]
