"""The two files that the books need: the key that signs roots, and the secret behind every day's nonces.

Both are made at the first start, 0600, and never replaced: roots signed by another key, and proofs under another
secret, are worth nothing to who has the old ones. A file that others may read is refused, never repaired in silence.
"""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from hushnet.coordinator.ledger.books.keeper import BookKeys
from hushnet.foundation.errors import ConfigurationError
from hushnet.foundation.redaction import Secret
from hushnet.identity.keys import IdentityKey

KEY_FILE: Final = "books.pem"
MASTER_FILE: Final = "books.secret"
_SECRET_BYTES: Final = 32
_FILE_BYTES_MAX: Final = 4096


def load_book_keys(home: Path, *, is_new: bool = True) -> BookKeys:
    """Return the keys in `home`, made where they are missing if `is_new`; raises `ConfigurationError` for an unsound file."""
    pem = _kept(home / KEY_FILE, IdentityKey.generate().to_pem() if is_new else b"")
    fresh = secrets.token_hex(_SECRET_BYTES).encode() + b"\n" if is_new else b""
    text = _kept(home / MASTER_FILE, fresh).decode("ascii", "replace").strip()
    try:
        is_secret = len(bytes.fromhex(text)) == _SECRET_BYTES
    except ValueError:
        is_secret = False
    if not is_secret:
        raise ConfigurationError(f"{home / MASTER_FILE} is no secret of the books", hint="restore it from a backup")
    return BookKeys(IdentityKey.from_pem(pem), Secret(text))


def _kept(path: Path, fresh: bytes) -> bytes:
    """Return the file's content; a missing one gets `fresh`, or what another first start was quicker to put there."""
    try:
        if fresh and not path.exists():
            _create(path, fresh)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ConfigurationError(
                    f"{path} can be read by others", hint=f"chmod 600 {path}, if nobody else has read it"
                )
            return os.read(descriptor, _FILE_BYTES_MAX)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ConfigurationError(
            f"{path} can't be used ({error.strerror})",
            hint="the coordinator makes it in its home: name that with --home",
        ) from None


def _create(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as sink:
            sink.write(content)
            sink.flush()
            os.fsync(sink.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
