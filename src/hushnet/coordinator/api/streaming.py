"""From a request's life to an HTTP response: the head, everything that waits in one write, and an honest end.

A failure before the head is an HTTP error; one after it is an event in the stream, and then nothing that looks like a
proper end. The consumer's hang-up is watched for as long as the request runs, whatever else is going on.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
from typing import Final, Protocol

import msgspec
from starlette.types import Receive, Send

from hushnet.coordinator.api.dispatch import send_problem
from hushnet.coordinator.api.http.direct import DirectLine
from hushnet.coordinator.api.http.reader import SocketReader
from hushnet.coordinator.api.problems import Problem, openai_body, problem_of
from hushnet.coordinator.serving.failures import Failure, FailureCode
from hushnet.coordinator.serving.life import Life
from hushnet.coordinator.serving.outlet import Outlet, ReplyHead
from hushnet.coordinator.serving.rules.stops import Stop
from hushnet.coordinator.telemetry.timing import X_TIMING
from hushnet.sealing.records import relay_error_record
from hushnet.sealing.streaming import encode_sse

EVENTS: Final = "text/event-stream"
ERROR_BYTES_MAX: Final = 64 * 1024
"""What is kept of a provider's error that has to become an event; a longer one is not shown."""
_STREAM_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
)
_COLD: Final = ((b"hushnet-cold-start", b"true"),)


class Form(Protocol):
    """How failures look in one form of the answer."""

    @property
    def is_sealed(self) -> bool: ...

    @property
    def is_events(self) -> bool:
        """Whether a streamed answer is a stream of server-sent events, which may carry comments."""
        ...

    def in_band(self, problem: Problem) -> bytes:
        """Return a failure after the head, as bytes of the stream."""
        ...


class StandardForm:
    """The dialect's own stream: an error event, and no `[DONE]` after it."""

    is_sealed = False
    is_events = True

    def in_band(self, problem: Problem) -> bytes:
        return b"data: " + openai_body(problem) + b"\n\n"


class SealedEventsForm:
    """Records in server-sent events."""

    is_sealed = True
    is_events = True

    def in_band(self, problem: Problem) -> bytes:
        return encode_sse((relay_error_record(problem.code),))


class SealedBinaryForm:
    """Records back to back."""

    is_sealed = True
    is_events = False

    def in_band(self, problem: Problem) -> bytes:
        return relay_error_record(problem.code)


async def answer(life: Life, receive: Receive, send: Send, form: Form, line: DirectLine | None = None) -> None:
    """Write the answer of `life`; when this returns, or is cancelled, the life knows whether its consumer is there."""
    if line is not None:
        life.outlet.reader = SocketReader(line.transport)
    watcher = asyncio.create_task(_watch(receive, life), name="hang-up-watch")
    try:
        await _write(life, send, form, line)
    finally:
        watcher.cancel()
        # Without effect on an answer that was written to its end.
        life.stop(Stop.HUNG_UP)


def problem_of_failure(failure: Failure) -> Problem:
    """Look a failure up in the table, with its own time to try again."""
    problem = problem_of(failure.code, message=failure.words)
    if failure.retry_after_s is None:
        return problem
    return dataclasses.replace(problem, retry_after_s=max(1, math.ceil(failure.retry_after_s)))


async def refuse(send: Send, failure: Failure, form: Form, *, headers: list[tuple[bytes, bytes]]) -> None:
    """Answer with an HTTP error."""
    if failure.detail is not None and not form.is_sealed and _is_error_body(failure.detail):
        await _send_detail(send, failure.status or 400, failure.detail, headers)
        return
    await send_problem(send, problem_of_failure(failure), is_sealed=form.is_sealed, headers=headers)


def common_headers(life: Life) -> list[tuple[bytes, bytes]]:
    """Return what every answer to this request says, also an error."""
    return [
        (b"hushnet-mode", life.body.mode.value.encode()),
        (b"hushnet-request-id", b"%d" % life.id),
        (X_TIMING, life.timing()),
        *(_COLD if life.is_cold_start else ()),
    ]


async def _watch(receive: Receive, life: Life) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            life.stop(Stop.HUNG_UP)
            return


