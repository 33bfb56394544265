"""Simulated networks keep their laws, whatever goes wrong in them. `make simulate` draws new seeds; these are always the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulation.world import Report, simulate

TESTS = Path(__file__).resolve().parent.parent

SEEDS = (1, 2, 4, 5, 6, 7, 9, 16, 19, 21, 24, 31, 37, 41, 43)
"""Every family of scenarios; in 6 and 7 consumers read nothing when the coordinator stops."""


def held(seed: int) -> Report:
    """Run a seed; a failure says how to replay it."""
    report = simulate(seed)
    if report.broken is not None:
        trace = "\n".join(report.trace[-30:])
        pytest.fail(f"{trace}\n{report.broken}\nreplay: make simulate SEED={seed}", pytrace=False)
    return report


@pytest.mark.parametrize("seed", SEEDS)
def test_a_known_world_keeps_every_law(seed: int) -> None:
    report = held(seed)
    assert report.requests
    assert report.outcomes.get("whole")


def test_one_seed_gives_one_history_in_every_process() -> None:
    """The order of a set, of the heap or of the threads is another in every process: none may reach the history."""
    code = "from simulation.world import simulate; r = simulate(6, seconds=15); print(r.digest, r.steps, r.broken)"
    printed = []
    for hash_seed in ("1", "2"):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": hash_seed,
            "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]),
        }
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=100
        )
        printed.append(done.stdout)
    assert printed[0] == printed[1]
    assert printed[0].endswith("None\n")


@pytest.mark.parametrize("seed", [1, 5])
def test_a_world_with_a_real_database_keeps_every_law(seed: int, tmp_path: Path) -> None:
    report = simulate(seed, seconds=10, family="restless", database=tmp_path / "hush.db")
    assert report.broken is None, f"seed {seed}"
    assert report.outcomes.get("whole")


def test_a_world_with_a_real_database_has_one_history(tmp_path: Path) -> None:
    first, second = (simulate(3, seconds=5, family="losses", database=tmp_path / f"{number}.db") for number in range(2))
    assert first.broken is None
    assert first.digest == second.digest


def test_two_seeds_give_two_histories() -> None:
    assert simulate(3, seconds=5).digest != simulate(4, seconds=5).digest
