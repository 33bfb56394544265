"""The estimated cost of a request at a provider, in milliseconds until it would be complete.

A candidate's part of the cost is worked out once, when its provider reports, as a `Forecast`: a constant and two
slopes. A decision then costs a few multiplications a candidate. `terms` gives the same sum part by part.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from hushnet.coordinator.routing.model import Candidate, RouteRequest, Term
from hushnet.foundation.money import BASIS_POINTS_ONE

DECODE_UNKNOWN_TOKENS_S: Final = 20.0
"""A provider that has not measured itself yet, in a fleet that has not either."""
PREFILL_OVER_DECODE: Final = 4.0
"""Prefill is compute-bound and batched; engines report at least this ratio (shared study of the reference system)."""
CONTENTION: Final = 0.27
"""Slowdown per neighbour in a batch: 92.8, 69.5, 35.9, 29.6 tokens/s at 1, 2, 4, 8 streams in the reference's figures."""
OUTPUT_EXPECTED_TOKENS_MAX: Final = 512
"""Most answers end long before their bound; a bound of 8,192 would drown every other term."""
PROMPT_BYTES_PER_TOKEN: Final = 3
"""A prompt's bound counts bytes, and no text of any script has more tokens than bytes: English has four bytes a token,
Chinese and code between two and three."""
RATE_MIN: Final = 0.1
RATE_MAX: Final = 20_000.0
"""Reports are the provider's word: one that claims next to nothing, or everything, is taken for the slowest or fastest."""
CROSSING_SHARE: Final = 0.15
CROSSING_MS: Final = 75
"""What a provider of another worker costs more: a little beyond the router's tie window (a tenth, or 50 ms), so that of
near-equal providers one of this worker is taken, and a clearly better one elsewhere still wins."""
WAIT_S_LONGEST: Final = 1_000_000.0
AVOIDED_MS: Final = 10_000_000_000
"""More than any other cost can be: an avoided provider comes after everybody else."""
OVERFLOW_MS: Final = 600_000
"""A context that the request is likely to outgrow is used only when no larger one is there."""
SAME_VERSION_MS: Final = 2_000
"""A retry tries another version of the agent first, unless that is two seconds slower."""
MEMORY_PRESSURE_MS: Final = 4_000
CPU_MS: Final = 1_500
GPU_MEMORY_MS: Final = 5_000
THERMAL_MS: Final = {"fair": 2_000, "serious": 8_000, "critical": 600_000}
"""What a machine under strain adds (weights of the reference system, at full pressure); a machine about to throttle to a
halt is used only when nobody else is there."""


class Forecast(Struct, frozen=True):
    """A candidate's cost for any request: `fixed_ms + prompt x prompt_ms + output x output_ms`."""

    fixed_ms: float
    prompt_ms: float
    output_ms: float


def forecast(candidate: Candidate, *, decode_unknown: float = DECODE_UNKNOWN_TOKENS_S) -> Forecast:
    """Work out what does not depend on the request; `decode_unknown` is the rate of those that report none."""
    rate = _believable(candidate.decode_tokens_s or decode_unknown)
    prefill_rate = _believable(candidate.prefill_tokens_s or rate * PREFILL_OVER_DECODE)
    busy = candidate.slots - candidate.slots_left
    fixed_ms = (
        candidate.load_ms
        + _queue_ms(candidate, rate)
        + candidate.link_ms
        + candidate.strain_ms
        + candidate.failures_ms
        + candidate.record_ms
    )
    return Forecast(fixed_ms, 1000.0 / prefill_rate, 1000.0 * (1.0 + CONTENTION * busy if busy > 0 else 1.0) / rate)


class Costing:
    """What the cost of one request needs of it, worked out once for all the candidates that a decision looks at."""

    __slots__ = ("_is_plain", "_output", "_prompt", "_request", "_total")

    def __init__(self, request: RouteRequest) -> None:
        self._request = request
        self._prompt, self._output = expected_tokens(request)
        self._total = self._prompt + self._output
        self._is_plain = not (
            request.cached or request.avoided or request.avoided_versions or request.preferences.ms_per_micro_usd
        )

    def at(self, candidate: Candidate, view: Forecast) -> int:
        """Estimate the request's cost at `candidate`, whose forecast is `view`. Grows with every load and every bound."""
        if self._is_plain and self._total <= candidate.context_tokens and not candidate.is_elsewhere:
            return int(view.fixed_ms + self._prompt * view.prompt_ms + self._output * view.output_ms)
        return int(self._with_everything(candidate, view))

    def _with_everything(self, candidate: Candidate, view: Forecast) -> float:
        request, prompt, output = self._request, self._prompt, self._output
        cached = request.cached.get(candidate.provider_id, 0) if request.cached else 0
        total = view.fixed_ms + max(prompt - cached, 0) * view.prompt_ms + output * view.output_ms
        over = self._total - candidate.context_tokens
        if over > 0:
            total += OVERFLOW_MS + over * view.output_ms
        if request.preferences.ms_per_micro_usd:
            total += _price_ms(candidate, request, prompt, output)
        if candidate.is_elsewhere:
            total += max(CROSSING_MS, total * CROSSING_SHARE)
        if request.avoided or request.avoided_versions:
            total += _avoided_ms(candidate, request)
        return total


