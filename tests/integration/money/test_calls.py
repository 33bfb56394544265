"""Calls out: the same key and body until the outcome is known, and never twice when it may have happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.faults import CALL_AFTER_SEND, CALL_BEFORE_SEND
from hushnet.coordinator.ledger.model import Code, Fact, Leg
from hushnet.coordinator.ledger.transaction import Transaction
from hushnet.coordinator.payments import calls as calls_module
from hushnet.coordinator.payments.calls import (
    ATTEMPTS_MAX,
    KEY_LIFE_MS,
    Absent,
    Again,
    Calls,
    CannotTell,
    Done,
    Refused,
    Seen,
    Sent,
    Unknown,
    enqueue,
)
from hushnet.coordinator.payments.model import Call, CallState, Finding
from support.ledger import CONSUMER
from support.money import OpenMoney, eventually

HOUR_S = 3600


class Rail:
    """Answers what it is told to, in turn; the last answer for ever. Remembers what it was asked."""

    def __init__(self, *answers: Sent | Exception, sees: Sequence[Seen | Exception] = (CannotTell(),)) -> None:
        self.answers = list(answers)
        self.sees = list(sees)
        self.sent: list[tuple[str, str]] = []
        self.looked = 0
        self.ended: list[str] = []

    async def send(self, call: Call) -> Sent:
        self.sent.append((call.idem_key, call.request))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def look_up(self, call: Call) -> Seen:
        self.looked += 1
        seen = self.sees.pop(0) if len(self.sees) > 1 else self.sees[0]
        if isinstance(seen, Exception):
            raise seen
        return seen

    def done(self, tx: Transaction, call: Call, outcome: Mapping[str, Any]) -> None:
        self.ended.append("done")
        leg = Leg(operator_account(Kind.STRIPE), user_account(CONSUMER, Kind.PAID), 10)
        tx.post(Fact(f"call:{call.subject}", Code.DEPOSIT, (leg,), actor="test", owner=CONSUMER))

    def refused(self, tx: Transaction, call: Call, code: str) -> None:
        self.ended.append(f"refused {code}")


def calls_of(money: OpenMoney, rail: Rail, reach: Callable[[str], None] = lambda _: None) -> Calls:
    return Calls(money.store, money.clock, {("stripe", "transfer"): rail}, reach=reach, jitter=lambda: 1.0)


async def ask(money: OpenMoney, subject: int = 7) -> Call:
    return await money.store.transact(lambda tx: enqueue(tx, "stripe", "transfer", subject, {"amount": 1}))


async def only(money: OpenMoney) -> Call:
    (call,) = await money.all_of(Call)
    return call


async def pass_over(money: OpenMoney, calls: Calls, steps: int) -> None:
    """Go from one due moment to the next."""
    for _ in range(steps):
        open_ = [call for call in await money.all_of(Call) if call.state not in (CallState.DONE, CallState.REFUSED)]
        due_ms = min((call.next_ms for call in open_), default=money.clock.now_ms())
        await money.books.advance(max(0, due_ms - money.clock.now_ms()) / 1000)
        await calls.step()


async def test_a_call_that_is_done_is_noted_with_its_fact(money: OpenMoney) -> None:
    rail = Rail(Done({"id": "tr_1"}))
    await ask(money)
    assert await calls_of(money, rail).step() == 1
    call = await only(money)
    assert (call.state, call.outcome, call.idem_key) == (CallState.DONE, '{"id":"tr_1"}', "hush-transfer-7-1")
    assert (await money.ledger.balance(CONSUMER)).paid == 10
    assert await calls_of(money, rail).step() == 0


async def test_the_same_call_is_written_down_once(money: OpenMoney) -> None:
    first = await ask(money)
    assert await ask(money) == first
    assert len(await money.all_of(Call)) == 1


async def test_a_refusal_is_final(money: OpenMoney) -> None:
    rail = Rail(Refused("insufficient_balance"))
    await ask(money)
    calls = calls_of(money, rail)
    await calls.step()
    assert rail.ended == ["refused insufficient_balance"]
    assert await calls.step() == 0


@pytest.mark.parametrize("first", [Unknown("timeout"), ConnectionResetError()])
@pytest.mark.parametrize(
    ("seen", "ended", "state"),
    [
        (Done({"id": "tr_1"}), ["done"], CallState.DONE),
        (Absent(), ["refused no_longer"], CallState.REFUSED),
        (CannotTell(), [], CallState.DUE),
        (OSError(), [], CallState.DUE),
    ],
)
async def test_a_refusal_of_a_later_try_says_nothing_of_the_earlier(
    money: OpenMoney, first: Sent | Exception, seen: Seen | Exception, ended: list[str], state: CallState
) -> None:
    rail = Rail(first, Refused("no_longer"), sees=[seen])
    await ask(money)
    await pass_over(money, calls_of(money, rail), 2)
    assert (rail.looked, rail.ended, (await only(money)).state) == (1, ended, state)


async def test_a_refusal_of_a_process_that_went_on_with_a_dead_ones_call_is_looked_up(money: OpenMoney) -> None:
    def die(reached: str) -> None:
        if reached == CALL_AFTER_SEND:
            raise Died

    rail = Rail(Done({}), Refused("card_declined"), sees=[Done({})])
    await ask(money)
    with pytest.raises(Died):
        await calls_of(money, rail, die).step()
    await pass_over(money, calls_of(money, rail), 1)
    assert (rail.looked, rail.ended) == (1, ["done"])


@pytest.mark.parametrize(
    "first", [Again("http_429"), Unknown("timeout"), Unknown("http_500"), TimeoutError(), ConnectionResetError()]
)
async def test_an_unknown_outcome_is_asked_again_with_the_same_key_and_body(
    money: OpenMoney, first: Sent | Exception
) -> None:
    rail = Rail(first, Done({}))
    await ask(money)
    calls = calls_of(money, rail)
    await calls.step()
    assert rail.ended == []
    assert await calls.step() == 0, "not before its time"
    await pass_over(money, calls, 1)
    assert rail.ended == ["done"]
    assert rail.sent == [("hush-transfer-7-1", '{"amount":1}')] * 2


async def test_tries_come_ever_later_up_to_ten_minutes(money: OpenMoney) -> None:
    rail = Rail(Again("http_429"))
    await ask(money)
    calls = calls_of(money, rail)
    waits = []
    for _ in range(12):
        await pass_over(money, calls, 1)
        waits.append((await only(money)).next_ms - money.clock.now_ms())
    assert waits[:3] == [2000, 4000, 8000]
    assert max(waits) == waits[-1] == 600_000


async def test_stored_500_leads_to_a_look_up(money: OpenMoney) -> None:
    rail = Rail(Unknown("http_500"), sees=[Done({"id": "tr_1"})])
    await ask(money)
    calls = calls_of(money, rail)
    await pass_over(money, calls, 4)
    assert (len(rail.sent), rail.looked, rail.ended) == (3, 1, ["done"])


async def test_different_5xx_are_not_stored_answers(money: OpenMoney) -> None:
    rail = Rail(Unknown("http_500"), Unknown("http_500"), Unknown("http_503"), Unknown("http_500"), Done({}))
    await ask(money)
    await pass_over(money, calls_of(money, rail), 5)
    assert (rail.looked, rail.ended) == (0, ["done"])


async def test_a_23_hour_old_unknown_is_never_resent_blind(money: OpenMoney) -> None:
    rail = Rail(Unknown("timeout"))
    await ask(money)
    calls = calls_of(money, rail)
    await calls.step()
    await money.books.advance(KEY_LIFE_MS / 1000)
    await calls.step()
    assert (len(rail.sent), rail.looked) == (1, 1)
    await money.books.advance(HOUR_S)
    await calls.step()
    assert (len(rail.sent), rail.looked) == (1, 2)
    assert [finding.kind for finding in await money.all_of(Finding)] == ["call_in_doubt"]


async def test_what_is_proven_absent_is_asked_again_under_a_new_key(money: OpenMoney) -> None:
    rail = Rail(Unknown("http_500"), Unknown("http_500"), Unknown("http_500"), Done({}), sees=[Absent()])
    await ask(money)
    await pass_over(money, calls_of(money, rail), 5)
    assert [key for key, _ in rail.sent] == ["hush-transfer-7-1"] * 3 + ["hush-transfer-7-2"]
    assert len({body for _, body in rail.sent}) == 1
    assert rail.ended == ["done"]
    assert (await money.ledger.balance(CONSUMER)).paid == 10


async def test_what_is_absent_time_and_again_is_refused_in_the_end(money: OpenMoney) -> None:
    rail = Rail(Unknown("http_500"), sees=[Absent()])
    await ask(money)
    await pass_over(money, calls_of(money, rail), 4 * ATTEMPTS_MAX)
    assert len({key for key, _ in rail.sent}) == ATTEMPTS_MAX
    assert rail.ended == ["refused absent"]


class Died(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("point", [CALL_BEFORE_SEND, CALL_AFTER_SEND])
async def test_a_call_of_a_process_that_died_is_made_again_when_its_lease_has_run_out(
    money: OpenMoney, point: str
) -> None:
    def die(reached: str) -> None:
        if reached == point:
            raise Died

    rail = Rail(Done({}))
    await ask(money)
    with pytest.raises(Died):
        await calls_of(money, rail, die).step()
    calls = calls_of(money, rail)
    assert await calls.step() == 0, "the lease still stands"
    await pass_over(money, calls, 1)
    assert rail.ended == ["done"]
    assert {key for key, _ in rail.sent} == {"hush-transfer-7-1"}


async def test_two_workers_make_a_call_once(money: OpenMoney) -> None:
    rail = Rail(Done({}))
    for subject in range(5):
        await ask(money, subject)
    await asyncio.gather(*(calls_of(money, rail).step() for _ in range(3)))
    assert sorted(key for key, _ in rail.sent) == [f"hush-transfer-{subject}-1" for subject in range(5)]


async def test_a_worker_whose_lease_ran_out_does_not_overrule_the_one_that_went_on(money: OpenMoney) -> None:
    asked, gate = asyncio.Event(), asyncio.Event()

    class Slow(Rail):
        async def send(self, call: Call) -> Sent:
            asked.set()
            await gate.wait()
            return await super().send(call)

    slow = Slow(Refused("late"))
    await ask(money)
    first = asyncio.create_task(calls_of(money, slow).step())
    await asked.wait()
    quick = Rail(Done({}))
    await pass_over(money, calls_of(money, quick), 1)
    gate.set()
    await first
    assert (slow.ended, quick.ended) == ([], ["done"])


async def test_an_outcome_that_the_books_refuse_is_kept_and_shown_to_a_person(money: OpenMoney) -> None:
    class Overdraws(Rail):
        def done(self, tx: Transaction, call: Call, outcome: Mapping[str, Any]) -> None:
            leg = Leg(user_account(CONSUMER, Kind.PAID), operator_account(Kind.STRIPE), 10)
            tx.post(Fact(f"call:{call.subject}", Code.DEPOSIT, (leg,), actor="test", owner=CONSUMER))

    await ask(money)
    await calls_of(money, Overdraws(Done({}))).step()
    assert (await only(money)).state is CallState.SENDING
    assert [finding.kind for finding in await money.all_of(Finding)] == ["call_outcome_refused"]
    mended = Rail(Done({}))
    await pass_over(money, calls_of(money, mended), 1)
    assert mended.ended == ["done"]


async def test_calls_of_a_rail_that_is_gone_keep_no_others_waiting(
    money: OpenMoney, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls_module, "_BATCH", 2)
    for subject in (1, 2):
        await money.store.transact(lambda tx, subject=subject: enqueue(tx, "gone", "send", subject, {}))  # type: ignore[misc]
    await money.books.advance(1)
    await ask(money)
    calls = calls_of(money, Rail(Done({})))
    assert [await calls.step(), await calls.step()] == [1, 0]
    states = sorted((call.rail, call.state) for call in await money.all_of(Call))
    assert states == [("gone", CallState.DUE)] * 2 + [("stripe", CallState.DONE)]


async def test_a_rail_that_does_not_answer_holds_up_no_other(money: OpenMoney) -> None:
    asked = asyncio.Event()

    class Silent(Rail):
        async def send(self, call: Call) -> Sent:
            asked.set()
            await asyncio.Event().wait()
            raise AssertionError

    quick = Rail(Done({}))
    calls = Calls(money.store, money.clock, {("silent", "send"): Silent(Done({})), ("stripe", "transfer"): quick})
    await money.store.transact(lambda tx: enqueue(tx, "silent", "send", 1, {}))
    worker = asyncio.create_task(calls.run())
    try:
        await asked.wait()
        await ask(money)
        calls.wake()
        await eventually(lambda: _is_done(quick))
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


async def test_a_rail_whose_work_fails_goes_on_with_what_comes_next(money: OpenMoney) -> None:
    failed = asyncio.Event()

    def reach(point: str) -> None:
        if not failed.is_set():
            failed.set()
            raise RuntimeError(point)

    rail = Rail(Done({}))
    calls = calls_of(money, rail, reach)
    await ask(money, 1)
    worker = asyncio.create_task(calls.run())
    try:
        await failed.wait()
        await ask(money, 2)
        calls.wake()
        await eventually(lambda: _is_done(rail))
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


async def _is_done(rail: Rail) -> bool:
    return rail.ended == ["done"]
