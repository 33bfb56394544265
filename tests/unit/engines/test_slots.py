"""The queue before the engine: order, bounds, cancelled waits, salts, rates."""

import asyncio
from contextlib import suppress

import pytest

from hushnet.provider.engines.base import EngineBusy, EngineFailed
from hushnet.provider.engines.slots import Lease, SlotPool


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def waiting(pool: SlotPool, count: int) -> list[asyncio.Task[Lease]]:
    return [asyncio.ensure_future(pool.acquire()) for _ in range(count)]


async def test_slots_are_given_in_the_order_of_asking() -> None:
    pool = SlotPool(1, queue_max=10)
    lease = await pool.acquire()
    tasks = waiting(pool, 3)
    await settle()

    for task in tasks:
        assert not task.done()
        pool.release(lease)
        lease = await task
    assert pool.capacity().active == 1


async def test_a_newcomer_never_overtakes_a_granted_turn() -> None:
    pool = SlotPool(1, queue_max=10)
    lease = await pool.acquire()
    (first,) = waiting(pool, 1)
    await settle()
    pool.release(lease)

    (newcomer,) = waiting(pool, 1)
    await settle()

    assert first.done()
    assert not newcomer.done()
    pool.release(first.result())
    await newcomer


async def test_a_full_queue_refuses_with_a_time_to_come_back() -> None:
    pool = SlotPool(1, queue_max=2)
    await pool.acquire()
    tasks = waiting(pool, 2)
    await settle()

    with pytest.raises(EngineBusy) as busy:
        await pool.acquire()

    assert busy.value.is_retryable
    assert busy.value.retry_after_s
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("is_granted", [False, True])
async def test_a_cancelled_wait_passes_its_turn_on(is_granted: bool) -> None:
    pool = SlotPool(1, queue_max=10)
    lease = await pool.acquire()
    first, second = waiting(pool, 2)
    await settle()

    if is_granted:
        pool.release(lease)
        first.cancel()
    else:
        first.cancel()
        await settle()
        pool.release(lease)
    with suppress(asyncio.CancelledError):
        await first

    pool.release(await second)
    assert (pool.capacity().active, pool.capacity().queued) == (0, 0)


async def test_closing_fails_those_who_wait() -> None:
    pool = SlotPool(1, queue_max=10)
    await pool.acquire()
    tasks = waiting(pool, 2)
    await settle()

    pool.close()

    assert [type(result) for result in await asyncio.gather(*tasks, return_exceptions=True)] == [EngineFailed] * 2
    assert pool.capacity().queued == 0


async def test_a_salt_finds_its_own_slot_and_may_reuse_it() -> None:
    pool = SlotPool(3, queue_max=10)
    first = await pool.acquire("aa")
    other = await pool.acquire("bb")
    assert not first.may_reuse_prefix
    pool.release(first)
    pool.release(other)

    again = await pool.acquire("aa")

    assert again.may_reuse_prefix
    assert again.slot.index == first.slot.index
    assert "aa" not in repr(again)


async def test_without_a_salt_nothing_is_reused_and_nothing_is_left_for_others() -> None:
    pool = SlotPool(1, queue_max=10)
    for salt in ("aa", None, None, "aa"):
        lease = await pool.acquire(salt)
        assert not lease.may_reuse_prefix
        pool.release(lease)


async def test_the_load_is_counted_from_the_leases() -> None:
    pool = SlotPool(2, queue_max=10)
    lease = await pool.acquire()
    lease.prompt_tokens, lease.output_tokens = 10, 3

    assert pool.capacity().tokens_active == 13
    assert (pool.capacity().slots, pool.capacity().active) == (2, 1)


def test_rates_lean_towards_the_newest_answer_and_skip_what_is_unknown() -> None:
    pool = SlotPool(1, queue_max=1)
    pool.note_rates(decode_tokens_s=100.0, prefill_tokens_s=0.0)
    assert (pool.capacity().decode_tokens_s, pool.capacity().prefill_tokens_s) == (100.0, 0.0)

    pool.note_rates(decode_tokens_s=200.0, prefill_tokens_s=0.0)

    assert pool.capacity().decode_tokens_s == pytest.approx(130.0)
