"""What a provider has left: its own report, with what was dispatched since counted in. Pure.

A report says what runs there in all; what this process has open is known exactly and at once. The difference at the
moment of the report is the work of others (another coordinator), and is assumed to last until the next report.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hushnet.foundation.ids import ModelId
from hushnet.wire.frames import Capacity


@dataclass(slots=True)
class Load:
    """The load of one provider. Tokens are upper bounds of what an attempt can come to occupy."""

    capacity: Capacity
    open_by_model: Counter[ModelId] = field(default_factory=Counter)
    open_total: int = 0
    open_tokens: int = 0
    open_output: int = 0
    others: int = 0
    others_by_model: dict[ModelId, int] = field(default_factory=dict)
    others_tokens: int = 0
    full: set[ModelId] = field(default_factory=set)
    """Models for which the provider has refused work since its last report."""

    def __post_init__(self) -> None:
        self.reported(self.capacity)

    def reported(self, capacity: Capacity) -> None:
        """Take a fresh report."""
        self.capacity = capacity
        self.others = max(capacity.active + capacity.queued - self.open_total, 0)
        self.others_tokens = max(capacity.tokens_active + capacity.tokens_queued - self.open_tokens, 0)
        self.others_by_model = {
            part.model: max(part.active + part.queued - self.open_by_model[part.model], 0)
            for part in capacity.per_model
        }
        self.full.clear()

    def opened(self, model: ModelId, *, tokens: int, output: int) -> None:
        """Count an attempt in."""
        self.open_by_model[model] += 1
        self.open_total += 1
        self.open_tokens += tokens
        self.open_output += output

    def closed(self, model: ModelId, *, tokens: int, output: int) -> None:
        """Count an attempt out; a slot that came free also ends a refusal for want of slots."""
        self.open_by_model[model] -= 1
        self.open_total -= 1
        self.open_tokens -= tokens
        self.open_output -= output
        self.full.discard(model)

    def slots_left(self, model: ModelId, slots: int) -> int:
        """Return how many more attempts of `model` (which has `slots`) can start now."""
        if model in self.full:
            return 0
        of_model = slots - self.open_by_model[model] - self.others_by_model.get(model, 0)
        of_machine = self.capacity.slots - self.open_total - self.others
        return max(min(of_model, of_machine), 0)

    def tokens_left(self) -> int | None:
        """Return the token budget left, None where the engine reports none."""
        if not self.capacity.tokens_max:
            return None
        return max(self.capacity.tokens_max - self.open_tokens - self.others_tokens, 0)

    @property
    def tokens_ahead(self) -> int:
        """Tokens that are still to be generated there before and beside a new attempt, at most."""
        return self.open_output + self.capacity.tokens_queued
