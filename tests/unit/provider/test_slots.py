"""Slots go to waiters in order, and a waiter that gives up leaves no trace."""

from __future__ import annotations

import asyncio

from hushnet.provider.generation import Slots


async def waiter(slots: Slots) -> asyncio.Task[None]:
    """Start to wait for a slot."""
    task = asyncio.create_task(slots.take())
    await asyncio.sleep(0)
    return task


async def test_free_slots_are_taken_at_once_and_the_rest_wait_in_order() -> None:
    slots = Slots(2)
    await slots.take()
    await slots.take()
    waiting = [await waiter(slots) for _ in range(3)]
    assert (slots.active, slots.waiting) == (2, 3)

    for position in range(3):
        slots.give_back()
        await waiting[position]
        assert [task.done() for task in waiting] == [index <= position for index in range(3)]
    slots.give_back()
    slots.give_back()
    assert (slots.active, slots.waiting) == (0, 0)


async def test_a_waiter_that_gives_up_is_gone_at_once() -> None:
    slots = Slots(1)
    await slots.take()
    first, second = await waiter(slots), await waiter(slots)
    first.cancel()
    await asyncio.wait((first,))
    assert slots.waiting == 1

    slots.give_back()
    await second
    assert (slots.active, slots.waiting) == (1, 0)


async def test_a_turn_that_comes_too_late_goes_to_the_next() -> None:
    slots = Slots(1)
    await slots.take()
    first, second = await waiter(slots), await waiter(slots)
    slots.give_back()
    first.cancel()
    await asyncio.wait((first, second))
    assert first.cancelled()
    assert (slots.active, slots.waiting) == (1, 0)

    slots.give_back()
    assert slots.active == 0
