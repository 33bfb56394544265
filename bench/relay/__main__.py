"""`python -m bench.relay`: run every part, print the table, write bench/results/relay.json and its plot.

`--only nginx,hushnet_standard --rounds 3 --seconds 5` is the quick way to see what a change did; it writes nothing.
`--parts systems,ttft` runs some parts and merges them into the result.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bench import report as page
from bench.relay.arguments import count, quantity, some
from bench.relay.parts import PARTS, run, save
from bench.relay.rounds import LOADS, Plan
from bench.relay.stopping import held, stoppable
from bench.relay.systems import SYSTEMS


def main() -> int:
    """Run what the arguments ask for; return the exit status."""
    plan, parts = read(sys.argv[1:])
    saved: list[str] = []
    with stoppable(lambda: _written(saved)):
        for name in parts:
            print(f"part {name} ...", flush=True)
            part = run(name, plan)
            for key, figure in part.figures.items():
                print(f"{key}: {figure.value} {figure.unit}", flush=True)
            if plan.is_whole:
                with held():
                    save(name, part)
                    saved.append(name)
        if plan.is_whole:
            page.render()
    return 0


def read(arguments: Sequence[str]) -> tuple[Plan, tuple[str, ...]]:
    """Return the plan for the systems and the parts to run; ends the process with what is wrong, or with the help."""
    parser = argparse.ArgumentParser(prog="python -m bench.relay", description="What relaying a stream costs.")
    shown = " (default: %(default)s)"
    parser.add_argument("--rounds", type=count, default=5, help="how often each system gets its loads" + shown)
    parser.add_argument("--seconds", type=quantity, default=10.0, help="the window of a paced load" + shown)
    parser.add_argument("--streams", type=count, default=400, help="paced streams at a time" + shown)
    parser.add_argument("--rate", type=quantity, default=40.0, help="chunks a second of each stream" + shown)
    parser.add_argument("--only", default="", help=f"{_list(SYSTEMS)}; writes no result")
    parser.add_argument("--loads", default="", help=f"{_list(LOADS)}, with --only")
    parser.add_argument("--parts", default="", help=f"{_list(PARTS)}; soak takes 25 minutes")
    given = parser.parse_args(arguments)
    systems, loads = some(parser, given.only, SYSTEMS), some(parser, given.loads, LOADS)
    parts = some(parser, given.parts, PARTS)
    if given.only and given.parts and parts != ("systems",):
        parser.error("--only is for the part `systems`: leave out --parts, or leave out --only")
    if given.loads and not given.only:
        parser.error("--loads goes with --only: a result has every load")
    plan = Plan(systems, given.rounds, given.seconds, given.streams, given.rate, loads, is_whole=not given.only)
    return plan, parts if plan.is_whole else ("systems",)


def _list(known: Sequence[str] | dict[str, type]) -> str:
    return f"some of {', '.join(known)}, with commas between (default: all)"


def _written(saved: Sequence[str]) -> str:
    """Say what a run that was stopped leaves."""
    if not saved:
        return "stopped; nothing was written"
    return (
        f"stopped; in bench/results/relay.json is now: {', '.join(saved)}; docs/performance.md may still be as it was"
    )


if __name__ == "__main__":
    sys.exit(main())
