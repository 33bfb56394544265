"""The reference system's choice: the cheapest of all machines by its published cost formula, near ties by the least queue.

    cost    = queue + pending + backlog + this         (milliseconds; every machine is healthy and has the model loaded)
    queue   = 3000 x max(pending, running)             pending: dispatched and not ended; running: by the last heartbeat
    pending = 750 x pending
    backlog = 1000 x max(potential, sum of the bounds of what is pending) / rate
    this    = 1000 x (prompt / prefill rate + bound / rate)
    rate    = max(1, decode rate / (1 + 0.27 running))

`potential` is the sum of the bounds of what ran at the last heartbeat. Within 3,000 ms of the cheapest the least queue wins,
then the least pending, then chance. It counts a token for four bytes of a prompt. All of the fleet is looked at every time.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from bench.routing.machines import CONTENTION, Asked, Engine, Machine

QUEUE_MS: Final = 3_000
PENDING_MS: Final = 750
TIE_MS: Final = 3_000
_NEVER: Final = float("inf")


@dataclass(slots=True)
class Known:
    """What it knows of one machine."""

    slots: int
    decode: float
    prefill: float
    pending: int = 0
    pending_bounds: int = 0
    running: int = 0
    potential: int = 0


class Reference:
    """A cost is `fixed + prompt x a prompt's token + bound x an answer's token`; the three are kept beside each machine."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"policy {seed}")
        self._known: list[Known] = []
        self._fixed: list[float] = []
        self._prompt_ms: list[float] = []
        self._output_ms: list[float] = []

    def join(self, machine: Machine) -> None:
        self._known.append(Known(machine.slots, machine.decode_tokens_s, machine.prefill_tokens_s))
        for column in (self._fixed, self._prompt_ms, self._output_ms):
            column.append(0.0)
        self._refresh(machine.number)

    def choose(self, asked: Asked) -> int | None:
        prompt, bound = asked.prompt, asked.output_max
        costs = [
            fixed + prompt * prompt_ms + bound * output_ms
            for fixed, prompt_ms, output_ms in zip(self._fixed, self._prompt_ms, self._output_ms, strict=True)
        ]
        limit = min(costs) + TIE_MS
        if limit == _NEVER:
            return None
        return min((number for number, cost in enumerate(costs) if cost <= limit), key=self._rank)

    def opened(self, number: int, asked: Asked) -> None:
        self._known[number].pending += 1
        self._known[number].pending_bounds += asked.output_max
        self._refresh(number)

    def closed(self, number: int, asked: Asked) -> None:
        self._known[number].pending -= 1
        self._known[number].pending_bounds -= asked.output_max
        self._refresh(number)

    def reported(self, engine: Engine) -> None:
        number = engine.machine.number
        known = self._known[number]
        known.running = engine.occupied
        known.decode, known.prefill = engine.decode_seen, engine.prefill_seen
        known.potential = sum(attempt.asked.output_max for attempt in engine.reading)
        known.potential += sum(attempt.asked.output_max for _, _, attempt in engine.writing)
        self._refresh(number)

    def _rank(self, number: int) -> tuple[int, int, float]:
        known = self._known[number]
        return max(known.pending, known.running), known.pending, self._random.random()

    def _refresh(self, number: int) -> None:
        known = self._known[number]
        rate = max(1.0, known.decode / (1.0 + CONTENTION * known.running))
        backlog_ms = 1000.0 * max(known.potential, known.pending_bounds) / rate
        queue_ms = QUEUE_MS * max(known.pending, known.running)
        is_full = known.pending >= known.slots
        self._fixed[number] = _NEVER if is_full else queue_ms + PENDING_MS * known.pending + backlog_ms
        self._prompt_ms[number] = 1000.0 / known.prefill
        self._output_ms[number] = 1000.0 / rate
