"""How many alternatives of a choice can be under way at the same time.

llama.cpp follows all of them until one character tells them apart. Alternatives that begin alike multiply with every
level at which they nest, so nests of them are bounded, and cycles through them refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from hushnet.provider.engines.grammar.combining import fixed_values, fold_all_of
from hushnet.provider.engines.grammar.keywords import Schema, types_of
from hushnet.provider.engines.grammar.rules import UnsupportedSchema

HOPS_MAX: Final = 32
LEAVES_MAX: Final = 128

Resolve = Callable[[Any], Any]


def count_alike(alternatives: list[Any], resolve: Resolve) -> int:
    """Return how many alternatives that hold others (objects, arrays) can begin alike; at least 1."""
    leaves = [leaf for alternative in alternatives for leaf in _leaves(alternative, resolve, HOPS_MAX)]
    if len(leaves) > LEAVES_MAX:
        raise UnsupportedSchema(f"the schema has more than {LEAVES_MAX} alternatives in one place")
    arrays = sum("array" in _kinds(leaf) for leaf in leaves)
    objects = [leaf for leaf in leaves if "object" in _kinds(leaf)]
    most = max((sum(_begin_alike(one, other, resolve) for other in objects) for one in objects), default=0)
    return max(arrays, most, 1)


def _leaves(schema: Any, resolve: Resolve, hops: int) -> list[Schema]:
    """Follow references and choices down to schemas that say something themselves."""
    if not isinstance(schema, Mapping):
        return [{}] if schema is True else []
    if hops == 0:
        raise UnsupportedSchema("$ref leads back to itself")
    if "$ref" in schema:
        return _leaves(resolve(schema["$ref"]), resolve, hops - 1)
    if "allOf" in schema:
        return _leaves(fold_all_of(schema, resolve), resolve, hops - 1)
    for keyword in ("anyOf", "oneOf"):
        if isinstance(schema.get(keyword), list):
            return [leaf for inner in schema[keyword] for leaf in _leaves(inner, resolve, hops - 1)]
    return [] if fixed_values(schema) is not None else [schema]


def _kinds(leaf: Schema) -> list[str]:
    return types_of(leaf)


def _begin_alike(one: Schema, other: Schema, resolve: Resolve) -> bool:
    if one is other:
        return True
    mine, theirs = _first_members(one), _first_members(other)
    if mine is None or theirs is None:
        return True
    shared = mine.keys() & theirs.keys()
    return any(not _are_apart(mine[name], theirs[name], resolve) for name in shared)


def _first_members(leaf: Schema) -> Mapping[str, Any] | None:
    """Return the members with which an object may begin; None when any name can stand there."""
    properties, required = leaf.get("properties"), leaf.get("required", ())
    if not isinstance(properties, Mapping) or not properties or not isinstance(required, list | tuple):
        return None
    firsts = {}
    for name, schema in properties.items():
        firsts[name] = schema
        if name in required:
            break
    return firsts


def _are_apart(one: Any, other: Any, resolve: Resolve) -> bool:
    values = [fixed_values(_resolved(schema, resolve)) for schema in (one, other)]
    return values[0] is not None and values[1] is not None and not any(value in values[1] for value in values[0])


def _resolved(schema: Any, resolve: Resolve) -> Schema:
    for _ in range(HOPS_MAX):
        if not isinstance(schema, Mapping):
            return {}
        if "$ref" not in schema:
            return schema
        schema = resolve(schema["$ref"])
    raise UnsupportedSchema("$ref leads back to itself")
