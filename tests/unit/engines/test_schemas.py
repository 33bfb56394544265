"""Which schemas are taken, which are refused, and what is said about it."""

import json
import random

import pytest

from hushnet.dialects.openai_chat import ResponseFormat
from hushnet.provider.engines.grammar import UnsupportedSchema, compile_format
from support.gbnf import Grammar


def grammar_of(schema) -> Grammar:
    return Grammar(compile_format(ResponseFormat("json_schema", "", schema)))


def texts_of(schema, *, draws: int = 60) -> set[str]:
    grammar = grammar_of(schema)
    return {json.dumps(json.loads(grammar.draw(random.Random(seed)))) for seed in range(draws)}


def nest(levels: int) -> dict:
    schema: dict = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"secret": schema}, "required": ["secret"]}
    return schema


ALIKE = {"type": "object", "properties": {"l": {"$ref": "#/$defs/e"}}, "required": ["l"]}

REFUSED = {
    "unknown_type": {"type": "banana"},
    "type_number": {"type": 5},
    "false": {"type": "object", "properties": {"secret": False}, "required": ["secret"]},
    "not": {"not": {"type": "string"}},
    "if": {"if": {}, "then": {}},
    "multiple_of": {"type": "integer", "multipleOf": 3},
    "unique": {"type": "array", "uniqueItems": True},
    "pattern_properties": {"type": "object", "patternProperties": {"secret": {}}},
    "own_keyword": {"secretKeyword": 1},
    "self_reference": {"$ref": "#"},
    "mutual_reference": {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    "reference_through_choice": {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {}]}}, "$ref": "#/$defs/a"},
    "dangling_reference": {"$ref": "#/$defs/secret"},
    "remote_reference": {"$ref": "http://127.0.0.1:1/secret.json"},
    "file_reference": {"$ref": "file:///etc/passwd"},
    "reference_and_more": {"$ref": "#/$defs/a", "minLength": 1, "$defs": {"a": {"type": "string"}}},
    "many_items": {"type": "array", "minItems": 100_000_000},
    "long_text": {"type": "string", "minLength": 100_000_000},
    "negative_items": {"type": "array", "minItems": -5},
    "items_out_of_order": {"type": "array", "minItems": 5, "maxItems": 2},
    "tuple_too_short": {"type": "array", "prefixItems": [{}], "items": False, "minItems": 2},
    "lengths_together": {
        "type": "object",
        "properties": {f"k{i}": {"type": "string", "maxLength": 999} for i in range(20)},
    },
    "empty_range": {"type": "integer", "minimum": 5, "maximum": 1},
    "empty_open_range": {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2},
    "half_bound": {"type": "number", "minimum": 0.5},
    "far_bound": {"type": "integer", "minimum": 10**30},
    "no_literal_of_type": {"type": "integer", "enum": ["a", 1.5]},
    "empty_enum": {"enum": []},
    "deep": nest(80),
    "wide": {"type": "object", "properties": {f"k{i}": {} for i in range(65)}},
    "large": {
        "type": "object",
        "properties": {f"k{i}": {"type": "object", "properties": {f"k{j}": {} for j in range(60)}} for i in range(60)},
    },
    "large_enum": {"enum": [f"secret {i}" for i in range(50_000)]},
    "staircase_enum": {"enum": ["a" * i for i in range(300)]},
    "large_const": {"const": "x" * 100_000},
    "overlapping_one_of": {"oneOf": [{"type": "integer"}, {"type": "number"}]},
    "clashing_all_of": {"allOf": [{"type": "integer"}, {"type": "string"}]},
    "closed_all_of": {
        "allOf": [
            {"properties": {"a": {}}, "additionalProperties": False},
            {"properties": {"b": {}}},
        ]
    },
    "alike_recursion": {
        "$defs": {"e": {"anyOf": [ALIKE, {**ALIKE, "title": "t"}, {"type": "null"}]}},
        "$ref": "#/$defs/e",
    },
    "alike_nest": {
        "$defs": {
            **{f"d{i}": {"anyOf": [{"type": "array", "items": {"$ref": f"#/$defs/d{i + 1}"}}] * 4} for i in range(9)},
            "d9": {},
        },
        "$ref": "#/$defs/d0",
    },
    "chain": {
        "$defs": {**{f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(3000)}, "d3000": {}},
        "$ref": "#/$defs/d0",
    },
    "bad_pattern": {"type": "string", "pattern": "(((("},
    "deep_pattern": {"type": "string", "pattern": "(" * 200 + "a" + ")" * 200},
    "look_ahead": {"type": "string", "pattern": "^(?=secret)b$"},
    "back_reference": {"type": "string", "pattern": r"^(a)\1$"},
    "word_boundary": {"type": "string", "pattern": r"\bsecret\b"},
    "pattern_bomb": {"type": "string", "pattern": "^((a{1,900}){1,900}){1,900}$"},
    "state_bomb": {"type": "string", "pattern": "^[ab]*a[ab]{14}$"},
    "unwritable_pattern": {"type": "string", "pattern": "\x00"},
    "pattern_and_length": {"type": "string", "pattern": "a", "maxLength": 3},
    "required_but_forbidden": {"type": "object", "required": ["secret"], "additionalProperties": False},
}


