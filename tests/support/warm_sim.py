"""A fleet that loads models, on a virtual clock of whole seconds: the policy's test bench, and the same without a policy.

Machines hold a number of models at a time and take `load_s` to load one. Requests of a model go to a machine that has it
loaded and a free slot; else to one that must load it first, as the router does; else they wait. A start is cold when the
request came to a machine that had not finished loading, or waited while nobody had the model loaded.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from hushnet.coordinator.routing.holdings import Action, Holding, Load, Machine, ModelState, Unload
from hushnet.coordinator.routing.warmth import WarmLimits, WarmPolicy
from hushnet.foundation.ids import ModelId, ProviderId

Trace = Callable[[ModelId, int], int]
"""How many requests for a model come in a second of the trace."""


@dataclass
class SimMachine:
    """One provider: what it has on disk, what is loaded, what runs, and until when it loads."""

    provider_id: ProviderId
    models: tuple[ModelId, ...]
    holds: int
    slots: int = 4
    load_s: int = 10
    is_liar: bool = False
    loaded: dict[ModelId, int] = field(default_factory=dict)
    """Loaded models, and when each was loaded or last used."""
    loaded_at: dict[ModelId, int] = field(default_factory=dict)
    loading: dict[ModelId, int] = field(default_factory=dict)
    running: list[tuple[int, ModelId]] = field(default_factory=list)
    """The end of each answer, and its model."""
    asked: int = 0

    def busy_with(self, model: ModelId) -> int:
        return sum(1 for _, each in self.running if each == model)

    @property
    def has_memory(self) -> bool:
        return len(self.loaded) + len(self.loading) < self.holds

    def begin(self, model: ModelId, now: int) -> bool:
        """Begin to load; False when there is no memory for it."""
        if self.is_liar or model in self.loading:
            return True
        if not self.has_memory:
            return False
        self.loading[model] = now + self.load_s
        return True

    def evict_idle(self, now: int) -> bool:
        """Give up the model that was used longest ago and is not used: what a machine does for a request of its own."""
        idle = [(used, model) for model, used in self.loaded.items() if not self.busy_with(model)]
        if not idle:
            return False
        self.drop(min(idle)[1])
        return True

    def drop(self, model: ModelId) -> None:
        del self.loaded[model], self.loaded_at[model]

    def seen(self) -> Machine:
        holdings = {
            model: Holding(
                model in self.loaded, float(self.load_s), self.busy_with(model), float(self.loaded.get(model, 0))
            )
            for model in self.models
        }
        return Machine(self.provider_id, holdings, self.has_memory)


@dataclass
class Outcome:
    """What a run counted."""

    cold: Counter[ModelId] = field(default_factory=Counter)
    served: Counter[ModelId] = field(default_factory=Counter)
    waited_s: int = 0
    pending_most: int = 0
    loads: list[tuple[int, Load]] = field(default_factory=list)
    unloads: list[tuple[int, Unload, int, int]] = field(default_factory=list)
    """Second, action, seconds since the load, seconds since the last use."""
    warm: list[Counter[ModelId]] = field(default_factory=list)
    """Machines that have each model loaded, second by second."""


class WarmSimulation:
    """Runs a trace; `policy` None is a fleet in which machines load for the requests that they get, and free what was not
    used for `idle_s`."""

    def __init__(
        self, machines: list[SimMachine], *, policy: WarmPolicy | None, service_s: int = 5, idle_s: int = 300
    ) -> None:
        self.machines = machines
        self.policy = policy
        self.outcome = Outcome()
        self._service_s = service_s
        self._idle_s = idle_s
        self._queues: dict[ModelId, deque[tuple[int, bool]]] = {}
        self._models = sorted({model for machine in machines for model in machine.models})
        self._by_id = {machine.provider_id: machine for machine in machines}

    def run(self, trace: Trace, seconds: int) -> Outcome:
        for now in range(seconds):
            self._finish(now)
            for model in self._models:
                for _ in range(trace(model, now)):
                    self._arrive(model, now)
            self._place(now)
            if self.policy is not None:
                self._act(self.policy, now)
            else:
                self._idle_out(now)
            self.outcome.warm.append(Counter(model for machine in self.machines for model in machine.loaded))
            self.outcome.waited_s += sum(map(len, self._queues.values()))
        return self.outcome

    def _finish(self, now: int) -> None:
        for machine in self.machines:
            for end, model in [each for each in machine.running if each[0] <= now]:
                machine.running.remove((end, model))
                machine.loaded[model] = now
                if self.policy is not None:
                    self.policy.served(model, self._service_s)
            for model in [model for model, at in machine.loading.items() if at <= now]:
                del machine.loading[model]
                machine.loaded[model] = machine.loaded_at[model] = now
                if self.policy is not None:
                    self.policy.loaded(machine.provider_id, model)

    def _arrive(self, model: ModelId, now: int) -> None:
        if self.policy is not None:
            self.policy.arrived(model, now)
        self._queues.setdefault(model, deque()).append((now, False))

    def _place(self, now: int) -> None:
        for model, queue in self._queues.items():
            while queue and self._start(model, is_cold=queue[0][1], now=now):
                queue.popleft()
            if not any(model in machine.loaded for machine in self.machines):
                self._queues[model] = deque((at, True) for at, _ in queue)

    def _start(self, model: ModelId, *, is_cold: bool, now: int) -> bool:
        machine = next(
            (each for each in self.machines if model in each.loaded and len(each.running) < each.slots), None
        )
        ready = now
        if machine is None:
            machine = self._cold_machine(model, now)
            if machine is None:
                return False
            is_cold, ready = True, machine.loading[model]
        else:
            machine.loaded[model] = now
        machine.running.append((ready + self._service_s, model))
        self.outcome.cold[model] += is_cold
        self.outcome.served[model] += 1
        return True

    def _cold_machine(self, model: ModelId, now: int) -> SimMachine | None:
        """Return a machine that loads the model for this request, or is loading it, and has a slot."""
        for machine in sorted(self.machines, key=lambda each: (model not in each.loading, not each.has_memory)):
            if model not in machine.models or machine.is_liar or len(machine.running) >= machine.slots:
                continue
            if model in machine.loading:
                return machine
            if (machine.has_memory or machine.evict_idle(now)) and machine.begin(model, now):
                if self.policy is not None:
                    self.policy.began(machine.provider_id, model, load_s=machine.load_s, now_s=now)
                return machine
        return None

    def _idle_out(self, now: int) -> None:
        """Free what nobody has used: memory that is kept for nothing is taken from the machine's owner."""
        for machine in self.machines:
            for model in [model for model, used in machine.loaded.items() if now - used >= self._idle_s]:
                if not machine.busy_with(model):
                    machine.drop(model)

    def _act(self, policy: WarmPolicy, now: int) -> None:
        states = {
            model: ModelState(
                warm=sum(model in machine.loaded for machine in self.machines),
                slots=4.0,
                load_s=float(max(machine.load_s for machine in self.machines)),
                queue=len(self._queues.get(model, ())),
            )
            for model in self._models
        }
        for action in policy.plan(states, [machine.seen() for machine in self.machines], now):
            self._carry_out(policy, action, now)
        self.outcome.pending_most = max(self.outcome.pending_most, len(policy.pending))

    def _carry_out(self, policy: WarmPolicy, action: Action, now: int) -> None:
        machine = self._by_id[action.provider_id]
        if isinstance(action, Load):
            machine.asked += 1
            self.outcome.loads.append((now, action))
            if not machine.begin(action.model, now):
                policy.failed(machine.provider_id, action.model, now)
            return
        assert not machine.busy_with(action.model), "a model is unloaded while it is used"
        since_load = now - machine.loaded_at[action.model]
        self.outcome.unloads.append((now, action, since_load, now - machine.loaded[action.model]))
        machine.drop(action.model)
        policy.unloaded(machine.provider_id, action.model)


def fleet(models: tuple[ModelId, ...], *, machines: int, holds: int = 1, load_s: int = 10) -> list[SimMachine]:
    """Make machines that have every model on disk; each begins with the first `holds` models loaded."""
    made = [SimMachine(ProviderId(f"{number:064x}"), models, holds=holds, load_s=load_s) for number in range(machines)]
    for machine in made:
        for model in models[:holds]:
            machine.loaded[model] = machine.loaded_at[model] = 0
    return made


def policy(limits: WarmLimits | None = None, **pins: int) -> WarmPolicy:
    """Make a policy with pins by model name."""
    return WarmPolicy(limits, {ModelId(name): count for name, count in pins.items()})
