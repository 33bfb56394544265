"""An independent reader of the GBNF that Hushnet writes: draws random texts from a grammar."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from math import inf
from typing import Any, TypeAlias

Item: TypeAlias = Any
"""A terminal string, a class (list of ranges, negated), a rule name, alternatives, or a repetition."""


@dataclass(frozen=True)
class Class:
    ranges: tuple[tuple[int, int], ...]
    is_negated: bool

    def draw(self, chance: random.Random) -> str:
        if not self.is_negated:
            low, high = chance.choice(self.ranges)
            return chr(chance.randint(low, high))
        while True:
            code = chance.choice([chance.randint(0x20, 0x7E), chance.randint(0xA0, 0x2FFF)])
            if not any(low <= code <= high for low, high in self.ranges):
                return chr(code)


@dataclass(frozen=True)
class Rule:
    name: str


@dataclass(frozen=True)
class Alternatives:
    options: tuple[tuple[Item, ...], ...]


@dataclass(frozen=True)
class Repeated:
    item: Item
    low: int
    high: int | None


_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|[a-z][a-z0-9]*|[()|*+?]|\{\d+(?:,\d*)?\})')
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)|([^\\])", re.DOTALL)


class Grammar:
    """A parsed grammar. `can_end` is false where no finite text exists."""

    def __init__(self, text: str) -> None:
        self.rules: dict[str, Alternatives] = {}
        for line in text.split("\n"):
            name, _, body = line.partition(" ::= ")
            tokens = _tokens(body)
            self.rules[name] = _alternatives(tokens)
            assert not tokens, f"{name} has text left over"
        self._cost: dict[str, float] = dict.fromkeys(self.rules, inf)
        for _ in range(len(self.rules) + 1):
            self._cost = {name: self._cost_of(body) for name, body in self.rules.items()}

    @property
    def can_end(self) -> bool:
        return self._cost["root"] < inf

    def draw(self, chance: random.Random, *, patience: int = 12) -> str:
        """Draw a text; below `patience` levels the shortest way out is taken."""
        return self._draw(Rule("root"), chance, patience)

    def _draw(self, item: Item, chance: random.Random, patience: int) -> str:
        match item:
            case str():
                return item
            case Class():
                return item.draw(chance)
            case Rule(name):
                return self._draw(self.rules[name], chance, patience - 1)
            case Alternatives(options):
                ending = [option for option in options if self._cost_of_sequence(option) < inf]
                option = chance.choice(ending) if patience > 0 else min(ending, key=self._cost_of_sequence)
                return "".join(self._draw(part, chance, patience) for part in option)
            case Repeated(inner, low, high):
                most = (
                    low
                    if patience <= 0 or self._cost_of(inner) == inf
                    else low + 3
                    if high is None
                    else min(high, low + 3)
                )
                return "".join(self._draw(inner, chance, patience) for _ in range(chance.randint(low, most)))
        raise AssertionError(item)

    def _cost_of(self, item: Item) -> float:
        match item:
            case Rule(name):
                return self._cost[name] + 1
            case Alternatives(options):
                return min(self._cost_of_sequence(option) for option in options)
            case Repeated(inner, low, _):
                return low * self._cost_of(inner) if low else 0
            case _:
                return 1

    def _cost_of_sequence(self, option: tuple[Item, ...]) -> float:
        return sum(self._cost_of(part) for part in option)


def _tokens(body: str) -> list[str]:
    found, at = [], 0
    body = body.rstrip()
    while at < len(body):
        match = _TOKEN.match(body, at)
        assert match, f"no token at {body[at : at + 20]!r}"
        found.append(match[1])
        at = match.end()
    return found[::-1]


def _alternatives(tokens: list[str]) -> Alternatives:
    options: list[tuple[Item, ...]] = []
    sequence: list[Item] = []
    while tokens and tokens[-1] != ")":
        token = tokens.pop()
        if token == "|":
            options.append(tuple(sequence))
            sequence = []
        elif token in "*+?" or token[0] == "{":
            low, high = _counts(token)
            sequence[-1] = Repeated(sequence[-1], low, high)
        else:
            sequence.append(_item(token, tokens))
    return Alternatives((*options, tuple(sequence)))


def _item(token: str, tokens: list[str]) -> Item:
    if token == "(":
        inner = _alternatives(tokens)
        assert tokens.pop() == ")"
        return inner
    if token[0] == '"':
        return "".join(_characters(token[1:-1]))
    if token[0] == "[":
        return _class(token[1:-1])
    return Rule(token)


def _counts(token: str) -> tuple[int, int | None]:
    if token in "*+?":
        return {"*": (0, None), "+": (1, None), "?": (0, 1)}[token]
    low, comma, high = token[1:-1].partition(",")
    return int(low), (int(high) if high else None) if comma else int(low)


def _class(inside: str) -> Class:
    is_negated = inside.startswith("^")
    characters = _characters(inside[1:] if is_negated else inside)
    plain = _marks(inside[1:] if is_negated else inside)
    ranges, at = [], 0
    while at < len(characters):
        if at + 2 < len(characters) and plain[at + 1] == "-":
            ranges.append((ord(characters[at]), ord(characters[at + 2])))
            at += 3
        else:
            ranges.append((ord(characters[at]), ord(characters[at])))
            at += 1
    return Class(tuple(ranges), is_negated)


def _characters(text: str) -> list[str]:
    return [_character(match) for match in _ESCAPE.finditer(text)]


def _marks(text: str) -> list[str]:
    return [match[0] for match in _ESCAPE.finditer(text)]


def _character(match: re.Match[str]) -> str:
    escape = match[1]
    if escape is None:
        return match[2]
    if escape[0] in "xuU" and len(escape) > 1:
        return chr(int(escape[1:], 16))
    return {"n": "\n", "r": "\r", "t": "\t"}.get(escape, escape)
