"""`python -m bench.ledger`: run every part, print the figures, write bench/results/ledger.json.

`--quick` is a look of a minute that writes nothing; `--parts pairs,waits` runs some parts and merges them in.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Final

from bench import report
from bench.ledger import histories, pairs, result, waits
from bench.ledger.plan import Plan
from bench.record import stamp
from bench.relay.arguments import count, some
from bench.relay.stopping import held, stoppable
from bench.routing.plan import Part
from hushnet.coordinator.app.interpreter import tune

PARTS: Final[Mapping[str, Callable[[Plan], Part]]] = {
    "pairs": pairs.measure,
    "waits": waits.measure,
    "histories": histories.measure,
}
_WHOLE: Final = Plan()
_QUICK: Final = Plan(rounds=1, pairs=2_000, single_pairs=200, tpcb_s=2, waits_s=3.0, histories=500, is_whole=False)


def main() -> int:
    """Run what the arguments ask for; return the exit status."""
    plan, parts = read(sys.argv[1:])
    saved: list[str] = []
    tune()
    with stoppable(lambda: f"stopped; in bench/results/ledger.json is now: {', '.join(saved) or 'what was before'}"):
        for name in parts:
            started = time.perf_counter()
            print(f"part {name} ...", flush=True)
            stamped = stamp()
            part = replace(PARTS[name](plan), stamped=stamped)
            print(report.figures({key: asdict(figure) for key, figure in part.figures.items()}), flush=True)
            print(f"part {name}: {time.perf_counter() - started:.0f} s", flush=True)
            if plan.is_whole:
                with held():
                    result.save(name, part)
                    saved.append(name)
        if plan.is_whole:
            report.render()
    return 0


def read(arguments: Sequence[str]) -> tuple[Plan, tuple[str, ...]]:
    """Return the plan and the parts to run; ends the process with what is wrong, or with the help."""
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description="How fast the ledger is.")
    shown = " (default: %(default)s)"
    parser.add_argument("--rounds", type=count, default=_WHOLE.rounds, help="interleaved rounds" + shown)
    parser.add_argument("--histories", type=count, default=_WHOLE.histories, help="on each database" + shown)
    parser.add_argument("--parts", default="", help=f"some of {', '.join(PARTS)}, with commas between (default: all)")
    parser.add_argument("--quick", action="store_true", help="few of everything; writes no result")
    given = parser.parse_args(arguments)
    parts = some(parser, given.parts, PARTS)
    if given.quick:
        return _QUICK, parts
    return replace(_WHOLE, rounds=given.rounds, histories=given.histories), parts


if __name__ == "__main__":
    sys.exit(main())
