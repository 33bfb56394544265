"""`python -m bench.relay`: run every part, print the table, write bench/results/relay.json and its plot.

`--only nginx,hushnet_standard --rounds 3 --seconds 5` is the quick way to see what a change did; it writes nothing.
`--parts systems,ttft` runs some parts and merges them into the result.
"""

from __future__ import annotations

import argparse
import signal
import sys

from bench import report as page
from bench.relay.parts import PARTS, run, save
from bench.relay.rounds import LOADS, Plan
from bench.relay.systems import SYSTEMS


def main() -> int:
    """Run what the arguments ask for; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.relay", description="What relaying a stream costs.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="the window of a paced load")
    parser.add_argument("--streams", type=int, default=400)
    parser.add_argument("--rate", type=float, default=40.0, help="chunks a second of each stream")
    parser.add_argument("--only", default="", help=f"some of {','.join(SYSTEMS)}; writes no result")
    parser.add_argument("--loads", default=",".join(LOADS), help="some of them, with --only")
    parser.add_argument("--parts", default=",".join(PARTS), help="some of them; soak takes 25 minutes")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    names, loads, parts = (
        _some(parser, text, known)
        for text, known in ((options.only, SYSTEMS), (options.loads, LOADS), (options.parts, PARTS))
    )
    plan = Plan(names, options.rounds, options.seconds, options.streams, options.rate, loads, is_whole=not options.only)
    for name in parts if plan.is_whole else ("systems",):
        print(f"part {name} ...", flush=True)
        part = run(name, plan)
        for key, figure in part.figures.items():
            print(f"{key}: {figure.value} {figure.unit}", flush=True)
        if plan.is_whole:
            save(name, part)
    if plan.is_whole:
        page.render()
    return 0


def _some(parser: argparse.ArgumentParser, text: str, known: object) -> tuple[str, ...]:
    """Return the names in `text`, all of the known ones for none."""
    assert isinstance(known, dict | tuple)
    names = tuple(name for name in text.split(",") if name)
    if unknown := [name for name in names if name not in known]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    return names or tuple(known)


if __name__ == "__main__":
    sys.exit(main())
