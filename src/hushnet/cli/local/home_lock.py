"""What `hush up` needs for itself alone: its home, and two ports."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from hushnet.foundation.errors import ConfigurationError

LOCK_FILE: Final = "up.lock"


@contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Hold `HOME/up.lock` for the block; raises `ConfigurationError` when another `hush up` holds it.

    The kernel frees the lock with the process, however it ends; the file stays and names the last holder.
    """
    with _opened(home / LOCK_FILE) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock.fileno(), 32, 0).decode(errors="replace").strip() or "unknown"
            raise ConfigurationError(
                f"`hush up` already runs on this home (pid {holder})",
                code="home_in_use",
                hint="stop it, or use --home and --port",
            ) from None
        os.ftruncate(lock.fileno(), 0)
        os.pwrite(lock.fileno(), f"{os.getpid()}\n".encode(), 0)
        yield


def require_free_ports(port: int) -> None:
    """Raise `ConfigurationError` when `port` or the next one can't be bound on loopback; 0 asks for nothing."""
    for number in (port, port + 1) if port else ():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", number))
            except OSError as error:
                raise ConfigurationError(
                    f"port {number} can't be used ({error.strerror})",
                    code="port_in_use",
                    hint="choose two others with --port N: it takes N and N+1; 0 takes free ones",
                ) from None


def _opened(path: Path) -> IO[bytes]:
    try:
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    except OSError as error:
        raise ConfigurationError(
            f"{path} can't be written ({error.strerror})",
            code="home_not_writable",
            hint="choose a home that can be written, with --home or HUSH_HOME",
        ) from None
