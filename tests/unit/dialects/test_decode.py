"""What the OpenAI chat dialect takes, and the one error it gives for everything else."""

from typing import Any

import msgspec
import pytest

from hushnet.dialects.openai_chat import BadRequestError, ChatRequest, ResponseFormat, decode_request, features_of
from hushnet.foundation.errors import RequestError

CANARY = "canary-0aa1"


def body(**members: Any) -> bytes:
    base = {"model": "hush-tiny", "messages": [{"role": "user", "content": CANARY}]}
    return msgspec.json.encode({**base, **members})


def refusal(raw: bytes) -> tuple[str, str | None]:
    with pytest.raises(BadRequestError) as refused:
        decode_request(raw)
    assert isinstance(refused.value, RequestError)
    assert CANARY not in str(refused.value)
    return refused.value.error_code, refused.value.param


def test_the_smallest_request_leaves_everything_to_the_engine() -> None:
    request = decode_request(body())

    assert request == ChatRequest("hush-tiny", [{"role": "user", "content": CANARY}], raw=msgspec.json.decode(body()))
    assert features_of(request) == ()


def test_every_member_arrives_where_it_belongs() -> None:
    request = decode_request(
        body(
            stream=True,
            stream_options={"include_usage": True, "unknown": 1},
            max_tokens=7,
            temperature=0,
            top_p=0.5,
            presence_penalty=-2,
            frequency_penalty=1.5,
            seed=-5,
            stop="END",
            logprobs=True,
            top_logprobs=20,
            n=1,
            tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}],
            tool_choice={"type": "function", "function": {"name": "f"}},
            parallel_tool_calls=False,
            response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
        )
    )

    assert request.stream
    assert request.include_usage
    assert request.max_output_tokens == 7
    assert (request.temperature, request.top_p, request.presence_penalty) == (0.0, 0.5, -2.0)
    assert (request.frequency_penalty, request.seed, request.stop) == (1.5, -5, ("END",))
    assert (request.logprobs, request.top_logprobs, request.parallel_tool_calls) == (True, 20, False)
    assert request.response_format == ResponseFormat("json_schema", "x", {"type": "object"})
    assert features_of(request) == ("json_schema", "logprobs", "tools")


def test_null_is_the_same_as_absent() -> None:
    names = [
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "seed",
        "stop",
        "n",
        "logprobs",
        "top_logprobs",
        "response_format",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "presence_penalty",
        "frequency_penalty",
    ]

    request = decode_request(body(**dict.fromkeys(names)))

    assert request == ChatRequest("hush-tiny", request.messages, raw=request.raw)


def test_unknown_members_are_ignored_and_kept_in_raw() -> None:
    request = decode_request(body(store=True, metadata={"a": [1]}, user="u", reasoning_effort="high"))

    assert request.raw["reasoning_effort"] == "high"


@pytest.mark.parametrize(
    ("members", "bound"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 5),
        ({"max_tokens": 1 << 20, "max_completion_tokens": 1}, 1),
    ],
)
def test_both_spellings_of_the_output_bound_are_read_and_the_smaller_binds(members: dict, bound: int | None) -> None:
    assert decode_request(body(**members)).max_output_tokens == bound


def test_usage_in_a_stream_is_asked_for_only_where_there_is_a_stream() -> None:
    assert not decode_request(body(stream_options={"include_usage": True})).include_usage


def test_media_in_a_message_are_features() -> None:
    parts = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:"}},
        {"type": "input_audio", "input_audio": {"data": ""}},
    ]

    assert features_of(decode_request(body(messages=[{"role": "user", "content": parts}]))) == ("audio", "vision")


def test_an_assistant_may_have_called_tools_without_saying_anything() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "done"},
    ]

    assert decode_request(body(messages=messages)).messages == messages


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"nul",
        b'{"a":1}x',
        b"\xff\xfe",
        b'{"model":"\xff"}',
        b"NaN",
        b"1e999",
        b"9" * 5000,
        b'"\\ud800"',
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_not_json_is_one_error(raw: bytes) -> None:
    assert refusal(raw) == ("invalid_json", None)


@pytest.mark.parametrize(
    "raw",
    [b"[" * 60_000, b'{"a":' * 70 + b"1" + b"}" * 70, body(x=[[[[[[[[]]]]]]]]).replace(b"[]", b"[" * 80 + b"]" * 80)],
)
def test_deep_nesting_is_one_error(raw: bytes) -> None:
    assert refusal(raw) == ("json_too_deep", None)


@pytest.mark.parametrize(
    "crowd",
    [b"[]," * 70_000, b"{}," * 70_000, b"1," * 140_000, b'"",' * 600_000, (b"[" * 60 + b"]" * 60 + b",") * 1_200],
    ids=["arrays", "objects", "numbers", "strings", "nests"],
)
def test_a_body_of_too_many_values_is_refused_before_it_is_decoded(crowd: bytes) -> None:
    assert refusal(b'{"model":"m","unknown":[' + crowd + b"0]}") == ("out_of_range", None)


@pytest.mark.parametrize("text", ["{[,]}" * 80_000, '{"a": [1, 2]}, ' * 40_000, "\\[," * 80_000])
def test_brackets_and_commas_in_a_text_are_no_values(text: str) -> None:
    assert decode_request(body(messages=[{"role": "user", "content": text}])).messages[0]["content"] == text


