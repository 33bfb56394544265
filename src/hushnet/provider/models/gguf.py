"""The header of a GGUF file: enough to know that it is a language model, and what it was trained for.

Layout: magic `GGUF`, version u32, tensor count u64, key count u64, then key/value pairs, little-endian
(github.com/ggml-org/ggml/blob/master/docs/gguf.md). Reading is bounded and never trusts a length.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from hushnet.foundation.errors import ConfigurationError

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)
KEYS_MAX: Final = 4_096
TENSORS_MAX: Final = 1 << 20
KEY_BYTES_MAX: Final = 65_535
TEXT_BYTES_MAX: Final = 1 << 24
ARRAY_MEMBERS_MAX: Final = 1 << 24

_SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT: Final = 8
_ARRAY: Final = 9


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a model file says about itself; `context_tokens` is 0 where it says nothing."""

    architecture: str
    context_tokens: int
    tensors: int


class NotAModelError(ConfigurationError):
    """A file that no engine here can load."""

    code = "not_a_model"
    default_hint = "Models are single GGUF files; a file that broke off while it was copied must be copied again."


def read_header(path: Path) -> GgufHeader:
    """Read the header of the file at `path`; raises `NotAModelError`."""
    try:
        with path.open("rb") as file:
            return _Reader(file, path.stat().st_size).header()
    except OSError:
        raise NotAModelError(f"{path} cannot be read") from None
    except (struct.error, UnicodeDecodeError):
        size = path.stat().st_size
        raise NotAModelError(f"{path} ({size} bytes) may be incomplete: its header is broken off or damaged") from None


class _Reader:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size

    def header(self) -> GgufHeader:
        if self._file.read(4) != MAGIC:
            raise NotAModelError("the file is not a GGUF file")
        version, tensors, keys = self._unpack("IQQ")
        if version not in VERSIONS:
            raise NotAModelError(f"the file has GGUF version {version}; this reads 2 and 3")
        if not 0 < tensors <= TENSORS_MAX or keys > KEYS_MAX:
            raise NotAModelError("the file's header is damaged, or it holds no tensors")
        found: dict[str, Any] = {}
        for _ in range(keys):
            key = self._text(KEY_BYTES_MAX)
            value = self._value(self._unpack("I")[0])
            if key == "general.architecture" or key.endswith(".context_length"):
                found[key] = value
        return self._told(found, tensors)

    def _told(self, found: dict[str, Any], tensors: int) -> GgufHeader:
        architecture = found.get("general.architecture")
        if not isinstance(architecture, str) or architecture == "clip":
            raise NotAModelError("the file holds no language model")
        context_tokens = found.get(f"{architecture}.context_length", 0)
        return GgufHeader(architecture, context_tokens if type(context_tokens) is int else 0, tensors)

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text(TEXT_BYTES_MAX)
        if kind == _ARRAY:
            self._skip_array()
            return None
        return self._unpack(self._scalar(kind))[0]

    def _skip_array(self) -> None:
        kind, members = self._unpack("IQ")
        if members > ARRAY_MEMBERS_MAX or kind == _ARRAY:
            raise NotAModelError("the file's header is damaged")
        if kind == _TEXT:
            for _ in range(members):
                self._skip(self._unpack("Q")[0])
        else:
            self._skip(members * struct.calcsize("<" + self._scalar(kind)))

    def _scalar(self, kind: int) -> str:
        if kind not in _SCALARS:
            raise NotAModelError("the file's header is damaged")
        return _SCALARS[kind]

    def _text(self, most: int) -> str:
        length = self._unpack("Q")[0]
        if length > most:
            raise NotAModelError("the file's header is damaged")
        return self._file.read(length).decode()

    def _skip(self, length: int) -> None:
        if length > self._size:
            raise NotAModelError("the file's header is damaged")
        self._file.seek(length, 1)

    def _unpack(self, form: str) -> tuple[Any, ...]:
        form = "<" + form
        return struct.unpack(form, self._file.read(struct.calcsize(form)))
