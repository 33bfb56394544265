"""What a provider has left: its own report, with what was dispatched since counted in. Pure.

A report says what runs there in all; what this process has open is known exactly and at once. The difference at the
moment of the report is the work of others (another coordinator), and is assumed to last until the next report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from hushnet.foundation.ids import ModelId
from hushnet.wire.frames import Capacity


@dataclass(frozen=True, slots=True, kw_only=True)
class OthersWork:
    """What everybody else has open at a provider, as its own worker counts it, beside the provider's last report."""

    capacity: Capacity
    total: int
    by_model: Mapping[ModelId, int]
    tokens: int
    output: int
    full: tuple[ModelId, ...] = ()


@dataclass(slots=True)
class Share:
    """The part of a provider's open attempts that one other worker has dispatched there."""

    by_model: Counter[ModelId] = field(default_factory=Counter)
    total: int = 0
    tokens: int = 0
    output: int = 0

    def opened(self, model: ModelId, *, tokens: int, output: int) -> None:
        self.by_model[model] += 1
        self.total += 1
        self.tokens += tokens
        self.output += output

    def closed(self, model: ModelId, *, tokens: int, output: int) -> None:
        self.by_model[model] -= 1
        self.total -= 1
        self.tokens -= tokens
        self.output -= output


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
    others_output: int = 0
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

    def told(self, work: OthersWork) -> None:
        """Take what the worker that holds the link says of a provider elsewhere; what we have open is not in it."""
        self.capacity = work.capacity
        self.others = work.total
        self.others_by_model = dict(work.by_model)
        self.others_tokens = work.tokens
        self.others_output = work.output
        self.full = set(work.full)

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

    def has_room(self, model: ModelId, slots: int, tokens: int) -> bool:
        """Say whether an attempt of `model` that takes `tokens` can start now: by all that is known, and by the report alone.

        The report may have come while one was out that was refused then, and so was none of the work it speaks of.
        """
        told = self.capacity
        if told.active + told.queued >= told.slots or self.slots_left(model, slots) < 1:
            return False
        left = self.tokens_left()
        return left is None or min(left, told.tokens_max - told.tokens_active - told.tokens_queued) >= tokens

    def beside(self, share: Share) -> OthersWork:
        """Return everybody's work but `share`: what the worker that the share belongs to has to be told."""
        models = {*self.open_by_model, *self.others_by_model}
        by_model = {
            model: self.others_by_model.get(model, 0) + self.open_by_model[model] - share.by_model[model]
            for model in models
        }
        return OthersWork(
            capacity=self.capacity,
            total=self.others + self.open_total - share.total,
            by_model={model: count for model, count in by_model.items() if count},
            tokens=self.others_tokens + self.open_tokens - share.tokens,
            output=self.others_output + self.open_output - share.output,
            full=tuple(self.full),
        )

    @property
    def tokens_ahead(self) -> int:
        """Tokens that are still to be generated there before and beside a new attempt, at most."""
        return self.open_output + self.others_output + self.capacity.tokens_queued
