"""How many random histories the ledger lived through: `make histories` in a process of its own (docs/ledger-histories.md)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.ledger.plan import Plan
from bench.record import ROOT, Figure
from bench.routing.plan import Part


def measure(plan: Plan) -> Part:
    """Live through fresh histories; raises `RuntimeError` with how to run the volume again when an invariant broke."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "told.json"
        command = [sys.executable, "-m", "support.ledger_volumes", "--histories", str(plan.histories)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src")])}
        run = subprocess.run(
            [*command, "--json", str(told)], env=environment, capture_output=True, text=True, check=False
        )
        if run.returncode:
            raise RuntimeError(run.stderr[-4000:])
        found: dict[str, Any] = json.loads(told.read_text())
    print(run.stdout, end="", flush=True)
    fewest = min(each["histories"] for each in found.values())
    return Part({"books_checked_histories": Figure(fewest, "histories on each database")}, [{"histories": found}])
