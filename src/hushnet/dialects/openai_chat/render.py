"""Answers and errors as the bytes that an OpenAI client reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from hushnet.dialects.openai_chat.answer import Delta, FinishReason, TokenLogprob, Usage

_encode = msgspec.json.Encoder().encode

DONE: Final = b"data: [DONE]\n\n"


class ChatStream:
    """Renders one streamed answer as server-sent events, each call one whole event.

    Order: `role`, any number of `delta`, `finish`, `usage` (empty unless the caller asked for it), `done`.
    Everything that stays the same over a stream is encoded once.
    """

    def __init__(self, completion_id: str, model: str, created_s: int, include_usage: bool = False) -> None:
        head = {"id": completion_id, "object": "chat.completion.chunk", "created": created_s, "model": model}
        self._head = b"data: " + _encode(head)[:-1]
        self._choice = self._head + b',"choices":[{"index":0,"delta":{'
        self._tail = b',"usage":null}\n\n' if include_usage else b"}\n\n"
        self._include_usage = include_usage

    def role(self) -> bytes:
        """Open the answer: no content yet."""
        return self._chunk(b'"role":"assistant","content":""')

    def delta(self, delta: Delta) -> bytes:
        """Render the next piece."""
        parts = []
        if delta.text or not delta.tool_calls:
            parts.append(b'"content":' + _encode(delta.text))
        if delta.tool_calls:
            parts.append(b'"tool_calls":' + _encode(delta.tool_calls))
        logprobs = b"null" if delta.logprobs is None else _encode({"content": delta.logprobs, "refusal": None})
        return self._chunk(b",".join(parts), logprobs=logprobs)

    def finish(self, reason: FinishReason | str) -> bytes:
        """Close the choice with its reason."""
        return self._chunk(b"", reason=_encode(reason))

    def usage(self, usage: Usage) -> bytes:
        """Render the usage event, or nothing when the caller did not ask for one."""
        if not self._include_usage:
            return b""
        return self._head + b',"choices":[],"usage":' + _encode(usage_object(usage)) + b"}\n\n"

    def done(self) -> bytes:
        """End the stream."""
        return DONE

    def _chunk(self, delta: bytes, *, logprobs: bytes = b"null", reason: bytes = b"null") -> bytes:
        return b"".join(
            (self._choice, delta, b'},"logprobs":', logprobs, b',"finish_reason":', reason, b"}]", self._tail)
        )


def usage_object(usage: Usage) -> dict[str, Any]:
    """Return `usage` in the shape of the API."""
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
    }


def render_completion(
    *,
    completion_id: str,
    model: str,
    created_s: int,
    text: str,
    reason: FinishReason | str,
    usage: Usage,
    logprobs: Sequence[TokenLogprob] | None = None,
    tool_calls: Sequence[Mapping[str, Any]] | None = None,
) -> bytes:
    """Render a whole answer; `tool_calls` are complete calls, and then an empty `text` becomes null."""
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if tool_calls:
        message |= {"content": text or None, "tool_calls": tool_calls}
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None if logprobs is None else {"content": logprobs, "refusal": None},
        "finish_reason": reason,
    }
    return _encode(
        {
            "id": completion_id,
            "object": "chat.completion",
            "created": created_s,
            "model": model,
            "choices": [choice],
            "usage": usage_object(usage),
        }
    )


_ERROR_TYPES: Final = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}


def render_error(status: int, code: str, message: str, param: str | None = None, *, hint: str = "") -> bytes:
    """Render an error body; its `type` follows from the HTTP status. An empty `hint` is left out."""
    kind = _ERROR_TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error")
    error = {"message": message, "type": kind, "param": param, "code": code}
    return _encode({"error": error | ({"hint": hint} if hint else {})})
