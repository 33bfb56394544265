"""Regular expressions of JSON Schema's `pattern`, as grammar text for the inside of a JSON string.

Taken: literals, escapes, classes, groups, alternatives, counts, anchors at the ends. An expression without anchors may
match anywhere in a string; writing exactly one match is sound. Everything else is refused.
"""

from __future__ import annotations

from typing import Final

from hushnet.provider.engines.grammar.rules import Rules, UnsupportedSchema, literal

LENGTH_MAX: Final = 512
NESTING_MAX: Final = 16

_CLASSES: Final = {"d": "0-9", "w": "A-Za-z0-9_", "s": " "}
_NEGATED: Final = {"D": "0-9", "W": "A-Za-z0-9_", "S": " "}
_CONTROLS: Final = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}
_UNWRITABLE: Final = r'"\\\x7F\x00-\x1F'
"""What cannot stand in a JSON string as itself; classes leave it out."""
_JSON_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f"}


def compile_pattern(pattern: str, rules: Rules) -> str:
    """Return grammar text for strings that match `pattern`, without the quotes; raises `UnsupportedSchema`."""
    if len(pattern) > LENGTH_MAX:
        raise UnsupportedSchema(f"pattern is longer than {LENGTH_MAX} characters")
    start = 1 if pattern.startswith("^") else 0
    end = len(pattern) - (1 if _ends_with_anchor(pattern) else 0)
    parser = _Parser(pattern[start:end], rules)
    return parser.whole()


def _ends_with_anchor(pattern: str) -> bool:
    stripped = pattern[:-1].rstrip("\\")
    return pattern.endswith("$") and (len(pattern) - 1 - len(stripped)) % 2 == 0


class _Parser:
    def __init__(self, pattern: str, rules: Rules) -> None:
        self._pattern = pattern
        self._at = 0
        self._rules = rules
        self._nesting = 0

    def whole(self) -> str:
        text = self._alternatives()
        if self._at < len(self._pattern):
            raise _refused()
        return text

    def _alternatives(self) -> str:
        parts = [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        return " | ".join(parts)

    def _sequence(self) -> str:
        parts = []
        while self._at < len(self._pattern) and self._pattern[self._at] not in "|)":
            parts.append(self._counted(self._atom()))
        return " ".join(parts) or '""'

    def _atom(self) -> str:
        character = self._next()
        if character == "(":
            return self._group()
        if character == "[":
            return self._class()
        if character == ".":
            return f"[^{_UNWRITABLE}]"
        if character == "\\":
            return self._escape()
        if character in "^$*+?{":
            raise _refused()
        return _character(character)

    def _group(self) -> str:
        if self._take("?") and not self._take(":"):
            raise _refused()
        self._nesting += 1
        if self._nesting > NESTING_MAX:
            raise UnsupportedSchema("pattern nests too deep")
        inner = self._alternatives()
        if not self._take(")"):
            raise _refused()
        self._nesting -= 1
        return self._rules.add(inner)

    def _escape(self) -> str:
        character = self._next()
        if character in _CLASSES:
            return f"[{_CLASSES[character]}]"
        if character in _NEGATED:
            return f"[^{_NEGATED[character]}{_UNWRITABLE}]"
        if character in _CONTROLS:
            return _character(_CONTROLS[character])
        if character.isalnum():
            raise _refused()
        return _character(character)

    def _class(self) -> str:
        is_negated = self._take("^")
        inside = []
        while not self._take("]"):
            inside.append(self._class_range())
        if not inside:
            raise _refused()
        return f"[{'^' if is_negated else ''}{''.join(inside)}{_UNWRITABLE if is_negated else ''}]"

    def _class_range(self) -> str:
        first = self._class_character()
        if len(first) > 1:
            return first
        if self._pattern[self._at : self._at + 1] == "-" and self._pattern[self._at + 1 : self._at + 2] not in (
            "]",
            "",
        ):
            self._at += 1
            last = self._class_character()
            if len(last) > 1 or ord(first) > ord(last):
                raise _refused()
            if any(ord(first) <= ord(bad) <= ord(last) for bad in '"\\\x7f'):
                raise UnsupportedSchema("pattern has a character class that spans a quote or a backslash")
            return f"{_in_class(first)}-{_in_class(last)}"
        return _in_class(first)

    def _class_character(self) -> str:
        """Return one character, or the inside of a named class (more than one)."""
        character = self._next()
        if character == "\\":
            character = self._next()
            if character in _CLASSES:
                return _CLASSES[character]
            if character.isalnum():
                raise _refused()
        if character in '"\\' or ord(character) < 0x20 or ord(character) == 0x7F:
            raise UnsupportedSchema("pattern has a character class with a quote, a backslash or a control character")
        return character

    def _counted(self, atom: str) -> str:
        while (sign := self._pattern[self._at : self._at + 1]) and sign in "*+?{":
            self._at += 1
            atom = f"{atom}{sign}" if sign != "{" else self._repeated(atom)
            self._take("?")  # laziness changes nothing about what matches
            atom = self._rules.add(atom)
        return atom

    def _repeated(self, atom: str) -> str:
        end = self._pattern.find("}", self._at)
        counts = self._pattern[self._at : end].split(",") if end >= 0 else []
        self._at = end + 1
        if not 1 <= len(counts) <= 2 or not all(count.isascii() and count.isdigit() for count in counts if count):
            raise _refused()
        if not counts[0] or len(counts[0]) > 6 or len(counts[-1]) > 6:
            raise _refused()
        low = int(counts[0])
        high = low if len(counts) == 1 else (int(counts[1]) if counts[1] else None)
        if high is not None and high < low:
            raise _refused()
        return self._rules.repeat(atom, low, high)

    def _take(self, character: str) -> bool:
        if self._pattern[self._at : self._at + 1] != character:
            return False
        self._at += 1
        return True

    def _next(self) -> str:
        if self._at >= len(self._pattern):
            raise _refused()
        self._at += 1
        return self._pattern[self._at - 1]


def _character(character: str) -> str:
    return literal(_JSON_ESCAPES.get(character, character))


def _in_class(character: str) -> str:
    return f"\\x{ord(character):02X}" if character in "]^-[" else character


def _refused() -> UnsupportedSchema:
    return UnsupportedSchema("pattern is wrong, or uses what cannot be enforced")
