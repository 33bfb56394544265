"""Where the measured systems come from: package registries, each into a place of its own under `.bench/`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.record import ROOT

HOME: Final = ROOT / ".bench"


class UnavailableError(Exception):
    """A system can't be had here; the text says why and how to get it."""


def virtual_environment(name: str, requirements: Sequence[str]) -> Path:
    """Return the folder of programs of a virtual environment that has `requirements`; made once, kept for the next run.

    Raises `UnavailableError` with the end of what the installer said.
    """
    folder = HOME / "venv" / name
    marker = folder / "installed.txt"
    wanted = "\n".join(requirements)
    if not marker.exists() or marker.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        _run(sys.executable, "-m", "venv", folder)
        _run(folder / "bin" / "pip", "install", "--quiet", "--no-input", *requirements)
        marker.write_text(wanted)
    return folder / "bin"


def version(programs: Path, package: str) -> str:
    """Return the version of a package in a virtual environment."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return _run(programs / "python", "-c", code).strip()


def nginx() -> Path:
    """Return an nginx: the one on PATH, or Debian's package unpacked without root; raises `UnavailableError`."""
    if found := shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        return Path(found)
    folder = HOME / "nginx"
    binary = folder / "usr" / "sbin" / "nginx"
    if not binary.exists():
        if not shutil.which("apt-get") or not shutil.which("dpkg"):
            raise UnavailableError("no nginx on PATH; install it with the system's packages")
        folder.mkdir(parents=True, exist_ok=True)
        try:
            _run("apt-get", "download", "-qq", "nginx", cwd=folder)
            for package in folder.glob("nginx_*.deb"):
                _run("dpkg", "-x", package, folder)
        except UnavailableError as error:
            raise UnavailableError(f"no nginx on PATH, and apt could not fetch it ({error})") from None
    _run(binary, "-v")  # its libraries are there
    return binary


def _run(*arguments: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(argument) for argument in arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UnavailableError(f"{Path(arguments[0]).name}: {(done.stderr or done.stdout).strip()[-400:]}")
    return done.stdout or done.stderr


def nginx_version(binary: Path) -> str:
    """Return the version that an nginx states."""
    return _run(binary, "-v").strip().rpartition("/")[2]