@pytest.mark.parametrize("raw", [b"[]", b"null", b"1", b'"text"'])
def test_a_body_that_is_no_object_is_one_error(raw: bytes) -> None:
    assert refusal(raw) == ("wrong_type", None)


@pytest.mark.parametrize(
    ("members", "code", "param"),
    [
        ({"model": None}, "missing_member", "model"),
        ({"model": ""}, "missing_member", "model"),
        ({"model": 5}, "wrong_type", "model"),
        ({"model": "a b"}, "out_of_range", "model"),
        ({"model": "a" * 129}, "out_of_range", "model"),
        ({"messages": None}, "missing_member", "messages"),
        ({"messages": []}, "missing_member", "messages"),
        ({"messages": {}}, "wrong_type", "messages"),
        ({"messages": [1]}, "wrong_type", "messages[0]"),
        ({"messages": [{"content": CANARY}]}, "missing_member", "messages[0].role"),
        ({"messages": [{"role": CANARY, "content": ""}]}, "unsupported_value", "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "missing_member", "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "wrong_type", "messages[0].content"),
        ({"messages": [{"role": "user", "content": [CANARY]}]}, "wrong_type", "messages[0].content[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": CANARY}]}]},
            "unsupported_value",
            "messages[0].content[0].type",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "missing_member",
            "messages[0].content[0].text",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "missing_member",
            "messages[0].content[0].image_url",
        ),
        ({"messages": [{"role": "user", "content": "", "name": 1}]}, "wrong_type", "messages[0].name"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "missing_member", "messages[0].tool_calls[0].id"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]},
            "missing_member",
            "messages[0].tool_calls[0].function",
        ),
        ({"stream": 1}, "wrong_type", "stream"),
        ({"stream": "true"}, "wrong_type", "stream"),
        ({"stream_options": True}, "wrong_type", "stream_options"),
        ({"stream_options": {"include_usage": "yes"}}, "wrong_type", "stream_options.include_usage"),
        ({"n": 2}, "unsupported_value", "n"),
        ({"n": 0}, "out_of_range", "n"),
        ({"n": True}, "wrong_type", "n"),
        ({"max_tokens": 0}, "out_of_range", "max_tokens"),
        ({"max_tokens": -1}, "out_of_range", "max_tokens"),
        ({"max_tokens": -(2**63)}, "out_of_range", "max_tokens"),
        ({"max_tokens": (1 << 20) + 1}, "out_of_range", "max_tokens"),
        ({"max_tokens": 10.0}, "wrong_type", "max_tokens"),
        ({"max_tokens": "10"}, "wrong_type", "max_tokens"),
        ({"max_tokens": True}, "wrong_type", "max_tokens"),
        ({"max_completion_tokens": -1}, "out_of_range", "max_completion_tokens"),
        ({"temperature": 2.1}, "out_of_range", "temperature"),
        ({"temperature": "hot"}, "wrong_type", "temperature"),
        ({"top_p": -0.1}, "out_of_range", "top_p"),
        ({"seed": 2**63}, "out_of_range", "seed"),
        ({"seed": 1.5}, "wrong_type", "seed"),
        ({"stop": 5}, "wrong_type", "stop"),
        ({"stop": ""}, "wrong_type", "stop"),
        ({"stop": ["a", ""]}, "wrong_type", "stop[1]"),
        ({"stop": ["a"] * 17}, "out_of_range", "stop"),
        ({"top_logprobs": 3}, "unsupported_value", "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "out_of_range", "top_logprobs"),
        ({"response_format": "json"}, "wrong_type", "response_format"),
        ({"response_format": {}}, "missing_member", "response_format.type"),
        ({"response_format": {"type": CANARY}}, "unsupported_value", "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "missing_member", "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {}}},
            "missing_member",
            "response_format.json_schema.schema",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": 1}}},
            "wrong_type",
            "response_format.json_schema.schema",
        ),
        ({"tools": [{"type": CANARY}]}, "unsupported_value", "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "missing_member", "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "missing_member", "tools[0].function.name"),
        ({"tool_choice": CANARY}, "unsupported_value", "tool_choice"),
        ({"tool_choice": 5}, "wrong_type", "tool_choice"),
    ],
)
def test_a_wrong_member_is_named_and_never_quoted(members: dict, code: str, param: str) -> None:
    assert refusal(body(**members)) == (code, param)


def test_numbers_beyond_64_bits_are_out_of_range_and_not_an_overflow() -> None:
    raw = body(seed=1).replace(b'"seed":1', b'"seed":' + b"9" * 400)

    assert refusal(raw) == ("out_of_range", "seed")


def test_a_request_never_shows_its_content() -> None:
    request = decode_request(
        body(
            stop=CANARY,
            tools=[{"type": "function", "function": {"name": CANARY}}],
            tool_choice={"function": CANARY},
            response_format={"type": "json_schema", "json_schema": {"name": CANARY, "schema": {CANARY: 1}}},
        )
    )

    assert CANARY not in repr(request) + str(request) + repr(request.response_format)
