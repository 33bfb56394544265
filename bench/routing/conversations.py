"""Conversations: each turn's prompt is everything said before and something new; its last provider may have kept the former.

What is compared is the router with and without knowing where a conversation was served: tokens that need not be read
again, and how long requests take.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import Any, Final

from bench.record import Figure
from bench.routing.affinity import Nothing, Remembered
from bench.routing.machines import Asked
from bench.routing.ours import Hushnet
from bench.routing.plan import Part, Plan
from bench.routing.quality import LOAD, summary
from bench.routing.simulation import Run, play
from bench.routing.traces import WARM_SHARE, Trace, fleet

PROVIDERS: Final = 100
TURNS_MEAN: Final = 6
TURNS_MAX: Final = 24
FIRST_MEDIAN: Final = 600
"""Tokens of the first prompt: instructions and a question."""
NEXT_MEDIAN: Final = 80
"""Tokens of every further question."""
ANSWER_MEDIAN: Final = 180
THOUGHT_MEAN_S: Final = 15.0
SIGMA: Final = 0.8
OUTPUT_MAX: Final = 1024
CONTEXT_MAX: Final = 24_000

MEMORIES: Final = {"with_affinity": Remembered, "load_only": Nothing}


def conversations(providers: int, *, load: float, count: int, seed: int) -> Trace:
    """Draw conversations of about `count` requests for a mixed fleet; `load` is as if no prompt was kept."""
    machines = fleet(providers, is_mixed=True, seed=seed)
    drawn = random.Random(f"conversations {seed}")
    talks = [_talk(drawn, number) for number in range(max(count // TURNS_MEAN, 1))]
    turns = [turn for talk in talks for turn, _ in talk]
    prompt = sum(turn.prompt for turn in turns) / len(turns)
    output = sum(turn.output for turn in turns) / len(turns)
    requests_s = load * sum(machine.requests_s(prompt, output) for machine in machines)
    rate = requests_s / (len(turns) / len(talks))
    now_s = 0.0
    first: list[Asked] = []
    following: dict[int, tuple[Asked, float]] = {}
    for talk in talks:
        now_s += drawn.expovariate(rate)
        first.append(replace(talk[0][0], arrival_s=now_s))
        following |= {before.number: after for (before, _), after in pairwise(talk)}
    return Trace(machines, first, warm_s=WARM_SHARE * now_s, following=following)


def _talk(drawn: random.Random, conversation: int) -> list[tuple[Asked, float]]:
    """Draw the turns of one conversation, each with the seconds of thought before it."""
    turns: list[tuple[Asked, float]] = []
    said, new = 0, _tokens(drawn, FIRST_MEDIAN)
    prompts: tuple[int, ...] = ()
    while len(turns) < TURNS_MAX and said + new < CONTEXT_MAX:
        output = min(_tokens(drawn, ANSWER_MEDIAN), OUTPUT_MAX)
        number = conversation * TURNS_MAX + len(turns)
        prompts += (said + new,)
        asked = Asked(number, 0.0, said + new, output, OUTPUT_MAX, conversation, said, prompts)
        turns.append((asked, drawn.expovariate(1.0 / THOUGHT_MEAN_S)))
        said, new = said + new + output, _tokens(drawn, NEXT_MEDIAN)
        if drawn.random() < 1.0 / TURNS_MEAN:
            break
    return turns


def _tokens(drawn: random.Random, middle: int) -> int:
    return max(int(drawn.lognormvariate(math.log(middle), SIGMA)), 4)


def measure(plan: Plan) -> Part:
    """Play the same conversations with and without the memory, a seed a round."""
    rounds: list[dict[str, Any]] = []
    for number in range(plan.rounds):
        drawn = conversations(PROVIDERS, load=LOAD, count=plan.requests // 2, seed=plan.seed + number)
        taken: dict[str, dict[str, float]] = {}
        for name, memory in MEMORIES.items():
            run = play(drawn, lambda clock, memory=memory: Hushnet(clock, memory()))  # type: ignore[misc]
            taken[name] = {**summary(drawn, run), **hits(drawn, run)}
        print(f"  conversations, seed {plan.seed + number}: {taken}", flush=True)
        rounds.append(taken)
    return Part(_figures(rounds), [{"conversations": taken} for taken in rounds], {"conversations": _middle(rounds)})


def hits(drawn: Trace, run: Run) -> dict[str, float]:
    """Return tokens that were not read again, as a share of those that could have been kept, and of all."""
    counted = [served for served in run.served if served.asked.arrival_s >= drawn.warm_s]
    hit = sum(served.hit for served in counted)
    return {
        "hit_of_prefix": round(hit / max(sum(served.asked.prefix for served in counted), 1), 4),
        "hit_of_prompt": round(hit / max(sum(served.asked.prompt for served in counted), 1), 4),
    }


def _figures(rounds: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, Figure]:
    def ratio(name: str) -> float:
        return round(median(taken["with_affinity"][name] / max(taken["load_only"][name], 1e-4) for taken in rounds), 3)

    peer = f"the same router by load alone, {PROVIDERS} machines, {LOAD:.0%}"
    return {
        "prefix_hits_vs_load_only": Figure(ratio("hit_of_prefix"), "ratio", peer, ratio("hit_of_prefix")),
        "completion_p95_with_affinity": Figure(ratio("p95_s"), "ratio", peer, ratio("p95_s")),
    }


def _middle(rounds: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    return {
        name: {each: round(median(taken[name][each] for taken in rounds), 4) for each in values}
        for name, values in rounds[0].items()
    }
