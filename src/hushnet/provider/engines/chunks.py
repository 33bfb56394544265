"""The streaming chunks of an OpenAI-shaped engine, read into `Delta`s and one `Finished`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from hushnet.foundation.errors import HushnetError, RequestError
from hushnet.provider.engines.base import ContextTooLong, Delta, EngineFailed, Finished, Usage
from hushnet.provider.engines.slots import Lease, SlotPool


class _TopLogprob(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None


class _Logprob(_TopLogprob):
    top_logprobs: list[_TopLogprob] = []


class _Logprobs(msgspec.Struct):
    content: list[_Logprob] | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    tool_calls: list[Any] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _CachedTokens(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: _CachedTokens | None = None


class _Timings(msgspec.Struct):
    prompt_per_second: float = 0.0
    predicted_per_second: float = 0.0


class _Progress(msgspec.Struct):
    total: int


class _Error(msgspec.Struct):
    code: int | str | None = None
    type: str | None = None
    n_prompt_tokens: int = 0
    n_ctx: int = 0


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    timings: _Timings | None = None
    prompt_progress: _Progress | None = None
    error: _Error | None = None


_decode = msgspec.json.Decoder(_Chunk).decode
_REASONS = {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "content_filter": "content_filter"}


class AnswerReader:
    """Reads one answer's chunks, keeps `lease` counting, and folds the engine's own timings into `pool`.

    Of each token's alternatives `top_logprobs` are kept.
    """

    def __init__(self, pool: SlotPool, lease: Lease, *, top_logprobs: int = 0) -> None:
        self._pool = pool
        self._lease = lease
        self._top_logprobs = top_logprobs
        self._reason: str | None = None
        self._usage: _Usage | None = None
        self.has_timings = False
        """Whether the engine told its own speeds."""

    def read(self, chunks: Iterable[bytes]) -> Iterator[Delta]:
        """Yield what `chunks` say, neighbouring pieces of text as one. Raises what the engine reports as an error."""
        text: list[str] = []
        tokens = 0
        for raw in chunks:
            chunk = self._decode(raw)
            self._note(chunk)
            for choice in chunk.choices[:1]:
                self._reason = choice.finish_reason or self._reason
                logprobs = choice.logprobs.content if choice.logprobs is not None else None
                if not (choice.delta.content or choice.delta.tool_calls or logprobs):
                    continue
                spent = len(logprobs) if logprobs else 1
                self._lease.output_tokens += spent
                if logprobs or choice.delta.tool_calls:
                    if text:
                        yield self._delta("".join(text), tokens)
                        text, tokens = [], 0
                    yield self._delta(choice.delta.content or "", spent, self._plain(logprobs), choice.delta.tool_calls)
                else:
                    text.append(choice.delta.content or "")
                    tokens += spent
        if text:
            yield self._delta("".join(text), tokens)

    def finish(self) -> Finished:
        """Return the end of the answer; raises `EngineFailed` when the engine stopped without one."""
        if self._reason is None or self._usage is None:
            raise EngineFailed("the engine broke its answer off")
        details = self._usage.prompt_tokens_details
        usage = Usage(
            input=self._usage.prompt_tokens,
            cached=(details.cached_tokens or 0) if details is not None else 0,
            output=self._usage.completion_tokens,
        )
        return Finished(_REASONS.get(self._reason, "stop"), usage)  # type: ignore[arg-type]

    def _delta(
        self, text: str, tokens: int, logprobs: list[Any] | None = None, tool_calls: list[Any] | None = None
    ) -> Delta:
        return Delta(text, tokens, logprobs, tool_calls, prompt_tokens=self._lease.prompt_tokens)

    def _plain(self, logprobs: list[_Logprob] | None) -> list[Any] | None:
        for entry in logprobs or ():
            del entry.top_logprobs[self._top_logprobs :]
        return msgspec.to_builtins(logprobs) if logprobs else None

    def _decode(self, raw: bytes) -> _Chunk:
        try:
            return _decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise EngineFailed("the engine sent a chunk that is not one") from None

    def _note(self, chunk: _Chunk) -> None:
        if chunk.error is not None:
            raise _error_of(chunk.error)
        if chunk.prompt_progress is not None:
            self._lease.prompt_tokens = chunk.prompt_progress.total
        if chunk.usage is not None:
            self._usage = chunk.usage
            self._lease.prompt_tokens = chunk.usage.prompt_tokens
        if chunk.timings is not None:
            self.has_timings = True
            self._pool.note_rates(
                decode_tokens_s=chunk.timings.predicted_per_second, prefill_tokens_s=chunk.timings.prompt_per_second
            )


def tells_usage(raw: bytes) -> bool:
    """Say whether a chunk has a piece of text and the usage so far."""
    try:
        chunk = _decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return chunk.usage is not None and any(choice.delta.content for choice in chunk.choices)


def reported_error(body: bytes) -> HushnetError | None:
    """Read an error response's body; None when it is not shaped like one."""
    try:
        error = _decode(body).error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return None if error is None else _error_of(error)


def _error_of(error: _Error) -> HushnetError:
    """Turn an engine's error into ours. Its text is dropped: it may quote the prompt."""
    if error.type == "exceed_context_size_error":
        return ContextTooLong(prompt_tokens=error.n_prompt_tokens, context_tokens=error.n_ctx)
    if error.code in (400, 422, "400", "422"):
        return RequestError("the engine does not take this request", code="engine_refused")
    return EngineFailed("the engine reported an error")
