"""How long requests take under the coordinator's router and under its peers, on the same machines and the same requests.

The headline is the heterogeneous trace at `HEADLINE` machines and 70 % load, its ratios taken inside each round (a round is
a seed); the other traces, sizes and loads are run once and shown beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from bench.record import Figure
from bench.relay.spread import percentiles
from bench.routing.ours import Hushnet
from bench.routing.plan import Part, Plan
from bench.routing.policies import LeastLoaded, PowerOfTwo, Random, RoundRobin
from bench.routing.reference import Reference
from bench.routing.simulation import Clock, Policy, Run, play
from bench.routing.traces import TRACES, Trace, trace

OURS: Final = "hushnet"
POLICIES: Final[Mapping[str, Callable[[Clock], Policy]]] = {
    OURS: Hushnet,
    "random": lambda _clock: Random(1),
    "round_robin": lambda _clock: RoundRobin(1),
    "least_loaded": lambda _clock: LeastLoaded(1),
    "power_of_two": lambda _clock: PowerOfTwo(1),
    "reference": lambda _clock: Reference(1),
}
HEADLINE: Final = 1_000
LOAD: Final = 0.7
LOADS: Final = (0.5, LOAD, 0.85)


@dataclass(frozen=True, slots=True)
class Case:
    """One trace to play under every policy."""

    trace: str
    providers: int
    load: float = LOAD

    @property
    def label(self) -> str:
        return f"{self.trace}, {self.providers} machines, {self.load:.0%}"

    def draw(self, plan: Plan, seed: int) -> Trace:
        """Draw the trace: small fleets get fewer requests and yet more hours, the largest ones fewer a machine."""
        share = {10: 0.25, 100: 0.5, 1_000: 1.0}.get(self.providers, 2.0)
        return trace(self.trace, self.providers, load=self.load, count=int(plan.requests * share), seed=seed)


HEADLINES: Final = tuple(Case("heterogeneous", HEADLINE, load) for load in LOADS)
ONCE: Final = tuple(
    case
    for size in (10, 100, 1_000, 10_000)
    for name in (TRACES if size < 10_000 else ("heterogeneous",))
    if (case := Case(name, size)) not in HEADLINES
)


def measure(plan: Plan) -> Part:
    """Play every trace that the plan asks for."""
    headlines, once = plan.sizes(HEADLINES), plan.sizes(ONCE)
    rounds = [
        {case.label: compared(case, plan, plan.seed + number) for case in headlines} for number in range(plan.rounds)
    ]
    beside = {case.label: compared(case, plan, plan.seed) for case in once}
    table = {**{case.label: _middle([taken[case.label] for taken in rounds]) for case in headlines}, **beside}
    return Part(_figures(rounds), [{"quality": taken} for taken in rounds if taken], {"quality": table})


def compared(case: Case, plan: Plan, seed: int) -> dict[str, dict[str, float]]:
    """Play one trace under every policy."""
    drawn = case.draw(plan, seed)
    found = {name: summary(drawn, play(drawn, made)) for name, made in POLICIES.items()}
    shown = " ".join(f"{name} {each['p95_s']:.1f}" for name, each in found.items())
    print(f"  {case.label}, seed {seed}: p95 s: {shown}", flush=True)
    return found


def summary(drawn: Trace, run: Run) -> dict[str, float]:
    """Return what became of the requests that arrived after the fleet had filled."""
    counted = [served for served in run.served if served.asked.arrival_s >= drawn.warm_s]
    refused = sum(asked.arrival_s >= drawn.warm_s for asked in run.refused)
    p50, p95, p99 = percentiles([served.completed_s for served in counted])
    return {
        "p50_s": round(p50, 3),
        "p95_s": round(p95, 3),
        "p99_s": round(p99, 3),
        "ttft_p95_s": round(percentiles([served.first_s for served in counted])[1], 3),
        "waited": round(sum(served.waited_s > 0 for served in counted) / max(len(counted), 1), 4),
        "refused": round(refused / max(refused + len(counted), 1), 4),
    }


def ratio(found: Mapping[str, Mapping[str, float]], peer: str, of: str = "p95_s") -> float:
    """Return our value over a peer's of the same run."""
    return found[OURS][of] / found[peer][of]


def _figures(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    for peer, key in (("power_of_two", "completion_p95_vs_power_of_two"), ("reference", "completion_p95_vs_reference")):
        for case in HEADLINES:
            values = [ratio(taken[case.label], peer) for taken in rounds if case.label in taken]
            if values:
                middle = round(median(values), 3)
                name = key if case.load == LOAD else f"{key}_at_{case.load:.0%}".rstrip("%")
                figures[name] = Figure(middle, "ratio", f"{peer}, {case.label}", middle)
    return figures


def _middle(rounds: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    return {
        policy: {name: round(median(taken[policy][name] for taken in rounds), 4) for name in values}
        for policy, values in rounds[0].items()
    }
