"""An asyncio event loop on a virtual clock: when nothing is ready it jumps to the next timer. No sockets, no threads.

One step is one pass of the loop; after each the watcher is asked whether the world is still in order. Work for threads
is done at once, in the caller's thread, and told after a seeded while, as a slow disk would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

RESOLUTION_S: Final = 1e-9
"""How close two timers may be to count as due together."""


class NothingLeftError(RuntimeError):
    """Everybody waits and no timer is set: a deadlock of the simulated world."""


class _Selector:
    """What `BaseEventLoop` asks how long it may sleep: the sleep takes no time, the clock moves."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout_s: float | None) -> list[Any]:
        if timeout_s is None:
            raise NothingLeftError("nobody will ever wake up")
        if timeout_s > 0:
            self._loop.jump(timeout_s)
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """Time is a number; `steps` counts the passes."""

    def __init__(self, after_step: Callable[[], None], thread_s: Callable[[], float]) -> None:
        super().__init__()
        self.steps = 0
        self.is_watched = True
        self._now_s = 0.0
        self._after_step = after_step
        self._thread_s = thread_s
        self._selector = _Selector(self)
        self._clock_resolution = RESOLUTION_S

    def time(self) -> float:
        return self._now_s

    def jump(self, seconds: float) -> None:
        """Let time pass."""
        self._now_s += seconds

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Do the work now and tell of it later: threads would bring an order of their own."""
        done: asyncio.Future[Any] = self.create_future()
        try:
            outcome = func(*args)
        except Exception as error:
            self.call_later(self._thread_s(), _tell, done, None, error)
        else:
            self.call_later(self._thread_s(), _tell, done, outcome, None)
        return done

    def _run_once(self) -> None:
        super()._run_once()
        if self.is_watched:
            self.steps += 1
            self._after_step()

    def _process_events(self, event_list: list[Any]) -> None:
        """No file descriptor is watched."""

    def _write_to_self(self) -> None:
        """No other thread has to wake this loop."""


def _tell(done: asyncio.Future[Any], outcome: Any, error: Exception | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(outcome)
    else:
        done.set_exception(error)


class VirtualClock:
    """The `Clock` of everybody in the simulation, read off the loop."""

    def __init__(self, loop: VirtualLoop, began_ms: int = 1_763_690_000_000) -> None:
        self._loop = loop
        self._began_ms = began_ms

    def now_ms(self) -> int:
        return self._began_ms + int(self._loop.time() * 1000)

    def monotonic_s(self) -> float:
        return self._loop.time()