async def _write(life: Life, send: Send, form: Form, line: DirectLine | None) -> None:
    outlet = life.outlet
    head = await outlet.opened()
    is_begun = False
    while isinstance(head, bytes):
        await _write_notice(life, head, send, is_first=not is_begun)
        is_begun = True
        head = await outlet.opened()
    if head is None:
        return
    if isinstance(head, Failure):
        await (_end(send, head, form) if is_begun else refuse(send, head, form, headers=common_headers(life)))
        return
    if head.is_whole:
        await _write_whole(life, outlet, head, send)
        return
    if is_begun and (head.status != 200 or not head.content_type.startswith(EVENTS)):
        await _write_late_refusal(outlet, form, send)
        return
    if not is_begun:
        await send({"type": "http.response.start", "status": head.status, "headers": _headers(life, head)})
    await relay(outlet, send, line)
    await _end(send, outlet.failure, form)
    outlet.sent()


async def _end(send: Send, failure: Failure | None, form: Form) -> None:
    tail = b""
    if failure is not None:
        own = None if form.is_sealed or failure.detail is None else _event_of(failure.detail)
        tail = own or form.in_band(problem_of_failure(failure))
    await send({"type": "http.response.body", "body": tail, "more_body": False})


async def _write_notice(life: Life, notice: bytes, send: Send, *, is_first: bool) -> None:
    """Write a comment while the request waits; the first one begins the answer, before its provider is known."""
    if is_first:
        headers = [(b"content-type", EVENTS.encode()), *_STREAM_HEADERS, *common_headers(life)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": notice, "more_body": True})


async def _write_late_refusal(outlet: Outlet, form: Form, send: Send) -> None:
    """End an event stream that has begun with an answer that is none: the provider's error, or that there was one.

    Nothing of it counts as relayed, so nothing of it is paid.
    """
    detail = b""
    while len(detail) < ERROR_BYTES_MAX and (data := await outlet.take()) is not None:
        detail += data
    failure = outlet.failure or Failure(FailureCode.PROVIDER_FAILED, detail=detail)
    outlet.abandon()
    await _end(send, failure, form)


def _event_of(body: bytes) -> bytes | None:
    """Put an error body, which may have lines, into one event; None for what is not one."""
    if len(body) >= ERROR_BYTES_MAX or not _is_error_body(body):
        return None
    try:
        return b"data: " + msgspec.json.encode(msgspec.json.decode(body)) + b"\n\n"
    except (ValueError, RecursionError):
        return None


async def relay(outlet: Outlet, send: Send, line: DirectLine | None) -> None:
    """Write everything that comes out of `outlet`, after the head: through `line` where it opens, else through `send`."""
    if line is not None and line.open(outlet.resume):
        outlet.attach(line)
        await outlet.closed()
        line.flush()
    while (data := await outlet.take()) is not None:
        await send({"type": "http.response.body", "body": data, "more_body": True})
        outlet.sent()


async def _write_whole(life: Life, outlet: Outlet, head: ReplyHead, send: Send) -> None:
    body = await outlet.take() or b""
    headers = [*_headers(life, head), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": head.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
    outlet.sent()


def _headers(life: Life, head: ReplyHead) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-type", head.content_type.encode("ascii")),
        *_STREAM_HEADERS,
        (b"hushnet-provider", head.provider_id.encode()),
        (b"hushnet-trust", head.trust.encode()),
        *common_headers(life),
    ]


class _ErrorMember(msgspec.Struct):
    message: str


class _ErrorBody(msgspec.Struct):
    error: _ErrorMember


def _is_error_body(detail: bytes) -> bool:
    """Whether a provider's error body has the shape that the consumer's client expects."""
    try:
        msgspec.json.decode(detail, type=_ErrorBody)
    except (ValueError, RecursionError):
        return False
    return True


async def _send_detail(send: Send, status: int, detail: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    own = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(detail)),
        (b"cache-control", b"no-store"),
    ]
    shown = status if 400 <= status <= 499 else 400
    await send({"type": "http.response.start", "status": shown, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": detail})
