"""The parts of the bench, and the one result they are merged into: a part that was not run keeps what it last gave.

Each part's commit, date and number of rounds stand beside its figures, since parts may come from different runs.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bench.record import RESULTS, Figure, stamp, write
from bench.relay import plot, report
from bench.relay.rounds import Plan, measure

PARTS: Final = ("systems", "ttft", "requests", "links", "cancel", "slow_readers", "workers", "soak")


@dataclass(frozen=True, slots=True)
class Part:
    """What one part gave; `more` goes into the result beside the figures.

    `stamped` is the commit and time at which it began: what is measured was started then, whatever happened meanwhile.
    """

    figures: Mapping[str, Figure]
    rounds: list[dict[str, Any]]
    more: Mapping[str, Any] = field(default_factory=dict)
    stamped: Mapping[str, str] = field(default_factory=dict)


def run(name: str, plan: Plan) -> Part:
    """Run a part; the plan is for the comparison of systems."""
    stamped = stamp()
    if name != "systems":
        figures, rounds = importlib.import_module(f"bench.relay.{name}").measure()
        return Part(figures, rounds, stamped=stamped)
    outcome = measure(plan)
    found = report.systems(outcome)
    print(report.table(found, outcome.absent))
    load = {"streams": plan.streams, "rate": plan.rate, "bytes": 288, "window_s": plan.window_s, "links": 16}
    more = {"load": load, "systems": found, "absent": outcome.absent}
    return Part(report.figures(outcome), outcome.raw(), more, stamped)


def save(name: str, part: Part) -> None:
    """Merge a part into bench/results/relay.json, its raw rounds beside it, and draw the picture anew."""
    result = merged(name, part, old=_read("relay.json", {}), raw=_read("relay.rounds.json", []))
    write("relay", result.figures, result.rounds, result.more)
    if "systems" in result.more:
        plot.draw(result.more["systems"], RESULTS / "relay.svg")


def merged(name: str, part: Part, *, old: Mapping[str, Any], raw: list[dict[str, Any]]) -> Part:
    """Return the whole result: `part` in place of what it gave before, everything else as it was."""
    parts: dict[str, Any] = dict(old.get("parts", {}))
    stale = set(parts.get(name, {}).get("figures", ()))
    kept = {key: Figure(**each) for key, each in old.get("figures", {}).items() if key not in stale}
    parts[name] = {**part.stamped, "rounds": len(part.rounds), "figures": list(part.figures)}
    beside = {key: old[key] for key in ("load", "systems", "absent") if key in old}
    rounds = [each for each in raw if each["part"] != name] + [{"part": name, **each} for each in part.rounds]
    # Parts count in rounds of their own, passes or cycles: the page's headline is about the comparison of systems.
    headline = {"rounds": parts.get("systems", parts[name])["rounds"]}
    return Part({**kept, **part.figures}, rounds, {"parts": parts, **beside, **part.more, **part.stamped, **headline})


def _read(name: str, missing: Any) -> Any:
    path = RESULTS / name
    return json.loads(path.read_text()) if path.exists() else missing
