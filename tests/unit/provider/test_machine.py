"""What a machine tells of its strain, from each of the places that know."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import NamedTuple

import pytest

from hushnet.provider.machine import (
    MachineWatch,
    Strain,
    parse_macos_level,
    parse_nvidia_strain,
    sensor_word,
    worst,
)

MIB = 1 << 20


class Reading(NamedTuple):
    """What `psutil` returns for one sensor."""

    label: str
    current: float
    high: float | None
    critical: float | None


def word_at(
    celsius: float, *, name: str = "coretemp", high: float | None = 80.0, critical: float | None = 100.0
) -> str:
    return sensor_word({name: [Reading("Core 0", celsius, high, critical)]})


async def test_this_machine_is_sampled() -> None:
    watch = MachineWatch()
    assert watch.now == Strain()

    strain = await watch.sample()

    assert 0.0 <= strain.cpu <= 1.0
    assert strain.gpu_memory_bytes_used <= strain.gpu_memory_bytes_total
    assert strain.thermal in {"", "nominal", "fair", "serious", "critical"}


@pytest.mark.parametrize(
    ("celsius", "word"), [(40.0, "nominal"), (70.0, "fair"), (80.0, "serious"), (99.9, "serious"), (100.0, "critical")]
)
def test_heat_is_measured_by_the_processors_own_limits(celsius: float, word: str) -> None:
    assert word_at(celsius) == word


def test_where_nobody_knows_the_limits_nothing_is_said() -> None:
    assert word_at(90.0, high=None, critical=None) == ""
    assert word_at(90.0, high=0.0, critical=65_261.0) == ""
    assert word_at(90.0, name="nvme") == ""
    assert sensor_word({}) == ""


def test_the_hottest_part_counts() -> None:
    cold, hot = Reading("0", 40.0, 80.0, 100.0), Reading("1", 85.0, 80.0, 100.0)
    assert sensor_word({"coretemp": [cold, hot], "k10temp": [cold]}) == "serious"
    assert worst(["", "fair", "nominal", ""]) == "fair"
    assert worst([]) == ""


def test_the_drivers_rows_are_added_up_and_odd_ones_skipped() -> None:
    report = "70000, 81559, Not Active, Not Active\n100, 81559, Active, Not Active\n[N/A], [N/A], x, y\n\nno commas\n"

    assert parse_nvidia_strain(report) == Strain(0.0, 70_100 * MIB, 2 * 81_559 * MIB, "fair")


@pytest.mark.parametrize(
    ("software", "hardware", "word"),
    [
        ("Not Active", "Not Active", "nominal"),
        ("Active", "Not Active", "fair"),
        ("Active", "Active", "serious"),
        ("[N/A]", "[N/A]", ""),
    ],
)
def test_the_driver_says_whether_heat_slows_it(software: str, hardware: str, word: str) -> None:
    assert parse_nvidia_strain(f"1, 2, {software}, {hardware}").thermal == word


def test_macos_names_its_thermal_pressure_by_a_level() -> None:
    key = "com.apple.system.thermalpressurelevel"
    assert [parse_macos_level(f"{key} {level}\n") for level in range(6)] == [
        "nominal",
        "fair",
        "serious",
        "critical",
        "critical",
        "",
    ]
    assert parse_macos_level("") == ""
    assert parse_macos_level("notifyutil: 1") == ""


async def test_the_driver_tool_is_asked_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '5, 8, Active, Active'\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    strain = await MachineWatch().sample()

    assert (strain.gpu_memory_bytes_used, strain.gpu_memory_bytes_total) == (5 * MIB, 8 * MIB)
    assert strain.thermal in {"serious", "critical"}
