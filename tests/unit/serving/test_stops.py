"""When a consumer counts as stalled: what is known of its reading decides, not the writes that finished."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from hushnet.coordinator.serving.outlet import Outlet
from hushnet.coordinator.serving.rules.progress import ReaderLook
from hushnet.coordinator.serving.rules.reading import Mark
from hushnet.coordinator.serving.rules.stops import STEP_BYTES_MAX, Deadlines, Stop
from hushnet.coordinator.serving.settings import ServingLimits

LIMITS = replace(ServingLimits(), window_bytes=1000)
PULSE_S = 0.1


class Reader:
    """A reader whose kernel reports what a test says."""

    def __init__(self, *, is_shut: bool = True, acknowledged: int = 1000, quiet_s: float = 60.0) -> None:
        self.report: ReaderLook | None = ReaderLook(acknowledged, is_shut, quiet_s)
        self.looks = 0

    def look(self) -> ReaderLook | None:
        self.looks += 1
        return self.report

    def reads(self, count: int) -> None:
        assert self.report is not None
        self.report = replace(self.report, acknowledged=self.report.acknowledged + count, quiet_s=0.0)

    def opens(self) -> None:
        assert self.report is not None
        self.report = replace(self.report, is_shut=False)


@dataclass
class Running:
    """An attempt that was committed to and still runs."""

    is_committed: bool = True
    heard_s: float = 0.0
    outcome: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Watch:
    """One request's deadlines, looked at on the pulse."""

    def __init__(self, reader: Reader | None, limits: ServingLimits = LIMITS) -> None:
        self.outlet = Outlet(high_water=limits.window_bytes * 3 // 4, on_drained=lambda _: None)
        self.outlet.reader = reader
        self.now_s = 100.0
        self._deadlines = Deadlines(limits, started_s=self.now_s)
        self._attempt = Running(heard_s=self.now_s)

    def fill(self) -> None:
        self.outlet.push(b"x" * 800, Mark(), credit=800)

    def drain(self) -> None:
        self.outlet._collect()
        self.outlet.sent()

    def look(self) -> Stop | None:
        return self._deadlines.due(self.now_s, self._attempt, self.outlet)  # type: ignore[arg-type]

    def stopped_after(self, seconds: float, *, period_s: float = PULSE_S) -> float | None:
        """Let the pulse beat for `seconds`; returns when the request was found stalled, if it was."""
        began_s, self.now_s = self.now_s, self.now_s
        while self.now_s - began_s <= seconds:
            if self.look() is Stop.STALLED:
                return self.now_s - began_s
            self.now_s += period_s
        return None


async def test_a_reader_that_has_stopped_is_given_up_after_one_grace() -> None:
    watch = Watch(Reader())
    watch.fill()

    assert watch.stopped_after(1.0, period_s=0.01) == pytest.approx(LIMITS.grace_s, abs=0.011)


async def test_nobody_is_looked_at_whose_window_is_not_full() -> None:
    reader = Reader()
    watch = Watch(reader)

    assert watch.stopped_after(60) is None
    assert reader.looks == 0


async def test_a_reader_that_stopped_with_the_window_is_given_the_time_of_one_step_first() -> None:
    watch = Watch(Reader(acknowledged=64 * 1024, quiet_s=0.0))
    watch.fill()

    step_s = 64 * 1024 / LIMITS.pace_bytes_s_min
    assert watch.stopped_after(9.0) == pytest.approx(step_s + LIMITS.grace_s, abs=PULSE_S)


async def test_a_step_is_never_taken_for_larger_than_kernels_make_them() -> None:
    watch = Watch(Reader(acknowledged=1 << 40, quiet_s=0.0))
    watch.fill()

    step_s = STEP_BYTES_MAX / LIMITS.pace_bytes_s_min
    assert watch.stopped_after(9.0) == pytest.approx(step_s + LIMITS.grace_s, abs=PULSE_S)


async def test_a_reader_that_moves_in_steps_is_never_given_up() -> None:
    reader = Reader(acknowledged=128 * 1024, quiet_s=0.0)
    watch = Watch(reader)
    watch.fill()

    for _ in range(20):
        assert watch.stopped_after(0.65) is None
        reader.reads(128 * 1024)


async def test_a_reader_that_stops_after_many_steps_is_given_up_after_its_last() -> None:
    reader = Reader(acknowledged=64 * 1024, quiet_s=0.0)
    watch = Watch(reader)
    watch.fill()
    for _ in range(5):
        assert watch.stopped_after(0.4) is None
        reader.reads(4096)

    assert watch.stopped_after(9.0) is not None


async def test_a_line_that_loses_packets_is_not_the_readers_doing() -> None:
    watch = Watch(Reader(is_shut=False))
    watch.fill()

    assert watch.stopped_after(60) == pytest.approx(LIMITS.patience_s, abs=2 * PULSE_S)


async def test_a_window_that_opens_again_costs_a_reader_nothing() -> None:
    reader = Reader()
    watch = Watch(reader)
    watch.fill()
    assert watch.stopped_after(0.2) is None
    reader.opens()

    assert watch.stopped_after(LIMITS.patience_s / 2) is None


@pytest.mark.parametrize("is_told_nothing", [True, False])
async def test_where_nothing_is_known_writes_that_finish_count(is_told_nothing: bool) -> None:
    reader = Reader() if is_told_nothing else None
    if reader is not None:
        reader.report = None
    watch = Watch(reader)
    watch.fill()
    assert watch.stopped_after(LIMITS.patience_s - 1) is None
    watch.drain()
    watch.fill()

    assert watch.stopped_after(60) == pytest.approx(LIMITS.patience_s, abs=2 * PULSE_S)


async def test_a_window_that_was_free_in_between_starts_the_grace_anew() -> None:
    watch = Watch(Reader())
    for _ in range(10):
        watch.fill()
        assert watch.stopped_after(0.2) is None
        watch.drain()
        assert watch.look() is None


async def test_a_full_window_is_not_a_silent_provider() -> None:
    watch = Watch(Reader(is_shut=False), replace(LIMITS, patience_s=1000.0))
    watch.fill()
    watch.now_s += LIMITS.idle_s_max * 2

    assert watch.look() is None
    watch.drain()
    assert watch.look() is Stop.IDLE
