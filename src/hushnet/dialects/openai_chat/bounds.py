"""How many tokens a prompt can be at most, told without a tokenizer."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from hushnet.dialects.openai_chat.request import MEDIA_FEATURES, ChatRequest

TEMPLATE_TOKENS_MESSAGE: Final = 32
"""Role marks and line ends that a chat template puts around one message; 4 to 12 in the templates looked at."""

TEMPLATE_TOKENS_ONCE: Final = 512
"""A template's own preamble: default system prompts and date lines run to 60 tokens."""

TOOL_PREAMBLE_TOKENS: Final = 2048
"""What templates say about how to call tools, beside the tools themselves."""

TOOL_GROWTH: Final = 4
"""Tools are printed by templates as indented JSON, some twice; indentation can triple short values."""


def prompt_bytes_bound(request: ChatRequest) -> int:
    """Return an upper bound of `request`'s prompt tokens in any tokenizer whose tokens are at least one byte each.

    Text counts by its UTF-8 bytes, the chat template by a constant a message. Images and audio are not counted.
    """
    bound = TEMPLATE_TOKENS_ONCE + TEMPLATE_TOKENS_MESSAGE * len(request.messages)
    bound += sum(_text_bytes(message) for message in request.messages)
    if request.tools:
        bound += TOOL_PREAMBLE_TOKENS + TOOL_GROWTH * len(msgspec.json.encode(request.tools))
    if request.response_format is not None and request.response_format.schema is not None:
        bound += TOOL_GROWTH * len(msgspec.json.encode(request.response_format.schema))
    return bound


def _text_bytes(message: dict[str, Any]) -> int:
    """Bytes of everything in a message that a template may print: JSON is never shorter than the text in it."""
    content = message.get("content")
    if isinstance(content, list):
        message = {**message, "content": [part for part in content if part["type"] not in MEDIA_FEATURES]}
    calls = message.get("tool_calls")
    return len(msgspec.json.encode(message)) + (TOOL_GROWTH * len(msgspec.json.encode(calls)) if calls else 0)
