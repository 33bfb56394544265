"""The stages of relaying, which stack belongs to which, and processor time shared out among them.

A stack belongs to the stage of its innermost frame that a rule knows: memory copied by libc for the sealing belongs to the
sealing. Only a stack that no rule knows is looked at again with the rules for the event loop's own frames, which lie under
everything.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from math import hypot, sqrt
from typing import Final, NamedTuple

from bench.relay.profile.stacks import Frame, Stack, is_in_kernel

OTHER: Final = "other"
STAGES: Final = {
    "link read": "sockets read; picows, api/provider_*.py",
    "link decode": "hushnet.wire",
    "open": "hushnet.sealing, confidential.py: open records, check meters",
    "relay": "serving/{attempt,outlet,rules}: what goes to whom, credit",
    "write": "api/http/direct.py, uvloop: to consumers' sockets",
    "link write": "credit and control to providers",
    "ledger": "coordinator/{ledger,storage}, SQLAlchemy, SQLite",
    "requests": "HTTP parsing, routes, the rest of serving and routing",
    "event loop": "uvloop and asyncio themselves; waiting is not counted",
    "garbage collection": "CPython's collector, where it has symbols",
    OTHER: "no rule knows it",
}
"""Stages in the order of a chunk's way, and what is in them."""


class Rule(NamedTuple):
    """Gives a frame to a stage when both patterns are found in it."""

    stage: str
    place: str
    function: str = ""

    def has(self, frame: Frame) -> bool:
        return bool(re.search(self.place, frame.place) and re.search(self.function, frame.function))


RULES: Final = (
    Rule("garbage collection", "", r"^(gc_collect|_PyGC_Collect)"),
    Rule("link write", r"^picows/", r"[sS]end|[wW]rite"),
    Rule(
        "link write",
        r"^hushnet/coordinator/api/provider_connection",
        r"_send_|_flush_control|\.grant|\.dispatch|\.cancel",
    ),
    Rule("link write", r"^hushnet/wire/lanes"),
    Rule("link read", r"^picows/|^hushnet/coordinator/api/provider_"),
    Rule("link decode", r"^hushnet/wire/"),
    Rule("open", r"^hushnet/sealing/|^hushnet/coordinator/confidential"),
    Rule("relay", r"^hushnet/coordinator/serving/(attempt|outlet|rules/)"),
    Rule("write", r"^hushnet/coordinator/api/(http/direct|streaming)"),
    Rule("ledger", r"^hushnet/coordinator/(ledger|storage)/|^(sqlalchemy|asyncpg)/|^lib/sqlalchemy/"),
    Rule("requests", r"^hushnet/coordinator/(?!app/)|^hushnet/(dialects|identity|attestation)/"),
    Rule("requests", r"^(starlette|fastapi|uvicorn|httptools|prometheus_client)/"),
)
LOOP_RULES: Final = (
    Rule("link read", "", r"^uv__read$|stream_buffered_"),
    Rule("requests", r"uvloop/", r"stream_on_read"),
    Rule("write", "", r"^UVStream.*write|^uv_(try_)?write|^uv__write"),
    Rule("event loop", r"^uvloop/|^unix/|asyncio"),
    Rule("ledger", r"^concurrent/futures/"),
)


class Row(NamedTuple):
    """A stage's part: samples, processor microseconds a chunk in user mode and in the kernel, and one standard error of
    their sum by the samples' number.
    """

    stage: str
    samples: int
    user_us: float
    kernel_us: float
    error_us: float

    @property
    def us(self) -> float:
        return self.user_us + self.kernel_us


def stage_of(stack: Stack) -> str:
    """Return the stage that a stack belongs to."""
    return _innermost(stack, _stage) or _innermost(stack, _loop_stage) or OTHER


def table(samples: Counter[Stack], *, user_us: float, kernel_us: float) -> list[Row]:
    """Share out what a chunk costs, a row a stage: `kernel_us` by the samples in system calls, `user_us` by the others.

    The rows add up to both. In one go system calls would come out too dear: a thread that was interrupted in one is let
    finish it, and one that has to wait for a processor mostly does so there. Raises `ValueError` without samples.
    """
    if not samples:
        raise ValueError("no thread was ever seen at work")
    kernel = Counter({stack: count for stack, count in samples.items() if is_in_kernel(stack)})
    outside, inside = _Part.of(samples - kernel or samples, user_us), _Part.of(kernel or samples, kernel_us)
    counts = _by_stage(samples)
    return [
        Row(
            stage,
            counts[stage],
            outside.us(stage),
            inside.us(stage),
            hypot(outside.error_us(stage), inside.error_us(stage)),
        )
        for stage in STAGES
    ]


def lines(rows: Iterable[Row]) -> list[str]:
    """Show a table."""
    shown = list(rows)
    user_us, kernel_us = sum(row.user_us for row in shown), sum(row.kernel_us for row in shown)
    total_us = user_us + kernel_us
    text = [f"{'stage':<20}{'us a chunk':>10}{'+-':>7}{'share':>8}{'user':>8}{'kernel':>8}  what"]
    for row in shown:
        share, parts = row.us / total_us if total_us else 0.0, f"{row.user_us:>8.2f}{row.kernel_us:>8.2f}"
        text.append(f"{row.stage:<20}{row.us:>10.2f}{row.error_us:>7.2f}{share:>8.1%}{parts}  {STAGES[row.stage]}")
    return [*text, f"{'sum':<20}{total_us:>10.2f}{'':>15}{user_us:>8.2f}{kernel_us:>8.2f}"]


class _Part(NamedTuple):
    """Time that is shared out by counts."""

    counts: Counter[str]
    whole_us: float

    @classmethod
    def of(cls, samples: Counter[Stack], whole_us: float) -> _Part:
        return cls(_by_stage(samples), whole_us)

    def us(self, stage: str) -> float:
        return self.whole_us * self.counts[stage] / self.counts.total()

    def error_us(self, stage: str) -> float:
        share = self.counts[stage] / self.counts.total()
        return self.whole_us * sqrt(share * (1 - share) / self.counts.total())


def _by_stage(samples: Counter[Stack]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for stack, count in samples.items():
        counts[stage_of(stack)] += count
    return counts


def _innermost(stack: Stack, look: Callable[[Frame], str]) -> str:
    return next((stage for each in reversed(stack) if (stage := look(each))), "")


@cache
def _stage(frame: Frame) -> str:
    return next((rule.stage for rule in RULES if rule.has(frame)), "")


@cache
def _loop_stage(frame: Frame) -> str:
    return next((rule.stage for rule in LOOP_RULES if rule.has(frame)), "")
