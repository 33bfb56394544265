"""From a regular expression to grammar text, by way of a deterministic automaton.

Why not write the expression down as it stands: llama.cpp follows every way through an ambiguous grammar at the same
time, and a pattern of 20 characters can have millions. A deterministic one has a single way, and its size is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from hushnet.provider.engines.grammar.regex import Choice, Node, One, Ranges, Repeat, Sequence, normal, parse_regex
from hushnet.provider.engines.grammar.rules import Rules, UnsupportedSchema

LOOSE_STATES_MAX: Final = 1_000
STATES_MAX: Final = 400
WORK_MAX: Final = 100_000
"""Steps of making it deterministic: at most 0.1 s, spent on the event loop."""

_ESCAPES: Final = {0x22: r"\"", 0x5C: r"\\", 0x0A: r"\n", 0x0D: r"\r", 0x09: r"\t", 0x0C: r"\f", 0x08: r"\b"}
"""Characters that stand escaped in a JSON string; other control characters are never written."""
_PLAIN: Final[Ranges] = ((0x20, 0x21), (0x23, 0x5B), (0x5D, 0x7E), (0x80, 0xD7FF), (0xE000, 0x10FFFF))


def compile_pattern(pattern: str, rules: Rules) -> str:
    """Return the name of a rule for the inside of JSON strings that match `pattern`; raises `UnsupportedSchema`."""
    loose = _LooseAutomaton()
    start, end = loose.state(), loose.state()
    loose.build(parse_regex(pattern), start, end)
    moves, accepting = _determine(loose, start, end)
    alive = _alive(moves, accepting)
    if 0 not in alive:
        raise UnsupportedSchema("pattern matches nothing that JSON can hold")
    names = {state: rules.reserve() for state in sorted(alive)}
    for state, name in names.items():
        options = [f"{written} {names[target]}" for target, written in moves[state].items() if target in alive]
        rules.define(name, " | ".join([*options, '""'] if state in accepting else options))
    return names[0]


def _alive(moves: list[dict[int, str]], accepting: set[int]) -> set[int]:
    """Return the states from which an end can be reached."""
    sources: dict[int, set[int]] = {}
    for state, targets in enumerate(moves):
        for target in targets:
            sources.setdefault(target, set()).add(state)
    alive, pending = set(accepting), list(accepting)
    while pending:
        for source in sources.get(pending.pop(), set()) - alive:
            alive.add(source)
            pending.append(source)
    return alive


class _LooseAutomaton:
    """A nondeterministic automaton with empty moves (Thompson's construction)."""

    def __init__(self) -> None:
        self.empty: list[list[int]] = []
        self.moves: list[list[tuple[Ranges, int]]] = []
        self._work = 0

    def spend(self, work: int) -> None:
        """Count steps against the budget."""
        self._work += work
        if self._work > WORK_MAX:
            raise UnsupportedSchema("pattern is too large")

    def state(self) -> int:
        if len(self.empty) >= LOOSE_STATES_MAX:
            raise UnsupportedSchema("pattern is too large")
        self.empty.append([])
        self.moves.append([])
        return len(self.empty) - 1

    def build(self, node: Node, start: int, end: int) -> None:
        match node:
            case One(ranges):
                self.moves[start].append((ranges, end))
            case Sequence(parts):
                for part in parts:
                    start = self._step(part, start)
                self.empty[start].append(end)
            case Choice(options):
                for option in options:
                    self.empty[self._step(option, start)].append(end)
            case Repeat(inner, low, high):
                self._repeat(inner, low, high, start, end)

    def _step(self, node: Node, start: int) -> int:
        inner, end = self.state(), self.state()
        self.empty[start].append(inner)
        self.build(node, inner, end)
        return end

    def _repeat(self, node: Node, low: int, high: int | None, start: int, end: int) -> None:
        for _ in range(low):
            start = self._step(node, start)
        self.empty[start].append(end)
        if high is None:
            self.empty[self._step(node, start)].append(start)
        else:
            for _ in range(high - low):
                start = self._step(node, start)
                self.empty[start].append(end)

    def closure(self, states: frozenset[int]) -> frozenset[int]:
        found, pending = set(states), list(states)
        while pending:
            for following in self.empty[pending.pop()]:
                if following not in found:
                    found.add(following)
                    pending.append(following)
        self.spend(len(found))
        return frozenset(found)


def _determine(loose: _LooseAutomaton, start: int, end: int) -> tuple[list[dict[int, str]], set[int]]:
    """Make it deterministic: each state's moves as target and grammar text, and which states may end; 0 is the start."""
    first = loose.closure(frozenset({start}))
    numbers = {first: 0}
    pending = [first]
    moves: list[dict[int, str]] = []
    for states in pending:  # grows while it is walked, in the order of `numbers`
        targets: dict[int, list[tuple[int, int]]] = {}
        for low, high, following in _split(loose, states):
            target = loose.closure(following)
            if target not in numbers:
                numbers[target] = len(numbers)
                pending.append(target)
            targets.setdefault(numbers[target], []).append((low, high))
        if len(numbers) > STATES_MAX:
            raise UnsupportedSchema("pattern is too large")
        written = {target: _written(normal(ranges)) for target, ranges in targets.items()}
        moves.append({target: text for target, text in written.items() if text})
    return moves, {number for states, number in numbers.items() if end in states}


def _split(loose: _LooseAutomaton, states: frozenset[int]) -> Iterator[tuple[int, int, frozenset[int]]]:
    """Cut the characters that `states` take into ranges within which they all move alike."""
    moves = [(ranges, target) for state in states for ranges, target in loose.moves[state]]
    edges = sorted({edge for ranges, _ in moves for low, high in ranges for edge in (low, high + 1)})
    loose.spend(len(edges) * sum(len(ranges) for ranges, _ in moves))
    for low, after in pairwise(edges):
        following = frozenset(target for ranges, target in moves if any(a <= low <= b for a, b in ranges))
        if following:
            yield low, after - 1, following


def _written(ranges: Ranges) -> str:
    """Write one character out of `ranges` as it stands in a JSON string; empty when none can be written."""
    plain = [(max(low, a), min(high, b)) for low, high in ranges for a, b in _PLAIN if max(low, a) <= min(high, b)]
    options = ["[" + "".join(_range(low, high) for low, high in plain) + "]"] if plain else []
    for code, escape in _ESCAPES.items():
        if any(low <= code <= high for low, high in ranges):
            options.append('"' + escape.replace("\\", "\\\\").replace('"', '\\"') + '"')
    return options[0] if len(options) == 1 else f"({' | '.join(options)})" if options else ""


def _range(low: int, high: int) -> str:
    return _code(low) if low == high else f"{_code(low)}-{_code(high)}"


def _code(code: int) -> str:
    if 0x30 <= code <= 0x39 or 0x41 <= code <= 0x5A or 0x61 <= code <= 0x7A:
        return chr(code)
    return f"\\x{code:02X}" if code <= 0xFF else f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"
