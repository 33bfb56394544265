"""Which models are loaded where: from the demand and a look at the fleet to a plan of loads and unloads.

Pure: a decision depends on what was told before and on the time that is passed in (monotonic seconds). Laws, checked by
`tests/property/routing/test_warmth.py`: never more loads under way than `pending_max`; nothing is unloaded within
`dwell_s` of its load or last use, nor while it is used, nor below its pin; one load at a time on a machine; who was asked
and does not load is left alone for a while, and its place goes to another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from msgspec import Struct

from hushnet.coordinator.routing.demand import RISE_S, Demand, machines_wanted
from hushnet.coordinator.routing.holdings import Action, Holding, Load, Machine, ModelState, Unload, Why
from hushnet.foundation.ids import ModelId, ProviderId

FORGOTTEN_SHARE: Final = 0.01
"""Of the rate at which a model is out of fashion: what is left 25 minutes later."""
Pair: TypeAlias = tuple[ProviderId, ModelId]


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmLimits:
    """What the policy is tuned by. Times in seconds; figures of the reference system where it has one."""

    concurrency_share: float = 0.5
    concurrency_max: float = 4.0
    """Answers at a time that a machine writes at a good pace: half its slots, at most 4. At 2 each has 75 % of a lone one's
    speed, at 4 39 % (`cost.CONTENTION`); and the other half takes what comes while the next machine loads."""
    burst_share: float = 0.25
    """Machines beyond what the demand fills: a quarter more is what comes before the next machine has loaded."""
    gone_per_s: float = 1.0 / 1800.0
    """A model that is asked for less than twice an hour is out of fashion: it keeps its pins and nothing else."""
    dwell_s: float = 300.0
    """A model stays after its load and its last use: loading costs tens of seconds, and people come back to a chat."""
    ramp_max: int = 2
    """Loads and unloads of one model in one plan: the next plan sees what these did."""
    pending_max: int = 16
    """Loads under way, all models together: each takes a machine's disk and memory bandwidth from its answers."""
    pending_s_max: float = 120.0
    """How long a load may be under way before it counts as failed (the reference system's)."""
    pending_s_min: float = 10.0
    late: float = 3.0
    """A load counts as failed after so many times what the machine said it takes, within the two bounds above."""
    back_off_s: float = 30.0
    """A machine that refused, or did not load, is not asked again for this (the reference system's); doubled each time."""
    back_off_s_max: float = 600.0
    models_max: int = 4096
    """Models whose demand is remembered."""
    needy_max: int = 64
    """Models that one plan looks for machines for, the most urgent first: a plan is short whatever is offered."""


class _Need:
    """What a plan works out for one model."""

    __slots__ = ("coming", "model", "pin", "queue", "rate", "target", "warm")

    def __init__(self, model: ModelId, state: ModelState, *, coming: int, pin: int, rate: float, target: int) -> None:
        self.model = model
        self.warm = state.warm
        self.queue = state.queue
        self.coming = coming
        self.pin = pin
        self.rate = rate
        self.target = target

    @property
    def missing(self) -> int:
        return self.target - self.warm - self.coming

    @property
    def why(self) -> Why:
        if self.warm + self.coming < self.pin:
            return Why.PIN
        return Why.QUEUE if self.queue else Why.DEMAND


class _Failures(Struct):
    count: int
    until_s: float


