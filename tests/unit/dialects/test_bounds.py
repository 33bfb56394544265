"""The bound on a prompt's tokens holds for what it counts."""

import msgspec
import pytest

from hushnet.dialects.openai_chat import ChatRequest, decode_request, prompt_bytes_bound

TOOL = {"type": "function", "function": {"name": "f", "description": "d" * 100, "parameters": {"type": "object"}}}


def request_of(**members) -> ChatRequest:
    return decode_request(msgspec.json.encode({"model": "m", **members}))


@pytest.mark.parametrize("text", ["", "hello", "é" * 100, "🌍" * 100, '"\\\n' * 50])
def test_the_bound_is_at_least_the_bytes_of_the_text(text: str) -> None:
    messages = [{"role": "user", "content": text}]
    as_parts = [{"role": "user", "content": [{"type": "text", "text": text}]}]

    assert prompt_bytes_bound(request_of(messages=messages)) >= len(text.encode())
    assert prompt_bytes_bound(request_of(messages=as_parts)) >= len(text.encode())


def test_the_bound_grows_with_every_part_of_a_prompt() -> None:
    messages = [{"role": "user", "content": "hi"}]
    plain = prompt_bytes_bound(request_of(messages=messages))
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "x" * 50}}

    assert prompt_bytes_bound(request_of(messages=messages * 2)) > plain
    assert prompt_bytes_bound(request_of(messages=messages, tools=[TOOL])) > plain + 100
    assert (
        prompt_bytes_bound(request_of(messages=[*messages, {"role": "assistant", "tool_calls": [call]}])) > plain + 50
    )
    schema = {"type": "json_schema", "json_schema": {"schema": {"const": "x" * 50}}}
    assert prompt_bytes_bound(request_of(messages=messages, response_format=schema)) > plain + 50


def test_media_are_not_text() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:" + "A" * 100_000}}

    assert prompt_bytes_bound(request_of(messages=[{"role": "user", "content": [picture]}])) < 5_000
