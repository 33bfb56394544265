"""Which models are loaded where: from the demand and a look at the fleet to a plan of loads and unloads.

Pure: a decision depends on what was told before and on the time that is passed in (monotonic seconds). Laws, checked by
`tests/property/routing/test_warmth.py`: never more loads that were asked for under way than `pending_max`, of them
`pending_of_owner_max` of one account, however many machines load for requests that were sent there; nothing is unloaded within
`dwell_s` of its load or last use, nor while it is used, nor below its pin; one load at a time on a machine; who was asked
and does not load is left alone for a while, and its place goes to another; an unload is asked for once, until it is heard
of or late, and meanwhile its machine counts as one that has the model no longer.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hushnet.coordinator.routing.asked import Asked, Pair
from hushnet.coordinator.routing.demand import RISE_S, Demand, machines_wanted
from hushnet.coordinator.routing.holdings import Action, Holding, Load, Machine, ModelState, Unload, Why
from hushnet.coordinator.routing.need import Need
from hushnet.foundation.ids import AccountId, ModelId, ProviderId

FORGOTTEN_SHARE: Final = 0.01
"""Of the rate at which a model is out of fashion: what is left 25 minutes later."""


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
    """Loads asked for and under way, all models together: each takes a machine's disk and memory bandwidth from its answers."""
    pending_of_owner_max: int = 4
    """Of these, the loads of one account's machines: a quarter, so that promises of one stop the pool for nobody. So many
    of its loads for requests count as coming, too."""
    pending_s_max: float = 120.0
    """How long a load may be under way before it counts as failed (the reference system's)."""
    pending_s_min: float = 10.0
    late: float = 3.0
    """A load counts as failed after so many times what the machine said it takes, within the two bounds above."""
    unload_s: float = 30.0
    """An unload that was not heard of after this is not coming: memory is freed in a second or two."""
    back_off_s: float = 30.0
    """A machine that refused, or did not load, is not asked again for this (the reference system's); doubled each time."""
    back_off_s_max: float = 600.0
    models_max: int = 4096
    """Models whose demand is remembered: those that were asked for last."""
    needy_max: int = 64
    """Models that one plan looks for machines for, the most urgent first: a plan is short whatever is offered."""


