"""`python -m bench.relay`: run the rounds, print the table, write bench/results/relay.json and its plot.

`--only nginx,hushnet_standard --rounds 3 --seconds 5` is the quick way to see what a change did; it writes nothing
under bench/results.
"""

from __future__ import annotations

import argparse
import sys

from bench.relay import report
from bench.relay.rounds import Plan, measure
from bench.relay.systems import SYSTEMS


def main() -> int:
    """Run what the arguments ask for; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.relay", description="What relaying a stream costs.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="the window of a paced load")
    parser.add_argument("--streams", type=int, default=400)
    parser.add_argument("--loads", default="paced,requests,first")
    parser.add_argument("--only", default="", help=f"some of {','.join(SYSTEMS)}")
    options = parser.parse_args()
    names = [name for name in options.only.split(",") if name] or list(SYSTEMS)
    if unknown := [name for name in names if name not in SYSTEMS]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(SYSTEMS)}")
    plan = Plan(
        systems=names,
        rounds=options.rounds,
        window_s=options.seconds,
        streams=options.streams,
        loads=options.loads.split(","),
        has_memory=not options.only,
        has_limit=not options.only,
    )
    outcome = measure(plan)
    print(report.table(outcome))
    return 0


if __name__ == "__main__":
    sys.exit(main())
