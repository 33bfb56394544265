"""A control request with a wrong field is told which one and what it must be, and never what was sent."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
import pytest

from hushnet.coordinator.api.bodies import FieldError, decode_json


class Colour(StrEnum):
    RED = "red"


class Part(msgspec.Struct, forbid_unknown_fields=True):
    colour: Colour


class Wish(msgspec.Struct, forbid_unknown_fields=True):
    a: Annotated[int, msgspec.Meta(ge=-5)]
    words: list[Annotated[str, msgspec.Meta(max_length=3)]] = []
    parts: list[Part] = []
    limit: int | None = None


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        (b"{}", "a", "a is missing"),
        (b'{"a":1,"parts":[{}]}', "parts[0].colour", "parts[0].colour is missing"),
        (b'{"a":1,"CANARY":2}', None, "the body has an unknown field; known are a, words, parts, limit"),
        (b'{"a":1,"parts":[{"CANARY":2}]}', "parts[0]", "parts[0] has an unknown field"),
        (b'{"a":"CANARY"}', "a", "a must be an integer, got text"),
        (b'{"a":-6}', "a", "a must be an integer >= -5"),
        (b'{"a":1,"words":["CANARY"]}', "words[0]", "words[0] must be text of length <= 3"),
        (b'{"a":1,"limit":1.5}', "limit", "limit must be an integer or null, got a number"),
        (
            b'{"a":1,"parts":[{"colour":"CANARY"}]}',
            "parts[0].colour",
            "parts[0].colour is not one of the values that are allowed",
        ),
        (b'{"a":1e400}', "a", "a is not one of the values that are allowed"),
        (b"[1]", None, "the body must be an object, got a list"),
    ],
)
def test_a_wrong_field_is_named_with_what_it_must_be_and_never_with_what_was_sent(
    body: bytes, param: str | None, message: str
) -> None:
    with pytest.raises(FieldError) as refused:
        decode_json(body, Wish)
    assert (refused.value.error_code, refused.value.param, str(refused.value)) == ("wrong_type", param, message)
