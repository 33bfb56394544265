"""What an answer was expected to take when it was dispatched, and how well it was kept. Pure.

The forecast is the router's own, from what the provider reported and what was seen of it: it is measured by its word.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Final

from hushnet.coordinator.fleet.reputation.outcomes import Service
from hushnet.coordinator.fleet.reputation.speed import SLACK_S
from hushnet.coordinator.routing.cost import forecast
from hushnet.coordinator.routing.model import Candidate

ON_TIME_RATIO: Final = 2.0
"""Up to twice the forecast is on time: it does not know the line, nor what else the machine does."""
LATE_RATIO: Final = 8.0
"""Eight times the forecast is worth nothing; between the two every doubling costs the same."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A forecast: seconds to the first content, seconds a token after that, and how many answers ran beside it.

    `link_s` and `load_s` are the parts of `first_s` in which no prompt is read.
    """

    first_s: float
    token_s: float
    busy: int
    link_s: float = 0.0
    load_s: float = 0.0


def expected(candidate: Candidate, service: Service, *, decode_unknown: float) -> Expected:
    """Return what `candidate`, as it was when the request was sent there, was expected to need for it."""
    view = forecast(candidate, decode_unknown=decode_unknown)
    own_ms = (
        candidate.strain_ms + candidate.failures_ms + candidate.record_ms
    )  # what it may cost, not how long it takes
    first_ms = view.fixed_ms - own_ms + service.prompt_tokens * view.prompt_ms
    busy = max(candidate.slots - candidate.slots_left, 0)
    return Expected(
        max(first_ms, 0.0) / 1000.0,
        view.output_ms / 1000.0,
        busy,
        link_s=candidate.link_ms / 1000.0,
        load_s=candidate.load_ms / 1000.0,
    )


def punctuality(service: Service, forecast_: Expected) -> float:
    """Return 1.0 for an answer that came when it was expected, down to 0.0 for one that was much too late."""
    if service.first_s is not None:
        ratio = service.first_s / (forecast_.first_s + SLACK_S)
    else:
        ratio = service.total_s / (forecast_.first_s + service.output_tokens * forecast_.token_s + SLACK_S)
    if ratio <= ON_TIME_RATIO:
        return 1.0
    return max(0.0, 1.0 - log(ratio / ON_TIME_RATIO) / log(LATE_RATIO / ON_TIME_RATIO))