class WarmPolicy:
    """The memory between plans: demand, loads under way, who is left alone."""

    def __init__(self, limits: WarmLimits | None = None, pins: Mapping[ModelId, int] | None = None) -> None:
        self.limits = limits or WarmLimits()
        self.pins = dict(pins or {})
        pauses = {"back_off_s": self.limits.back_off_s, "back_off_s_max": self.limits.back_off_s_max}
        self.loads, self.unloads = Asked(**pauses), Asked(**pauses)
        self.pending = self.loads.pending
        """Loads that a plan has asked for, with the time at which each counts as failed."""
        self._requested: dict[ProviderId, tuple[ModelId, float]] = {}
        """Loads for requests, likewise; of one provider the first, whatever else is sent there."""
        self._owners: dict[ProviderId, AccountId] = {}
        """Whose the machines are that were asked, as long as they are there."""
        self._leaving: dict[Pair, bool] = {}
        """Unloads under way, and whether each machine had served the model."""
        self._demand: OrderedDict[ModelId, Demand] = OrderedDict()
        """By model, the one that was asked for longest ago first."""

    # What is told.

    def arrived(self, model: ModelId, now_s: float) -> None:
        """A request for `model` came, whether it is served, waits or is refused."""
        demand = self._demand.get(model)
        if demand is None:
            if len(self._demand) >= self.limits.models_max:
                self._demand.popitem(last=False)
            demand = self._demand[model] = Demand(now_s)
        self._demand.move_to_end(model)
        demand.arrived(now_s)

    def forgotten(self, model: ModelId) -> None:
        """Nobody offers `model` any more."""
        self._demand.pop(model, None)

    def served(self, model: ModelId, seconds: float) -> None:
        """An answer held its slot for `seconds`, without the time for loading."""
        if (demand := self._demand.get(model)) is not None:
            demand.served(seconds)

    def began(
        self,
        provider_id: ProviderId,
        model: ModelId,
        *,
        load_s: float,
        now_s: float,
        owner: AccountId | None = None,
    ) -> None:
        """The provider loads `model` without having been asked by a plan: for a request that was sent there.

        That takes no room from the plan, and nothing is expected of who has just failed.
        """
        pair = provider_id, model
        if pair not in self.pending and not self.loads.rests(pair, now_s):
            self._requested.setdefault(provider_id, (model, now_s + self._patience_s(load_s)))
            if owner is not None:
                self._owners[provider_id] = owner

    def loaded(self, provider_id: ProviderId, model: ModelId) -> None:
        """The provider has it now."""
        self._ends_for_request(provider_id, model)
        self.loads.done((provider_id, model))

    def unloaded(self, provider_id: ProviderId, model: ModelId) -> None:
        """The provider has it no longer."""
        self.unloads.done((provider_id, model))

    def failed(self, provider_id: ProviderId, model: ModelId, now_s: float) -> None:
        """The provider refused or could not load it; without effect when nobody had asked."""
        self.loads.failed((provider_id, model), now_s)
        if self._ends_for_request(provider_id, model):
            self.loads.blame((provider_id, model), now_s)

    def left(self, provider_id: ProviderId) -> None:
        """The provider is gone, and what it was asked for with it."""
        self.loads.left(provider_id)
        self.unloads.left(provider_id)
        self._requested.pop(provider_id, None)
        self._owners.pop(provider_id, None)

    # The plan.

    @property
    def loading(self) -> int:
        """How many machines load, as far as is known."""
        return len(self.pending) + len(self._requested)

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
        return max(self.pins.get(model, 0), self._filled(model, state, now_s))

    def _filled(self, model: ModelId, state: ModelState, now_s: float) -> int:
        """Return how many machines the demand fills."""
        limits = self.limits
        rate = self.rate(model, now_s)
        if rate < limits.gone_per_s and not state.queue:
            return 0
        demand = self._demand.get(model)
        filled = machines_wanted(
            rate=rate if demand is None else demand.rate(now_s, ahead_s=RISE_S + state.load_s),
            service_s=demand.service_s if demand is not None else 0.0,
            queue=state.queue,
            concurrency=min(state.slots * limits.concurrency_share, limits.concurrency_max),
            burst_share=limits.burst_share,
        )
        return max(filled, state.warm + 1 if state.queue else 0)

    def plan(self, models: Mapping[ModelId, ModelState], machines: Sequence[Machine], now_s: float) -> list[Action]:
        """Decide what to load and unload now; what is returned counts as asked.

        `models` has the whole fleet's counts, `machines` may be a part of it: those that could act.
        """
        self._expire(now_s)
        self._prune(now_s)
        needs = self._needs(models, now_s)
        busy = {*self._requested, *(provider_id for provider_id, _ in self.pending)}
        actions: list[Action] = []
        needy = sorted((need for need in needs.values() if need.missing > 0), key=_urgency, reverse=True)
        for need in needy[: self.limits.needy_max]:
            actions += self._loads(need, needs, machines, busy, now_s)
        return [*actions, *self._idle(needs, machines, busy, now_s)]

    def _prune(self, now_s: float) -> None:
        """Forget who has not been asked for in half an hour, as far as the first that has."""
        floor = self.limits.gone_per_s * FORGOTTEN_SHARE
        while self._demand:
            model, demand = next(iter(self._demand.items()))
            if demand.rate(now_s) >= floor:
                return
            del self._demand[model]

    def _needs(self, models: Mapping[ModelId, ModelState], now_s: float) -> dict[ModelId, Need]:
        coming, needs = self._coming(), dict[ModelId, Need]()
        for model, state in models.items():
            pin, filled, rate = self.pins.get(model, 0), self._filled(model, state, now_s), self.rate(model, now_s)
            needs[model] = Need(
                model, state, coming=coming[model], pin=pin, rate=rate, filled=filled, target=max(pin, filled)
            )
        for (provider_id, model), is_proven in self._leaving.items():
            if model in needs:
                needs[model].let_go(self._owners.get(provider_id), is_proven=is_proven)
        return needs

    def _coming(self) -> Counter[ModelId]:
        """Count the loads under way by model: what was asked for, and for requests so many of one account."""
        coming = Counter(model for _, model in self.loads)
        of_owner: Counter[AccountId] = Counter()
        for provider_id, (model, _) in self._requested.items():
            owner = self._owners.get(provider_id)
            if owner is not None:
                of_owner[owner] += 1
            if owner is None or of_owner[owner] <= self.limits.pending_of_owner_max:
                coming[model] += 1
        return coming

    def _loads(
        self,
        need: Need,
        needs: Mapping[ModelId, Need],
        machines: Iterable[Machine],
        busy: set[ProviderId],
        now_s: float,
    ) -> list[Action]:
        """Choose machines for one model; `busy` are those that load already, or were chosen by this plan."""
        able = [each for each in machines if each.provider_id not in busy and self._can_load(each, need.model, now_s)]
        able.sort(key=lambda each: self._preference(each, need.model))
        actions: list[Action] = []
        of_owner = Counter(self._owners.get(provider_id) for provider_id, _ in self.loads)
        room = min(need.missing, self.limits.ramp_max, self.limits.pending_max - len(self.pending))
        for machine in able:
            if room < 1:
                break
            if machine.owner is not None and of_owner[machine.owner] >= self.limits.pending_of_owner_max:
                continue
            if not need.is_helped_by(machine):
                continue
            if not machine.has_memory:
                victim = self._victim(machine, need, needs, now_s)
                if victim is None:
                    continue
                actions.append(self._free(machine, needs[victim], Why.DISPLACED, now_s))
            actions.append(Load(machine.provider_id, need.model, need.why))
            self._ask(machine, need.model, now_s)
            busy.add(machine.provider_id)
            of_owner[machine.owner] += 1
            need.coming += 1
            room -= 1
        return actions

    def _idle(
        self, needs: Mapping[ModelId, Need], machines: Iterable[Machine], busy: set[ProviderId], now_s: float
    ) -> list[Action]:
        """Choose what nobody uses any more and more machines have than are wanted."""
        actions: list[Action] = []
        for machine in machines:
            if machine.provider_id in busy:
                continue
            for model, holding in machine.holdings.items():
                need = needs.get(model)
                if need is None or need.leaving >= self.limits.ramp_max:
                    continue
                is_free = self._may_go((machine.provider_id, model), holding, now_s)
                if is_free and need.is_enough_without(machine, need.target):
                    actions.append(self._free(machine, need, Why.IDLE, now_s))
        return actions

    def _victim(self, machine: Machine, need: Need, needs: Mapping[ModelId, Need], now_s: float) -> ModelId | None:
        """Return the model that `machine` gives up for the one needed: the one used longest ago of those that may go."""
        free = [
            (holding.used_s, model)
            for model, holding in machine.holdings.items()
            if model in needs
            and self._may_go((machine.provider_id, model), holding, now_s)
            and needs[model].may_yield(machine, need)
        ]
        return min(free)[1] if free else None

    def _can_load(self, machine: Machine, model: ModelId, now_s: float) -> bool:
        holding = machine.holdings.get(model)
        if holding is None or holding.is_loaded or holding.load_s <= 0.0:
            return False
        return not self.loads.rests((machine.provider_id, model), now_s)

    def _preference(self, machine: Machine, model: ModelId) -> tuple[int, bool, bool, float]:
        """Smaller comes first: who has never failed, has memory, is idle, is quick; so promises alone win nobody the next."""
        failed = self.loads.failures((machine.provider_id, model))
        return failed, not machine.has_memory, machine.running > 0, machine.holdings[model].load_s

    def _may_go(self, pair: Pair, holding: Holding, now_s: float) -> bool:
        if pair in self.unloads.pending or self.unloads.rests(pair, now_s):
            return False
        is_idle = holding.is_loaded and holding.load_s > 0.0 and holding.running == 0
        return is_idle and now_s - holding.used_s >= self.limits.dwell_s

    def _ask(self, machine: Machine, model: ModelId, now_s: float) -> None:
        load_s = machine.holdings[model].load_s
        self._know_owner(machine)
        self.pending[machine.provider_id, model] = now_s + self._patience_s(load_s)

    def _free(self, machine: Machine, need: Need, why: Why, now_s: float) -> Unload:
        pair, is_proven = (machine.provider_id, need.model), machine.holdings[need.model].is_proven
        self._know_owner(machine)
        self.unloads.pending[pair] = now_s + self.limits.unload_s
        self._leaving[pair] = is_proven
        need.let_go(machine.owner, is_proven=is_proven)
        return Unload(machine.provider_id, need.model, why)

    def _know_owner(self, machine: Machine) -> None:
        if machine.owner is not None:
            self._owners[machine.provider_id] = machine.owner

    def _patience_s(self, load_s: float) -> float:
        return min(max(load_s * self.limits.late, self.limits.pending_s_min), self.limits.pending_s_max)

    def _ends_for_request(self, provider_id: ProviderId, model: ModelId) -> bool:
        """Note that the provider loads `model` for a request no longer; says whether it did."""
        if self._requested.get(provider_id, ("",))[0] != model:
            return False
        del self._requested[provider_id]
        return True

    def _expire(self, now_s: float) -> None:
        for provider_id, (model, until_s) in list(self._requested.items()):
            if until_s <= now_s:
                self.failed(provider_id, model, now_s)
        self.loads.expire(now_s)
        self.unloads.expire(now_s)
        self._leaving = {pair: is_proven for pair, is_proven in self._leaving.items() if pair in self.unloads.pending}


def _urgency(need: Need) -> tuple[bool, int, float]:
    """Greater comes first: pins, then who waits, then the demand for each machine that has it."""
    return need.counted + need.coming < need.pin, need.queue, need.rate / (1 + need.counted + need.coming)
