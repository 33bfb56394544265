"""One shape of result for every bench: figures with their peer and ratio, the machine, the commit, and the raw rounds."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value. `ratio` is value / peer value, in the direction the unit says; None without a peer."""

    value: float
    unit: str
    peer: str | None = None
    ratio: float | None = None


def write(
    bench: str,
    figures: Mapping[str, Figure],
    rounds: list[dict[str, Any]],
    more: Mapping[str, Any] | None = None,
) -> Path:
    """Write `bench/results/BENCH.json` and the raw rounds beside it; return the path of the first.

    `more` is what else a bench has to say, kept beside its figures.
    """
    RESULTS.mkdir(parents=True, exist_ok=True)
    document = {
        "bench": bench,
        **stamp(),
        "machine": machine(),
        "rounds": len(rounds),
        "figures": {key: asdict(figure) for key, figure in figures.items()},
        **(more or {}),
    }
    path = RESULTS / f"{bench}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    (RESULTS / f"{bench}.rounds.json").write_text(json.dumps(rounds, indent=1) + "\n")
    return path


def stamp() -> dict[str, str]:
    """Return the commit that is measured, marked where its sources were changed, and the time."""
    commit = _git("rev-parse", "HEAD") + ("+changes" if _git("status", "--porcelain", "src") else "")
    return {"commit": commit, "date": datetime.now(UTC).isoformat(timespec="seconds")}


def short(commit: str) -> str:
    """Return a commit as it is shown: ten digits, and whether the sources were changed."""
    return commit[:10] + ("+changes" if commit.endswith("+changes") else "")


def machine() -> dict[str, Any]:
    """Describe the machine without naming it."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return {"cpu": model, "cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version()}


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Return minimum, median and maximum."""
    return min(values), median(values), max(values)


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
