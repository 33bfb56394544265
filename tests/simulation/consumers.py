"""Simulated consumers: they ask through `service.submit`, read through the real response writer, and check every answer.

What a consumer sees is exactly one of: a whole answer, an error, or its own hang-up. Anything else breaks an invariant.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any

import msgspec

from hushnet.coordinator.api.streaming import (
    Form,
    SealedBinaryForm,
    SealedEventsForm,
    StandardForm,
    answer,
    refuse,
)
from hushnet.coordinator.confidential import ENDPOINT, StandardRequest
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.coordinator.serving.failures import Failure
from hushnet.coordinator.serving.model import Consumer, RequestBody, SealedAttempt
from hushnet.coordinator.serving.seal import SealedBody, StandardBody, StreamForm
from hushnet.coordinator.serving.service import RequestService
from hushnet.foundation.clock import Clock
from hushnet.foundation.ids import AccountId, ApiKeyId, ModelId
from hushnet.sealing.envelope import RequestFields, SealedRequest, parse_envelope, seal_request
from hushnet.sealing.errors import RelayReportedError, SealingError
from hushnet.sealing.opening import FrameOpener
from hushnet.sealing.padding import output_class, prompt_class
from hushnet.sealing.records import Kind
from hushnet.sealing.statements import Recipient
from hushnet.sealing.streaming import BinaryRecordReader, SseRecordReader
from simulation.lines import SimulatedLine
from simulation.machine import answer_of, prompt_of
from simulation.watching import RequestSeen, Watch


class Outcome(StrEnum):
    """How a request ended, as its consumer saw it."""

    WHOLE = "whole"
    ERROR = "error"
    """An HTTP error, or an error inside the answer."""
    HUNG_UP = "hung up"
    CUT = "cut"
    """The coordinator closed its listener and cut what was left; nothing more can be said on such a connection."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a consumer asks for, and how it behaves. Times in seconds, None for never."""

    tag: str
    account: AccountId
    model: ModelId
    words: int
    bound: int
    is_sealed: bool = False
    is_stream: bool = True
    is_binary: bool = True
    is_direct: bool = False
    """Its answer leaves past ASGI's `send`, as it does in production."""
    recipients: Sequence[Recipient] = ()
    padding: int = 0
    """Bytes that make the body longer."""
    patience_s: float | None = None
    """It hangs up when this much time has passed."""
    hangs_up_after_bytes: int | None = None
    pace_bytes_s: float | None = None
    """How fast it reads; None is as fast as bytes come, 0 is not at all."""


class _StandardWish(StandardBody):
    """A standard body that is watched where serving makes its attempts."""

    seen: RequestSeen
    watch: Watch

    async def attempt(self, provider: LiveProvider, *terms: Any, **more: Any) -> SealedAttempt:
        sealed = await super().attempt(provider, *terms, **more)
        self.watch.sealed(self.seen, provider.provider_id, sealed.envelope)
        return sealed


class _SealedWish(SealedBody):
    """A sealed body that is watched."""

    seen: RequestSeen
    watch: Watch

    async def attempt(self, provider: LiveProvider, *terms: Any, **more: Any) -> SealedAttempt:
        sealed = await super().attempt(provider, *terms, **more)
        self.watch.sealed(self.seen, provider.provider_id, sealed.envelope)
        return sealed


