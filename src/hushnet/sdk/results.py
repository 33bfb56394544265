"""What the SDK returns: the shapes of OpenAI's chat API, and with each answer who could read it and what it cost."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from hushnet.foundation.errors import RemoteProtocolError

_Shape = TypeVar("_Shape")


class Usage(msgspec.Struct, kw_only=True):
    """Tokens of one request; `cached_tokens` is the part of the prompt that came from a prefix cache."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0


class Message(msgspec.Struct, kw_only=True):
    """A finished message of the model."""

    role: str = "assistant"
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class Choice(msgspec.Struct, kw_only=True):
    """One answer of a completion."""

    index: int = 0
    message: Message = msgspec.field(default_factory=Message)
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class Delta(msgspec.Struct, kw_only=True):
    """What one streamed chunk adds to the message."""

    role: str | None = None
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class ChunkChoice(msgspec.Struct, kw_only=True):
    """One answer's part of a streamed chunk."""

    index: int = 0
    delta: Delta = msgspec.field(default_factory=Delta)
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class ChatCompletionChunk(msgspec.Struct, kw_only=True):
    """One event of a streamed answer."""

    id: str = ""
    object: str = "chat.completion.chunk"
    created: int = 0
    model: str = ""
    choices: list[ChunkChoice] = []
    usage: Usage | None = None


class Facts(msgspec.Struct, kw_only=True):
    """What is known about how an answer came to be.

    `trust` is the tier that was verified here in sealed mode, the coordinator's word in standard mode. `readable_by`
    names everyone who was able to read prompt and answer. `cost_micro_usd` is None until the coordinator has settled.
    """

    sealed: bool = False
    trust: str = "none"
    readable_by: tuple[str, ...] = ()
    provider_id: str = ""
    request_id: str = ""
    cost_micro_usd: int | None = None


class ChatCompletion(msgspec.Struct, kw_only=True):
    """A whole answer, in OpenAI's shape, with its facts."""

    id: str = ""
    object: str = "chat.completion"
    created: int = 0
    model: str = ""
    choices: list[Choice] = []
    usage: Usage | None = None
    facts: Facts = msgspec.field(default_factory=Facts, name="hushnet")

    @property
    def trust(self) -> str:
        return self.facts.trust

    @property
    def readable_by(self) -> tuple[str, ...]:
        return self.facts.readable_by

    @property
    def cost_micro_usd(self) -> int | None:
        return self.facts.cost_micro_usd


def decode_completion(body: bytes) -> ChatCompletion:
    """Read a whole answer; raises `RemoteProtocolError` when it is not one."""
    return _decode(body, ChatCompletion)


def decode_chunk(body: bytes) -> ChatCompletionChunk:
    """Read one streamed chunk; raises `RemoteProtocolError` when it is not one."""
    return _decode(body, ChatCompletionChunk)


def _decode(body: bytes, shape: type[_Shape]) -> _Shape:
    try:
        return msgspec.json.decode(body, type=shape, strict=False)
    except (msgspec.MsgspecError, RecursionError):
        raise RemoteProtocolError("the answer is not in OpenAI's shape", code="bad_answer") from None
