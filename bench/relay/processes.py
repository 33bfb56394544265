"""What processes cost: processor time and resident memory of whole trees, read from /proc; and starting and ending them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
TICK_US: Final = 1e6 / os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
STOP_S_MAX: Final = 10.0


def tree(roots: Iterable[int]) -> list[int]:
    """Return the process ids of `roots` and all their descendants that run now."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdecimal() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, left = [], list(roots)
    while left:
        pid = left.pop()
        if pid not in found:
            found.append(pid)
            left += children.get(pid, [])
    return found


def cpu_us(roots: Iterable[int]) -> float:
    """Return user and system time of the trees of `roots` in microseconds, to ten milliseconds.

    Children that ended and were waited for count with their parent, so the difference of two readings misses nothing
    but what ended unwaited.
    """
    return sum(user_and_kernel_us(roots))


def user_and_kernel_us(roots: Iterable[int]) -> tuple[float, float]:
    """Return the two parts of `cpu_us`."""
    times = [[int(field) * TICK_US for field in fields[11:15]] for pid in tree(roots) if (fields := _stat(pid))]
    return sum(each[0] + each[2] for each in times), sum(each[1] + each[3] for each in times)


def rss_mib(roots: Iterable[int]) -> float:
    """Return the resident memory of the trees of `roots` in MiB; pages that processes share count for each."""
    total = 0
    for pid in tree(roots):
        try:
            total += int((PROC / str(pid) / "statm").read_text().split()[1]) * PAGE_BYTES
        except (OSError, IndexError):
            continue
    return total / 2**20


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the state on: [1] is the parent, [11:15] are utime, stime, cutime, cstime."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def free_port() -> int:
    """Return a port of the loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def spawn(
    arguments: Sequence[str | Path], *, log: Path, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own; what it prints goes to `log`."""
    with log.open("ab") as out:
        return subprocess.Popen(
            [str(argument) for argument in arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=cwd,
            env=None if environment is None else {**os.environ, **environment},
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and everything in its session; kill what does not end within ten seconds."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S_MAX)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for_port(port: int, process: subprocess.Popen[bytes], *, log: Path, wait_s_max: float) -> None:
    """Return once something listens on `port`; raises `RuntimeError` with the end of `log` when it does not come to that."""
    until = time.monotonic() + wait_s_max
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                tail = log.read_text(errors="replace")[-1500:]
                raise RuntimeError(f"nothing listens on port {port}: {tail}") from None
            time.sleep(0.1)
