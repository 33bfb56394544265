"""`python -m bench.routing`: run every part, print the tables, write bench/results/routing.json.

`--quick` is a look of a minute that writes nothing; `--parts latency,quality` runs some parts and merges them in.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from bench import report
from bench.record import stamp
from bench.relay.arguments import count, some
from bench.relay.stopping import held, stoppable
from bench.routing import conversations, latency, page, quality, result, worlds
from bench.routing.plan import Part, Plan

PARTS: Final[Mapping[str, Callable[[Plan], Part]]] = {
    "latency": latency.measure,
    "quality": quality.measure,
    "conversations": conversations.measure,
    "worlds": worlds.measure,
}
_TABLES: Final[Mapping[str, Callable[[Any], str]]] = {
    "latency": page.latency,
    "quality": page.quality,
    "conversations": page.conversations,
    "worlds": worlds.table,
}
_WHOLE: Final = Plan()
_QUICK: Final = Plan(rounds=1, decisions=1_000, requests=3_000, steps=20_000, providers_max=1_000, is_whole=False)


def main() -> int:
    """Run what the arguments ask for; return the exit status."""
    plan, parts = read(sys.argv[1:])
    saved: list[str] = []
    with stoppable(lambda: f"stopped; in bench/results/routing.json is now: {', '.join(saved) or 'what was before'}"):
        for name in parts:
            started = time.perf_counter()
            print(f"part {name} ...", flush=True)
            part = run(name, plan)
            print(_TABLES[name](part.more[name]), flush=True)
            if part.figures:
                print(page.figures({key: asdict(figure) for key, figure in part.figures.items()}), flush=True)
            print(f"part {name}: {time.perf_counter() - started:.0f} s", flush=True)
            if plan.is_whole:
                with held():
                    result.save(name, part)
                    saved.append(name)
        if plan.is_whole:
            report.render()
    return 0


def run(name: str, plan: Plan) -> Part:
    """Run one part; it bears the commit and time at which it began."""
    stamped = stamp()
    return replace(PARTS[name](plan), stamped=stamped)


def read(arguments: Sequence[str]) -> tuple[Plan, tuple[str, ...]]:
    """Return the plan and the parts to run; ends the process with what is wrong, or with the help."""
    parser = argparse.ArgumentParser(prog="python -m bench.routing", description="How fast and how good routing is.")
    shown = " (default: %(default)s)"
    parser.add_argument("--rounds", type=count, default=_WHOLE.rounds, help="timed rounds, and seeds of traces" + shown)
    parser.add_argument("--seed", type=count, default=_WHOLE.seed, help="of the first round" + shown)
    parser.add_argument("--parts", default="", help=f"some of {', '.join(PARTS)}, with commas between (default: all)")
    parser.add_argument("--quick", action="store_true", help="small fleets and short traces; writes no result")
    given = parser.parse_args(arguments)
    parts = some(parser, given.parts, PARTS)
    if given.quick:
        rounds = _QUICK.rounds if given.rounds == _WHOLE.rounds else given.rounds
        return replace(_QUICK, rounds=rounds, seed=given.seed), parts
    return replace(_WHOLE, rounds=given.rounds, seed=given.seed), parts


if __name__ == "__main__":
    sys.exit(main())
