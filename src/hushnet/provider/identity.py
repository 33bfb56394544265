"""The provider's identity at rest: one file, 0600, made once, refused when others could have read or replaced it.

Rules:
- The file appears complete or not at all, and an existing one is never overwritten: two first starts agree on one key.
- A symbolic link, another owner, or any permission for group or others is refused, never repaired in silence: a key
  that was readable has to be treated as known.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from hushnet.foundation.errors import ConfigurationError
from hushnet.identity.keys import IdentityKey

KEY_FILE: Final = "identity.pem"
LOCK_FILE: Final = "provider.lock"
_KEY_BYTES_MAX = 4096
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_WRITE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def load_or_create_identity(folder: Path) -> IdentityKey:
    """Return the identity kept in `folder`, making it on the first call; raise `ConfigurationError` when it is unsafe."""
    _prepare(folder)
    path = folder / KEY_FILE
    if not os.path.lexists(path):
        _create(path)
    return _load(path)


def load_identity(folder: Path) -> IdentityKey:
    """Return the identity kept in `folder`; raise `ConfigurationError` when there is none or it is unsafe."""
    path = folder / KEY_FILE
    if not os.path.lexists(path):
        raise ConfigurationError(
            f"no provider identity in {folder}", hint="`hush provider start` makes one on its first start"
        )
    _check_folder(folder)
    return _load(path)


@contextmanager
def sole_provider(folder: Path) -> Iterator[None]:
    """Hold the folder for one provider process; raise `ConfigurationError` while another one holds it.

    Two agents with one identity would take the link from each other for ever. The kernel frees the lock with the
    process, however it ends.
    """
    _prepare(folder)
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"another provider already runs with {folder}",
                hint="stop it, or give this one a folder of its own with --home",
            ) from None
        yield
    finally:
        os.close(descriptor)


def _prepare(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"cannot make {folder}", hint=f"the system says: {error.strerror}") from None
    _check_folder(folder)


def _check_folder(folder: Path) -> None:
    state = folder.stat()
    if state.st_uid != os.geteuid() or state.st_mode & _WRITE_BY_OTHERS:
        raise ConfigurationError(
            f"others can replace files in {folder}", hint=f"make it yours alone: chmod 700 {folder}, owned by this user"
        )


def _create(path: Path) -> None:
    """Write a new key beside `path` and link it into place: the link fails where a key already is."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o600)  # whatever the umask took away
            os.write(descriptor, IdentityKey.generate().to_pem())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with suppress(FileExistsError):  # another first start was quicker; its key is the identity
            os.link(draft, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}", hint=f"the system says: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _load(path: Path) -> IdentityKey:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigurationError(
            f"cannot open the identity key {path}",
            hint=f"it must be a plain file of this user; the system says: {error.strerror}",
        ) from None
    try:
        _check_file(path, os.fstat(descriptor))
        pem = os.read(descriptor, _KEY_BYTES_MAX)
    finally:
        os.close(descriptor)
    try:
        return IdentityKey.from_pem(pem)
    except ConfigurationError:
        raise ConfigurationError(
            f"{path} holds no usable identity key",
            hint="restore it from a backup, or move it away to get a new identity (a new provider id)",
        ) from None


def _check_file(path: Path, state: os.stat_result) -> None:
    if not stat.S_ISREG(state.st_mode):
        raise ConfigurationError(f"the identity key {path} is not a plain file", hint="remove what is in its place")
    if state.st_uid != os.geteuid():
        raise ConfigurationError(f"the identity key {path} belongs to another user", hint="run as its owner")
    if state.st_mode & _OTHERS:
        raise ConfigurationError(
            f"the identity key {path} is readable or writable by others",
            hint=f"if nobody else used this machine: chmod 600 {path}; otherwise move it away to get a new identity",
        )
