"""Build a chat request body from keyword arguments, as the openai package takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from hushnet.foundation.errors import RequestError


def with_usage(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Ask a standard stream for its token counts, where the caller said nothing about it."""
    return {**parameters, "stream_options": {"include_usage": True}}


def chat_body(*, model: str, messages: Sequence[Mapping[str, Any]], stream: bool = False, **parameters: Any) -> bytes:
    """Encode a chat completion request; parameters that are None are left out. Raises `RequestError`."""
    document: dict[str, Any] = {"model": model, "messages": list(messages), "stream": stream}
    document |= {name: value for name, value in parameters.items() if value is not None}
    try:
        return msgspec.json.encode(document)
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise RequestError("the request can't be written as JSON", code="bad_request") from None
