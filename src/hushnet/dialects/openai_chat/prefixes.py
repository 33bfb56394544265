"""Where a conversation was when earlier requests of it may have been made: running hashes, no text.

A prefix ends where it is the model's turn to speak: after the last of some messages that are not the assistant's. A
follow-up holds the prefixes of every request before it, as long as its earlier messages are sent unchanged.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

import msgspec

from hushnet.dialects.openai_chat.bounds import TEMPLATE_TOKENS_MESSAGE
from hushnet.dialects.openai_chat.request import ChatRequest

_START: Final = b"hushnet/1 conversation\0"
_ENCODE: Final = msgspec.json.Encoder().encode


class Prefix(NamedTuple):
    """The first messages of a conversation: SHA-256 over them and what a template prints before them, and their bytes."""

    digest: bytes
    bytes: int


def prefixes_of(request: ChatRequest, *, last: int) -> tuple[Prefix, ...]:
    """Return the first prefix of a conversation and its `last` longest, shortest first; none where only the model spoke."""
    ends = _ends(request)
    wanted = {*ends[:1], *ends[-last:]}
    running = hashlib.sha256(_START)
    size = _add(running, list(request.tools))
    found: list[Prefix] = []
    for index in range(ends[-1] + 1 if ends else 0):
        size += _add(running, request.messages[index]) + TEMPLATE_TOKENS_MESSAGE
        if index in wanted:
            found.append(Prefix(running.digest(), size))
    return tuple(found)


def _ends(request: ChatRequest) -> list[int]:
    is_models = [message["role"] == "assistant" for message in request.messages]
    following = [*is_models[1:], True]
    return [index for index, models in enumerate(is_models) if not models and following[index]]


def _add(running: hashlib._Hash, value: object) -> int:
    """Hash one value behind its length, so that no two sequences of values are the same bytes."""
    data = _ENCODE(value)
    running.update(len(data).to_bytes(8, "big"))
    running.update(data)
    return len(data)
