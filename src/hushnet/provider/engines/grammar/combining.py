"""`allOf` folded into one schema, and `oneOf` checked to be a choice between things that cannot both be true."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any, Final

from hushnet.provider.engines.grammar.keywords import ANNOTATIONS, Schema, read_list, types_of
from hushnet.provider.engines.grammar.rules import UnsupportedSchema

PARTS_MAX: Final = 32
ALTERNATIVES_MAX: Final = 64

Resolve = Callable[[Any], Any]
"""From a `$ref` to the schema it points at; raises `UnsupportedSchema`."""


def fold_all_of(schema: Schema, resolve: Resolve) -> Schema:
    """Fold `allOf` into one schema: properties and required names add up, other keywords that meet must agree."""
    pending: list[Any] = [{name: value for name, value in schema.items() if name != "allOf"}]
    pending += read_list(schema, "allOf")
    folded: dict[str, Any] = {}
    parts_with_properties = 0
    for count, part in enumerate(pending):  # grows while it is walked
        if not isinstance(part, Mapping) or count > PARTS_MAX:
            raise UnsupportedSchema("allOf has members that cannot be folded together")
        if "$ref" in part:
            pending.append(resolve(part["$ref"]))
        if "allOf" in part:
            pending.extend(read_list(part, "allOf"))
        parts_with_properties += "properties" in part
        for name, value in part.items():
            if name not in ANNOTATIONS and name not in ("$ref", "allOf"):
                _fold(folded, name, value)
    if folded.get("additionalProperties", True) is not True and parts_with_properties > 1:
        raise UnsupportedSchema("allOf adds properties to an object that forbids them")
    return folded


def _fold(folded: dict[str, Any], name: str, value: Any) -> None:
    if name == "properties" and isinstance(value, Mapping):
        mine = folded.setdefault("properties", {})
        if any(mine.get(key, schema) != schema for key, schema in value.items()):
            raise UnsupportedSchema("allOf describes one property twice")
        folded["properties"] = {**mine, **value}
    elif name == "required" and isinstance(value, list):
        folded["required"] = [*folded.get("required", []), *value]
    elif folded.setdefault(name, value) != value:
        raise UnsupportedSchema("allOf has members that disagree")


def check_exclusive(alternatives: list[Any], resolve: Resolve) -> None:
    """Refuse `oneOf` unless its members differ in type, or in a required property with fixed values."""
    if len(alternatives) > ALTERNATIVES_MAX:
        raise UnsupportedSchema(f"oneOf has more than {ALTERNATIVES_MAX} members")
    plain = [_plain(alternative, resolve) for alternative in alternatives]
    if not all(_are_exclusive(one, other, resolve) for one, other in combinations(plain, 2)):
        raise UnsupportedSchema("oneOf has members that may both be true; anyOf says the same without the risk")


def _plain(alternative: Any, resolve: Resolve) -> Schema:
    for _ in range(PARTS_MAX):
        if not isinstance(alternative, Mapping):
            break
        if "$ref" not in alternative:
            return alternative
        alternative = resolve(alternative["$ref"])
    raise UnsupportedSchema("oneOf has a member that is not a schema")


def _are_exclusive(one: Schema, other: Schema, resolve: Resolve) -> bool:
    mine, theirs = fixed_values(one), fixed_values(other)
    if mine is not None and theirs is not None:
        return not any(value in theirs for value in mine)
    if "type" in one and "type" in other:
        kinds, other_kinds = set(types_of(one)), set(types_of(other))
        numeric = {"integer", "number"}
        if not kinds & other_kinds and not (kinds & numeric and other_kinds & numeric):
            return True
    return any(_tells_apart(name, one, other, resolve) for name in _required(one) & _required(other))


def _tells_apart(name: str, one: Schema, other: Schema, resolve: Resolve) -> bool:
    values = []
    for schema in (one, other):
        properties = schema.get("properties")
        member = properties.get(name) if isinstance(properties, Mapping) else None
        values.append(fixed_values(_plain(member, resolve)) if isinstance(member, Mapping) else None)
    return values[0] is not None and values[1] is not None and not any(value in values[1] for value in values[0])


def fixed_values(schema: Schema) -> list[Any] | None:
    """Return the values of `const` or `enum`; None where there is neither."""
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if isinstance(values, list) else None


def _required(schema: Schema) -> set[str]:
    names = schema.get("required")
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()
