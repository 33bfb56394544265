"""Regular expressions of JSON Schema's `pattern`, parsed into a tree of character sets; pure.

Taken: literals, escapes, classes, groups, alternatives, counts, anchors at the ends. An expression without anchors may
match anywhere in a string; writing exactly one match is sound. Everything else is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from hushnet.provider.engines.grammar.rules import UnsupportedSchema

LENGTH_MAX: Final = 512
NESTING_MAX: Final = 16
COUNT_DIGITS_MAX: Final = 4
CHARACTER_MAX: Final = 0x10FFFF

Ranges: TypeAlias = tuple[tuple[int, int], ...]
"""Code points, sorted, apart, both ends in."""


@dataclass(frozen=True, slots=True)
class One:
    """One character out of `ranges`."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Sequence:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    options: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`node`, `low`..`high` times; None has no end."""

    node: Node
    low: int
    high: int | None


Node: TypeAlias = One | Sequence | Choice | Repeat

# Named classes keep to ASCII, their opposites too: dialects disagree about which other characters belong where.
_CLASSES: Final[dict[str, Ranges]] = {
    "d": ((0x30, 0x39),),
    "w": ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)),
    "s": ((0x09, 0x0D), (0x20, 0x20)),
}
_CONTROLS: Final = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v"}
_COUNTS: Final[dict[str, tuple[int, int | None]]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}


def parse_regex(pattern: str) -> Node:
    """Parse `pattern`; raises `UnsupportedSchema`."""
    if len(pattern) > LENGTH_MAX:
        raise UnsupportedSchema(f"pattern is longer than {LENGTH_MAX} characters")
    parser = _Parser(pattern)
    tree = parser.alternatives()
    if parser.peek():
        raise _refused()
    return tree


def normal(ranges: list[tuple[int, int]]) -> Ranges:
    """Sort and join ranges."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], high))
        else:
            joined.append((low, high))
    return tuple(joined)


def complement(ranges: Ranges) -> Ranges:
    """Return every other code point."""
    rest, start = [], 0
    for low, high in ranges:
        if start < low:
            rest.append((start, low - 1))
        start = high + 1
    if start <= CHARACTER_MAX:
        rest.append((start, CHARACTER_MAX))
    return tuple(rest)


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._nesting = 0

    def peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def alternatives(self) -> Node:
        options = [self._sequence()]
        while self._take("|"):
            options.append(self._sequence())
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _sequence(self) -> Node:
        parts = []
        if self._nesting == 0:
            self._take("^")
        while self.peek() and self.peek() not in "|)":
            if self._nesting == 0 and self.peek() == "$" and self._pattern[self._at + 1 : self._at + 2] in ("", "|"):
                self._at += 1
            else:
                parts.append(self._counted(self._atom()))
        return Sequence(tuple(parts))

    def _atom(self) -> Node:
        character = self._next()
        if character == "(":
            return self._group()
        if character == "[":
            return One(self._class())
        if character == ".":
            return One(complement(normal([(0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029)])))
        if character == "\\":
            return One(self._escape())
        if character in "^$*+?{":
            raise _refused()
        return One(_single(character))

    def _group(self) -> Node:
        if self._take("?") and not self._take(":"):
            raise _refused()
        self._nesting += 1
        if self._nesting > NESTING_MAX:
            raise UnsupportedSchema("pattern nests too deep")
        inner = self.alternatives()
        if not self._take(")"):
            raise _refused()
        self._nesting -= 1
        return inner

    def _escape(self) -> Ranges:
        character = self._next()
        if character in _CLASSES:
            return _CLASSES[character]
        if character.lower() in _CLASSES:
            return tuple((low, min(high, 0x7F)) for low, high in complement(_CLASSES[character.lower()]) if low <= 0x7F)
        if character in _CONTROLS:
            return _single(_CONTROLS[character])
        if character.isalnum():
            raise _refused()
        return _single(character)

    def _class(self) -> Ranges:
        is_negated = self._take("^")
        ranges: list[tuple[int, int]] = []
        while not self._take("]"):
            ranges.extend(self._class_part())
        if not ranges:
            raise _refused()
        return complement(normal(ranges)) if is_negated else normal(ranges)

    def _class_part(self) -> Ranges:
        first = self._class_character()
        if self.peek() == "-" and self._pattern[self._at + 1 : self._at + 2] not in ("]", ""):
            self._at += 1
            last = self._class_character()
            is_range = all(len(end) == 1 and end[0][0] == end[0][1] for end in (first, last))
            if not is_range or first[0][0] > last[0][0]:
                raise _refused()
            return ((first[0][0], last[0][0]),)
        return first

    def _class_character(self) -> Ranges:
        character = self._next()
        return self._escape() if character == "\\" else _single(character)

    def _counted(self, node: Node) -> Node:
        while (sign := self.peek()) and sign in "*+?{":
            self._at += 1
            low, high = _COUNTS[sign] if sign != "{" else self._bounds()
            self._take("?")  # laziness changes nothing about what matches
            node = Repeat(node, low, high)
        return node

    def _bounds(self) -> tuple[int, int | None]:
        end = self._pattern.find("}", self._at)
        counts = self._pattern[self._at : end].split(",") if end >= 0 else []
        self._at = end + 1
        if not 1 <= len(counts) <= 2 or not _is_count(counts[0]) or (counts[-1] and not _is_count(counts[-1])):
            raise _refused()
        low = int(counts[0])
        high = int(counts[-1]) if counts[-1] else None
        if high is not None and high < low:
            raise _refused()
        return low, high

    def _take(self, character: str) -> bool:
        if self.peek() != character:
            return False
        self._at += 1
        return True

    def _next(self) -> str:
        if self._at >= len(self._pattern):
            raise _refused()
        self._at += 1
        return self._pattern[self._at - 1]


def _single(character: str) -> Ranges:
    return ((ord(character), ord(character)),)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= COUNT_DIGITS_MAX


def _refused() -> UnsupportedSchema:
    return UnsupportedSchema("pattern is wrong, or uses what cannot be enforced")
