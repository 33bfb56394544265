"""The HTTP listener: a socket bound here, uvicorn's server on it with the guarded protocol, a drain at the end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import socket
from collections.abc import Generator
from typing import Any, Final, cast

import uvicorn
from starlette.types import ASGIApp

from hushnet.coordinator.api.http.direct import LoopPass
from hushnet.coordinator.api.http.protocol import ConnectionLimits, GuardedHttpProtocol
from hushnet.coordinator.api.http.reader import keep_unsent_low
from hushnet.coordinator.settings import HttpSettings
from hushnet.coordinator.telemetry import Metrics
from hushnet.foundation.errors import ConfigurationError

BACKLOG: Final = 2048
CANCELLED_S_MAX: Final = 10.0
"""After the drain time requests are cancelled; their finalisers get this long."""
FLUSH_S_MAX: Final = 5.0
"""Answers that are written get this long to leave the send buffers."""
_FLUSH_POLL_S: Final = 0.01


class HttpListener:
    """One HTTP listener; `start` once, `aclose` once."""

    def __init__(
        self, application: ASGIApp, *, settings: HttpSettings, metrics: Metrics, is_port_shared: bool = False
    ) -> None:
        """`is_port_shared`: other processes listen at the same port; the kernel spreads connections (SO_REUSEPORT)."""
        self._settings = settings
        self._is_port_shared = is_port_shared
        self._server = _Server(_config(application, settings, metrics), drain_s_max=settings.drain_s_max)
        self._serving: asyncio.Task[None] | None = None
        self.port = 0

    @property
    def is_listening(self) -> bool:
        return self._serving is not None and not self._serving.done() and self._server.started

    @property
    def connections(self) -> int:
        return len(self._server.server_state.connections)

    async def start(self) -> None:
        """Bind and serve; raises `ConfigurationError` when the address cannot be had."""
        host, port = self._settings.host, self._settings.port
        bound = bind(host, port, setting="http.port", is_shared=self._is_port_shared)
        self.port = bound.getsockname()[1]
        self._serving = asyncio.create_task(self._server.serve(sockets=[bound]), name="http")
        while not self._server.started:
            if self._serving.done():
                bound.close()
                await self._serving
                raise ConfigurationError("the HTTP listener did not start")
            await asyncio.sleep(0)

    async def aclose(self) -> None:
        """Stop accepting, let running requests end within the drain time, cancel the rest and wait for their end."""
        if self._serving is None:
            return
        self._server.stop()
        await asyncio.gather(self._serving, return_exceptions=True)
        self._serving = None


def bind(host: str, port: int, *, setting: str, is_shared: bool = False) -> socket.socket:
    """Bind and listen on one address; raises `ConfigurationError`, which names the setting."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server((host.strip("[]"), port), family=family, backlog=BACKLOG, reuse_port=is_shared)
    except OSError as error:
        raise bind_error(error, host, port, setting=setting) from None
    keep_unsent_low(bound)
    return bound


def bind_error(error: OSError, host: str, port: int, *, setting: str) -> ConfigurationError:
    """Say why an address could not be had, and what to do about it."""
    if error.errno == errno.EADDRINUSE:
        hint = f"stop what listens there, or choose another with {setting} (0 takes a free one)"
        return ConfigurationError(f"port {port} on {host} is in use", code="port_in_use", hint=hint)
    if error.errno in (errno.EACCES, errno.EPERM):
        return ConfigurationError(f"port {port} is not allowed to this user", hint=f"choose {setting} above 1023")
    return ConfigurationError(f"{host} port {port} cannot be bound", hint=f"check {setting} and the host beside it")


class _Server(uvicorn.Server):
    """uvicorn's server as a part of our process.

    Signals belong to the command line; stopping wakes the loop at once instead of at the next tenth of a second; the
    drain waits for requests, cancels what is left, and lets written answers leave.
    """

    def __init__(self, config: uvicorn.Config, *, drain_s_max: float) -> None:
        super().__init__(config)
        self._drain_s_max = drain_s_max
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        self.should_exit = True
        self._stopped.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), 1.0)  # the date header changes once a second

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for bound in sockets or []:
            bound.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._requests_ended(self._drain_s_max)
        for task in list(self.server_state.tasks):
            task.cancel()
        await self._requests_ended(CANCELLED_S_MAX)
        await self._connections_ended(FLUSH_S_MAX)

    async def _requests_ended(self, seconds: float) -> None:
        """Wait until no request runs; a pipelined one may begin when another ends."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while tasks := list(self.server_state.tasks):
                    await asyncio.wait(tasks)
                    await asyncio.sleep(0)

    async def _connections_ended(self, seconds: float) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.server_state.connections:  # noqa: ASYNC110 - uvicorn offers no event for it
                    await asyncio.sleep(_FLUSH_POLL_S)
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def _config(application: ASGIApp, settings: HttpSettings, metrics: Metrics) -> uvicorn.Config:
    limits = ConnectionLimits(
        connections_max=settings.connections_max,
        header_bytes_max=settings.header_bytes_max,
        header_s_max=settings.header_s_max,
        write_stall_s_max=settings.write_stall_s_max,
    )
    protocol = functools.partial(
        GuardedHttpProtocol, limits=limits, on_cut=metrics.connections_cut.add, loop_pass=LoopPass()
    )
    return uvicorn.Config(
        cast(Any, application),
        http=cast(Any, protocol),
        ws="none",
        lifespan="off",
        interface="asgi3",
        loop="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=cast(int, settings.keep_alive_s),
    )
