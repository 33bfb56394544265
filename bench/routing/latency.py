"""What a decision, the slot it takes and gives back, and a heartbeat cost the coordinator: wall time of each call.

The calls are the coordinator's own (`route`, `Fleet.take`, `Slot.release`, `Gate.heartbeat`) on fleets of 10 to 100,000, in
a process whose collector is set as the coordinator sets it. Between decisions slots are taken and given back and
machines report, so that no two decisions see the same index. Rounds are interleaved over the fleets.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any, Final

from bench.record import Figure
from bench.relay.spread import percentiles
from bench.routing.plan import Part, Plan
from hushnet.attestation.tiers import Tier
from hushnet.coordinator.app.interpreter import tune
from hushnet.coordinator.fleet.fleet import Fleet, Slot
from hushnet.coordinator.fleet.gate import Gate
from hushnet.coordinator.routing.model import NO_PREFERENCES, Assignment, Preferences, RouteRequest, SelfRoute, Wait
from hushnet.coordinator.routing.router import route
from hushnet.foundation.clock import SystemClock
from hushnet.foundation.ids import AccountId, ModelId, ProviderId
from hushnet.wire.frames import ModelOffer
from support.live_fleet import live, report

BUSY_SHARE: Final = 0.7
"""How many slots of the fleet are taken, on average; a tenth of the machines are full."""
OPEN_MAX: Final = 200
"""Slots that the bench itself holds, beside those that heartbeats report: the oldest is given back first."""
HEARTBEATS_A_DECISION: Final = 2
FEATURES: Final = ((), ("tools",), ("json_schema", "tools"), ("tools", "vision"))
CONTEXTS: Final = (4096, 8192, 16_384, 32_768, 131_072)
TIERS: Final = (Tier.SELF_SIGNED,) * 6 + (Tier.MEASURED,) * 3 + (Tier.HARDWARE,)
REQUESTS: Final = 4096


@dataclass(frozen=True, slots=True)
class Size:
    """One fleet to measure: `models` are offered with the popularity of the nth proportional to 1 / n."""

    providers: int
    models: int

    @property
    def label(self) -> str:
        return f"{self.providers} providers, {self.models} model{'s' if self.models > 1 else ''}"


SIZES: Final = tuple(Size(providers, 1) for providers in (10, 100, 1_000, 10_000, 100_000)) + tuple(
    Size(providers, 50) for providers in (1_000, 10_000, 100_000)
)


@dataclass(slots=True)
class Times:
    """Nanoseconds of each call of one round; `assigned` and `waits` count the answers."""

    decide: list[int] = field(default_factory=list)
    take: list[int] = field(default_factory=list)
    release: list[int] = field(default_factory=list)
    heartbeat: list[int] = field(default_factory=list)
    assigned: int = 0
    waits: int = 0

    def summary(self) -> dict[str, float]:
        """Return the percentiles in microseconds, and the shares of the answers."""
        found: dict[str, float] = {}
        for name in ("decide", "take", "release", "heartbeat"):
            p50, p99 = percentiles(getattr(self, name), (50, 99))
            found |= {f"{name}_p50_us": p50 / 1000, f"{name}_p99_us": p99 / 1000}
        asked = max(len(self.decide), 1)
        return {**found, "assigned": self.assigned / asked, "waits": self.waits / asked}


class World:
    """A live fleet of one size with the requests that come to it."""

    def __init__(self, size: Size, *, seed: int) -> None:
        self.size = size
        self._random = random.Random(f"latency {size.providers} {size.models} {seed}")
        self._models = [ModelId(f"model-{number}") for number in range(size.models)]
        self._weights = [1.0 / (place + 1) for place in range(size.models)]
        self._fleet = Fleet(SystemClock())
        # The gate's other parts stay out of a heartbeat's way: it asks the fleet and nothing else.
        self._gate = Gate(self._fleet, network="bench", tokens=_Absent(), trust=_Absent(), clock=SystemClock())  # type: ignore[arg-type]
        self._ids: list[ProviderId] = []
        self._slots: list[int] = []
        self._offered: list[tuple[ModelId, ...]] = []
        self._open: deque[Slot] = deque()
        self._numbers = itertools.count()
        for number in range(size.providers):
            self._join(number)
        self._requests = [self._request() for _ in range(REQUESTS)]

    def measure(self, decisions: int) -> Times:
        """Make so many decisions with everything that belongs to them."""
        times = Times()
        reports = self._reports(decisions * HEARTBEATS_A_DECISION)
        for _ in range(decisions):
            self._decide(times)
            for provider_id, capacity in itertools.islice(reports, HEARTBEATS_A_DECISION):
                before = perf_counter_ns()
                self._gate.heartbeat(provider_id, capacity)
                times.heartbeat.append(perf_counter_ns() - before)
        return times

    def close(self) -> None:
        """Give back what is still held."""
        while self._open:
            self._open.popleft().release()

    def _decide(self, times: Times) -> None:
        number = next(self._numbers)
        request, seed = self._requests[number % REQUESTS], number * 0x9E3779B97F4A7C15 >> 32 & 0xFFFFFFFF
        before = perf_counter_ns()
        decision = route(self._fleet.view(request.model), request, seed=seed)
        decided = perf_counter_ns()
        times.decide.append(decided - before)
        if not isinstance(decision, Assignment):
            times.waits += isinstance(decision, Wait)
            return
        times.assigned += 1
        before = perf_counter_ns()
        slot = self._fleet.take(decision.provider_id, request)
        times.take.append(perf_counter_ns() - before)
        self._open.append(slot)
        if len(self._open) > min(OPEN_MAX, max(self.size.providers // 4, 1)):
            slot = self._open.popleft()
            before = perf_counter_ns()
            slot.release()
            times.release.append(perf_counter_ns() - before)

    def _join(self, number: int) -> None:
        drawn = self._random
        wanted = drawn.choices(self._models, self._weights, k=drawn.choice((1, 1, 2, 3)))
        models, slots = tuple(dict.fromkeys(wanted)), drawn.choice((1, 2, 4, 8, 16))
        features, context = drawn.choice(FEATURES), drawn.choice(CONTEXTS)
        offers = [
            ModelOffer(model=model, context_tokens=context, features=features, slots=slots, build="ab" * 32)
            for model in models
        ]
        self._slots.append(slots)
        self._offered.append(models)
        provider = live(number, offers, self._report(number), tier=drawn.choice(TIERS))
        self._ids.append(provider.provider_id)
        self._fleet.join(provider)

    def _report(self, number: int) -> Any:
        """Draw what a machine reports; what this bench has open there is not the machine's business."""
        drawn, slots = self._random, self._slots[number]
        active = slots if drawn.random() < 0.1 else min(int(slots * drawn.uniform(0, 2 * BUSY_SHARE)), slots)
        rate = drawn.choice((0.0, *(8.0 * 1.2**step for step in range(16))))
        return report(
            self._offered[number],
            slots=slots,
            active=active,
            decode_tokens_s=rate,
            prefill_tokens_s=10 * rate,
            tokens_active=active * 600,
        )

    def _reports(self, count: int) -> Iterator[tuple[Any, Any]]:
        """Draw heartbeats ahead, so that nothing but applying them is between two decisions."""
        numbers = [self._random.randrange(self.size.providers) for _ in range(count)]
        return iter([(self._ids[number], self._report(number)) for number in numbers])

    def _request(self) -> RouteRequest:
        """Draw what a request asks: most have no wish, some have several."""
        drawn = self._random

        def some(share: float) -> frozenset[Any]:
            count = drawn.randint(1, 3) if drawn.random() < share else 0
            return frozenset(drawn.choices(self._ids, k=count))

        ignore = some(0.05)
        own = (
            SelfRoute(AccountId(1 + drawn.randrange(self.size.providers)), is_only=False)
            if drawn.random() < 0.03
            else None
        )
        return RouteRequest(
            model=drawn.choices(self._models, self._weights)[0],
            prompt_tokens_max=int(drawn.lognormvariate(7.4, 1.0)) + 8,
            output_tokens_max=drawn.choice((256, 512, 1024, 2048, 8192)),
            features=frozenset(drawn.choices(FEATURES, (70, 15, 10, 5))[0]),
            floor=drawn.choices((Tier.NONE, Tier.MEASURED, Tier.HARDWARE), (80, 15, 5))[0],
            excluded=some(0.03),
            avoided=some(0.03),
            cached=dict.fromkeys(some(0.3), 400),
            preferences=Preferences(ignore=ignore, own=own) if ignore or own else NO_PREFERENCES,
        )


