"""Preparing keys while the loop is idle: on time, one at a time, never while it is busy, never for nobody."""

from __future__ import annotations

import asyncio

from hushnet.coordinator.serving.desk import IdleLimits, KeyDesk
from hushnet.foundation.clock import ManualClock
from hushnet.sealing.prepared import PreparedKeys, PreparedLimits
from hushnet.sealing.suites import Suite
from support.exchange import until
from support.sealing import BenchProvider

RECIPIENT = BenchProvider().recipient(Suite.HPKE_X25519)
QUICK = IdleLimits(pause_s=0.0, late_s_max=0.001, busy_s=0.0)


class Watched(PreparedKeys):
    """Counts the steps."""

    steps = 0

    def prepare(self) -> bool:
        self.steps += 1
        return super().prepare()


async def test_keys_are_made_ahead_once_somebody_has_sealed() -> None:
    clock = ManualClock()
    keys = Watched(clock.monotonic_s, PreparedLimits(each_max=3))
    desk = KeyDesk(keys, clock.monotonic_s, QUICK)

    assert desk.take(RECIPIENT) is None
    assert keys.ready == 0
    await until(lambda: keys.steps == 4)  # the last one finds nothing wanting
    assert keys.ready == 3
    assert desk.take(RECIPIENT) is not None
    await until(lambda: keys.steps == 6)
    assert keys.ready == 3


async def test_a_loop_that_is_late_is_left_alone() -> None:
    clock = ManualClock()
    keys = Watched(clock.monotonic_s, PreparedLimits(each_max=3))
    desk = KeyDesk(keys, clock.monotonic_s, QUICK)
    desk.take(RECIPIENT)

    for _ in range(20):
        clock.advance(0.01)  # something else has held the loop for so long
        await asyncio.sleep(0)
    assert keys.steps == 0

    await until(lambda: keys.ready == 3)
    desk.close()


async def test_closing_forgets_and_stops() -> None:
    clock = ManualClock()
    keys = Watched(clock.monotonic_s, PreparedLimits(each_max=3))
    desk = KeyDesk(keys, clock.monotonic_s, QUICK)
    desk.take(RECIPIENT)
    await until(lambda: keys.ready == 2)

    desk.close()
    steps = keys.steps
    for _ in range(5):
        await asyncio.sleep(0)

    assert (keys.ready, keys.steps) == (0, steps)
