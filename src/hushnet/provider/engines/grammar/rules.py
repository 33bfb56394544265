"""Grammar text under a budget: named rules, literals, repetitions."""

from __future__ import annotations

from typing import Final

from hushnet.dialects.openai_chat import BadRequestError

TEXT_BYTES_MAX: Final = 48 * 1024
"""llama.cpp parses this much in about 30 ms; it parses on the thread that serves every other request too."""

REPETITIONS_MAX: Final = 1_000
"""llama.cpp refuses more than 2,000 copies of anything; each bounded repetition is that many copies."""

COPIES_MAX: Final = 8_000
"""All copies that bounded repetitions make, over the whole grammar."""


class UnsupportedSchema(BadRequestError):  # noqa: N818 - named after what it is, as its code is
    """A schema that cannot be enforced: it is wrong, too large, or uses a keyword that has no grammar.

    The text names keywords of JSON Schema only, never names or values of the caller's own.
    """

    def __init__(self, message: str) -> None:
        super().__init__("unsupported_schema", message, param="response_format.json_schema.schema")


BASIC_RULES: Final = {
    "ws": r'| " " | "\n" [ \t]{0,20}',
    "hex": "[0-9a-fA-F]",
    "char": r'[^"\\\x7F\x00-\x1F] | "\\" (["\\/bfnrt] | "u" ([0-9a-ce-fA-CE-F] hex{3} | [dD] [0-7] hex{2}))',
    "string": r'"\"" char* "\""',
    "integer": '"-"? ("0" | [1-9] [0-9]{0,15})',
    "number": 'integer ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?',
    "boolean": '"true" | "false"',
    "null": '"null"',
    "member": 'string ws ":" ws value',
    "object": '"{" ws (member ws ("," ws member ws)*)? "}"',
    "array": '"[" ws (value ws ("," ws value ws)*)? "]"',
    "value": "object | array | string | number | boolean | null",
}
_USES: Final = {
    "char": ("hex",),
    "string": ("char",),
    "number": ("integer",),
    "member": ("string", "ws", "value"),
    "object": ("member", "ws"),
    "array": ("value", "ws"),
    "value": ("object", "array", "string", "number", "boolean", "null"),
}


class Rules:
    """The rules of one grammar as they are collected."""

    def __init__(self) -> None:
        self._bodies: dict[str, str] = {}
        self._text_bytes = 0
        self._copies = 0

    def basic(self, name: str) -> str:
        """Use one of `BASIC_RULES`; returns its name."""
        if name not in self._bodies:
            self._store(name, BASIC_RULES[name])
            for used in _USES.get(name, ()):
                self.basic(used)
        return name

    def reserve(self) -> str:
        """Name a rule before its body is known, for schemas that contain themselves."""
        name = f"r{len(self._bodies)}"
        self._bodies[name] = ""
        return name

    def define(self, name: str, body: str) -> str:
        """Give a reserved rule its body; returns its name."""
        self._store(name, body)
        return name

    def add(self, body: str) -> str:
        """Add a rule; returns its name."""
        return self.define(self.reserve(), body)

    def repeat(self, item: str, low: int, high: int | None) -> str:
        """Write `item` (one symbol or a group) `low`..`high` times; None has no end. Counts against the budget."""
        self._copies += low if high is None else high
        if self._copies > COPIES_MAX or max(low, high or 0) > REPETITIONS_MAX:
            raise UnsupportedSchema("the schema's lengths and counts are too large together")
        return '""' if high == 0 else f"{item}{{{low},{'' if high is None else high}}}"

    def text(self, root: str) -> str:
        """Return the grammar."""
        return "\n".join([f"root ::= {root}", *(f"{name} ::= {body}" for name, body in self._bodies.items())])

    def _store(self, name: str, body: str) -> None:
        self._bodies[name] = body
        self._text_bytes += len(body.encode()) + len(name) + 5
        if self._text_bytes > TEXT_BYTES_MAX:
            raise UnsupportedSchema("the schema is too large")


def literal(text: str) -> str:
    """Write `text` as a terminal."""
    return '"' + "".join(_escape(character) for character in text) + '"'


def _escape(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    code = ord(character)
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02X}"
    return character
