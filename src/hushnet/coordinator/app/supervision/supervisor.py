"""The supervisor: starts the workers, tells when all of them serve, starts dead ones again, stops them together.

Until all workers have served once, one that cannot start ends everything, with its error. After that a worker that dies is
started again, after 0.2 s, doubling to 10 s while it keeps dying; the others serve on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hushnet.coordinator.app.supervision.child import Child
from hushnet.coordinator.app.supervision.messages import Failed, Order, Ready, Report
from hushnet.coordinator.app.supervision.reservation import Reservation, warn_where_nothing_is_spread
from hushnet.coordinator.settings import CoordinatorSettings
from hushnet.coordinator.settings.table import flags_of
from hushnet.foundation.errors import HushnetError
from hushnet.foundation.tasks import TaskSet

_LOG = logging.getLogger(__name__)

BACKOFF_S_MIN: Final = 0.2
BACKOFF_S_MAX: Final = 10.0
STEADY_S: Final = 60.0
"""A worker that ran this long died of something new: it comes back at once."""
DRAIN_SLACK_S: Final = 60.0
"""Beyond the drain time a worker settles, ends links and closes the database; one that hangs there is killed."""


class Supervisor:
    """All workers of one coordinator; `start` once, then `stop` or `kill`."""

    def __init__(self, settings: CoordinatorSettings) -> None:
        self._settings = settings
        self._folder = Path()
        self._ports = (0, 0)
        self._children: dict[int, Child] = {}
        self._ready: dict[int, Ready] = {}
        self._statuses: list[int] = []
        self._tasks = TaskSet()
        self._keeping: list[asyncio.Task[None]] = []
        self._begun: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self._stopping = asyncio.Event()

    @contextmanager
    def opened(self) -> Iterator[Supervisor]:
        """Hold the ports and the folder of the workers' sockets; raises `ConfigurationError` when a port is not to be had."""
        http, link = self._settings.http, self._settings.link
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(Reservation(http.host, http.port, setting="http.port"))
            second = stack.enter_context(Reservation(link.host, link.port, setting="link.port"))
            self._ports = (first.port, second.port)
            # Not in the home: a socket's path may have 107 bytes. Made 0700.
            self._folder = Path(tempfile.mkdtemp(prefix="hush-"))
            stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
            warn_where_nothing_is_spread()
            yield self

    async def start(self) -> Ready | None:
        """Start every worker and wait until all serve; None when a stop came first. Raises the error of one that cannot."""
        for number in range(1, self._settings.workers + 1):
            self._keeping.append(self._tasks.spawn(self._keep(number), name=f"worker-{number}"))
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((self._begun, stopped), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        return self._begun.result() if self._begun.done() else None

    def stop(self) -> None:
        """Ask every worker to drain and end."""
        self._stopping.set()
        for child in self._children.values():
            child.stop()

    def kill(self) -> None:
        """End every worker now; the ledger's sweeper finalises what they leave open."""
        self._stopping.set()
        for child in self._children.values():
            child.kill()

    async def ended(self) -> int:
        """Wait until every worker has ended; return 0 when all of them ended well."""
        limit_s = self._settings.http.drain_s_max + DRAIN_SLACK_S
        _, late = await asyncio.wait(self._keeping, timeout=limit_s)
        if late:
            _LOG.error("workers were killed that did not end", extra={"count": len(late)})
            self.kill()
            await asyncio.wait(late)
        await self._tasks.aclose()
        return 0 if all(status == 0 for status in self._statuses) and not late else 1

    async def _keep(self, number: int) -> None:
        """Keep one worker running until everything stops."""
        backoff_s, fallen = BACKOFF_S_MIN, list[int]()
        while True:
            began_s = time.monotonic()
            report, status = await self._run(number, tuple(fallen))
            if isinstance(report, Ready):
                fallen = [report.origin]
            if self._stopping.is_set():
                # One that had not begun ends of the signal itself: it has nothing to drain.
                has_begun = isinstance(report, Ready)
                self._statuses.append(0 if status == -signal.SIGTERM and not has_begun else status)
                return
            if not self._begun.done():
                self._begun.set_exception(_error_of(report, status))
            if self._begun.exception() is not None:
                return
            fields = {"worker": number, "status": status, "code": report.code if isinstance(report, Failed) else None}
            _LOG.error("a worker died and is started again", extra=fields)
            if time.monotonic() - began_s > STEADY_S:
                backoff_s = BACKOFF_S_MIN
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), backoff_s)
                return
            backoff_s = min(backoff_s * 2, BACKOFF_S_MAX)

    async def _run(self, number: int, fallen: tuple[int, ...]) -> tuple[Report | None, int]:
        """Run a worker to its end; return what it reported and its exit status."""
        try:
            child = self._children[number] = await Child.start(self._order(number, fallen))
        except OSError as error:
            return Failed(f"no process can be started ({error.strerror})", "no_process", "", is_configuration=True), 1
        if self._stopping.is_set():
            child.stop()
        report = await child.report()
        if isinstance(report, Ready):
            self._note_ready(number, report)
        status = await child.ended()
        del self._children[number]
        return report, status

    def _note_ready(self, number: int, report: Ready) -> None:
        self._ready[number] = report
        if len(self._ready) == self._settings.workers and not self._begun.done():
            self._begun.set_result(report)

    def _order(self, number: int, fallen: tuple[int, ...]) -> Order:
        settings = flags_of(self._settings) | {"http.port": self._ports[0], "link.port": self._ports[1]}
        return Order(number, self._settings.workers, str(self._folder), settings, fallen)


def _error_of(report: object, status: int) -> HushnetError:
    if isinstance(report, Failed):
        return report.error()
    return HushnetError(f"a worker ended at its start (exit status {status})", code="worker_failed", hint="see its log")
