"""The keywords of JSON Schema: which are taken, which are refused, and how their values are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from hushnet.provider.engines.grammar.rules import REPETITIONS_MAX, UnsupportedSchema

Schema: TypeAlias = Mapping[str, Any]

ANNOTATIONS: Final = frozenset(
    [
        "title",
        "description",
        "default",
        "examples",
        "example",
        "deprecated",
        "readOnly",
        "writeOnly",
        "nullable",
        "discriminator",
        "contentMediaType",
        "contentEncoding",
        "$schema",
        "$id",
        "$anchor",
        "$comment",
        "$defs",
        "definitions",
    ]
)
BY_TYPE: Final[dict[str, frozenset[str]]] = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems"}),
    "string": frozenset({"minLength", "maxLength", "pattern", "format"}),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}),
    "integer": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}),
    "boolean": frozenset(),
    "null": frozenset(),
}
COMBINING: Final = ("$ref", "enum", "const", "anyOf", "oneOf", "allOf")
REFUSED: Final = frozenset(
    [
        "not",
        "if",
        "then",
        "else",
        "multipleOf",
        "uniqueItems",
        "contains",
        "minContains",
        "maxContains",
        "minProperties",
        "maxProperties",
        "patternProperties",
        "propertyNames",
        "dependentRequired",
        "dependentSchemas",
        "dependencies",
        "unevaluatedProperties",
        "unevaluatedItems",
        "additionalItems",
        "$dynamicRef",
        "$recursiveRef",
    ]
)
_TAKEN: Final = frozenset[str]().union(*BY_TYPE.values())


def types_of(schema: Schema) -> list[str]:
    """Return the types that `schema` may take: named, or told by its keywords, or all."""
    named = schema.get("type")
    if named is None:
        told = [kind for kind in ("object", "array", "string", "number") if BY_TYPE[kind] & schema.keys()]
        return told[:1] or ["object", "array", "string", "number", "boolean", "null"]
    kinds = named if isinstance(named, list) else [named]
    if not kinds or not all(isinstance(kind, str) and kind in BY_TYPE for kind in kinds):
        raise UnsupportedSchema("type must name types of JSON Schema")
    return list(dict.fromkeys(kinds))


def check_keywords(schema: Schema) -> None:
    """Refuse keywords that no rule enforces; a keyword of another type constrains nothing and is passed over."""
    if unknown := schema.keys() - ANNOTATIONS - _TAKEN - {"type"}:
        raise UnsupportedSchema(f"{name_one(unknown)} cannot be enforced")


def check_alone(schema: Schema, keyword: str, *, beside: frozenset[str] = frozenset()) -> None:
    """Refuse what stands beside a combining keyword, annotations and `beside` apart."""
    if others := schema.keys() - ANNOTATIONS - beside - {keyword}:
        raise UnsupportedSchema(f"{keyword} cannot be combined with {name_one(others)}")


def name_one(keywords: set[str]) -> str:
    """Name one of `keywords` when it is JSON Schema's own word; the caller's words are not repeated."""
    return min(keywords & (_TAKEN | REFUSED | {*COMBINING, "type"}), default="a keyword that is not JSON Schema's")


def read_list(schema: Schema, keyword: str) -> list[Any]:
    """Read a list with at least one member."""
    value = schema[keyword]
    if not isinstance(value, list) or not value:
        raise UnsupportedSchema(f"{keyword} must be a list that is not empty")
    return value


def read_least(schema: Schema, keyword: str) -> int:
    """Read a lower count; absent is 0."""
    value = _whole(schema, keyword)
    if value is not None and value > REPETITIONS_MAX:
        raise UnsupportedSchema(f"{keyword} is above {REPETITIONS_MAX}")
    return value or 0


def read_most(schema: Schema, keyword: str, least: int) -> int | None:
    """Read an upper count, not below `least`. One beyond what is enforced is brought down, which stays sound."""
    value = _whole(schema, keyword)
    if value is None:
        return None
    if value < least:
        raise UnsupportedSchema(f"{keyword} is below its minimum")
    return min(value, REPETITIONS_MAX)


def read_edge(
    schema: Schema, inclusive: str, exclusive: str, *, tighter: Callable[[list[int]], int]
) -> tuple[int | None, bool]:
    """Read one end of a range of numbers: the end, and whether it belongs to the range."""
    found = []
    for keyword, belongs in ((inclusive, True), (exclusive, False)):
        value = schema.get(keyword)
        if value is None:
            continue
        if type(value) not in (int, float) or value != int(value):
            raise UnsupportedSchema(f"{keyword} must be a whole number")
        found.append((int(value), belongs))
    if not found:
        return None, True
    edge = tighter([value for value, _ in found])
    return edge, all(belongs for value, belongs in found if value == edge)


def has_type(value: Any, kinds: list[str]) -> bool:
    """Say whether a JSON value is of one of `kinds`."""
    if isinstance(value, bool):
        return "boolean" in kinds
    if isinstance(value, int):
        return "integer" in kinds or "number" in kinds
    names = {float: "number", str: "string", list: "array", dict: "object", type(None): "null"}
    return names.get(type(value)) in kinds


def _whole(schema: Schema, keyword: str) -> int | None:
    value = schema.get(keyword)
    if value is None:
        return None
    if type(value) is not int or value < 0:
        raise UnsupportedSchema(f"{keyword} must be a whole number, not below 0")
    return value
