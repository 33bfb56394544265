"""Child processes of `hush up`: started apart from the terminal, watched, stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from hushnet.foundation.errors import ConfigurationError

DIES_WITH_PARENT = "HUSH_DIES_WITH_PARENT"
STOP_S_MAX = 15.0
LOG_BYTES_MAX = 1 << 20
"""A log that is larger when its process starts becomes NAME.log.1."""
_PR_SET_PDEATHSIG = 1


def die_with_parent_when_asked() -> None:
    """On Linux, ask the kernel to end this process with the one that started it, when `HUSH_DIES_WITH_PARENT` says so."""
    if os.environ.pop(DIES_WITH_PARENT, "") and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """One `hush` process: its first line of stdout is JSON that says it is ready; its log is a file."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path | None, *, log_start: int = 0) -> None:
        self.name = name
        self._log = log
        self._log_start = log_start
        self._process = process

    @classmethod
    async def start(
        cls, name: str, arguments: Sequence[str], *, log: Path | None, env: Mapping[str, str] | None = None
    ) -> Child:
        """Start `hush ARGUMENTS`; stderr is appended to `log` (0600), or is this process's own when there is none."""
        with _open_log(log) as sink:
            log_start = sink.tell() if sink else 0
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "hushnet", *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=sink,
                start_new_session=True,
                env={**os.environ, **(env or {}), DIES_WITH_PARENT: "1"},
            )
        return cls(name, process, log, log_start=log_start)

    async def ready(self, *, timeout_s: float) -> dict[str, Any]:
        """Wait for the ready line and return it; raises `ConfigurationError` with the log's tail when it never comes."""
        if self._process.stdout is None:
            raise RuntimeError("a child is started with its stdout piped")
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), timeout_s)
        except TimeoutError:
            raise self._failure(f"was not ready after {timeout_s:.0f} s") from None
        if not line:
            raise self._failure(f"ended with status {await self._process.wait()} before it was ready")
        try:
            ready: dict[str, Any] = json.loads(line)
        except ValueError:
            raise self._failure("printed something that is not its ready line") from None
        return ready

    async def wait(self) -> int:
        """Wait until the process has ended; return its status."""
        return await self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def stop(self) -> None:
        """Ask it to stop, wait, and kill it when it does not within `STOP_S_MAX`."""
        if self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_S_MAX)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def _failure(self, what: str) -> ConfigurationError:
        if self._log is None:
            return ConfigurationError(f"the {self.name} {what}", code="child_failed", hint="it said why above")
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").strip().splitlines()[-6:]
        text = "".join(f"\n    {line}" for line in lines)
        return ConfigurationError(f"the {self.name} {what}{text}", code="child_failed", hint=f"its log is {self._log}")


@contextlib.contextmanager
def _open_log(log: Path | None) -> Iterator[IO[bytes] | None]:
    if log is None:
        yield None
        return
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(log.with_name(f"{log.name}.1"))
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as sink:
        yield sink
