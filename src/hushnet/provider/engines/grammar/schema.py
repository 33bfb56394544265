"""One JSON schema as one grammar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hushnet.dialects.openai_chat import ResponseFormat
from hushnet.provider.engines.grammar.combining import check_exclusive, fold_all_of
from hushnet.provider.engines.grammar.keywords import (
    ANNOTATIONS,
    COMBINING,
    Schema,
    check_alone,
    check_keywords,
    has_type,
    read_edge,
    read_least,
    read_list,
    read_most,
    types_of,
)
from hushnet.provider.engines.grammar.literals import any_of_texts, json_text
from hushnet.provider.engines.grammar.numbers import LIMIT, integer_between, number_between
from hushnet.provider.engines.grammar.overlap import count_alike
from hushnet.provider.engines.grammar.patterns import compile_pattern
from hushnet.provider.engines.grammar.rules import Rules, UnsupportedSchema, literal

NESTING_MAX: Final = 64
PROPERTIES_MAX: Final = 64
"""Of one object: optional properties cost the square of their number while an answer is written."""
ALIKE_MAX: Final = 16

_DATE: Final = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
_TIME: Final = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z"
_FORMATS: Final = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "uuid": "[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
}
"""Formats that are kept; any other is an annotation, as the specification has it."""


def compile_format(wanted: ResponseFormat) -> str:
    """Return the grammar for `wanted`; raises `UnsupportedSchema`."""
    if wanted.schema is None:
        rules = Rules()
        return rules.text(rules.basic("object"))
    return _Compiler(wanted.schema).grammar()


@dataclass(slots=True)
class _Reference:
    """A rule that a `$ref` stands for, open while its own schema is compiled; `growth` is how far it multiplies `alike`."""

    rule: str
    alike: int
    is_open: bool = True
    growth: int = 1


class _Compiler:
    def __init__(self, root: Schema) -> None:
        self._root = root
        self._rules = Rules()
        self._nesting = 0
        self._references: dict[str, _Reference] = {}
        self._alike = 1
        """How many alternatives may be under way at the same time, here."""
        self._alike_most = 1
        self._unguarded: list[str] = []
        """References being compiled with nothing written since: meeting one again would never end."""

    def grammar(self) -> str:
        root = self._schema(self._root)
        return self._rules.text(root)

    def _schema(self, schema: Any) -> str:
        """Return the name of a rule for `schema`."""
        if schema is True:
            return self._rules.basic("value")
        if not isinstance(schema, Mapping):
            raise UnsupportedSchema("a schema must be an object; false matches nothing")
        self._nesting += 1
        if self._nesting > NESTING_MAX:
            raise UnsupportedSchema(f"the schema nests deeper than {NESTING_MAX} levels")
        combining = next((keyword for keyword in COMBINING if keyword in schema), None)
        name = self._any_type(schema) if combining is None else self._combined(combining, schema)
        self._nesting -= 1
        return name

    def _any_type(self, schema: Schema) -> str:
        check_keywords(schema)
        names = [self._typed(kind, schema) for kind in types_of(schema)]
        return names[0] if len(names) == 1 else self._rules.add(" | ".join(names))

    def _combined(self, keyword: str, schema: Schema) -> str:
        if keyword == "$ref":
            check_alone(schema, keyword)
            return self._reference(schema["$ref"])
        if keyword == "allOf":
            return self._all_of(schema)
        check_alone(schema, keyword, beside=frozenset({"type"}))
        if keyword == "const":
            return self._literals([schema["const"]], schema)
        if keyword == "enum":
            return self._literals(read_list(schema, keyword), schema)
        return self._choice(keyword, schema)

    def _literals(self, values: list[Any], schema: Schema) -> str:
        if "type" in schema:
            values = [value for value in values if has_type(value, types_of(schema))]
        if not values:
            raise UnsupportedSchema("the schema matches nothing")
        return any_of_texts([json_text(value) for value in values], self._rules)

    def _choice(self, keyword: str, schema: Schema) -> str:
        alternatives = [_narrowed(alternative, schema) for alternative in read_list(schema, keyword)]
        if keyword == "oneOf":
            check_exclusive(alternatives, self._resolve)
        outside = self._alike
        self._alike *= count_alike(alternatives, self._resolve)
        self._note_alike(self._alike)
        names = [self._schema(alternative) for alternative in alternatives]
        self._alike = outside
        return self._rules.add(" | ".join(dict.fromkeys(names)))

    def _note_alike(self, alike: int) -> None:
        self._alike_most = max(self._alike_most, alike)
        if alike > ALIKE_MAX:
            raise UnsupportedSchema("the schema nests too many alternatives that begin alike")

    def _all_of(self, schema: Schema) -> str:
        parts = read_list(schema, "allOf")
        if len(parts) == 1 and not schema.keys() - ANNOTATIONS - {"allOf"}:
            return self._schema(parts[0])
        return self._schema(fold_all_of(schema, self._resolve))

    def _reference(self, pointer: Any) -> str:
        if not isinstance(pointer, str):
            raise UnsupportedSchema("$ref must point into the schema itself")
        if pointer in self._unguarded:
            raise UnsupportedSchema("$ref leads back to itself")
        known = self._references.get(pointer)
        if known is None:
            return self._new_reference(pointer)
        if known.is_open and self._alike > known.alike:
            raise UnsupportedSchema("alternatives that begin alike lead back to themselves; begin them with a const")
        self._note_alike(self._alike * known.growth)
        return known.rule

    def _new_reference(self, pointer: str) -> str:
        target = self._resolve(pointer)
        reference = self._references[pointer] = _Reference(self._rules.reserve(), self._alike)
        outside_most, self._alike_most = self._alike_most, self._alike
        self._unguarded.append(pointer)
        self._rules.define(reference.rule, self._schema(target))
        self._unguarded.pop()
        reference.is_open, reference.growth = False, self._alike_most // self._alike
        self._alike_most = max(outside_most, self._alike_most)
        return reference.rule

    def _resolve(self, pointer: Any) -> Any:
        if not isinstance(pointer, str) or (pointer != "#" and not pointer.startswith("#/")):
            raise UnsupportedSchema("$ref must point into the schema itself")
        target: Any = self._root
        for part in pointer.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(target, Mapping) and key in target:
                target = target[key]
            elif isinstance(target, list) and key in (indices := [str(index) for index in range(len(target))]):
                target = target[indices.index(key)]
            else:
                raise UnsupportedSchema("$ref points at nothing")
        return target

    def _typed(self, kind: str, schema: Schema) -> str:
        writers: dict[str, Callable[[Schema], str]] = {"object": self._object, "array": self._array}
        if kind in writers:
            outside, self._unguarded = self._unguarded, []  # behind a bracket, references may come round again
            name = writers[kind](schema)
            self._unguarded = outside
            return name
        if kind == "string":
            return self._string(schema)
        return self._number(kind, schema) if kind in ("integer", "number") else self._rules.basic(kind)

    def _object(self, schema: Schema) -> str:
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if not isinstance(properties, Mapping) or not _is_names(required):
            raise UnsupportedSchema("properties must be an object and required a list of names")
        additional = schema.get("additionalProperties", True)
        declared = {**properties, **{name: additional for name in required if name not in properties}}
        if not declared:
            return self._map(additional)
        if len(declared) > PROPERTIES_MAX:
            raise UnsupportedSchema(f"an object has more than {PROPERTIES_MAX} properties")
        ws = self._rules.basic("ws")
        members = [
            (self._member(literal(json_text(name)), value), name in required) for name, value in declared.items()
        ]
        return self._rules.add(f'"{{" {ws} {self._members(members)} {ws} "}}"')

    def _map(self, values: Any) -> str:
        ws = self._rules.basic("ws")
        if values is False:
            return self._rules.add(f'"{{" {ws} "}}"')
        if values is True:
            return self._rules.basic("object")
        member = self._member(self._rules.basic("string"), values)
        return self._rules.add(f'"{{" {ws} ({member} ({self._comma()} {member})*)? {ws} "}}"')

    def _member(self, key: str, schema: Any) -> str:
        ws = self._rules.basic("ws")
        return self._rules.add(f'{key} {ws} ":" {ws} {self._schema(schema)}')

    def _members(self, members: list[tuple[str, bool]]) -> str:
        """Write members in their declared order, optional ones left out or not, commas between."""
        comma = self._comma()
        first = next((index for index, (_, is_required) in enumerate(members) if is_required), None)
        if first is not None:
            before = [f"({name} {comma})?" for name, _ in members[:first]]
            after = [f"{comma} {name}" if needed else f"({comma} {name})?" for name, needed in members[first + 1 :]]
            return " ".join([*before, members[first][0], *after])
        rest, starts = '""', []
        for name, _ in reversed(members):
            starts.append(f"{name} {rest}")
            rest = self._rules.add(f"({comma} {name})? {rest}")
        return f"({' | '.join(starts)})?"

    def _array(self, schema: Schema) -> str:
        prefix = read_list(schema, "prefixItems") if "prefixItems" in schema else []
        least = read_least(schema, "minItems")
        most = read_most(schema, "maxItems", least)
        items = schema.get("items", True)
        if items is False:
            most = len(prefix) if most is None else min(most, len(prefix))
        if most is not None and most < least:
            raise UnsupportedSchema("minItems asks for more items than are allowed")
        ws = self._rules.basic("ws")
        if most is None or most > len(prefix):
            body = self._items([self._schema(item) for item in prefix], self._schema(items), least=least, most=most)
        else:
            body = self._items([self._schema(item) for item in prefix[:most]], None, least=least, most=most)
        return self._rules.add(f'"[" {ws} {body} {ws} "]"')

    def _items(self, names: list[str], more: str | None, *, least: int, most: int | None) -> str:
        """Write `names` in order, then any number of `more`; `least`..`most` altogether."""
        comma = self._comma()
        tail = '""'
        if more is not None:
            names = names or [more]
            most_more = None if most is None else most - len(names)
            tail = self._rules.repeat(f"({comma} {more})", max(0, least - len(names)), most_more)
        for index in range(len(names) - 1, -1, -1):
            head = f"{comma if index else ''} {names[index]} {tail}"
            tail = head if index < least else f"({head})?"
        return tail

    def _comma(self) -> str:
        ws = self._rules.basic("ws")
        return f'{ws} "," {ws}'

    def _string(self, schema: Schema) -> str:
        least = read_least(schema, "minLength")
        most = read_most(schema, "maxLength", least)
        is_bounded = least > 0 or most is not None
        pattern = schema.get("pattern")
        if pattern is None and not is_bounded:
            form = schema.get("format")
            pattern = _FORMATS.get(form) if isinstance(form, str) else None
        if pattern is None and not is_bounded:
            return self._rules.basic("string")
        if pattern is None:
            return self._rules.add(f'"\\"" {self._rules.repeat(self._rules.basic("char"), least, most)} "\\""')
        if is_bounded or not isinstance(pattern, str):
            raise UnsupportedSchema("pattern must be a string, without minLength or maxLength beside it")
        return self._rules.add(f'"\\"" {compile_pattern(pattern, self._rules)} "\\""')

    def _number(self, kind: str, schema: Schema) -> str:
        low, with_low = read_edge(schema, "minimum", "exclusiveMinimum", tighter=max)
        high, with_high = read_edge(schema, "maximum", "exclusiveMaximum", tighter=min)
        if low is None and high is None:
            return self._rules.basic(kind)
        first = -LIMIT if low is None else max(low, -LIMIT)
        last = LIMIT if high is None else min(high, LIMIT)
        if kind == "integer":
            first, last, with_low, with_high = first + (not with_low), last - (not with_high), True, True
        if first > last or (first == last and not (with_low and with_high)):
            raise UnsupportedSchema("no number lies within the bounds")
        if kind == "integer":
            return self._rules.add(integer_between(first, last))
        return self._rules.add(number_between(first, last, with_low=with_low, with_high=with_high))


def _narrowed(alternative: Any, schema: Schema) -> Any:
    """Give an alternative the type that stands beside the alternatives."""
    if "type" not in schema or not isinstance(alternative, Mapping) or alternative.get("type") == schema["type"]:
        return alternative
    if alternative.keys() & {"type", *COMBINING}:
        raise UnsupportedSchema("type stands beside alternatives that have their own")
    return {**alternative, "type": schema["type"]}


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)
