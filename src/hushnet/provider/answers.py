"""From engine events to the bytes of an HTTP response body: streamed as events, or whole at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from hushnet.dialects.openai_chat import ChatRequest, ChatStream, Delta, TokenLogprob, Usage, render_completion
from hushnet.provider.engines.base import Finished
from hushnet.sealing.limits import DATA_MAX

EVENT_STREAM: Final = "text/event-stream"
JSON: Final = "application/json"


class Answer(Protocol):
    """One response body in the making; its parts in order are exactly the body."""

    content_type: str

    def opening(self) -> bytes:
        """Return what precedes all content; empty when there is nothing."""
        ...

    def pieces(self, deltas: Sequence[Delta]) -> Iterator[bytes]:
        """Take in deltas that were ready together; give what can leave now, whole events."""
        ...

    def closing(self, finished: Finished, usage: Usage) -> Iterator[bytes]:
        """Render the rest of the body; `usage` is what the meter will say."""
        ...


def answer_to(request: ChatRequest, *, completion_id: str, created_s: int) -> Answer:
    """Return the answer in the form that the request asked for."""
    if request.stream:
        return StreamedAnswer(request, completion_id=completion_id, created_s=created_s)
    return WholeAnswer(request, completion_id=completion_id, created_s=created_s)


class StreamedAnswer:
    """Server-sent events, as many to a record as were ready."""

    content_type = EVENT_STREAM

    def __init__(self, request: ChatRequest, *, completion_id: str, created_s: int) -> None:
        self._stream = ChatStream(completion_id, request.model, created_s, request.include_usage)

    def opening(self) -> bytes:
        return self._stream.role()

    def pieces(self, deltas: Sequence[Delta]) -> Iterator[bytes]:
        return (self._stream.delta(delta) for delta in deltas if not _is_empty(delta))

    def closing(self, finished: Finished, usage: Usage) -> Iterator[bytes]:
        yield self._stream.finish(finished.reason)
        yield self._stream.usage(usage)
        yield self._stream.done()


class WholeAnswer:
    """One JSON object, made when everything is there, cut where a record ends."""

    content_type = JSON

    def __init__(self, request: ChatRequest, *, completion_id: str, created_s: int) -> None:
        self._named = {"completion_id": completion_id, "model": request.model, "created_s": created_s}
        self._text: list[str] = []
        self._logprobs: list[TokenLogprob] | None = [] if request.logprobs else None
        self._calls: dict[int, dict[str, Any]] = {}

    def opening(self) -> bytes:
        return b""

    def pieces(self, deltas: Sequence[Delta]) -> Iterator[bytes]:
        for delta in deltas:
            self._text.append(delta.text)
            if self._logprobs is not None:
                self._logprobs.extend(delta.logprobs or ())
            for part in delta.tool_calls or ():
                _merge_call(self._calls, part)
        return iter(())

    def closing(self, finished: Finished, usage: Usage) -> Iterator[bytes]:
        yield render_completion(
            **self._named,  # type: ignore[arg-type]  # three members, set once above
            text="".join(self._text),
            reason=finished.reason,
            usage=usage,
            logprobs=self._logprobs,
            tool_calls=[self._calls[index] for index in sorted(self._calls)] or None,
        )


def _is_empty(delta: Delta) -> bool:
    """Tell whether a delta only counts tokens, half of a character for one."""
    return not delta.text and not delta.tool_calls and not delta.logprobs


def packed(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Join parts up to a record's size (65532 bytes), keeping each whole; only a part larger than that is cut."""
    batch: list[bytes] = []
    size = 0
    for part in parts:
        if size and size + len(part) > DATA_MAX:
            yield b"".join(batch)
            batch, size = [], 0
        cut = max(0, len(part) - 1) // DATA_MAX * DATA_MAX
        yield from (part[start : start + DATA_MAX] for start in range(0, cut, DATA_MAX))
        batch.append(part[cut:])
        size += len(part) - cut
    if size:
        yield b"".join(batch)


def _merge_call(calls: dict[int, dict[str, Any]], part: Mapping[str, Any]) -> None:
    """Add one partial tool call, in the streaming shape, to the whole ones."""
    call = calls.setdefault(
        part.get("index", 0), {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
    )
    call["id"] = part.get("id") or call["id"]
    function = part.get("function") or {}
    call["function"]["name"] += function.get("name") or ""
    call["function"]["arguments"] += function.get("arguments") or ""
