"""The body of a worker process: take the order, serve, report, end with the supervisor."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hushnet.coordinator.app.build import build
from hushnet.coordinator.app.coordinator import Coordinator
from hushnet.coordinator.app.interpreter import tune
from hushnet.coordinator.app.supervision.messages import (
    LINE_BYTES_MAX,
    Failed,
    Order,
    Ready,
    Report,
    decode_order,
    encode_line,
)
from hushnet.coordinator.app.workers import Place
from hushnet.coordinator.settings import CoordinatorSettings, load_settings
from hushnet.foundation.clock import SystemClock
from hushnet.foundation.errors import ConfigurationError, HushnetError
from hushnet.foundation.logs import configure_logging
from hushnet.foundation.stopping import stop_signals, unless


def work() -> int:
    """Run one worker to its end; return the exit status. Errors of the start are reported, not printed: all have the same."""
    import uvloop

    order = decode_order(sys.stdin.buffer.readline(LINE_BYTES_MAX))
    settings = load_settings(flags=order.settings)
    configure_logging(settings.log.level, settings.log.format, worker=order.number)
    try:
        uvloop.run(_serve(settings, order))
    except HushnetError as error:
        _report(Failed.of(error))
        return 2 if isinstance(error, ConfigurationError) else 1
    return 0


async def _serve(settings: CoordinatorSettings, order: Order) -> None:
    place = Place(number=order.number, count=order.count, folder=Path(order.folder), fallen=order.fallen)
    with stop_signals() as signals, _supervised(signals.arrived):
        coordinator = await build(settings, SystemClock(), place=place)
        try:
            await unless(signals.first, _begin(coordinator))
            await signals.first.wait()
            # A second signal: the ledger finalises later what this leaves open, and charges nobody twice.
            signals.then(lambda: os._exit(1) if signals.count > 1 else None)
        finally:
            await coordinator.aclose()


async def _begin(coordinator: Coordinator) -> None:
    await coordinator.start()
    tune()
    is_initialised = await coordinator.accounts.is_initialised()
    _report(Ready(coordinator.base_url, coordinator.link_url, is_initialised, coordinator.ledger.origin))


@contextmanager
def _supervised(orphaned: Callable[[], None]) -> Iterator[None]:
    """Call `orphaned` when stdin ends: the supervisor is gone, and nobody else would stop this process."""
    loop, fd = asyncio.get_running_loop(), sys.stdin.fileno()

    def readable() -> None:
        if not os.read(fd, 4096):
            loop.remove_reader(fd)
            orphaned()

    loop.add_reader(fd, readable)
    try:
        yield
    finally:
        loop.remove_reader(fd)


def _report(report: Report) -> None:
    sys.stdout.buffer.write(encode_line(report))
    sys.stdout.buffer.flush()
