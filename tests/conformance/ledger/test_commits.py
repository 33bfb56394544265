"""How batches reach the rows is the same on every store."""

from __future__ import annotations

import asyncio

import pytest

from hushnet.coordinator.ledger.model import Closed, Posted, UsageRecord
from hushnet.foundation.errors import StorageError
from support.ledger import CONSUMER, PROVIDER, OpenLedger, post, usage


async def test_operations_that_arrive_together_are_committed_together(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=1000)

    await asyncio.gather(*(books.ledger.hold(books.new_hold(1)) for _ in range(50)))

    links = await books.store.inspect(lambda found: list(found.batches()))
    assert [link.row_count for link in links] == [1, 50]


async def test_a_batch_of_refusals_writes_nothing(books: OpenLedger) -> None:
    await asyncio.gather(*(books.ledger.hold(books.new_hold(1)) for _ in range(50)))

    assert await books.store.inspect(lambda found: list(found.batches())) == []


async def test_a_poison_operation_fails_alone(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=1000)
    pairs = [await books.held(10) for _ in range(3)]
    poisoned = pairs[1][0].id
    # A row that is there already makes the database refuse what the planner allowed.
    await books.put_usage(UsageRecord(poisoned, PROVIDER, usage(), 0, 0, 0, 0, 0, 1))

    before, poison, after = await asyncio.gather(
        *(books.ledger.close(post(hold, held, 5)) for hold, held in pairs), return_exceptions=True
    )

    assert (before, after) == (Closed(5), Closed(5))
    assert isinstance(poison, StorageError)
    assert str(poisoned) not in str(poison)
    await books.drop_usage(poisoned)
    assert await books.ledger.close(post(*pairs[1], 5)) == Closed(5)


async def test_a_cancelled_caller_does_not_undo_a_settlement(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=1000)
    hold, held = await books.held(10)
    task = asyncio.create_task(books.ledger.close(post(hold, held, 5)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await books.ledger.grant_promo(PROVIDER, 1, grant_id="behind", actor="test") == Posted()

    assert (await books.ledger.balance(PROVIDER)).earnings == 5