class WarmPolicy:
    """The memory between plans: demand, loads under way, who is left alone."""

    def __init__(self, limits: WarmLimits | None = None, pins: Mapping[ModelId, int] | None = None) -> None:
        self.limits = limits or WarmLimits()
        self.pins = dict(pins or {})
        self.pending: dict[Pair, float] = {}
        """Loads under way, with the time at which each counts as failed."""
        self._demand: dict[ModelId, Demand] = {}
        self._failures: dict[Pair, _Failures] = {}

    # What is told.

    def arrived(self, model: ModelId, now_s: float) -> None:
        """A request for `model` came, whether it is served, waits or is refused."""
        demand = self._demand.get(model)
        if demand is None:
            if len(self._demand) >= self.limits.models_max:
                self._forget_least(now_s)
            demand = self._demand[model] = Demand(now_s)
        demand.arrived(now_s)

    def served(self, model: ModelId, seconds: float) -> None:
        """An answer held its slot for `seconds`, without the time for loading."""
        if (demand := self._demand.get(model)) is not None:
            demand.served(seconds)

    def began(self, provider_id: ProviderId, model: ModelId, *, load_s: float, now_s: float) -> None:
        """The provider loads `model` without having been asked by a plan: for a request that was sent there."""
        if len(self.pending) < self.limits.pending_max:
            self.pending.setdefault((provider_id, model), now_s + self._patience_s(load_s))

    def loaded(self, provider_id: ProviderId, model: ModelId) -> None:
        """The provider has it now."""
        self.pending.pop((provider_id, model), None)
        self._failures.pop((provider_id, model), None)

    def failed(self, provider_id: ProviderId, model: ModelId, now_s: float) -> None:
        """The provider refused or could not load it; without effect when nobody had asked."""
        if self.pending.pop((provider_id, model), None) is None:
            return
        limits, pair = self.limits, (provider_id, model)
        known = self._failures.get(pair)
        count = known.count + 1 if known is not None else 1
        pause_s = min(limits.back_off_s * 2.0 ** min(count - 1, 16), limits.back_off_s_max)
        self._failures[pair] = _Failures(count, now_s + pause_s)

    def left(self, provider_id: ProviderId) -> None:
        """The provider is gone, and what it was asked for with it."""
        for pair in [pair for pair in self.pending if pair[0] == provider_id]:
            del self.pending[pair]
        for pair in [pair for pair in self._failures if pair[0] == provider_id]:
            del self._failures[pair]

    # The plan.

    @property
    def asked_for(self) -> Iterable[ModelId]:
        """The models whose demand is remembered."""
        return self._demand.keys()

    def rate(self, model: ModelId, now_s: float) -> float:
        """Return the forecast for `model` in requests a second."""
        demand = self._demand.get(model)
        return 0.0 if demand is None else demand.rate(now_s)

    def target(self, model: ModelId, state: ModelState, now_s: float) -> int:
        """Return on how many machines `model` should be loaded."""
        limits, pin = self.limits, self.pins.get(model, 0)
        rate = self.rate(model, now_s)
        if rate < limits.gone_per_s and not state.queue:
            return pin
        demand = self._demand.get(model)
        filled = machines_wanted(
            rate=rate if demand is None else demand.rate(now_s, ahead_s=RISE_S + state.load_s),
            service_s=demand.service_s if demand is not None else 0.0,
            queue=state.queue,
            concurrency=min(state.slots * limits.concurrency_share, limits.concurrency_max),
            burst_share=limits.burst_share,
        )
        return max(pin, filled, state.warm + 1 if state.queue else 0)

    def plan(self, models: Mapping[ModelId, ModelState], machines: Sequence[Machine], now_s: float) -> list[Action]:
        """Decide what to load and unload now; what is returned counts as asked.

        `models` has the whole fleet's counts, `machines` may be a part of it: those that could act.
        """
        self._expire(now_s)
        self._prune(now_s)
        needs = self._needs(models, now_s)
        busy = {provider_id for provider_id, _ in self.pending}
        actions: list[Action] = []
        needy = sorted((need for need in needs.values() if need.missing > 0), key=_urgency, reverse=True)
        for need in needy[: self.limits.needy_max]:
            actions += self._loads(need, needs, machines, busy, now_s)
        return [*actions, *self._idle(needs, machines, busy, now_s)]

    def _prune(self, now_s: float) -> None:
        """Forget who has not been asked for in hours."""
        floor = self.limits.gone_per_s * FORGOTTEN_SHARE
        for model in [model for model, demand in self._demand.items() if demand.rate(now_s) < floor]:
            del self._demand[model]

    def _needs(self, models: Mapping[ModelId, ModelState], now_s: float) -> dict[ModelId, _Need]:
        coming: dict[ModelId, int] = {}
        for _, model in self.pending:
            coming[model] = coming.get(model, 0) + 1
        return {
            model: _Need(
                model,
                state,
                coming=coming.get(model, 0),
                pin=self.pins.get(model, 0),
                rate=self.rate(model, now_s),
                target=self.target(model, state, now_s),
            )
            for model, state in models.items()
        }

    def _loads(
        self,
        need: _Need,
        needs: Mapping[ModelId, _Need],
        machines: Iterable[Machine],
        busy: set[ProviderId],
        now_s: float,
    ) -> list[Action]:
        """Choose machines for one model; `busy` are those that load already, or were chosen by this plan."""
        able = [each for each in machines if each.provider_id not in busy and self._can_load(each, need.model, now_s)]
        able.sort(key=lambda each: self._preference(each, need.model))
        actions: list[Action] = []
        room = min(need.missing, self.limits.ramp_max, self.limits.pending_max - len(self.pending))
        for machine in able:
            if room < 1:
                break
            if not machine.has_memory:
                victim = self._victim(machine, need, needs, now_s)
                if victim is None:
                    continue
                needs[victim].warm -= 1
                actions.append(Unload(machine.provider_id, victim, Why.DISPLACED))
            actions.append(Load(machine.provider_id, need.model, need.why))
            self._ask(machine, need.model, now_s)
            busy.add(machine.provider_id)
            need.coming += 1
            room -= 1
        return actions

    def _idle(
        self, needs: Mapping[ModelId, _Need], machines: Iterable[Machine], busy: set[ProviderId], now_s: float
    ) -> list[Action]:
        """Choose what nobody uses any more and more machines have than are wanted."""
        actions: list[Action] = []
        freed: dict[ModelId, int] = {}
        for machine in machines:
            if machine.provider_id in busy:
                continue
            for model, holding in machine.holdings.items():
                need = needs.get(model)
                if need is None or not self._is_free(holding, now_s) or need.warm <= need.target:
                    continue
                if freed.get(model, 0) < self.limits.ramp_max:
                    need.warm -= 1
                    freed[model] = freed.get(model, 0) + 1
                    actions.append(Unload(machine.provider_id, model, Why.IDLE))
        return actions

    def _victim(self, machine: Machine, need: _Need, needs: Mapping[ModelId, _Need], now_s: float) -> ModelId | None:
        """Return the model that `machine` gives up for the one needed: the one used longest ago of those that may go."""
        free = [
            (holding.used_s, model)
            for model, holding in machine.holdings.items()
            if model in needs and self._is_free(holding, now_s) and _may_yield(needs[model], need)
        ]
        return min(free)[1] if free else None

    def _can_load(self, machine: Machine, model: ModelId, now_s: float) -> bool:
        holding = machine.holdings.get(model)
        if holding is None or holding.is_loaded or holding.load_s <= 0.0:
            return False
        failures = self._failures.get((machine.provider_id, model))
        return failures is None or failures.until_s <= now_s

    def _preference(self, machine: Machine, model: ModelId) -> tuple[int, bool, bool, float]:
        """Smaller comes first: who has never failed, has memory, is idle, is quick; so promises alone win nobody the next."""
        failures = self._failures.get((machine.provider_id, model))
        failed = 0 if failures is None else failures.count
        return failed, not machine.has_memory, machine.running > 0, machine.holdings[model].load_s

    def _is_free(self, holding: Holding, now_s: float) -> bool:
        is_idle = holding.is_loaded and holding.load_s > 0.0 and holding.running == 0
        return is_idle and now_s - holding.used_s >= self.limits.dwell_s

    def _ask(self, machine: Machine, model: ModelId, now_s: float) -> None:
        load_s = machine.holdings[model].load_s
        self.pending[machine.provider_id, model] = now_s + self._patience_s(load_s)

    def _patience_s(self, load_s: float) -> float:
        return min(max(load_s * self.limits.late, self.limits.pending_s_min), self.limits.pending_s_max)

    def _expire(self, now_s: float) -> None:
        for provider_id, model in [pair for pair, until_s in self.pending.items() if until_s <= now_s]:
            self.failed(provider_id, model, now_s)
        # Who has kept quiet for long after its pause may fail anew from the beginning.
        over_s = now_s - self.limits.back_off_s_max
        for pair in [pair for pair, failures in self._failures.items() if failures.until_s < over_s]:
            del self._failures[pair]

    def _forget_least(self, now_s: float) -> None:
        del self._demand[min(self._demand, key=lambda model: self._demand[model].rate(now_s))]


def _urgency(need: _Need) -> tuple[bool, int, float]:
    """Greater comes first: pins, then who waits, then the demand for each machine that has it."""
    return need.warm + need.coming < need.pin, need.queue, need.rate / (1 + need.warm + need.coming)


def _may_yield(held: _Need, wanted: _Need) -> bool:
    """Say whether a machine may give up `held` for `wanted`: a surplus always, the last one only to a greater need."""
    if held.model == wanted.model or held.warm <= held.pin:
        return False
    if held.warm > held.target:
        return True
    return wanted.warm + wanted.coming == 0 and not held.queue and held.rate < wanted.rate
