"""Background tasks that are owned: they are named, kept alive, and never fail in silence."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from itertools import count

_LOG = logging.getLogger(__name__)
_PAUSE_S_MAX = 60.0


class TaskSet:
    """Background tasks with one owner, in the order in which they began; `aclose` cancels and awaits them all.

    A task that fails is logged with its name and the type of its error, never with the error's text:
    the text of a foreign exception may carry a prompt.
    """

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._is_closed = False

    def spawn(self, work: Coroutine[None, None, None], *, name: str) -> asyncio.Task[None]:
        """Run `work` in the background until it ends or the set closes."""
        if self._is_closed:
            work.close()
            raise RuntimeError(f"task {name} spawned after its owner closed")
        task = asyncio.create_task(work, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._reap)
        return task

    def __len__(self) -> int:
        return len(self._tasks)

    async def aclose(self) -> None:
        """Cancel every task and wait until each has ended."""
        self._is_closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _reap(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("background task failed", extra={"task": task.get_name(), "error": type(error).__name__})


async def keep_running(work: Callable[[], Awaitable[None]], *, name: str, pause_s: float = 1.0) -> None:
    """Run `work` and, whenever it fails, run it again after `pause_s` seconds, doubled each time, a minute at most.

    For work that must go on while the process lives: one row that it cannot deal with does not end it for all others.
    """
    for failures in count():
        try:
            await work()
        except Exception as error:  # what it may be is not known here; only its type is told
            _LOG.error("background work failed", extra={"task": name, "error": type(error).__name__})
        else:
            return
        await asyncio.sleep(min(pause_s * 2 ** min(failures, 16), _PAUSE_S_MAX))
