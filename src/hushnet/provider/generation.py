"""Pulls one answer out of an engine, ahead of the writer, and owns the slot that it takes.

The engine is read as fast as it speaks, so that tokens which are ready together travel together; a writer that waits
for credit holds the engine back once `AHEAD_MAX` events wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from hushnet.foundation.errors import HushnetError
from hushnet.provider.engines.base import EngineFailed, Event

AHEAD_MAX: Final = 256
STOP_S_MAX: Final = 2.0
"""An engine stops within 100 ms by contract; one that takes this long is taken for broken."""


class Slots:
    """How many answers are generated at the same time; waiters are served in the order they came."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.active = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def take(self) -> None:
        """Take a slot, waiting for one where none is free; a cancelled waiter leaves no trace."""
        if self.active < self.total and not self._waiting:
            self.active += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back()
            else:
                self._waiting.remove(turn)
            raise

    def give_back(self) -> None:
        """Free a slot: it goes to the first waiter without ever counting as free."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.active -= 1


class Generation:
    """One running answer. `take` gives what is ready; `stop` ends the engine's work; `on_over` runs exactly once."""

    def __init__(self, generate: Callable[[], AsyncGenerator[Event, None]], *, on_over: Callable[[], None]) -> None:
        self._generate = generate
        self._ready: deque[Event] = deque()
        self._has_news = asyncio.Event()
        self._has_room = asyncio.Event()
        self._error: Exception | None = None
        self._task = asyncio.create_task(self._pull(), name="generation")
        # Not in a finally of the task: one that is cancelled before its first step never gets there.
        self._task.add_done_callback(lambda _: self._over(on_over))

    async def take(self, timeout_s: float) -> list[Event]:
        """Return every event that is ready, waiting at most `timeout_s` for the first; [] when none came.

        Raises what the engine raised, once everything before it was taken, and `EngineFailed` when the engine ended
        without a last event.
        """
        if not self._ready and not self._task.done():
            try:
                async with asyncio.timeout(timeout_s):
                    await self._has_news.wait()
            except TimeoutError:
                return []
        self._has_news.clear()
        events = list(self._ready)
        self._ready.clear()
        self._has_room.set()
        if not events and self._task.done():
            raise self._error or EngineFailed("the engine ended an answer without finishing it")
        return events

    async def stop(self) -> bool:
        """Cancel the engine's work and wait until it has stopped; False when it did not within `STOP_S_MAX`."""
        self._task.cancel()
        await asyncio.wait((self._task,), timeout=STOP_S_MAX)
        return self._task.done()

    async def _pull(self) -> None:
        try:
            async with aclosing(self._generate()) as events:
                async for event in events:
                    self._ready.append(event)
                    self._has_news.set()
                    while len(self._ready) >= AHEAD_MAX:
                        self._has_room.clear()
                        await self._has_room.wait()
        except HushnetError as error:
            self._error = error
        except Exception as error:  # an engine is a plug-in: whatever it raises is its own failure, not the agent's
            self._error = EngineFailed(f"the engine raised {type(error).__name__}")

    def _over(self, on_over: Callable[[], None]) -> None:
        on_over()
        self._has_news.set()
