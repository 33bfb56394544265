"""How a process is asked to stop: by signals, at any moment, also before there is anything to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class StopSignals:
    """SIGTERM and SIGINT: the first asks to drain, the second to hurry."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []
        self.count = 0

    def then(self, listener: Callable[[], None]) -> None:
        """Call `listener` for every signal, those that came already included."""
        self._listeners.append(listener)
        for _ in range(self.count):
            listener()

    def arrived(self) -> None:
        """Count one signal and tell the listeners."""
        self.count += 1
        self.first.set()
        for listener in self._listeners:
            listener()


@contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Listen to SIGTERM and SIGINT instead of dying of them."""
    signals, loop = StopSignals(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.arrived)
    try:
        yield signals
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def unless(stopped: asyncio.Event, work: Coroutine[None, None, T]) -> T | None:
    """Return what `work` returns; cancel it and return None when `stopped` is set first."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
