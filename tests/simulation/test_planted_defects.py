"""No check is vacuous: a defect that is planted in the system is found by the invariant that is there for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hushnet.coordinator.admission.queue import FairQueue
from hushnet.coordinator.confidential import StandardAttempt
from hushnet.coordinator.fleet.fleet import Fleet, Slot
from hushnet.coordinator.fleet.gate import Gate
from hushnet.coordinator.fleet.load import Load
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.coordinator.ledger.prices import TermsTable
from hushnet.coordinator.ledger.service import Ledger
from hushnet.coordinator.serving.attempt import Attempt
from hushnet.coordinator.serving.outlet import Outlet
from hushnet.coordinator.serving.rules.tries import Tries
from hushnet.coordinator.serving.service import RequestService
from hushnet.coordinator.serving.settle import Finaliser
from hushnet.coordinator.trust.challenges import ChallengeBook
from simulation.world import simulate

SEEDS = range(1, 30)
"""Tried in this order until one finds the defect: not every world has the trouble that brings a defect to light."""


def found(family: str, *, seconds: float = 8.0) -> str:
    """Return what the first world of a family says in which the defect is found; empty when none does."""
    reports = (simulate(seed, seconds=seconds, family=family) for seed in SEEDS)
    return next((report.broken for report in reports if report.broken), "")


def test_a_slot_that_is_never_given_back_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Slot, "release", lambda self: None)
    assert found("calm").startswith("slots")


def test_a_slot_that_is_given_back_too_early_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    start = Attempt.start

    def started(self: Attempt, envelope: bytes, *, deadline_s: float) -> None:
        start(self, envelope, deadline_s=deadline_s)
        self.slot.release()

    monkeypatch.setattr(Attempt, "start", started)
    assert found("calm").startswith("slots")


def test_a_slot_that_is_kept_when_the_provider_refuses_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Attempt, code: int) -> None:
        with pytest.MonkeyPatch.context() as kept:
            kept.setattr(Slot, "release", lambda self: None)
            original(self, code)

    original = Attempt.attempt_refused
    monkeypatch.setattr(Attempt, "attempt_refused", refused)
    assert found("hostile").startswith("slots")


def test_a_finaliser_that_runs_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    settle = Finaliser.settle

    async def settled(self: Finaliser, attempt: Any, stopped: Any) -> Any:
        await settle(self, attempt, stopped)
        return await settle(self, attempt, stopped)

    monkeypatch.setattr(Finaliser, "settle", settled)
    assert found("calm").startswith("one finaliser")


def test_a_finaliser_that_is_left_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    settle = Finaliser.settle

    async def settled(self: Finaliser, attempt: Any, stopped: Any) -> Any:
        if attempt is None:
            return next(iter(()), None) or _outcome()
        return await settle(self, attempt, stopped)

    monkeypatch.setattr(Finaliser, "settle", settled)
    assert found("calm").startswith(("one finaliser", "no starvation"))


def _outcome() -> Any:
    from hushnet.coordinator.ledger.model import UsageOutcome

    return UsageOutcome.NOT_DELIVERED


def test_a_provider_that_drains_and_is_given_work_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fleet, "drained", lambda self, provider: None)
    assert found("restless", seconds=12.0).startswith("right provider")


def test_a_provider_that_is_not_trusted_and_is_given_work_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fleet, "judged", lambda self, provider, tier: None)
    assert found("hostile", seconds=25.0).startswith("right provider")


def test_a_provider_that_failed_a_sealed_request_and_gets_it_again_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    learn = Tries.learn

    def learned(self: Tries, *args: Any) -> Any:
        verdict = learn(self, *args)
        self._excluded = frozenset()
        return verdict

    monkeypatch.setattr(Tries, "learn", learned)
    assert found("hostile").startswith(("right provider", "attempts"))


def test_a_truncated_answer_that_is_told_as_whole_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    fail = Outlet.fail

    def failed(self: Outlet, failure: Any, *, is_cut: bool = False) -> None:
        if self.head is not None and not self.is_finished:
            self.push(b"data: [DONE]\n\n", self.relayed, credit=0)
            self.finish()
            return
        fail(self, failure, is_cut=is_cut)

    monkeypatch.setattr(Outlet, "fail", failed)
    assert found("restless").startswith("honest answers")


def test_an_answer_with_a_piece_left_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    relay, seen = StandardAttempt.relay, []

    def relayed(self: StandardAttempt, record: Any) -> bytes:
        data = relay(self, record)
        seen.append(data)
        return b"" if len(seen) == 20 else data

    monkeypatch.setattr(StandardAttempt, "relay", relayed)
    assert found("calm").startswith("honest answers")


def test_a_queue_that_nobody_leaves_in_time_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FairQueue, "expired", lambda self, now_s: [])
    assert found("crowded").startswith("no starvation")


def test_a_queue_that_serves_whoever_came_first_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_order(self: FairQueue[Any], model: Any) -> Iterator[Any]:
        tickets = fair(self, model)
        return iter(sorted(tickets, key=lambda ticket: ticket.deadline_s))

    fair: Callable[..., Any] = FairQueue.in_order
    monkeypatch.setattr(FairQueue, "in_order", in_order)
    assert found("flood").startswith("no starvation")


def test_a_bill_for_more_than_was_made_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hushnet.coordinator.serving.settle.bill", _inflated())
    assert found("calm").startswith("money")


def _inflated() -> Callable[..., Any]:
    import dataclasses

    from hushnet.coordinator.serving.rules.bills import bill

    def inflated(*args: Any, **more: Any) -> Any:
        decided = bill(*args, **more)
        if not decided.is_delivered:
            return decided
        tokens = decided.tokens
        return dataclasses.replace(decided, tokens=dataclasses.replace(tokens, output=tokens.output + 1))

    return inflated


def test_a_hold_that_nobody_closes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def closed(self: Ledger, close: Any) -> None:
        return None

    monkeypatch.setattr(Ledger, "close", closed)
    assert found("calm") != ""


def test_a_sweeper_that_leaves_the_holds_of_the_dead_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def swept(self: Ledger) -> int:
        return 0

    monkeypatch.setattr(Ledger, "sweep", swept)
    assert "holds are open" in found("crowded")


def test_a_link_whose_provider_stays_in_the_fleet_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gate, "link_lost", lambda self, provider_id, link: None)
    monkeypatch.setattr(LiveProvider, "is_routable", property(lambda self: not self.is_draining))
    assert found("losses").startswith("right provider")


def test_a_count_that_goes_below_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = Load.closed

    def twice(self: Load, model: Any, *, tokens: int, output: int) -> None:
        closed(self, model, tokens=tokens, output=output)
        closed(self, model, tokens=tokens, output=output)

    monkeypatch.setattr(Load, "closed", twice)
    assert found("calm").startswith("slots")


def test_a_request_that_is_never_told_its_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RequestService, "tick", lambda self: None)
    assert found("losses") != ""


def test_an_error_in_a_callback_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def answered(self: ChallengeBook, *args: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(ChallengeBook, "answer", answered)
    assert found("calm").startswith("no errors")


def test_a_settlement_that_forgets_the_discount_of_the_route_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    of = TermsTable.of
    monkeypatch.setattr(TermsTable, "of", lambda self, tier, bps=0: of(self, tier, bps // 2))
    assert "at no discount that anybody gave" in found("calm")
