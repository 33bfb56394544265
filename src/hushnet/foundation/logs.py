"""Logs: one handler, allow-listed fields, no foreign text.

Rules: a record of ours shows its fixed message and the `extra` fields of `EXTRA_FIELDS`; a record of a library shows the
first line of its template without arguments; an exception shows types and places, never its text, which may carry a
prompt. Everything passes the redaction filter last.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

from hushnet.foundation.redaction import RedactingFilter, redact

EXTRA_FIELDS: Final = frozenset(
    {
        "account_id", "attempt", "attempts", "batch", "bytes", "callback", "code", "count", "duration_ms", "error", "fault", "finding",
        "input_tokens", "key_id", "kind", "lane", "method", "mode", "model", "network", "outcome", "output_tokens", "peer", "place", "port", "provider_id", "reason", "request_id",
        "route", "scope", "seq", "serial", "signal", "stage", "state", "status", "task", "tier", "trust", "version",
        "waiting", "worker",
    }
)  # fmt: skip

_OURS: Final = "hushnet"
_FIELD_CHARS_MAX: Final = 128
_MESSAGE_CHARS_MAX: Final = 400
_FRAMES_MAX: Final = 24
_QUIET: Final = ("uvicorn", "uvicorn.error", "uvicorn.access", "alembic", "sqlalchemy", "aiosqlite", "asyncpg", "httpx")


def configure_logging(
    level: str = "info",
    form: Literal["console", "json"] | str = "console",
    *,
    stream: TextIO | None = None,
    worker: int = 0,
) -> None:
    """Send every record of this process to one handler on `stream` (standard error), and replace all others.

    `worker` marks every line of ours with the number of the process, where several write to one stream.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else ConsoleFormatter())
    handler.addFilter(SafeFilter())
    if worker:
        handler.addFilter(_NumberFilter(worker))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


class _NumberFilter(logging.Filter):
    """Put the number of this process on every record."""

    def __init__(self, worker: int) -> None:
        super().__init__()
        self._worker = worker

    def filter(self, record: logging.LogRecord) -> bool:
        record.worker = self._worker
        return True


class SafeFilter(RedactingFilter):
    """Reduce what a library logged to its template before the redaction sees it."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not _is_ours(record):
            record.msg = str(record.msg).partition("\n")[0][:_MESSAGE_CHARS_MAX]
            record.args = None
        return super().filter(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": _utc(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if places := list(exception_places(record)):
            line["exception"] = places
        return json.dumps(line, ensure_ascii=True)


class ConsoleFormatter(logging.Formatter):
    """One line for people; an exception's places follow, indented."""

    def format(self, record: logging.LogRecord) -> str:
        head = f"{_utc(record):%H:%M:%S} {record.levelname.lower():<7} {record.name}: {record.getMessage()}"
        fields = "".join(f" {name}={value}" for name, value in fields_of(record).items())
        return "\n".join([_one_line(head) + _one_line(fields), *(f"    {place}" for place in exception_places(record))])


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return the allow-listed extra fields: numbers as they are, anything else as short redacted text."""
    return {
        name: value if isinstance(value, bool | int | float) else redact(str(value))[:_FIELD_CHARS_MAX]
        for name, value in sorted(record.__dict__.items())
        if name in EXTRA_FIELDS and value is not None and _is_ours(record)
    }


def exception_places(record: logging.LogRecord) -> Iterator[str]:
    """Yield the chain of exceptions as type names, each with the places it passed; never a message, never source text."""
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield type(error).__name__
        for frame in traceback.extract_tb(error.__traceback__)[-_FRAMES_MAX:]:
            yield f"  {frame.filename.rpartition('site-packages/')[2]}:{frame.lineno} {frame.name}"
        error = error.__cause__ or error.__context__


def error_fields(error: BaseException) -> dict[str, str]:
    """Return what may be logged of an exception that is not ours: its type, and the last place in our code it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"/{_OURS}/" in frame.filename] or frames
    place = f"{ours[-1].filename.rpartition(f'/{_OURS}/')[2]}:{ours[-1].lineno}" if ours else ""
    return {"error": type(error).__name__, "place": place}


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name == _OURS or record.name.startswith(f"{_OURS}.")


def _utc(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, tz=UTC)


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