@pytest.mark.parametrize("schema", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_enforced_is_refused_without_quoting_the_caller(schema) -> None:
    with pytest.raises(UnsupportedSchema) as refused:
        compile_format(ResponseFormat("json_schema", "", schema))

    assert refused.value.error_code == "unsupported_schema"
    assert refused.value.param == "response_format.json_schema.schema"
    assert "secret" not in str(refused.value)


def test_a_refused_keyword_is_named_when_it_is_json_schema_s_own() -> None:
    with pytest.raises(UnsupportedSchema, match="multipleOf cannot be enforced"):
        compile_format(ResponseFormat("json_schema", "", {"type": "integer", "multipleOf": 3}))


@pytest.mark.parametrize(
    ("schema", "texts"),
    [
        ({"type": "integer", "minimum": -1, "maximum": 2}, {"-1", "0", "1", "2"}),
        ({"type": "integer", "exclusiveMinimum": 8, "exclusiveMaximum": 11}, {"9", "10"}),
        ({"type": ["boolean", "null"]}, {"true", "false", "null"}),
        ({"enum": ["a", "ab", "abc", 1]}, {'"a"', '"ab"', '"abc"', "1"}),
        ({"type": "string", "enum": ["a", 1]}, {'"a"'}),
        ({"type": "array", "maxItems": 0}, {"[]"}),
        ({"type": "array", "items": {"const": 1}, "minItems": 1, "maxItems": 3}, {"[1]", "[1, 1]", "[1, 1, 1]"}),
        ({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": False}, {"[]", "[1]", "[1, 2]"}),
        ({"type": "object", "additionalProperties": False}, {"{}"}),
        (
            {"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 2}}},
            {"{}", '{"a": 1}', '{"b": 2}', '{"a": 1, "b": 2}'},
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"const": 1}, "b": {"const": 2}, "c": {"const": 3}},
                "required": ["b"],
            },
            {'{"b": 2}', '{"a": 1, "b": 2}', '{"b": 2, "c": 3}', '{"a": 1, "b": 2, "c": 3}'},
        ),
        ({"properties": {"a": {"const": 1}}, "required": ["a"]}, {'{"a": 1}'}),
        ({"allOf": [{"properties": {"a": {"const": 1}}}, {"required": ["a"]}]}, {'{"a": 1}'}),
        ({"$defs": {"x/y": {"const": 1}}, "$ref": "#/$defs/x~1y"}, {"1"}),
        ({"type": "string", "pattern": "^(a|b)$"}, {'"a"', '"b"'}),
        ({"type": "string", "minLength": 0, "maxLength": 0}, {'""'}),
        ({"type": "number", "minimum": 3, "maximum": 3}, {"3", "3.0"}),
        (
            {
                "$defs": {
                    "n": {
                        "properties": {"next": {"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]}},
                        "required": ["next"],
                    }
                },
                "type": "array",
                "items": {"$ref": "#/$defs/n"},
                "maxItems": 0,
            },
            {"[]"},
        ),
    ],
)
def test_a_small_schema_writes_exactly_its_values(schema, texts: set[str]) -> None:
    assert texts_of(schema) <= texts
    assert len(texts_of(schema, draws=300)) == len(texts)


@pytest.mark.parametrize(("low", "high"), [(0, 0), (-7, 3), (5, 123), (-1234, -98), (99, 1001), (0, 10**15 - 1)])
def test_an_integer_range_admits_its_ends_and_nothing_beyond(low: int, high: int) -> None:
    values = {int(text) for text in texts_of({"type": "integer", "minimum": low, "maximum": high}, draws=400)}

    assert min(values) >= low
    assert max(values) <= high


def test_bounds_beyond_what_is_exact_are_brought_down() -> None:
    assert max(int(text) for text in texts_of({"type": "integer", "minimum": 0, "maximum": 10**40})) < 10**15


def test_an_open_number_range_leaves_its_ends_out() -> None:
    values = {
        float(text) for text in texts_of({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, draws=200)
    }

    assert all(0 < value < 1 for value in values)


def test_a_discriminated_union_may_contain_itself() -> None:
    add = {
        "type": "object",
        "properties": {"op": {"const": "add"}, "l": {"$ref": "#/$defs/e"}, "r": {"$ref": "#/$defs/e"}},
        "required": ["op", "l", "r"],
    }
    number = {"type": "object", "properties": {"op": {"const": "n"}, "v": {"type": "integer"}}, "required": ["op", "v"]}
    schema = {"$defs": {"e": {"oneOf": [add, number]}}, "$ref": "#/$defs/e"}

    operations = {json.loads(text)["op"] for text in texts_of(schema)}

    assert operations == {"add", "n"}


def test_json_object_is_any_object() -> None:
    grammar = Grammar(compile_format(ResponseFormat("json_object")))

    assert all(isinstance(json.loads(grammar.draw(random.Random(seed))), dict) for seed in range(50))
