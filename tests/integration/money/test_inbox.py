"""The inbox: each event once, whatever the order, the number of deliveries, and what its handler does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import Code, Fact, Leg
from hushnet.coordinator.ledger.transaction import Transaction
from hushnet.coordinator.payments import inbox as inbox_module
from hushnet.coordinator.payments.inbox import TRIES_MAX, Applied, Ignored, Inbox, Verdict, Waiting
from hushnet.coordinator.payments.model import BODY_BYTES_MAX, EventState, Finding, InboxEvent
from hushnet.foundation.errors import RequestError
from support.ledger import CONSUMER
from support.money import OpenMoney, eventually


class Deposits:
    """Credits ten micro-USD for each subject; `before` may have another say."""

    def __init__(self, before: Callable[[InboxEvent], Verdict | None] = lambda _: None) -> None:
        self.before = before
        self.prepared: list[int] = []

    async def prepare(self, event: InboxEvent) -> object:
        self.prepared.append(event.attempts)
        return None

    def apply(self, tx: Transaction, event: InboxEvent, prepared: object) -> Verdict:
        verdict = self.before(event)
        if verdict is not None:
            return verdict
        leg = Leg(operator_account(Kind.STRIPE), user_account(CONSUMER, Kind.PAID), 10)
        tx.post(Fact(f"stripe:pi:{event.subject}", Code.DEPOSIT, (leg,), actor="stripe", owner=CONSUMER))
        return Applied()


async def receive(inbox: Inbox, event: str, subject: str = "p") -> bool:
    return await inbox.receive("stripe", event, kind="paid", subject=subject, body=b"{}")


async def paid(money: OpenMoney) -> int:
    return (await money.ledger.balance(CONSUMER)).paid


async def _is_paid(money: OpenMoney, amount: int) -> bool:
    return await paid(money) == amount


async def test_an_event_delivered_many_times_has_one_effect(money: OpenMoney) -> None:
    inbox = Inbox(money.store, money.clock, {"stripe": Deposits()})
    assert sorted(await asyncio.gather(*(receive(inbox, "evt_1") for _ in range(5)))) == [False] * 4 + [True]
    await asyncio.gather(inbox.step(), inbox.step(), inbox.step())
    assert await paid(money) == 10
    assert await inbox.step() == 0


async def test_two_events_about_one_payment_credit_it_once(money: OpenMoney) -> None:
    inbox = Inbox(money.store, money.clock, {"stripe": Deposits()})
    for event in ("evt_1", "evt_2"):
        await receive(inbox, event)
    assert await inbox.step() == 2
    assert await paid(money) == 10
    assert {row.state for row in await money.all_of(InboxEvent)} == {EventState.APPLIED}


async def test_an_event_that_is_not_for_us_is_kept_and_ignored(money: OpenMoney) -> None:
    inbox = Inbox(money.store, money.clock, {"stripe": Deposits(lambda _: Ignored("other_owner"))})
    await receive(inbox, "evt_1")
    await inbox.step()
    (row,) = await money.all_of(InboxEvent)
    assert (row.state, row.error, row.attempts) == (EventState.IGNORED, "other_owner", 1)


async def test_an_event_waits_longer_each_time_until_what_it_needs_is_here(money: OpenMoney) -> None:
    handler = Deposits(lambda event: Waiting("no_deposit") if event.attempts < 3 else None)
    inbox = Inbox(money.store, money.clock, {"stripe": handler})
    await receive(inbox, "evt_1")
    waits = []
    while await paid(money) == 0:
        assert await inbox.step() == 1
        (row,) = await money.all_of(InboxEvent)
        waits.append(row.next_ms - money.clock.now_ms())
        assert await inbox.step() == 0 or row.state is EventState.APPLIED
        money.clock.advance(max(waits[-1], 0) / 1000)
    assert waits[:3] == [2000, 4000, 8000]


def broken(_event: InboxEvent) -> Verdict | None:
    raise ZeroDivisionError


async def test_an_event_that_breaks_its_handler_delays_no_other_and_ends_with_a_person(money: OpenMoney) -> None:
    inbox = Inbox(money.store, money.clock, {"stripe": Deposits(lambda e: broken(e) if e.event == "evt_bad" else None)})
    await receive(inbox, "evt_bad", "bad")
    await receive(inbox, "evt_ok", "good")
    await inbox.step()
    assert await paid(money) == 10
    for _ in range(TRIES_MAX):
        await money.books.advance(601)
        await inbox.step()
    bad = next(row for row in await money.all_of(InboxEvent) if row.event == "evt_bad")
    assert (bad.state, bad.attempts, bad.error) == (EventState.STUCK, TRIES_MAX, "ZeroDivisionError")
    assert [finding.kind for finding in await money.all_of(Finding)] == ["event_stuck"]
    assert await inbox.step() == 0

    assert await inbox.retry("stripe", "evt_bad")
    assert not await inbox.retry("stripe", "evt_bad")
    assert await inbox.step() == 1


async def test_a_refused_fact_leaves_the_event_waiting(money: OpenMoney) -> None:
    class Overdraws(Deposits):
        def apply(self, tx: Transaction, event: InboxEvent, prepared: object) -> Verdict:
            leg = Leg(user_account(CONSUMER, Kind.PAID), operator_account(Kind.STRIPE), 10)
            tx.post(Fact("stripe:re:1", Code.DEPOSIT, (leg,), actor="stripe", owner=CONSUMER))
            return Applied()

    inbox = Inbox(money.store, money.clock, {"stripe": Overdraws()})
    await receive(inbox, "evt_1")
    await inbox.step()
    (row,) = await money.all_of(InboxEvent)
    assert (row.state, row.error) == (EventState.WAITING, "refused_overdrawn")


async def test_an_event_of_a_source_that_is_gone_waits_for_its_return(money: OpenMoney) -> None:
    await receive(Inbox(money.store, money.clock, {"stripe": Deposits()}), "evt_1")
    await Inbox(money.store, money.clock, {}).step()
    assert await paid(money) == 0
    await Inbox(money.store, money.clock, {"stripe": Deposits()}).step()
    assert await paid(money) == 10


@pytest.mark.parametrize(
    ("source", "event", "body"),
    [("x", "e", b""), ("stripe", "", b""), ("stripe", "e" * 129, b""), ("stripe", "e", b"x" * (BODY_BYTES_MAX + 1))],
)
async def test_what_cannot_be_stored_is_refused(money: OpenMoney, source: str, event: str, body: bytes) -> None:
    inbox = Inbox(money.store, money.clock, {"stripe": Deposits()})
    with pytest.raises(RequestError):
        await inbox.receive(source, event, kind="k", subject="s", body=body)
    assert await money.all_of(InboxEvent) == []


async def test_the_worker_applies_what_arrives_and_what_another_process_stored(money: OpenMoney) -> None:
    inbox = Inbox(money.store, money.clock, {"stripe": Deposits()})
    worker = asyncio.create_task(inbox.run())
    try:
        await receive(Inbox(money.store, money.clock, {"stripe": Deposits()}), "evt_other", "other")
        await receive(inbox, "evt_own", "own")
        await eventually(lambda: _is_paid(money, 20))
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


async def test_events_of_a_source_that_is_gone_keep_no_others_waiting(
    money: OpenMoney, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "_BATCH", 2)
    before = Inbox(money.store, money.clock, {"stripe": Deposits(), "gone": Deposits()})
    for event in ("1", "2"):
        await before.receive("gone", event, kind="paid", subject=event, body=b"{}")
    await money.books.advance(1)
    await receive(before, "evt_1")
    inbox = Inbox(money.store, money.clock, {"stripe": Deposits()})
    assert await inbox.step() == 1
    assert (await paid(money), await inbox.step(), await before.step()) == (10, 0, 2)


async def test_workers_that_try_one_event_at_once_count_one_try(money: OpenMoney) -> None:
    workers = [Inbox(money.store, money.clock, {"stripe": Deposits(lambda _: Waiting("no_deposit"))}) for _ in range(4)]
    await receive(workers[0], "evt_1")
    await asyncio.gather(*(worker.step() for worker in workers))
    (row,) = await money.all_of(InboxEvent)
    assert (row.state, row.attempts) == (EventState.WAITING, 1)
