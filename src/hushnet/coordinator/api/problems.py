"""The one table from error code to HTTP status, and the shapes in which an error leaves: OpenAI's and problem+json.

A code that the table lacks falls back to the row of its exception family; a foreign exception is `internal`. The text of
an error reaches the caller only for families whose messages are written for callers; of a failure here it never does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import msgspec

from hushnet.coordinator.api.problem_table import ROWS, Row
from hushnet.foundation.errors import (
    AccessError,
    CapacityError,
    HushnetError,
    ProtocolError,
    RequestError,
    StorageError,
    TrustError,
)

OPENAI_JSON: Final = b"application/json"
PROBLEM_JSON: Final = b"application/problem+json"
RETRY_AFTER_S_DEFAULT: Final = 2.0
RETRY_AFTER_S_MAX: Final = 60.0

BY_CODE: Final[dict[str, Row]] = {row.code: row for row in ROWS}

_FAMILIES: Final[tuple[tuple[type[HushnetError], str], ...]] = (
    (RequestError, "invalid_request"),
    (AccessError, "access_denied"),
    (CapacityError, "capacity"),
    (TrustError, "untrusted"),
    (StorageError, "storage"),
    (ProtocolError, "protocol"),
)
_SPEAKING_FAMILIES: Final = (RequestError, AccessError, CapacityError, TrustError)

_PREFACE: Final = """\
# Errors of the HTTP interface

Rendered from `hushnet.coordinator.api.problem_table`. Every error answer carries one of these codes; clients should act on
the code, never on the text. The body is OpenAI's shape, `{"error": {"message", "type", "param", "code", "hint"}}`, or
`application/problem+json` (`type`, `title`, `status`, `detail`, `code`, `hint`) where a sealed request was sent. 429 and 503
carry `Retry-After` in seconds. `docs/guides/how-to-add-an-error.md` says how a row comes into this table.

"""


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as a caller will see it."""

    status: int
    code: str
    type: str
    message: str
    hint: str = ""
    param: str | None = None
    retry_after_s: int | None = None


def problem_of(error: BaseException | str, *, message: str | None = None, param: str | None = None) -> Problem:
    """Look an exception or a code up in the table; `message` replaces the row's own sentence.

    Codes that nobody registered become their family's row, or `internal`, so no path invents a status of its own.
    """
    if isinstance(error, str):
        row = BY_CODE.get(error, BY_CODE["internal"])
        return _problem(row, message or row.meaning, row.hint, param, None)
    if not isinstance(error, HushnetError):
        row = BY_CODE["internal"]
        return _problem(row, row.meaning, row.hint, None, None)
    row = BY_CODE.get(error.error_code) or _family_row(error)
    is_speaking = isinstance(error, _SPEAKING_FAMILIES) and row.status != 500
    text = message or (str(error) if is_speaking else "") or row.meaning
    hint = (error.hint() if is_speaking else "") or row.hint
    return _problem(row, text, hint, param or getattr(error, "param", None), getattr(error, "retry_after_s", None))


def _family_row(error: HushnetError) -> Row:
    return next((BY_CODE[code] for family, code in _FAMILIES if isinstance(error, family)), BY_CODE["internal"])


def _problem(row: Row, message: str, hint: str, param: str | None, retry_after_s: float | None) -> Problem:
    whole_s = None
    if row.status in (429, 503):
        wanted = RETRY_AFTER_S_DEFAULT if retry_after_s is None else retry_after_s
        whole_s = max(1, math.ceil(min(wanted, RETRY_AFTER_S_MAX)))
    return Problem(row.status, row.code, row.type, message, hint, param, whole_s)


def openai_body(problem: Problem) -> bytes:
    """Render OpenAI's error object."""
    return msgspec.json.encode(
        {
            "error": {
                "message": problem.message,
                "type": problem.type,
                "param": problem.param,
                "code": problem.code,
                "hint": problem.hint,
            }
        }
    )


def problem_json(problem: Problem) -> bytes:
    """Render application/problem+json (RFC 9457) with our `code` and `hint` members."""
    return msgspec.json.encode(
        {
            "type": f"urn:hushnet:error:{problem.code}",
            "title": BY_CODE[problem.code].meaning,
            "status": problem.status,
            "detail": problem.message,
            "code": problem.code,
            "hint": problem.hint,
        }
    )


def problem_headers(problem: Problem, *, content_type: bytes, length: int) -> list[tuple[bytes, bytes]]:
    """Return the headers of an error answer, lower case, as ASGI wants them."""
    headers = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % length),
        (b"cache-control", b"no-store"),
    ]
    if problem.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % problem.retry_after_s))
    if problem.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return headers


def render_markdown() -> str:
    """Render docs/errors.md."""
    lines = ["| code | status | type | meaning | what to do |", "|---|--:|---|---|---|"]
    lines += [
        f"| `{row.code}` | {row.status} | `{row.type}` | {row.meaning} | {row.hint} |"
        for row in sorted(ROWS, key=lambda row: (row.status, row.code))
    ]
    return _PREFACE + "\n".join(lines) + "\n"
