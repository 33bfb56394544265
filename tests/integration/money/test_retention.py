"""What rails told us is forgotten after 90 days; that it happened is not."""

from __future__ import annotations

from dataclasses import replace

from hushnet.coordinator.payments.calls import enqueue
from hushnet.coordinator.payments.inbox import Inbox
from hushnet.coordinator.payments.model import Call, CallState, EventState, InboxEvent
from hushnet.coordinator.payments.retention import KEPT_MS, forget
from support.money import OpenMoney

DAY_S = 86_400


def event(name: str, state: EventState) -> InboxEvent:
    return InboxEvent(
        source="stripe", event=name, kind="k", subject="s", body=b"{secret}", state=state, next_ms=0, received_ms=0
    )


async def test_finished_events_lose_their_bodies_after_ninety_days_and_stay_known(money: OpenMoney) -> None:
    states = (EventState.APPLIED, EventState.IGNORED, EventState.WAITING, EventState.STUCK)
    now_ms = money.clock.now_ms()
    for state in states:
        row = replace(event(state.name, state), received_ms=now_ms, next_ms=now_ms + 10 * KEPT_MS)
        await money.store.transact(lambda tx, row=row: tx.rows(InboxEvent).add(row))  # type: ignore[misc]

    await money.books.advance(89 * DAY_S)
    assert await forget(money.store, money.clock) == 0
    await money.books.advance(2 * DAY_S)
    assert await forget(money.store, money.clock) == 2
    assert await forget(money.store, money.clock) == 0

    kept = {row.event: row.body for row in await money.all_of(InboxEvent)}
    assert kept == {"APPLIED": b"", "IGNORED": b"", "WAITING": b"{secret}", "STUCK": b"{secret}"}
    inbox = Inbox(money.store, money.clock, {"stripe": None})  # type: ignore[dict-item] - it applies nothing here
    assert not await inbox.receive("stripe", "APPLIED", kind="k", subject="s", body=b"{}")


async def test_finished_calls_lose_what_was_asked_and_answered_and_are_not_made_again(money: OpenMoney) -> None:
    call = await money.store.transact(lambda tx: enqueue(tx, "stripe", "transfer", 7, {"to": "acct"}))
    done = replace(call, state=CallState.DONE, outcome="{}")
    await money.store.transact(lambda tx: tx.rows(Call).save(done))
    await money.books.advance(91 * DAY_S)
    assert await forget(money.store, money.clock) == 1

    again = await money.store.transact(lambda tx: enqueue(tx, "stripe", "transfer", 7, {"to": "acct"}))
    assert (again.id, again.state, again.request) == (call.id, CallState.FORGOTTEN, "")