class _Absent:
    """Stands where a heartbeat never looks."""


def measure(plan: Plan) -> Part:
    """Run the rounds over all fleets and return the figures."""
    tune()
    worlds = []
    for size in plan.sizes(SIZES):
        print(f"  building {size.label}", flush=True)
        worlds.append(World(size, seed=plan.seed))
    rounds: list[dict[str, Any]] = []
    for number in range(plan.rounds + 1):
        taken = {world.size.label: world.measure(plan.decisions).summary() for world in worlds}
        if number:
            print(f"  round {number} of {plan.rounds}", flush=True)
            rounds.append(taken)
    for world in worlds:
        world.close()
    found = {label: _middle([taken[label] for taken in rounds]) for label in rounds[0]}
    return Part(_figures(rounds, found), [{"latency": taken} for taken in rounds], {"latency": found})


def _figures(rounds: Sequence[dict[str, Any]], found: dict[str, dict[str, float]]) -> dict[str, Figure]:
    """Return what is promised of the sizes that were measured."""
    figures: dict[str, Figure] = {}
    many = found.get("10000 providers, 50 models")
    if many:
        figures["decision_p99_us_10k"] = Figure(round(many["decide_p99_us"], 1), "us")
        figures["decision_p50_us_10k"] = Figure(round(many["decide_p50_us"], 1), "us")
        figures["heartbeat_us_10k"] = Figure(round(many["heartbeat_p50_us"], 1), "us")
        figures["heartbeat_p99_us_10k"] = Figure(round(many["heartbeat_p99_us"], 1), "us")
        figures["take_release_us_10k"] = Figure(round(many["take_p50_us"] + many["release_p50_us"], 1), "us")
    small, large = "100 providers, 1 model", "100000 providers, 1 model"
    if small in found and large in found:
        growth = [taken[large]["decide_p50_us"] / taken[small]["decide_p50_us"] for taken in rounds]
        middle = round(percentiles(growth, (50,))[0], 3)
        figures["decision_growth_100_to_100k"] = Figure(middle, "ratio", "the same in a fleet of 100", middle)
    return figures


def _middle(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(percentiles([taken[name] for taken in rounds], (50,))[0], 3) for name in rounds[0]}
