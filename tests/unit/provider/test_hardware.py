"""The machine is probed, never assumed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from hushnet.provider.hardware import Gpu, Hardware, parse_nvidia_report, probe_hardware, read_load


async def test_this_machine_has_cores_and_memory() -> None:
    hardware = await probe_hardware()

    assert hardware.cores_usable >= 1
    assert hardware.memory_bytes_total > 0
    assert 1 <= hardware.threads_suggested <= max(1, hardware.cores_physical)


def test_the_load_is_finite_and_within_the_memory() -> None:
    load = read_load()

    assert 0 < load.memory_bytes_free <= load.memory_bytes_total
    assert load.load >= 0


def test_one_core_is_left_for_the_link() -> None:
    assert Hardware("", "", 8, 8, 1).threads_suggested == 7
    assert Hardware("", "", 8, 2, 1).threads_suggested == 1
    assert Hardware("", "", 1, 1, 1).threads_suggested == 1


def test_the_driver_report_is_read_and_odd_rows_are_skipped() -> None:
    report = "NVIDIA H100 80GB HBM3, 81559, 80000, 550.90.07\n[N/A], [N/A], [N/A], x\n\nno commas\n"

    assert parse_nvidia_report(report) == (Gpu("NVIDIA H100 80GB HBM3", 81559 << 20, 80000 << 20, "550.90.07"),)


@pytest.mark.parametrize(
    ("script", "gpus"), [("echo 'A10, 1, 1, 5'", (Gpu("A10", 1 << 20, 1 << 20, "5"),)), ("exit 9", ())]
)
async def test_the_driver_tool_is_asked_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, gpus: tuple[Gpu, ...]
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    assert (await probe_hardware()).gpus == gpus


async def test_without_a_driver_tool_there_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert (await probe_hardware(root=tmp_path)).gpus == ()
