"""Turn what a coordinator answers into the error families; its text is an untrusted diagnostic, its code is closed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hushnet.foundation.errors import (
    AccessError,
    CapacityError,
    ConfigurationError,
    HushnetError,
    RemoteProtocolError,
    RequestError,
)
from hushnet.foundation.redaction import redact

_TEXT_MAX = 500
_CODE_MAX = 64
# A coordinator's own answer with one of these carries a code.
_FOREIGN_STATUSES = frozenset({301, 302, 307, 308, 400, 404, 405, 426})
_TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class BrokenAnswerError(HushnetError):
    """The answer broke off: what came before is incomplete."""

    code = "stream_truncated"
    is_retryable = True
    default_hint = "ask again; nothing after the break is charged"


def error_of(status: int, body: bytes, *, retry_after: str | None = None, hint: str | None = None) -> HushnetError:
    """Make the exception for a non-2xx answer in OpenAI's shape or as problem+json; `hint` replaces its own."""
    fields = _fields(body)
    error = _family(status, {**fields, **({"hint": hint} if hint else {})}, retry_after)
    if fields.get("param"):
        vars(error)["param"] = redact(str(fields["param"]))[:_CODE_MAX]
    return with_status(error, status)


def is_foreign(status: int, body: bytes) -> bool:
    """Tell whether this is what a web server or the providers' port says to a path that it does not know."""
    return status in _FOREIGN_STATUSES and not _fields(body).get("code")


def not_a_coordinator() -> RemoteProtocolError:
    """Make the exception for an answer that no coordinator gives."""
    return RemoteProtocolError(
        "what answers there is not a Hushnet coordinator's HTTP port",
        code="not_a_coordinator",
        hint="it is usually 8470 (8471 is for providers); --base-url or HUSH_BASE_URL names another",
    )


def with_status(error: HushnetError, status: int) -> HushnetError:
    """Note the HTTP status that an OpenAI client should see for `error`; returns it."""
    vars(error)["http_status"] = status
    return error


def openai_type_of(status: int) -> str:
    """Return OpenAI's `type` for an error of this status, as the coordinator's own table has it."""
    return _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")


def http_status_of(error: HushnetError) -> int:
    """Return the status an OpenAI client should see for `error`: the coordinator's own, else by family."""
    stored = vars(error).get("http_status")
    if isinstance(stored, int):
        return stored
    match error:
        case RequestError():
            return 400
        case AccessError() | ConfigurationError():
            return 401
        case CapacityError():
            return 503
        case _:
            return 502


def _family(status: int, fields: Mapping[str, Any], retry_after: str | None) -> HushnetError:
    code = str(fields.get("code") or f"http_{status}")[:_CODE_MAX]
    message = redact(str(fields.get("message") or fields.get("detail") or f"the coordinator answered {status}"))
    message = message[:_TEXT_MAX]
    hint = redact(str(fields["hint"]))[:_TEXT_MAX] if fields.get("hint") else None
    if status in {429, 502, 503, 504}:
        return CapacityError(message, code=code, hint=hint, retry_after_s=_seconds(retry_after))
    if status in {401, 402, 403}:
        return AccessError(message, code=code, hint=hint)
    if 400 <= status < 500:
        return RequestError(message, code=code, hint=hint)
    if status >= 500:
        return HushnetError(message, code=code, hint=hint)
    return RemoteProtocolError(message, code=code, hint=hint)


def error_in_band(body: bytes) -> HushnetError:
    """Make the exception for an error that arrived inside an answer, after its status was sent."""
    fields = _fields(body)
    code = str(fields.get("code") or "provider_failed")[:_CODE_MAX]
    return BrokenAnswerError(redact(str(fields.get("message") or "the provider failed"))[:_TEXT_MAX], code=code)


def _fields(body: bytes) -> dict[str, Any]:
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(decoded, dict):
        return {}
    inner = decoded.get("error", decoded)
    return inner if isinstance(inner, dict) else {"message": inner} if isinstance(inner, str) else {}


def _seconds(text: str | None) -> float | None:
    try:
        return min(max(float(text), 0.0), 3600.0) if text else None
    except ValueError:
        return None
