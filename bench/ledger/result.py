"""The one result that the parts are merged into: a part that was not run keeps what it last gave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bench.record import RESULTS, Figure, write
from bench.routing.plan import Part


def save(name: str, part: Part) -> None:
    """Merge a part into bench/results/ledger.json and its raw rounds beside it."""
    whole = merged(name, part, old=_read("ledger.json", {}), raw=_read("ledger.rounds.json", []))
    write("ledger", whole.figures, whole.rounds, whole.more)


def merged(name: str, part: Part, *, old: Mapping[str, Any], raw: list[dict[str, Any]]) -> Part:
    """Return the whole result: `part` in place of what it gave before, every other part as it was."""
    parts: dict[str, Any] = dict(old.get("parts", {}))
    parts.pop(name, None)
    named = {key for each in parts.values() for key in each["figures"]}
    kept = {key: Figure(**each) for key, each in old.get("figures", {}).items() if key in named}
    rounds = [each for each in raw if each.keys() & parts.keys()]
    parts[name] = {**part.stamped, "rounds": len(part.rounds), "figures": list(part.figures)}
    headline = {"rounds": max(each["rounds"] for each in parts.values())}
    return Part({**kept, **part.figures}, [*rounds, *part.rounds], {"parts": parts, **part.stamped, **headline})


def _read(name: str, missing: Any) -> Any:
    path = RESULTS / name
    return json.loads(path.read_text()) if path.exists() else missing
