"""The request body that an OpenAI-shaped engine gets: known fields only, never what the caller sent beside them."""

from __future__ import annotations

from typing import Any, Final

from hushnet.provider.engines.base import ChatRequest

_MESSAGE_MEMBERS: Final = ("name", "tool_calls", "tool_call_id")
_OPTIONAL: Final = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "tool_choice",
    "parallel_tool_calls",
)
_TEXT_PARTS: Final = ("text", "refusal")


def request_body(request: ChatRequest, *, max_output_tokens: int) -> dict[str, Any]:
    """Return the body of a streamed chat completion with usage; `response_format` is left to the engine's own way."""
    bound = min(max_output_tokens, request.max_output_tokens or max_output_tokens)
    body: dict[str, Any] = {
        "messages": plain_messages(request),
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": bound,
    }
    body |= {name: value for name in _OPTIONAL if (value := getattr(request, name)) is not None}
    if request.stop:
        body["stop"] = list(request.stop)
    if request.seed is not None:
        body["seed"] = engine_seed(request.seed)
    if request.logprobs:
        # llama.cpp reports nothing at all where no alternatives are asked for; `AnswerReader` drops the surplus.
        body |= {"logprobs": True, "top_logprobs": max(1, request.top_logprobs)}
    if request.tools:
        body["tools"] = list(request.tools)
    return body


def plain_messages(request: ChatRequest) -> list[dict[str, Any]]:
    """Return the messages with known members, plain text where there is only text, and the roles templates know."""
    return [_message(message) for message in request.messages]


def engine_seed(seed: int) -> int:
    """Fold any 64-bit seed into llama.cpp's 32 bits; the largest value there means a random seed and is never used."""
    return seed % 0xFFFFFFFF


def _message(message: dict[str, Any]) -> dict[str, Any]:
    role = "system" if message["role"] == "developer" else message["role"]
    kept = {name: message[name] for name in _MESSAGE_MEMBERS if message.get(name) is not None}
    return {"role": role, "content": _content(message.get("content")), **kept}


def _content(content: Any) -> Any:
    if not isinstance(content, list):
        return content or ""
    if any(part["type"] not in _TEXT_PARTS for part in content):
        return content
    return "\n".join(part[part["type"]] for part in content)
