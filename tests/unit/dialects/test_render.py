"""Answers as bytes: read back by a JSON reader, and by the shapes that the official client expects."""

import json

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from hushnet.dialects.openai_chat import ChatStream, Delta, Usage, render_completion, render_error

ENTRY = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
CALL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def events(raw: bytes) -> list[dict]:
    assert raw.endswith(b"\n\n")
    lines = [line for line in raw.split(b"\n\n") if line]
    assert all(line.startswith(b"data: ") and b"\n" not in line for line in lines)
    return [json.loads(line[6:]) for line in lines]


@pytest.mark.parametrize("include_usage", [True, False])
def test_a_stream_is_what_the_official_client_reads(include_usage: bool) -> None:
    stream = ChatStream("chatcmpl-1", "hush-tiny", 1_763_690_000, include_usage)
    raw = (
        stream.role()
        + stream.delta(Delta('x"\n\u2028é🌍', 2))
        + stream.delta(Delta("a", 1, [ENTRY]))
        + stream.delta(Delta("", 3, None, [CALL]))
        + stream.finish("stop")
        + stream.usage(Usage(input=5, cached=2, output=6))
    )

    chunks = [ChatCompletionChunk.model_validate(event, strict=True) for event in events(raw)]

    assert {(chunk.id, chunk.model, chunk.created, chunk.object) for chunk in chunks} == {
        ("chatcmpl-1", "hush-tiny", 1_763_690_000, "chat.completion.chunk")
    }
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert (deltas[0].role, deltas[0].content) == ("assistant", "")
    assert deltas[1].content == 'x"\n\u2028é🌍'
    assert chunks[2].choices[0].logprobs.content[0].token == "a"
    assert deltas[3].tool_calls[0].function.name == "f"
    assert deltas[3].content is None
    assert chunks[4].choices[0].finish_reason == "stop"
    if include_usage:
        assert [chunk.usage for chunk in chunks[:-1]] == [None] * 5
        assert chunks[-1].choices == []
        assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.total_tokens) == (5, 11)
        assert chunks[-1].usage.prompt_tokens_details.cached_tokens == 2
    else:
        assert len(chunks) == 5
        assert all("usage" not in event for event in events(raw))


def test_a_stream_ends_with_done() -> None:
    assert ChatStream("i", "m", 1).done() == b"data: [DONE]\n\n"


def test_a_whole_answer_is_what_the_official_client_reads() -> None:
    raw = render_completion(
        completion_id="chatcmpl-1",
        model="hush-tiny",
        created_s=1,
        text="hé",
        reason="length",
        usage=Usage(input=3, cached=0, output=2),
        logprobs=[ENTRY],
    )

    completion = ChatCompletion.model_validate_json(raw, strict=True)

    choice = completion.choices[0]
    assert (choice.message.content, choice.finish_reason, completion.usage.total_tokens) == ("hé", "length", 5)
    assert choice.logprobs.content[0].logprob == -0.5


def test_tool_calls_without_text_leave_the_content_null() -> None:
    raw = render_completion(
        completion_id="i",
        model="m",
        created_s=1,
        text="",
        reason="tool_calls",
        usage=Usage(1, 0, 1),
        tool_calls=[{key: value for key, value in CALL.items() if key != "index"}],
    )

    message = ChatCompletion.model_validate_json(raw, strict=True).choices[0].message

    assert message.content is None
    assert message.tool_calls[0].id == "c1"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "insufficient_quota"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
        (503, "server_error"),
    ],
)
def test_an_error_s_type_follows_from_its_status(status: int, kind: str) -> None:
    error = json.loads(render_error(status, "the_code", "what happened", "messages[0]"))

    assert error == {"error": {"message": "what happened", "type": kind, "param": "messages[0]", "code": "the_code"}}


def test_an_error_says_what_to_do_where_that_is_known() -> None:
    assert json.loads(render_error(400, "code", "what happened", hint="do this"))["error"]["hint"] == "do this"


def test_a_delta_never_shows_its_content() -> None:
    assert "secret" not in repr(Delta("secret", 1, [{"token": "secret"}], [{"function": "secret"}]))
