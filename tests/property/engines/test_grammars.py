"""Whatever a compiled grammar can write is valid under its schema, for schemas of every shape that is taken."""

import json
import random
import re
from typing import Any

import jsonschema
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from hushnet.dialects.openai_chat import ResponseFormat
from hushnet.provider.engines.grammar import UnsupportedSchema, compile_format
from support.gbnf import Grammar

NAMES = ["a", "b", "kind", "ü", 'q"t']
PATTERNS = ["^[a-z]{2,4}$", r"\d+(\.\d{1,2})?", "^(red|green)?$", r'^[^"\\]*"$', "x|^y.$", r"^\s\S\W$", "[^a]{3}"]


def numbers(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    edge = st.integers(-1200, 1200)
    keys = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]
    return st.dictionaries(st.sampled_from(keys), edge, max_size=2).map(lambda edges: {"type": kind, **edges})


def strings() -> st.SearchStrategy[dict[str, Any]]:
    bounded = st.tuples(st.integers(0, 4), st.integers(0, 6)).map(
        lambda ends: {"type": "string", "minLength": ends[0], "maxLength": ends[0] + ends[1]}
    )
    patterned = st.sampled_from(PATTERNS).map(lambda pattern: {"type": "string", "pattern": pattern})
    formed = st.sampled_from(["date", "date-time", "uuid", "email"]).map(
        lambda form: {"type": "string", "format": form}
    )
    return st.one_of(st.just({"type": "string"}), bounded, patterned, formed)


LEAVES = st.one_of(
    st.sampled_from([True, {}, {"type": "boolean"}, {"type": ["null", "integer"]}, {"title": "anything"}]),
    st.lists(st.sampled_from([1, 2.5, "a", "ab", None, True, {"x": [1]}, 'q"']), min_size=1).map(lambda v: {"enum": v}),
    st.sampled_from(["x", 'q"\\', 3, None, {"a": {"b": "\n"}}]).map(lambda v: {"const": v}),
    numbers("integer"),
    numbers("number"),
    strings(),
)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    properties = st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    objects = st.tuples(properties, st.lists(st.sampled_from(NAMES), max_size=2, unique=True), st.booleans()).map(
        lambda parts: {
            "type": "object",
            "properties": parts[0],
            "required": parts[1] if not parts[2] else [name for name in parts[1] if name in parts[0]],
            **({"additionalProperties": False} if parts[2] else {}),
        }
    )
    maps = inner.map(lambda values: {"type": "object", "additionalProperties": values})
    arrays = st.tuples(inner, st.integers(0, 3), st.integers(0, 3)).map(
        lambda parts: {"type": "array", "items": parts[0], "minItems": parts[1], "maxItems": parts[1] + parts[2]}
    )
    tuples = st.tuples(st.lists(inner, min_size=1, max_size=3), st.integers(0, 4), st.booleans()).map(
        lambda parts: {
            "type": "array",
            "prefixItems": parts[0],
            "minItems": parts[1],
            **({"items": False} if parts[2] else {}),
        }
    )
    choices = st.lists(inner, min_size=1, max_size=3).flatmap(
        lambda options: st.sampled_from([{"anyOf": options}, {"oneOf": options}, {"allOf": options[:2]}])
    )
    return st.one_of(objects, maps, arrays, tuples, choices)


SCHEMAS = st.recursive(LEAVES, nested, max_leaves=8)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(schema=SCHEMAS.filter(lambda schema: isinstance(schema, dict)), seed=st.integers(0, 2**32))
def test_every_text_of_a_compiled_grammar_is_valid_under_its_schema(schema: dict[str, Any], seed: int) -> None:
    try:
        grammar = Grammar(compile_format(ResponseFormat("json_schema", "", schema)))
    except UnsupportedSchema:
        assume(False)
    assert grammar.can_end
    for draw in range(3):
        text = grammar.draw(random.Random(seed + draw))
        jsonschema.validate(json.loads(text), schema)


REGEX_PARTS = st.sampled_from(["a", "b", "[a-c]", "[^ab]", r"\d", ".", "(ab|c)", "(?:a?b)", r"\.", r"\"", "é", "()"])
COUNTED = st.tuples(REGEX_PARTS, st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,3}", "{2,}", "*?"])).map("".join)
REGEXES = st.lists(COUNTED, min_size=1, max_size=5).map("".join)


@settings(max_examples=150, deadline=None)
@given(pattern=st.lists(REGEXES, min_size=1, max_size=2).map("|".join), seed=st.integers(0, 2**32))
def test_every_text_of_a_compiled_pattern_matches_it(pattern: str, seed: int) -> None:
    schema = {"type": "string", "pattern": f"^(?:{pattern})$"}

    grammar = Grammar(compile_format(ResponseFormat("json_schema", "", schema)))

    text = json.loads(grammar.draw(random.Random(seed), patience=40))
    assert re.fullmatch(pattern, text)


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8)
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)),
    max_leaves=12,
)
KEYWORDS = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "prefixItems",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "$ref",
    "$defs",
    "enum",
    "const",
    "anyOf",
    "oneOf",
    "allOf",
    "not",
    "title",
]
VALUES = st.one_of(
    JSON, st.sampled_from(["object", "array", "string", "#", "#/$defs/a", "#/anyOf/0", "((", "a{9999}", "[z-a]", "\\1"])
)
HOSTILE = st.recursive(
    st.dictionaries(st.sampled_from(KEYWORDS), VALUES, max_size=4),
    lambda inner: st.dictionaries(
        st.sampled_from(KEYWORDS),
        st.one_of(inner, st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2)),
        max_size=4,
    ),
    max_leaves=10,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schema=HOSTILE)
def test_any_object_compiles_to_a_readable_grammar_or_is_refused(schema: dict[str, Any]) -> None:
    try:
        text = compile_format(ResponseFormat("json_schema", "", schema))
    except UnsupportedSchema:
        pass
    else:
        assert len(text.encode()) < 64 * 1024
        Grammar(text)