@dataclass
class Conversation:
    """One request from the asking to its end."""

    wish: Wish
    service: RequestService
    watch: Watch
    clock: Clock
    chance: Random
    status: int = 0
    body: bytearray = field(default_factory=bytearray)
    is_ended: bool = False
    is_cut: bool = False
    _gone: asyncio.Event = field(default_factory=asyncio.Event)
    _answering: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Ask, read, and judge what came."""
        wish, watch = self.wish, self.watch
        seen = RequestSeen(wish.tag, wish.account, wish.model, wish.is_sealed, wish.words, 0, watch.now_s())
        watch.requests[wish.tag] = seen
        try:
            request, sealed, form = self._body(seen)
        except SealingError as error:
            # Every recipient's statement has run out since the consumer looked.
            watch.note(f"{wish.tag} not sealed: {error.error_code}")
            seen.outcome = Outcome.ERROR
            return
        watch.note(f"{wish.tag} asks for {wish.words} of {wish.model}{' sealed' if wish.is_sealed else ''}")
        timer = None
        if wish.patience_s is not None:
            timer = asyncio.get_running_loop().call_later(wish.patience_s, self._hang_up, seen)
        await self._ask(request, form, seen)
        if timer is not None:
            timer.cancel()
        self._judge(seen, sealed)

    def _body(self, seen: RequestSeen) -> tuple[RequestBody, SealedRequest | None, Form]:
        wish = self.wish
        data = json.dumps(
            {
                "model": wish.model,
                "messages": [
                    {"role": "system", "content": "x" * wish.padding},
                    {"role": "user", "content": prompt_of(wish.tag, wish.words)},
                ],
                "stream": wish.is_stream,
                "max_tokens": wish.bound,
            }
        ).encode()
        if not wish.is_sealed:
            standard = _StandardWish(StandardRequest(data, output_tokens_default=256))
            standard.seen, standard.watch = seen, self.watch
            return standard, None, StandardForm()
        fields = RequestFields(
            endpoint=ENDPOINT,
            model=wish.model,
            stream=wish.is_stream,
            max_output_tokens=output_class(wish.bound),
            max_prompt_tokens=prompt_class(len(data) + 128),
        )
        now = self.clock.now_ms() // 1000
        sealed = seal_request(fields, meta={"frame_pad": 64}, data=data, recipients=tuple(wish.recipients), now=now)
        form = StreamForm.BINARY if wish.is_binary else StreamForm.EVENTS
        body = _SealedWish(parse_envelope(sealed.raw), form=form)
        body.seen, body.watch = seen, self.watch
        return body, sealed, SealedBinaryForm() if wish.is_binary else SealedEventsForm()

    # The consumer's connection, as ASGI shows it.

    async def _ask(self, request: RequestBody, form: Form, seen: RequestSeen) -> None:
        life = self.service.submit(Consumer(seen.account, ApiKeyId(seen.account)), request)
        if isinstance(life, Failure):
            self.watch.note(f"{seen.tag} refused: {life.code}")
            await refuse(self._send, life, form, headers=[])
            return
        seen.id = life.id
        self.watch.by_id[life.id] = seen
        line = SimulatedLine(self._taken, self.wish.pace_bytes_s) if self.wish.is_direct else None
        answering = answer(life, self._receive, self._send, form, line)  # type: ignore[arg-type]
        self._answering = asyncio.create_task(answering, name=f"answer-{seen.tag}")
        await asyncio.wait((self._answering,))
        if line is not None:
            line.end()
        if not self._answering.cancelled():
            self._answering.result()

    def cut(self) -> None:
        """End the connection from the coordinator's side, as its HTTP listener does once the drain is over."""
        if self._answering is not None and not self._answering.done():
            self.is_cut = True
            self.watch.note(f"{self.wish.tag} is cut")
            self._answering.cancel()

    def _hang_up(self, seen: RequestSeen) -> None:
        if not self.is_ended and not seen.is_hung_up:
            seen.is_hung_up = True
            self.watch.note(f"{seen.tag} hangs up")
            self._gone.set()

    async def _receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        seen = self.watch.requests[self.wish.tag]
        if seen.is_hung_up:
            return
        data = message.get("body", b"")
        await self._take_time(len(data))
        if seen.is_hung_up:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.watch.note(f"{self.wish.tag} status {self.status}")
            return
        self.is_ended = not message.get("more_body", False)
        self._taken(data)

    def _taken(self, data: bytes) -> None:
        """Take bytes off the connection, whichever way they came."""
        seen, most = self.watch.requests[self.wish.tag], self.wish.hangs_up_after_bytes
        if not seen.is_hung_up:
            self.body += data
            if most is not None and len(self.body) >= most:
                self._hang_up(seen)

    async def _take_time(self, size: int) -> None:
        pace = self.wish.pace_bytes_s
        if pace is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(size / pace if pace else None):
                await self._gone.wait()

    # What came.

    def _judge(self, seen: RequestSeen, sealed: SealedRequest | None) -> None:
        read = _read_sealed if sealed is not None and self.status in (0, 200) else _read_standard
        try:
            seen.text, is_whole, is_error = read(bytes(self.body), self.wish, self.status, sealed)
        except (SealingError, ValueError, KeyError, IndexError) as error:
            self.watch.broke("honest answers", f"{seen.tag} cannot be read: {type(error).__name__} {error}")
            return
        promised = answer_of(seen.tag, seen.words)
        if not promised.startswith(seen.text):
            self.watch.broke("honest answers", f"{seen.tag} was given another answer: {seen.text[:80]!r}")
        if is_whole and seen.text != promised:
            self.watch.broke("honest answers", f"{seen.tag} was told that a truncated answer was whole")
        if seen.is_hung_up:
            seen.outcome = Outcome.HUNG_UP
        elif self.is_cut:
            seen.outcome = Outcome.CUT
        elif not self.is_ended:
            self.watch.broke("honest answers", f"the answer to {seen.tag} has no end")
        elif is_whole == is_error:
            self.watch.broke("honest answers", f"{seen.tag} ended {'in both ways' if is_whole else 'in no way'}")
        else:
            seen.outcome = Outcome.WHOLE if is_whole else Outcome.ERROR
        self.watch.note(f"{seen.tag} {seen.outcome}, {len(seen.text)} characters")


