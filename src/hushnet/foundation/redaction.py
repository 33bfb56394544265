"""Keep secrets out of text: a wrapper whose `repr` shows nothing, and a log filter for what looks like a key."""

from __future__ import annotations

import logging
import re
from typing import Final

KEY_PATTERN: Final = re.compile(r"\bhk_[a-z]+_[0-9a-z]+_[A-Za-z0-9_-]{16,}")
_BEARER_PATTERN = re.compile(r"(?i)\b(bearer)\s+[A-Za-z0-9._~+/=-]{8,}")


class Secret:
    """A string that only `reveal()` shows; `repr`, `str` and formatting print a fixed mark."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not serialised")


def redact(text: str) -> str:
    """Return `text` with API keys and bearer tokens replaced."""
    return _BEARER_PATTERN.sub(r"\1 ***", KEY_PATTERN.sub("hk_***", text))


class RedactingFilter(logging.Filter):
    """A last line of defence on every log handler; code that logs a key is still a bug."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = redact(record.getMessage())
        record.args = None
        return True
