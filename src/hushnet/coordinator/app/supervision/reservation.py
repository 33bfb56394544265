"""A port that stays ours while workers come and go: bound with SO_REUSEPORT by the supervisor, listened at by the workers."""

from __future__ import annotations

import contextlib
import logging
import socket
import sys

from hushnet.coordinator.api.http.listener import bind, bind_error
from hushnet.foundation.errors import ConfigurationError

_LOG = logging.getLogger(__name__)


class Reservation:
    """One address. The socket never listens, so the kernel gives it no connection."""

    def __init__(self, host: str, port: int, *, setting: str) -> None:
        """Take the port, a free one for 0; raises `ConfigurationError` when it cannot be had, or not be shared."""
        option = getattr(socket, "SO_REUSEPORT", None)
        if option is None:
            raise ConfigurationError(
                "this platform lets no two processes share a port", hint="set workers to 1 (--workers 1)"
            )
        if port:
            # Somebody of the same user that shares ports too would not be noticed below.
            with contextlib.closing(bind(host, port, setting=setting)):
                pass
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, option, 1)
            self._socket.bind((host.strip("[]"), port))
        except OSError as error:
            self._socket.close()
            raise bind_error(error, host, port, setting=setting) from None
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> Reservation:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def warn_where_nothing_is_spread() -> None:
    """Say so where the kernel hands all connections of a shared port to one process."""
    if sys.platform != "linux":
        _LOG.warning("this platform may give all connections to one worker; put a proxy with a port a worker in front")