def cost_ms(candidate: Candidate, view: Forecast, request: RouteRequest) -> int:
    """Estimate the cost of `request` at one candidate, whose forecast is `view`."""
    return Costing(request).at(candidate, view)


def terms(candidate: Candidate, view: Forecast, request: RouteRequest) -> dict[Term, int]:
    """Return the parts of `cost_ms` that are not zero; they add up to it but for the rounding of each."""
    prompt, output = expected_tokens(request)
    cached = min(request.cached.get(candidate.provider_id, 0), prompt)
    apart = {
        Term.LOAD: candidate.load_ms,
        Term.LINK: candidate.link_ms,
        Term.STRAIN: candidate.strain_ms,
        Term.FAILURES: candidate.failures_ms,
        Term.RECORD: candidate.record_ms,
    }
    parts: dict[Term, float] = {
        **apart,
        Term.QUEUE: view.fixed_ms - sum(apart.values()),
        Term.PREFILL: (prompt - cached) * view.prompt_ms,
        Term.DECODE: output * view.output_ms,
    }
    over = prompt + output - candidate.context_tokens
    if over > 0:
        parts[Term.OVERFLOW] = OVERFLOW_MS + over * view.output_ms
    if request.preferences.ms_per_micro_usd:
        parts[Term.PRICE] = _price_ms(candidate, request, prompt, output)
    if candidate.is_elsewhere:
        parts[Term.CROSSING] = max(CROSSING_MS, sum(parts.values()) * CROSSING_SHARE)
    parts[Term.AVOIDED] = _avoided_ms(candidate, request)
    return {term: round(value) for term, value in parts.items() if round(value)}


def expected_tokens(request: RouteRequest) -> tuple[int, int]:
    """Return how many tokens the prompt and the answer are likely to have; their bounds are rarely used whole."""
    output = min(request.output_tokens_max, OUTPUT_EXPECTED_TOKENS_MAX)
    return -(-request.prompt_tokens_max // PROMPT_BYTES_PER_TOKEN), output


def wait_s(candidate: Candidate, *, decode_unknown: float = DECODE_UNKNOWN_TOKENS_S) -> float:
    """Estimate how long the tokens ahead keep every slot of the provider busy."""
    return _queue_ms(candidate, _believable(candidate.decode_tokens_s or decode_unknown)) / 1000.0


def strain_ms(*, memory: float, cpu: float, gpu_memory: float, thermal: str) -> int:
    """Return what a machine's state adds; shares of 0..1, anything beyond counts as the nearest."""
    return int(
        MEMORY_PRESSURE_MS * _share(memory) + CPU_MS * _share(cpu) + GPU_MEMORY_MS * _share(gpu_memory)
    ) + THERMAL_MS.get(thermal, 0)


def _queue_ms(candidate: Candidate, rate: float) -> float:
    if not candidate.tokens_ahead:
        return 0.0
    return min(candidate.tokens_ahead / (rate * max(candidate.slots, 1)), WAIT_S_LONGEST) * 1000.0


def _price_ms(candidate: Candidate, request: RouteRequest, prompt: int, output: int) -> float:
    if request.price is None:
        return 0.0
    micro_usd = (prompt * request.price.input + output * request.price.output) / 1_000_000
    traits = candidate.traits
    share = traits.tier_bps * (BASIS_POINTS_ONE - traits.discount_bps) / (BASIS_POINTS_ONE * BASIS_POINTS_ONE)
    return micro_usd * share * request.preferences.ms_per_micro_usd


def _avoided_ms(candidate: Candidate, request: RouteRequest) -> int:
    if candidate.provider_id in request.avoided:
        return AVOIDED_MS
    return SAME_VERSION_MS if candidate.agent_version in request.avoided_versions else 0


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def _believable(rate: float) -> float:
    return rate if RATE_MIN <= rate <= RATE_MAX else min(max(rate, RATE_MIN), RATE_MAX)