def _read_standard(body: bytes, wish: Wish, status: int, _: SealedRequest | None) -> tuple[str, bool, bool]:
    """Return the text, whether it is said to be whole, and whether an error was told."""
    if status != 200:
        is_error = status >= 400 and bool(body)
        return "", False, is_error
    if not wish.is_stream:
        if not body:
            return "", False, False
        return json.loads(body)["choices"][0]["message"]["content"], True, False
    # A consumer that hung up may hold half an event.
    events = [each[6:] for each in body.decode().split("\n\n")[:-1] if each.startswith("data: ")]
    is_done = bool(events) and events[-1] == "[DONE]"
    decoded = [json.loads(event) for event in events if event != "[DONE]"]
    text = "".join(choice["delta"].get("content") or "" for event in decoded for choice in event.get("choices", ()))
    return text, is_done, any("error" in event for event in decoded)


def _read_sealed(body: bytes, wish: Wish, status: int, sealed: SealedRequest | None) -> tuple[str, bool, bool]:
    """The same of a sealed answer, opened as its consumer does."""
    assert sealed is not None
    if status == 0:
        return "", False, False
    reader = BinaryRecordReader() if wish.is_binary else SseRecordReader()
    opener = FrameOpener(sealed)
    data, is_error = bytearray(), False
    try:
        for raw in reader.feed(body):
            frame = opener.open(raw)
            if frame is None:
                continue
            if frame.kind in (Kind.CONTENT, Kind.BOILERPLATE):
                data += frame.data
            is_error = is_error or frame.kind is Kind.ERROR
    except RelayReportedError:
        is_error = True
    except SealingError:
        # A provider broke its own answer: the consumer's library says so, and gives what it had no end.
        is_error = True
    is_whole = opener.is_final and not is_error
    if wish.is_stream:
        text = _text_of(bytes(data))
        return text, is_whole, is_error
    return (_read_standard(bytes(data), wish, 200, None)[0] if is_whole else "", is_whole, is_error)


def _text_of(body: bytes) -> str:
    events = [each[6:] for each in body.decode().split("\n\n")[:-1] if each.startswith("data: ")]
    decoded: list[Any] = [msgspec.json.decode(event) for event in events if event != "[DONE]"]
    return "".join(choice["delta"].get("content") or "" for event in decoded for choice in event.get("choices", ()))


Arrive = Callable[[Wish], None]
"""Lets a consumer come with a wish."""
