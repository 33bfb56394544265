"""`make simulate`: fresh seeds until a budget of steps is used up, or one seed again with its trace.

python -m simulation                     fresh seeds for a million steps
python -m simulation --steps 100000000   for a hundred million
python -m simulation --seed 123          one seed; prints the last events, and the invariant that broke
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
from collections import Counter
from pathlib import Path

from simulation.world import Report, simulate

_SEED_BITS = 48
_PROGRESS_S = 10.0
_TRACE = 60


def main() -> int:
    """Simulate as the arguments say; return the exit status, 1 when an invariant broke."""
    parser = argparse.ArgumentParser(prog="make simulate", description="Simulate whole networks and check their laws.")
    parser.add_argument("--seed", type=int, help="replay this seed and show its trace")
    parser.add_argument("--steps", type=int, default=1_000_000, help="the budget of fresh seeds")
    parser.add_argument("--json", type=Path, help="where to write how many steps went well")
    parser.add_argument("--trace", type=int, default=_TRACE, help="events to show of a replay")
    choices = parser.parse_args()
    if choices.seed is None:
        return _explore(choices.steps, choices.json)
    return _replay(choices.seed, choices.trace)


def _replay(seed: int, events: int) -> int:
    report = simulate(seed)
    print("\n".join(report.trace[-events:]))
    print(_summary(report))
    return 1 if report.broken else 0


def _explore(budget: int, result: Path | None) -> int:
    steps = worlds = 0
    began_s = shown_s = time.monotonic()
    families: Counter[str] = Counter()
    while steps < budget:
        report = simulate(secrets.randbits(_SEED_BITS))
        steps, worlds = steps + report.steps, worlds + 1
        families[report.family] += 1
        if report.broken is not None:
            print("\n".join(report.trace[-_TRACE:]))
            print(_summary(report))
            return 1
        if time.monotonic() - shown_s > _PROGRESS_S:
            shown_s = time.monotonic()
            print(f"{steps:,} of {budget:,} steps, {worlds} worlds, {shown_s - began_s:.0f} s", flush=True)
    told = ", ".join(f"{family} {count}" for family, count in families.most_common())
    print(f"{steps:,} steps in {worlds} worlds without an invariant broken ({told})")
    if result is not None:
        seconds = round(time.monotonic() - began_s, 1)
        result.write_text(json.dumps({"simulated_steps": steps, "worlds": worlds, "seconds": seconds}) + "\n")
    return 0


def _summary(report: Report) -> str:
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(report.outcomes.items()))
    what = report.broken or "nothing broke"
    return (
        f"\nseed {report.seed}, {report.family}: {report.steps:,} steps, {report.seconds:.1f} simulated seconds, "
        f"{report.requests} requests ({told})\n{what}\nreplay: make simulate SEED={report.seed}"
    )


if __name__ == "__main__":
    sys.exit(main())
