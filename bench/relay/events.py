"""The load of the relay bench as bytes: what a request asks for, and the events that answer it. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

import msgspec

MODEL: Final = "synthetic"
DONE: Final = b"data: [DONE]\n\n"
EVENT_BYTES: Final = 288
"""One token of an OpenAI stream, as design/performance.md measures relays with."""
_SUFFIX: Final = b'"},"finish_reason":null}]}\n\n'
_PAD: Final = b"x" * 65_536


class Instructions(msgspec.Struct, frozen=True, kw_only=True):
    """What the last user message of a request asks of a synthetic engine.

    `rate` is chunks a second, 0 as fast as they are taken; `bytes` one event's size; `delay_ms` precedes the first chunk.
    `tag` names the request in the provider's report; with `head` what precedes all content leaves before the delay.
    """

    chunks: int = 1
    rate: float = 0.0
    bytes: int = EVENT_BYTES
    delay_ms: float = 0.0
    tag: str = ""
    head: bool = False


class _Message(msgspec.Struct):
    content: str


class _Body(msgspec.Struct):
    messages: list[_Message]
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, read."""

    instructions: Instructions
    is_stream: bool


def read_request(body: bytes) -> Asked:
    """Read an OpenAI chat body whose last message holds the instructions; raises `ValueError` when it does not."""
    parsed = msgspec.json.decode(body, type=_Body)
    return Asked(msgspec.json.decode(parsed.messages[-1].content, type=Instructions), parsed.stream)


def request_body(instructions: Instructions, *, stream: bool) -> bytes:
    """Write the OpenAI chat body that carries `instructions`."""
    return json.dumps(
        {
            "model": MODEL,
            "stream": stream,
            "max_tokens": max(instructions.chunks, 1),
            "messages": [{"role": "user", "content": msgspec.json.encode(instructions).decode()}],
        }
    ).encode()


class EventWriter:
    """Writes the events of one streamed answer, each exactly `size` bytes unless that is too small for what it says."""

    __slots__ = ("_prefix", "_room", "_tail")

    def __init__(self, completion_id: str, *, created_s: int, size: int = EVENT_BYTES) -> None:
        self._tail = (
            f'"id":"{completion_id}","object":"chat.completion.chunk","created":{created_s},"model":"{MODEL}"'.encode()
        )
        self._prefix = b"data: {" + self._tail + b',"choices":[{"index":0,"delta":{"content":"'
        self._room = size - len(self._prefix) - len(_SUFFIX)

    def chunk(self, seq: int, now_ns: int) -> bytes:
        """Write one chunk: `<seq> <now_ns> <padding>`."""
        words = b"%d %d " % (seq, now_ns)
        return b"".join((self._prefix, words, _PAD[: max(self._room - len(words), 0)], _SUFFIX))

    def closing(self, *, chunks: int) -> bytes:
        """Write what ends a whole answer: the reason, the usage and `[DONE]`."""
        usage = f'"usage":{{"prompt_tokens":1,"completion_tokens":{chunks},"total_tokens":{chunks + 1}}}'.encode()
        finish = b"data: {" + self._tail + b',"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
        return finish + b"data: {" + self._tail + b',"choices":[],' + usage + b"}\n\n" + DONE


def completion(completion_id: str, *, created_s: int, words: int) -> bytes:
    """Write a whole answer of `words` words."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "word " * words}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": words, "total_tokens": words + 1}
    document = {"id": completion_id, "object": "chat.completion", "created": created_s, "model": MODEL}
    return json.dumps({**document, "choices": [choice], "usage": usage}).encode()
