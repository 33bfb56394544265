"""The HTTP listener: a socket bound here, uvicorn's server on it with the guarded protocol, a drain at the end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import math
import socket
from collections.abc import Generator
from typing import Any, Final, cast

import uvicorn
from starlette.types import ASGIApp

from hushnet.coordinator.api.http_protocol import ConnectionLimits, GuardedHttpProtocol
from hushnet.coordinator.settings import HttpSettings
from hushnet.coordinator.telemetry import Metrics
from hushnet.foundation.errors import ConfigurationError

BACKLOG: Final = 2048
CANCELLED_S_MAX: Final = 10.0
"""After the drain time requests are cancelled; their finalisers get this long."""


class HttpListener:
    """One HTTP listener; `start` once, `aclose` once."""

    def __init__(self, application: ASGIApp, *, settings: HttpSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._server = _Server(_config(application, settings, metrics))
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
        bound = bind(self._settings.host, self._settings.port, setting="http.port")
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
        self._server.should_exit = True
        await asyncio.gather(self._serving, return_exceptions=True)
        if tasks := list(self._server.server_state.tasks):
            await asyncio.wait(tasks, timeout=CANCELLED_S_MAX)
        self._serving = None


def bind(host: str, port: int, *, setting: str) -> socket.socket:
    """Bind and listen on one address; raises `ConfigurationError`, which names the setting."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise bind_error(error, host, port, setting=setting) from None


def bind_error(error: OSError, host: str, port: int, *, setting: str) -> ConfigurationError:
    """Say why an address could not be had, and what to do about it."""
    if error.errno == errno.EADDRINUSE:
        hint = f"stop what listens there, or choose another with {setting} (0 takes a free one)"
        return ConfigurationError(f"port {port} on {host} is in use", code="port_in_use", hint=hint)
    if error.errno in (errno.EACCES, errno.EPERM):
        return ConfigurationError(f"port {port} is not allowed to this user", hint=f"choose {setting} above 1023")
    return ConfigurationError(f"{host} port {port} cannot be bound", hint=f"check {setting} and the host beside it")


class _Server(uvicorn.Server):
    """uvicorn's server inside our process: signals belong to the command line, not to it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _config(application: ASGIApp, settings: HttpSettings, metrics: Metrics) -> uvicorn.Config:
    limits = ConnectionLimits(
        connections_max=settings.connections_max,
        header_bytes_max=settings.header_bytes_max,
        header_s_max=settings.header_s_max,
        write_stall_s_max=settings.write_stall_s_max,
    )
    protocol = functools.partial(GuardedHttpProtocol, limits=limits, on_cut=metrics.connections_cut.add)
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
        timeout_graceful_shutdown=math.ceil(settings.drain_s_max),
    )
