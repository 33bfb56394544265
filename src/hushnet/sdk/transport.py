"""Drive a session's plan over HTTP with httpx: no redirects, bounded bodies, one connection pool a client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from typing import TypeVar

import httpx

from hushnet.foundation.errors import CapacityError, RemoteProtocolError
from hushnet.sdk.session import ERROR_BYTES_MAX, Call, Reply

T = TypeVar("T")
CONNECT_S_MAX = 10.0


def timeouts(total_s: float) -> httpx.Timeout:
    """Return httpx's limits: `total_s` between two reads, ten seconds to connect."""
    return httpx.Timeout(total_s, connect=min(CONNECT_S_MAX, total_s))


class SyncTransport:
    """Runs plans with a blocking client; `stream` holds the response of the last streaming call."""

    def __init__(self, base_url: str, *, timeout_s: float, client: httpx.Client | None = None) -> None:
        self._base_url = base_url
        self._client = client or httpx.Client(timeout=timeouts(timeout_s), follow_redirects=False)

    def run(self, plan: Generator[Call, Reply, T]) -> tuple[T, httpx.Response | None]:
        """Drive `plan` to its result; also returns the open response when the last call streams."""
        reply: Reply | None = None
        stream: httpx.Response | None = None
        while True:
            try:
                call = next(plan) if reply is None else plan.send(reply)
            except StopIteration as end:
                return end.value, stream
            except BaseException:
                if stream is not None:
                    stream.close()
                raise
            reply, stream = self._perform(call)

    def _perform(self, call: Call) -> tuple[Reply, httpx.Response | None]:
        request = self._client.build_request(
            call.method, self._base_url + call.path, headers=dict(call.headers), content=call.body or None
        )
        try:
            response = self._client.send(request, stream=True)
            if call.is_stream and response.is_success:
                return Reply(response.status_code, response.headers), response
            try:
                return Reply(response.status_code, response.headers, _join(response, call)), None
            finally:
                response.close()
        except httpx.HTTPError as error:
            raise unreachable(error, self._base_url) from None

    def close(self) -> None:
        self._client.close()


class AsyncTransport:
    """Runs plans with an asynchronous client."""

    def __init__(self, base_url: str, *, timeout_s: float, client: httpx.AsyncClient | None = None) -> None:
        self._base_url = base_url
        self._client = client or httpx.AsyncClient(timeout=timeouts(timeout_s), follow_redirects=False)

    async def run(self, plan: Generator[Call, Reply, T]) -> tuple[T, httpx.Response | None]:
        """Drive `plan` to its result; also returns the open response when the last call streams."""
        reply: Reply | None = None
        stream: httpx.Response | None = None
        while True:
            try:
                call = next(plan) if reply is None else plan.send(reply)
            except StopIteration as end:
                return end.value, stream
            except BaseException:
                if stream is not None:
                    await stream.aclose()
                raise
            reply, stream = await self._perform(call)

    async def _perform(self, call: Call) -> tuple[Reply, httpx.Response | None]:
        request = self._client.build_request(
            call.method, self._base_url + call.path, headers=dict(call.headers), content=call.body or None
        )
        try:
            response = await self._client.send(request, stream=True)
            if call.is_stream and response.is_success:
                return Reply(response.status_code, response.headers), response
            try:
                body = bytearray()
                async for part in response.aiter_bytes():
                    body += part
                    _bound(len(body), call, response)
                return Reply(response.status_code, response.headers, bytes(body)), None
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            raise unreachable(error, self._base_url) from None

    async def aclose(self) -> None:
        await self._client.aclose()


def read(response: httpx.Response, base_url: str) -> Iterator[bytes]:
    """Yield a streaming response's bytes as they arrive."""
    try:
        yield from response.iter_raw()
    except httpx.HTTPError as error:
        raise unreachable(error, base_url) from None


async def aread(response: httpx.Response, base_url: str) -> AsyncIterator[bytes]:
    """Yield a streaming response's bytes as they arrive."""
    try:
        async for part in response.aiter_raw():
            yield part
    except httpx.HTTPError as error:
        raise unreachable(error, base_url) from None


def unreachable(error: httpx.HTTPError, base_url: str) -> CapacityError:
    """Name what went wrong on the way; the text of httpx's error is not passed on."""
    if isinstance(error, httpx.ConnectError):
        return CapacityError(
            f"no coordinator answers at {base_url}",
            code="unreachable",
            hint="is it running? `hush up` starts one here; --base-url or HUSH_BASE_URL names another",
        )
    if isinstance(error, httpx.TimeoutException):
        return CapacityError(f"{base_url} took too long", code="timed_out", hint="ask again, or raise the timeout")
    return CapacityError(
        f"the connection to {base_url} broke ({type(error).__name__})", code="connection_lost", hint="ask again"
    )


def _join(response: httpx.Response, call: Call) -> bytes:
    body = bytearray()
    for part in response.iter_bytes():
        body += part
        _bound(len(body), call, response)
    return bytes(body)


def _bound(size: int, call: Call, response: httpx.Response) -> None:
    if size > (call.body_bytes_max if response.is_success else ERROR_BYTES_MAX):
        raise RemoteProtocolError("the coordinator's answer is larger than it may be", code="bad_answer")
