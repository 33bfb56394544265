"""How many steps of simulated networks went well: `make simulate` in a process of its own (docs/simulation.md)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.record import Figure
from bench.routing.plan import Part, Plan

_TESTS = Path(__file__).resolve().parents[2] / "tests"


def measure(plan: Plan) -> Part:
    """Simulate fresh worlds; raises `RuntimeError` with the seed's replay line when an invariant broke."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "told.json"
        command = [sys.executable, "-m", "simulation", "--steps", str(plan.steps), "--json", str(told)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_TESTS), os.environ.get("PYTHONPATH", "")])}
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if run.returncode:
            raise RuntimeError(run.stdout[-2000:] or run.stderr[-2000:])
        found: dict[str, Any] = json.loads(told.read_text())
    figures = {"simulated_steps": Figure(found["simulated_steps"], "steps", None, None)} if plan.is_whole else {}
    return Part(figures, [{"worlds": found}], {"worlds": found})


def table(found: dict[str, Any]) -> str:
    """Say what was simulated."""
    return (
        f"{found['simulated_steps']:,} steps in {found['worlds']} worlds, {found['seconds']:.0f} s, no invariant broken"
    )
