"""No body makes decoding raise anything but its one error, and whatever it takes can be bounded and rendered."""

import json
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hushnet.dialects.openai_chat import (
    BadRequestError,
    ChatRequest,
    ChatStream,
    Delta,
    Usage,
    decode_request,
    features_of,
    prompt_bytes_bound,
    render_completion,
)

JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=20),
        st.sampled_from(["user", "assistant", "text", "json_schema", "function", "image_url", "auto"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(
                ["role", "content", "type", "text", "function", "name", "tool_calls", "id", "schema", "json_schema"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=10,
)
MEMBERS = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "stop",
    "n",
    "response_format",
    "logprobs",
    "top_logprobs",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "unknown",
]
BODIES = st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=8)
VALID: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def _encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def decoded(raw: bytes) -> ChatRequest | None:
    try:
        return decode_request(raw)
    except BadRequestError:
        return None


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_decode_or_are_refused(raw: bytes) -> None:
    decoded(raw)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(BODIES)
def test_any_json_decodes_or_is_refused(members: dict[str, Any]) -> None:
    decoded(_encoded(members))


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=2))
def test_whatever_is_taken_has_features_and_a_bound(members: dict[str, Any]) -> None:
    request = decoded(_encoded({**VALID, **members}))
    if request is not None:
        assert list(features_of(request)) == sorted(set(features_of(request)))
        assert prompt_bytes_bound(request) > 0
        assert request.max_output_tokens is None or 1 <= request.max_output_tokens <= 1 << 20


@settings(max_examples=100, deadline=None)
@given(depth=st.integers(1, 3000), opening=st.sampled_from([b"[", b'{"a":']), prefix=st.binary(max_size=10))
def test_any_depth_is_taken_or_refused(depth: int, opening: bytes, prefix: bytes) -> None:
    closing = b"]" if opening == b"[" else b"1}"
    decoded(prefix + opening * depth)
    decoded(opening * depth + closing * depth)


@given(st.text(max_size=50))
def test_any_text_is_rendered_as_valid_json_on_one_line(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()

    event = ChatStream("i", "m", 1).delta(Delta(text, 1))
    whole = render_completion(completion_id="i", model="m", created_s=1, text=text, reason="stop", usage=Usage(1, 0, 1))

    assert event.count(b"\n") == 2
    assert b"\r" not in event
    assert msgspec.json.decode(event[6:])["choices"][0]["delta"]["content"] == text
    assert msgspec.json.decode(whole)["choices"][0]["message"]["content"] == text
