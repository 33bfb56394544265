"""Samples of a running process by py-spy, and what it takes to be let near that process.

- Native frames are taken (`--native`): sockets are read and written, and records opened, below the last frame of Python.
- All threads, not only the one with the GIL: libuv reads without it, SQLite and the ciphers let go of it, and it is all
  processor time. Threads that wait are left out, by py-spy and again by `stacks.busy`.
- The process stands still while a sample is taken, for milliseconds: at 200 a second it falls behind, chunks pile up, and
  a chunk gets cheaper than it is. At 100 a second a chunk costs what it costs without.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

RATE: Final = 100
YAMA: Final = Path("/proc/sys/kernel/yama/ptrace_scope")
LET_TRACE: Final = (
    sys.executable,
    "-c",
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])",
)
"""Goes before a command: has the process allow its user's other processes to trace it (PR_SET_PTRACER, PR_SET_PTRACER_ANY),
where Yama would allow that to ancestors only. Without Yama it does nothing."""


def sample(pid: int, seconds: int, out: Path) -> None:
    """Write the process's stacks of the next `seconds` to `out`; raises `RuntimeError` with a hint when that can't be done."""
    py_spy = Path(sys.executable).with_name("py-spy")
    if not py_spy.exists():
        raise RuntimeError("py-spy is not in the environment: run `make setup`")
    out.unlink(missing_ok=True)
    arguments = ["--native", "--threads", "--full-filenames", "--nolineno", "--format", "raw", "--rate", str(RATE)]
    command = [str(py_spy), "record", *arguments, "--duration", str(seconds), "--output", str(out), "--pid", str(pid)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not out.exists():
        raise RuntimeError(refusal(done.stderr or done.stdout))


def refusal(said: str) -> str:
    """Return what py-spy said without its backtrace, and what to do where it was not permitted to attach."""
    told = f"py-spy: {said.partition('Stack backtrace:')[0].strip()}"
    return f"{told}\n{hint()}" if "permi" in told.lower() else told


def hint() -> str:
    """Say what lets py-spy attach here."""
    if os.geteuid() == 0:
        return "This is root already: a container needs the capability SYS_PTRACE (--cap-add SYS_PTRACE)."
    scope = YAMA.read_text().strip() if YAMA.exists() else "0"
    if scope in {"2", "3"}:
        return f"kernel.yama.ptrace_scope is {scope}: run as root, or set it to 1 (3 lasts until the next boot)."
    return "Run as root; a container also needs the capability SYS_PTRACE (--cap-add SYS_PTRACE)."
