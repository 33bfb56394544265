"""Builds: the SHA-256 of a model file is the name of exactly these weights.

Hashing gigabytes takes a while, so a digest is remembered by path, size and time of change. The memory is a convenience:
it is as trustworthy as the file beside it, both being the provider's own.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

Progress = Callable[[str, int, int], None]
"""Hears what is being done (`hash`, `download`), bytes done, bytes in all."""

_CHUNK_BYTES: Final = 1 << 22
REMEMBERED_MAX: Final = 256


class _Remembered(msgspec.Struct):
    size: int
    modified_ns: int
    sha256: str


class BuildIds:
    """Digests of files, remembered in one JSON file."""

    def __init__(self, memory: Path) -> None:
        self._memory = memory

    def of(self, path: Path, progress: Progress | None = None) -> str:
        """Return the SHA-256 of the file at `path`, in hex."""
        path = path.resolve()
        state = path.stat()
        known = self._read()
        entry = known.get(str(path))
        if entry is not None and (entry.size, entry.modified_ns) == (state.st_size, state.st_mtime_ns):
            return entry.sha256
        digest = sha256_of(path, progress)
        known.pop(str(path), None)
        known[str(path)] = _Remembered(state.st_size, state.st_mtime_ns, digest)
        self._write(known)
        return digest

    def _read(self) -> dict[str, _Remembered]:
        try:
            return msgspec.json.decode(self._memory.read_bytes(), type=dict[str, _Remembered])
        except (OSError, msgspec.MsgspecError, ValueError):
            return {}

    def _write(self, known: dict[str, _Remembered]) -> None:
        self._memory.parent.mkdir(parents=True, exist_ok=True)
        latest = dict(list(known.items())[-REMEMBERED_MAX:])
        with tempfile.NamedTemporaryFile(dir=self._memory.parent, delete=False) as file:
            file.write(msgspec.json.encode(latest))
        os.replace(file.name, self._memory)  # noqa: PTH105 - atomic on every platform, Path.replace says the same


def sha256_of(path: Path, progress: Progress | None = None) -> str:
    """Hash the file at `path`."""
    digest = hashlib.sha256()
    size, done = path.stat().st_size, 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            if progress is not None:
                progress("hash", done, size)
    return digest.hexdigest()
