"""A long JSON list of objects, read as it arrives: only what is wanted of it is kept.

For gateways that list everything they have and know no pages: what is held at a time is one object and what was picked.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

LIST_BYTES_MAX: Final = 64 * 1024 * 1024
"""More than a hundred thousand payouts of half a kilobyte."""
_OBJECT_CHARS_MAX: Final = 256 * 1024
_BETWEEN: Final = " \t\r\n,"


class TooLongError(ValueError):
    """The list, or one object of it, is longer than is read."""


class ListReader:
    """Picks the objects that `is_wanted` says; numbers are kept as their text."""

    def __init__(self, is_wanted: Callable[[Mapping[str, Any]], bool], *, bytes_max: int = LIST_BYTES_MAX) -> None:
        self._is_wanted = is_wanted
        self._left = bytes_max
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
        self._rest = ""
        self._is_open = self._is_closed = False
        self._picked: list[Any] = []

    def feed(self, piece: bytes) -> None:
        """Take the next bytes; raises `ValueError` for what is no such list, `TooLongError`."""
        self._left -= len(piece)
        if self._left < 0:
            raise TooLongError("the list is too long")
        self._rest += self._utf8.decode(piece)
        at = 0
        while (end := self._one(at)) > at:
            at = end
        self._rest = self._rest[at:]
        if len(self._rest) > _OBJECT_CHARS_MAX:
            raise TooLongError("an object of the list is too long")

    def finish(self) -> list[Any]:
        """Return what was picked; raises `ValueError` when the list did not end."""
        if not self._is_closed or self._rest.strip():
            raise ValueError("the list does not end")
        return self._picked

    def _one(self, at: int) -> int:
        """Read from `at` up to the end of the next whole thing; return where that is."""
        text = self._rest
        while at < len(text) and text[at] in _BETWEEN:
            at += 1
        if at == len(text):
            return at
        if text[at] == "[" and not self._is_open:
            self._is_open = True
            return at + 1
        if text[at] == "]" and self._is_open and not self._is_closed:
            self._is_closed = True
            return at + 1
        if text[at] != "{" or not self._is_open or self._is_closed:
            raise ValueError("not a list of objects")
        try:
            found, end = self._json.raw_decode(text, at)
        except json.JSONDecodeError:
            return at  # not whole yet, or never: then the list does not end
        except RecursionError:
            raise ValueError("nested too deeply") from None
        if self._is_wanted(found):
            self._picked.append(found)
        return end
