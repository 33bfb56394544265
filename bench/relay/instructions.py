"""What a request asks of a synthetic provider, and the events it is answered with.

The last user message is JSON: `{"chunks": 100, "rate": 40, "bytes": 288, "delay_ms": 0}`. A streamed chunk is one
server-sent event of exactly `bytes` bytes whose content is `SEQ NANOSECONDS PADDING`: its place in the stream and the
monotonic clock at emission, which every process of one machine shares.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

MODEL: Final = "synthetic"
DONE: Final = b"data: [DONE]\n\n"
CHUNKS_MAX: Final = 10_000_000
BYTES_MAX: Final = 1 << 16

_EVENT_START: Final = (
    b'data: {"id":"chatcmpl-0","object":"chat.completion.chunk","created":1700000000,"model":"synthetic",'
    b'"choices":[{"index":0,"delta":{"content":"'
)
_EVENT_END: Final = b'"},"finish_reason":null}]}\n\n'
_STAMP_BYTES: Final = 32
BYTES_MIN: Final = len(_EVENT_START) + len(_EVENT_END) + _STAMP_BYTES
_FINISH: Final = (
    b'data: {"id":"chatcmpl-0","object":"chat.completion.chunk","created":1700000000,"model":"synthetic",'
    b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
)


Body = bytes
"""`bytes` itself is the name of a member below."""


class Instructions(msgspec.Struct, frozen=True):
    """What to answer with. `rate` is chunks a second, 0 for as fast as possible; `bytes` the size of one event.

    `tag` names the request in the report of a provider behind a link; with `head`, what precedes all content leaves
    before the delay.
    """

    chunks: int
    rate: float = 0.0
    bytes: int = 288
    delay_ms: float = 0.0
    tag: str = ""
    head: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.chunks <= CHUNKS_MAX or not BYTES_MIN <= self.bytes <= BYTES_MAX:
            raise ValueError(f"0..{CHUNKS_MAX} chunks of {BYTES_MIN}..{BYTES_MAX} bytes")
        if self.rate < 0 or self.delay_ms < 0:
            raise ValueError("rate and delay_ms are not negative")

    def chat(self, *, stream: bool, model: str = MODEL) -> Body:
        """Return the chat completion request that carries these instructions."""
        content = msgspec.json.encode(self).decode()
        body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": content}], "stream": stream}
        # A bound on the output is what a hold is made for: it is the true one here.
        return msgspec.json.encode(body | {"max_tokens": max(1, self.chunks)})


class _Message(msgspec.Struct):
    content: str | list[dict[str, Any]] | None = None


class _Chat(msgspec.Struct):
    messages: list[_Message]
    stream: bool = False


_chats = msgspec.json.Decoder(_Chat)
_instructions = msgspec.json.Decoder(Instructions)


def read_chat(body: bytes) -> tuple[Instructions, bool]:
    """Return the instructions in a chat completion request, and whether it streams; raises `msgspec.MsgspecError`."""
    chat = _chats.decode(body)
    content = chat.messages[-1].content if chat.messages else None
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content)
    return _instructions.decode(content or ""), chat.stream


class EventWriter:
    """Renders the events of one stream in order; `head` and `tail` go around each (the framing of a transport)."""

    __slots__ = ("_end", "_start", "_width", "seq")

    def __init__(self, size: int, head: bytes = b"", tail: bytes = b"") -> None:
        self._start = head + _EVENT_START
        self._end = _EVENT_END + tail
        self._width = size - len(_EVENT_START) - len(_EVENT_END)
        self.seq = 0

    def next(self, now_ns: int) -> bytes:
        """Return the next event, stamped with `now_ns` of the monotonic clock."""
        event = self._start + (b"%d %d " % (self.seq, now_ns)).ljust(self._width, b"x") + self._end
        self.seq += 1
        return event


def ending() -> bytes:
    """Return what follows the last chunk of a stream: the finish reason and the end marker."""
    return _FINISH + DONE


def completion(instructions: Instructions) -> bytes:
    """Return the JSON of a whole answer: `chunks` words."""
    count = instructions.chunks
    return msgspec.json.encode(
        {
            "id": "chatcmpl-0",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": " ".join(["word"] * count)},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 1, "completion_tokens": count, "total_tokens": count + 1},
        }
    )
