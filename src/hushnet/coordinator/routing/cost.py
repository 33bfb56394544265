"""The estimated cost of a request at a provider, in milliseconds until it would be complete."""

from __future__ import annotations

from typing import Final

from hushnet.coordinator.routing.model import Candidate, RouteRequest

DECODE_UNKNOWN_TOKENS_S: Final = 20.0
"""A provider that has not measured itself yet: slow enough not to win over a measured one of ordinary speed."""
PREFILL_OVER_DECODE: Final = 4.0
"""Prefill is compute-bound and batched; engines report at least this ratio (shared study of the reference system)."""
CONTENTION: Final = 0.27
"""Slowdown per neighbour in a batch: 92.8, 69.5, 35.9, 29.6 tokens/s at 1, 2, 4, 8 streams in the reference's figures."""
OUTPUT_EXPECTED_TOKENS_MAX: Final = 512
"""Most answers end long before their bound; a bound of 8,192 would drown every other term."""
RATE_MIN: Final = 0.1
RATE_MAX: Final = 20_000.0
"""Reports are the provider's word: one that claims next to nothing, or everything, is taken for the slowest or fastest."""
CROSSING_SHARE: Final = 0.15
CROSSING_MS: Final = 75
"""What a provider of another worker costs more: a little beyond the router's tie window (a tenth, or 50 ms), so that of
near-equal providers one of this worker is taken, and a clearly better one elsewhere still wins."""
SECONDS_MAX: Final = 1_000_000.0
AVOIDED_MS: Final = 10_000_000_000
"""More than any other cost can be: an avoided provider comes after everybody else."""


def cost_ms(candidate: Candidate, request: RouteRequest) -> int:
    """Estimate queue, prefill and decoding, plus what past failures add. Grows with every load and every bound."""
    rate = decode_rate(candidate)
    prefill_rate = _believable(candidate.prefill_tokens_s or rate * PREFILL_OVER_DECODE)
    busy = max(candidate.slots - candidate.slots_left, 0)
    output = min(request.output_tokens_max, OUTPUT_EXPECTED_TOKENS_MAX)
    seconds = (
        wait_s(candidate)
        + request.prompt_tokens_max / prefill_rate
        + output * (1.0 + CONTENTION * busy) / rate
        + max(request.prompt_tokens_max + output - candidate.context_tokens, 0) / rate
    )
    avoided = AVOIDED_MS if candidate.provider_id in request.avoided else 0
    cost = int(min(seconds, SECONDS_MAX) * 1000) + candidate.penalty_ms
    if candidate.is_elsewhere:
        cost += max(CROSSING_MS, int(cost * CROSSING_SHARE))
    return cost + avoided


def wait_s(candidate: Candidate) -> float:
    """Estimate how long the tokens ahead keep every slot of the provider busy."""
    return candidate.tokens_ahead / (decode_rate(candidate) * max(candidate.slots, 1))


def decode_rate(candidate: Candidate) -> float:
    """Return the tokens a second that one stream may expect on an idle provider."""
    return _believable(candidate.decode_tokens_s or DECODE_UNKNOWN_TOKENS_S)


def _believable(rate: float) -> float:
    return min(max(rate, RATE_MIN), RATE_MAX)
