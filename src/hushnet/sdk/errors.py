"""Turn what a coordinator answers into the error families; its text is an untrusted diagnostic, its code is closed."""

from __future__ import annotations

import json
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


class BrokenAnswerError(HushnetError):
    """The answer broke off: what came before is incomplete."""

    code = "stream_truncated"
    is_retryable = True
    default_hint = "ask again; nothing after the break is charged"


def error_of(status: int, body: bytes, *, retry_after: str | None = None) -> HushnetError:
    """Make the exception for a non-2xx answer in OpenAI's shape or as problem+json."""
    error = _family(status, body, retry_after)
    vars(error)["http_status"] = status
    return error


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


def _family(status: int, body: bytes, retry_after: str | None) -> HushnetError:
    fields = _fields(body)
    code = str(fields.get("code") or f"http_{status}")[:64]
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
    code = str(fields.get("code") or "provider_failed")[:64]
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
