"""The one result that the parts are merged into: a part that was not run keeps what it last gave, as does what others add."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bench.record import RESULTS, Figure, write
from bench.routing.plan import Part


def save(name: str, part: Part) -> None:
    """Merge a part into bench/results/routing.json and its raw rounds beside it."""
    whole = merged(name, part, old=_read("routing.json", {}), raw=_read("routing.rounds.json", []))
    write("routing", whole.figures, whole.rounds, whole.more)


def merged(name: str, part: Part, *, old: Mapping[str, Any], raw: list[dict[str, Any]]) -> Part:
    """Return the whole result: `part` in place of what it gave before, everything else as it was."""
    parts: dict[str, Any] = dict(old.get("parts", {}))
    stale = set(parts.get(name, {}).get("figures", ()))
    kept = {key: Figure(**each) for key, each in old.get("figures", {}).items() if key not in stale}
    parts[name] = {**part.stamped, "rounds": len(part.rounds), "figures": list(part.figures)}
    beside = {key: old[key] for key in ("latency", "quality", "conversations", "worlds") if key in old}
    rounds = [each for each in raw if name not in each] + part.rounds
    headline = {"rounds": max(each["rounds"] for each in parts.values())}
    return Part({**kept, **part.figures}, rounds, {"parts": parts, **beside, **part.more, **part.stamped, **headline})


def _read(name: str, missing: Any) -> Any:
    path = RESULTS / name
    return json.loads(path.read_text()) if path.exists() else missing
