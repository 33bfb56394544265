"""Read an answer without I/O, sealed or standard: bytes in, the dialect's events or the whole body out.

Whatever breaks off raises `BrokenAnswerError`: truncation is never reported as success.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

import msgspec

from hushnet.foundation.errors import RemoteProtocolError
from hushnet.sdk.errors import BrokenAnswerError, error_in_band, error_of
from hushnet.sdk.results import Facts, Usage
from hushnet.sdk.sealed import BodyArrived, Ended, Failed, HeadOpened, SealingError
from hushnet.sdk.session import ANSWER_BYTES_MAX, Opened, Reply, sealed_facts, standard_facts
from hushnet.sdk.sse import EventReader
from hushnet.sealing.errors import RelayReportedError

DONE: Final = b"[DONE]"
_BROKEN_OFF: Final = frozenset({"no_response", "stream_truncated"})


class Answer(Protocol):
    """One answer being read; `facts` and `usage` are complete after `finish`."""

    facts: Facts
    usage: Usage | None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the parts of the dialect's response body that are proven by now."""
        ...

    def finish(self) -> None:
        """Check that the answer was whole; raises when it was not."""
        ...

    def drop(self) -> None:
        """Forget secrets; nothing is fed afterwards."""
        ...


class SealedAnswer:
    """Opens records as they arrive and learns which provider answered."""

    def __init__(self, opened: Opened) -> None:
        self.facts = sealed_facts(opened)
        self.usage: Usage | None = None
        self.status = 200
        self.content_type = "application/json"
        self._exchange = opened.exchange
        self._proven = opened.proven
        self._served_by = opened.served_by

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            for event in self._exchange.feed(data):
                if isinstance(event, BodyArrived):
                    yield event.data
                else:
                    self._note(event)
        except SealingError as error:
            raise _translate(error) from None

    def finish(self) -> None:
        try:
            self._exchange.finish()
        except SealingError as error:
            raise _translate(error) from None

    def drop(self) -> None:
        self._exchange.drop()

    def _note(self, event: HeadOpened | Ended | Failed) -> None:
        match event:
            case HeadOpened():
                self.facts.provider_id = event.provider_id.hex()
                self.facts.trust = self._proven[event.provider_id]
                self._served_by(event.provider_id)
                self.status, self.content_type = event.status, event.content_type
            case Ended():
                meter = event.meter
                self.usage = Usage(
                    prompt_tokens=meter.input,
                    completion_tokens=meter.output,
                    total_tokens=meter.input + meter.output,
                    cached_tokens=meter.cached,
                )
            case Failed():
                self.drop()
                raise error_of(self.status, event.body) if self.status >= 400 else error_in_band(event.body)


class StandardAnswer:
    """Passes the body on, and watches a stream for its end mark."""

    def __init__(self, reply: Reply, *, is_stream: bool) -> None:
        self.facts = standard_facts(reply)
        self.usage: Usage | None = None
        self._is_stream = is_stream
        self._tail = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._is_stream:
            self._tail = (self._tail + data)[-64:]
        yield data

    def finish(self) -> None:
        if self._is_stream and not self._tail.rstrip().endswith(b"data: [DONE]"):
            raise BrokenAnswerError("the answer ended before its end mark")

    def drop(self) -> None:
        self._tail = b""


class AnswerFacts:
    """What an open answer tells about itself; complete after its end."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    @property
    def facts(self) -> Facts:
        return self._answer.facts

    @property
    def usage(self) -> Usage | None:
        return self._answer.usage

    @property
    def trust(self) -> str:
        return self.facts.trust

    @property
    def readable_by(self) -> tuple[str, ...]:
        return self.facts.readable_by

    @property
    def cost_micro_usd(self) -> int | None:
        return self.facts.cost_micro_usd


class ChunkReader:
    """Turns body parts into the JSON of each chunk; an error event inside the stream is raised."""

    def __init__(self) -> None:
        self._events = EventReader()

    def feed(self, part: bytes) -> Iterator[bytes]:
        for data in self._events.feed(part):
            if data == DONE:
                continue
            if data.startswith(b'{"error"'):
                raise error_in_band(data)
            yield data


class BodyCollector:
    """Joins the parts of a whole answer, at most 64 MiB."""

    def __init__(self) -> None:
        self._body = bytearray()

    def add(self, part: bytes) -> None:
        if len(self._body) + len(part) > ANSWER_BYTES_MAX:
            raise RemoteProtocolError("the answer is larger than 64 MiB", code="bad_answer")
        self._body += part

    def body(self) -> bytes:
        return bytes(self._body)


def usage_of(body: bytes) -> Usage | None:
    """Return the `usage` member of a body in OpenAI's shape, if it has one."""
    try:
        decoded = msgspec.json.decode(body)
        usage = decoded.get("usage")
        if not isinstance(usage, dict):
            return None
        details = usage.get("prompt_tokens_details") or {}
        return msgspec.convert({**usage, "cached_tokens": details.get("cached_tokens", 0)}, Usage, strict=False)
    except (msgspec.MsgspecError, AttributeError, RecursionError):
        return None


def _translate(error: SealingError) -> SealingError | BrokenAnswerError:
    if isinstance(error, RelayReportedError):
        return BrokenAnswerError(
            f"the coordinator says that the answer failed: {error.relay_code}", code=error.relay_code
        )
    if error.error_code in _BROKEN_OFF:
        return BrokenAnswerError("the answer broke off before its signed end", code=error.error_code)
    return error
