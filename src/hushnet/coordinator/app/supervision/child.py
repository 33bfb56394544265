"""A worker as its supervisor sees it: a process of its own session, orders down its stdin, reports up its stdout."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys

from hushnet.coordinator.app.supervision.messages import LINE_BYTES_MAX, Order, Report, decode_report, encode_line


class Child:
    """One worker process; its log lines go where the supervisor's go."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._is_stopping = False

    @classmethod
    async def start(cls, order: Order) -> Child:
        """Start it, apart from the terminal: a Ctrl-C there reaches the supervisor alone, which passes it on once."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hushnet", "coordinator", "worker", str(order.number)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=LINE_BYTES_MAX,
            env=dict(os.environ),
        )
        assert process.stdin is not None
        with contextlib.suppress(ConnectionError):
            process.stdin.write(encode_line(order))
            await process.stdin.drain()
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def report(self) -> Report | None:
        """Wait for what it says of its start; None when it ended without a word."""
        assert self._process.stdout is not None
        while True:
            try:
                line = await self._process.stdout.readline()
            except ValueError:  # a line beyond the limit is none of ours
                continue
            if not line:
                return None
            if (report := decode_report(line)) is not None:
                return report

    async def ended(self) -> int:
        """Wait for its end and return the exit status, negative for a signal."""
        return await self._process.wait()

    def stop(self) -> None:
        """Ask it to drain and end, once: a second signal would cut it off."""
        if self._is_stopping:
            return
        self._is_stopping = True
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
