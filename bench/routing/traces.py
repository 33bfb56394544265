"""Fleets and the requests that come to them, drawn from a seed.

Lengths are log-normal: prompts of 400 tokens in the median (sigma 1.0), answers of 180 (sigma 0.9), of which a consumer's
bound may cut some off. The bound says little about the length, as in life: it is drawn by itself. Load is given as a
share of what the fleet can serve with every slot busy, reading included.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bench.routing.machines import Asked, Machine

PROMPT_MEDIAN: Final = 400
PROMPT_SIGMA: Final = 1.0
PROMPT_MAX: Final = 8192
OUTPUT_MEDIAN: Final = 180
OUTPUT_SIGMA: Final = 0.9
OUTPUT_BOUNDS: Final = {256: 10, 512: 20, 1024: 25, 2048: 15, 4096: 15, 8192: 15}
"""What consumers set as the most tokens of an answer, with weights; the largest is what stands where they set nothing."""
WARM_SHARE: Final = 0.35
"""The first part of a trace fills the fleet and is not counted."""

TRACES: Final = ("steady", "diurnal", "flash_crowd", "heterogeneous")
"""The first three on machines that are nearly alike; the last is `steady` on machines that are not."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Machines and requests; `following` says what is asked after an answer, and after how many seconds of thought."""

    machines: Sequence[Machine]
    asked: Sequence[Asked]
    warm_s: float
    following: Mapping[int, tuple[Asked, float]] = field(default_factory=dict)

    def next_turn(self, asked: Asked, now_s: float) -> Asked | None:
        """Return what is asked next in a conversation whose turn was answered at `now_s`."""
        found = self.following.get(asked.number)
        return None if found is None else replace(found[0], arrival_s=now_s + found[1])


def fleet(size: int, *, is_mixed: bool, seed: int) -> list[Machine]:
    """Draw machines: alike (about 40 tokens/s, 4 slots) or mixed (8 to 150 tokens/s, 1 to 16 slots)."""
    drawn = random.Random(f"fleet {seed}")
    machines = []
    for number in range(size):
        if is_mixed:
            decode, slots = math.exp(drawn.uniform(math.log(8), math.log(150))), drawn.choice((1, 2, 4, 8, 16))
        else:
            decode, slots = 40.0 * math.exp(drawn.gauss(0.0, 0.15)), 4
        machines.append(Machine(number, decode, decode * drawn.uniform(6.0, 20.0), slots))
    return machines


def trace(name: str, size: int, *, load: float, count: int, seed: int) -> Trace:
    """Draw about `count` requests for `size` machines at `load`, as the trace of that name has them arrive."""
    machines = fleet(size, is_mixed=name == "heterogeneous", seed=seed)
    drawn = random.Random(f"{name} {seed}")
    sample = [_lengths(drawn) for _ in range(4000)]
    prompt, output = (sum(each[part] for each in sample) / len(sample) for part in (0, 1))
    rate = load * sum(machine.requests_s(prompt, output) for machine in machines)
    horizon_s = count / rate
    rate_at, rate_max = _shape(name, rate, horizon_s)
    asked: list[Asked] = []
    now_s = 0.0
    while (now_s := now_s + drawn.expovariate(rate_max)) < horizon_s:
        if drawn.random() * rate_max < rate_at(now_s):
            asked.append(Asked(len(asked), now_s, *_lengths(drawn)))
    return Trace(machines, asked, warm_s=WARM_SHARE * horizon_s)


def _shape(name: str, rate: float, horizon_s: float) -> tuple[Callable[[float], float], float]:
    """Return requests a second as a function of time, and its maximum; its mean is about `rate`."""
    if name == "diurnal":
        # Two days in one trace; at a mean load of 70 % the peaks are just what the fleet can serve.
        return lambda now_s: rate * (1.0 - 0.4 * math.cos(4 * math.pi * now_s / horizon_s)), 1.4 * rate
    if name == "flash_crowd":
        begins_s, lasts_s = 0.6 * horizon_s, 0.08 * horizon_s
        return lambda now_s: rate * (4.0 if begins_s <= now_s < begins_s + lasts_s else 0.75), 4.0 * rate
    return lambda _now_s: rate, rate


def _lengths(drawn: random.Random) -> tuple[int, int, int]:
    """Draw a prompt, an answer and its bound."""
    output_max = drawn.choices([*OUTPUT_BOUNDS], [*OUTPUT_BOUNDS.values()])[0]
    prompt = min(max(int(drawn.lognormvariate(math.log(PROMPT_MEDIAN), PROMPT_SIGMA)), 8), PROMPT_MAX)
    output = max(int(drawn.lognormvariate(math.log(OUTPUT_MEDIAN), OUTPUT_SIGMA)), 2)
    return prompt, min(output, output_max), output_max
