"""What a command says when its output or its files can't be used: at most one line, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HUSH = (sys.executable, "-m", "hushnet")


def run(arguments: tuple[str, ...], stdout: int, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*HUSH, *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "HUSH_HOME": str(home), "HUSH_BASE_URL": "http://127.0.0.1:9"},
    )


@pytest.mark.parametrize("arguments", [("doctor",), ("doctor", "--json")], ids=" ".join)
def test_a_reader_that_has_gone_ends_a_command_quietly(arguments: tuple[str, ...], tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = run(arguments, writer, tmp_path)
    finally:
        os.close(writer)
    assert ended.returncode == 1
    assert not ended.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [("doctor",), ("doctor", "--json"), ("--help",)], ids=" ".join)
def test_a_full_device_is_one_line(arguments: tuple[str, ...], tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        ended = run(arguments, full, tmp_path)
    finally:
        os.close(full)
    assert ended.returncode == 2
    assert "no_space" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_file_that_is_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "up.lock").mkdir()
    ended = run(("up", "--port", "0"), subprocess.DEVNULL, tmp_path)
    assert ended.returncode == 2
    assert "up.lock" in ended.stderr
    assert "Traceback" not in ended.stderr
