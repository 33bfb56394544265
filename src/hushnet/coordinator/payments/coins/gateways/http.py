"""One gateway over HTTP: bounded answers, numbers as the text that was sent, and failures by what they leave in doubt.

Three ways to fail, and callers never mix them up: refused (surely not done, and asking again changes nothing), busy
(surely not done), unclear (may have been done). Answers and keys never get into a message or a log. httpx is imported with
the first gateway: a coordinator without gateways does without it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from hushnet.coordinator.payments.coins.gateways.listing import ListReader, TooLongError
from hushnet.foundation.errors import CapacityError, ConfigurationError
from hushnet.foundation.redaction import Secret

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
TIMEOUT_S: Final = 20.0
CONNECT_S: Final = 5.0
_REFUSALS: Final = frozenset({400, 401, 402, 403, 404, 405, 410, 413, 415, 422})
_BUSY: Final = frozenset({409, 425, 429})
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class GatewayError(CapacityError):
    """A gateway did not do what it was asked."""

    code = "gateway_failed"


class GatewayRefusedError(GatewayError):
    """It refuses, and did nothing; the same again is refused again. `status` is its HTTP status."""

    code = "gateway_refused"

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class GatewayBusyError(GatewayError):
    """It surely did nothing, and may later."""

    code = "gateway_busy"


class GatewayUnclearError(GatewayError):
    """It may have done what was asked; `reason` is a word for the call's row."""

    code = "gateway_unclear"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the gateway's answer is not known ({reason})")
        self.reason = reason


class GatewayHttp:
    """Speaks JSON with one gateway."""

    def __init__(
        self, base_url: str, *, headers: Mapping[str, Secret], transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Raises `ConfigurationError` for an address that is neither https nor on this machine."""
        import httpx

        where = urlsplit(base_url)
        if where.scheme != "https" and not (where.scheme == "http" and where.hostname in _LOOPBACK):
            raise ConfigurationError("a gateway's address begins with https://", code="bad_setting")
        self._headers = dict(headers)
        self._base = base_url.rstrip("/")
        timeout = httpx.Timeout(TIMEOUT_S, connect=CONNECT_S)
        self._client = httpx.AsyncClient(timeout=timeout, follow_redirects=False, transport=transport)

    async def call(self, method: str, path: str, document: Mapping[str, Any] | None = None) -> Any:
        """Return the answer's JSON; every number in it is text.

        Raises `GatewayRefusedError`, `GatewayBusyError`, `GatewayUnclearError`.
        """
        return _decoded(await self._exchange(method, path, document, _bounded))

    async def picked(self, path: str, is_wanted: Callable[[Mapping[str, Any]], bool]) -> list[Any]:
        """Return those objects of a list that are wanted, however long it is (`listing.py`); raises as `call` does."""
        return await self._exchange("GET", path, None, partial(_picked, is_wanted=is_wanted))

    async def _exchange(
        self,
        method: str,
        path: str,
        document: Mapping[str, Any] | None,
        read: Callable[[httpx.Response], Awaitable[T]],
    ) -> T:
        """Send a request, and `read` its answer when that is none of failure."""
        import httpx

        headers = {name: secret.reveal() for name, secret in self._headers.items()}
        body = None
        if document is not None:
            body = msgspec.json.encode(document)
            headers["content-type"] = "application/json"
        try:
            async with self._client.stream(method, self._base + path, content=body, headers=headers) as answer:
                if 200 <= answer.status_code < 300:
                    return await read(answer)
                await _bounded(answer)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            raise GatewayBusyError("the gateway cannot be reached") from None
        except httpx.HTTPError as error:
            raise GatewayUnclearError(type(error).__name__.lower()) from None
        raise _failure(answer.status_code)

    async def aclose(self) -> None:
        await self._client.aclose()


async def _bounded(answer: httpx.Response) -> bytes:
    pieces, size = [], 0
    async for piece in answer.aiter_bytes():
        size += len(piece)
        if size > ANSWER_BYTES_MAX:
            raise GatewayUnclearError("answer_too_large")
        pieces.append(piece)
    return b"".join(pieces)


async def _picked(answer: httpx.Response, *, is_wanted: Callable[[Mapping[str, Any]], bool]) -> list[Any]:
    reader = ListReader(is_wanted)
    try:
        async for piece in answer.aiter_bytes():
            reader.feed(piece)
        return reader.finish()
    except TooLongError:
        raise GatewayUnclearError("answer_too_large") from None
    except ValueError:
        raise GatewayUnclearError("answer_not_json") from None


def _failure(status: int) -> GatewayError:
    if status in _REFUSALS:
        return GatewayRefusedError(f"the gateway answered {status}", status=status)
    if status in _BUSY:
        return GatewayBusyError(f"the gateway answered {status}")
    return GatewayUnclearError(f"http_{status}")


def _decoded(content: bytes) -> Any:
    if not content.strip():
        return {}
    try:
        return read_json(content)
    except ValueError:
        raise GatewayUnclearError("answer_not_json") from None


def read_json(content: bytes) -> Any:
    """Decode JSON with every number kept as its text; raises `ValueError`, also for NaN and infinities."""
    try:
        return json.loads(content, parse_float=str, parse_int=str, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _no_constant(_name: str) -> Any:
    raise ValueError("not a number")


def text_of(document: Any, *names: str) -> str:
    """Return the first of these members that is a text and not empty, as it is, else an empty one."""
    if isinstance(document, Mapping):
        for name in names:
            value = document.get(name)
            if isinstance(value, str) and value:
                return value
    return ""
