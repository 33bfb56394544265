"""Reading what a caller sends and writing what it gets, both bounded: bytes, seconds, depth, types.

A body is refused by its declared length before a byte of it is read, and by its true length while it arrives.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope

from hushnet.foundation.errors import HushnetError, RequestError

T = TypeVar("T")

CONTROL_BODY_BYTES_MAX: Final = 65_536
"""Bodies of everything that is no inference: the largest legal one is below 1 KiB."""
CONTROL_BODY_IDLE_S: Final = 10.0
_PATH = re.compile(r"`\$\.?([^`]{0,100})`")
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_EXPECTED = re.compile(r"Expected (.+?)(?: - at `|$)")
_TYPE = re.compile(r"`([^`]*)`")
_TYPE_WORDS: Final = {
    "int": "an integer",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}


class CallerGoneError(HushnetError):
    """The caller closed the connection; nobody is there to answer."""

    code = "cancelled"


class FieldError(RequestError):
    """A field of a control request that is missing, unknown or of the wrong type; `param` is its path."""

    code = "wrong_type"

    def __init__(self, message: str, *, param: str | None) -> None:
        super().__init__(message)
        self.param = param


def header_of(scope: Scope, name: bytes) -> bytes | None:
    """Return the first header of that lower-case name."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


def media_type_of(scope: Scope) -> str:
    """Return the request's content type without parameters, lower case; empty when there is none."""
    return (header_of(scope, b"content-type") or b"").decode("latin-1").partition(";")[0].strip().lower()


async def read_body(scope: Scope, receive: Receive, *, bytes_max: int, idle_s: float) -> bytes:
    """Read a request's body of at most `bytes_max`, with at most `idle_s` of silence between two pieces of it.

    Raises `RequestError` `body_too_large`, `request_timeout`, `unsupported_media_type` (any content encoding),
    `bad_http`; `CallerGoneError` when the caller is gone.
    """
    _check_declared(scope, bytes_max)
    pieces: list[bytes] = []
    size = 0
    while True:
        try:
            async with asyncio.timeout(idle_s):
                message = await receive()
        except TimeoutError:
            raise RequestError("the body was not sent in time", code="request_timeout") from None
        if message["type"] != "http.request":
            raise CallerGoneError("the caller hung up")
        piece = message.get("body", b"")
        size += len(piece)
        if size > bytes_max:
            raise _too_large(bytes_max)
        if not message.get("more_body", False):
            return b"".join([*pieces, piece]) if pieces else piece
        pieces.append(piece)


def _check_declared(scope: Scope, bytes_max: int) -> None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            if not value.isdigit():
                raise RequestError("the content length is not a number", code="bad_http")
            if int(value[:20]) > bytes_max:
                raise _too_large(bytes_max)
        elif name == b"content-encoding" and value.strip().lower() != b"identity":
            raise RequestError("a request's body is sent as it is, not encoded", code="unsupported_media_type")


def _too_large(bytes_max: int) -> RequestError:
    return RequestError(f"the body is larger than {bytes_max} bytes", code="body_too_large")


async def read_json(request: Request, type_: type[T]) -> T:
    """Read the small JSON body of a control request as `type_`, a msgspec Struct; an empty body is `{}`.

    Errors name the field and never show its value.
    """
    body = await read_body(request.scope, request.receive, bytes_max=CONTROL_BODY_BYTES_MAX, idle_s=CONTROL_BODY_IDLE_S)
    return decode_json(body or b"{}", type_)


def decode_json(body: bytes, type_: type[T]) -> T:
    """Decode `body` as `type_`; raises `RequestError` `invalid_json`, `json_too_deep` or `wrong_type`."""
    try:
        return msgspec.json.decode(body, type=type_)
    except msgspec.ValidationError as error:
        raise _wrong_field(str(error), type_) from None
    except RecursionError:
        raise RequestError("the body is nested too deeply", code="json_too_deep") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RequestError("the body is not valid JSON in UTF-8", code="invalid_json") from None


def _wrong_field(text: str, type_: type[Any]) -> FieldError:
    """Say which field is wrong and why; `text` is msgspec's, of which nothing that was sent is told on."""
    found = _PATH.findall(text)
    name = found[-1] if found else ""
    if missing := _MISSING.match(text):
        name = f"{name}.{missing[1]}" if name else missing[1]
        return FieldError(f"{name} is missing", param=name)
    if text.startswith("Object contains unknown field"):
        known = ", ".join(getattr(type_, "__struct_fields__", ())) if not name else ""
        return FieldError(
            f"{name or 'the body'} has an unknown field{known and f'; known are {known}'}", param=name or None
        )
    if expected := _EXPECTED.match(text):
        return FieldError(f"{name or 'the body'} must be {_TYPE.sub(_type_words, expected[1])}", param=name or None)
    return FieldError(f"{name or 'a field'} is not one of the values that are allowed", param=name or None)


def _type_words(types: re.Match[str]) -> str:
    return " or ".join(_TYPE_WORDS.get(name, name) for name in types[1].split(" | "))


def json_response(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with `value` as JSON."""
    return Response(msgspec.json.encode(value), status_code=status, headers=headers, media_type="application/json")
