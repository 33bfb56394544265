"""The queue's rules, one by one."""

from __future__ import annotations

from hushnet.coordinator.admission.queue import FairQueue, QueueLimits, Ticket
from hushnet.foundation.ids import AccountId, ModelId

M, N = ModelId("m"), ModelId("n")
A, B = AccountId(1 << 16), AccountId((1 << 16) + 1)


def joined(queue: FairQueue[str], account: AccountId, item: str, **choices: object) -> Ticket[str]:
    ticket = queue.join(M, account, item, deadline_s=100.0, **choices)  # type: ignore[arg-type]
    assert ticket is not None
    return ticket


def order(queue: FairQueue[str]) -> list[str]:
    return [ticket.item for ticket in queue.in_order(M)]


def test_accounts_take_turns() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in ("a1", "a2", "a3"):
        joined(queue, A, item)
    joined(queue, B, "b1")

    assert order(queue) == ["a1", "b1", "a2", "a3"]


def test_who_was_served_goes_to_the_end_of_the_round() -> None:
    queue: FairQueue[str] = FairQueue()
    first = joined(queue, A, "a1")
    joined(queue, A, "a2")
    joined(queue, B, "b1")

    queue.leave(first, is_served=True)

    assert order(queue) == ["b1", "a2"]


def test_a_retry_goes_before_its_own_accounts_requests_and_before_nobody_elses() -> None:
    queue: FairQueue[str] = FairQueue()
    joined(queue, A, "a1")
    joined(queue, B, "b1")
    joined(queue, B, "again", is_retry=True)

    assert order(queue) == ["a1", "again", "b1"]


def test_a_ticket_leaves_once() -> None:
    queue: FairQueue[str] = FairQueue()
    ticket = joined(queue, A, "a1")

    assert queue.leave(ticket)
    assert not queue.leave(ticket)
    assert queue.waiting(M) == 0
    assert queue.models() == ()


def test_length_is_bounded_for_a_model_and_for_an_account() -> None:
    queue: FairQueue[str] = FairQueue(QueueLimits(waiting_max=3, account_waiting_max=2))
    joined(queue, A, "a1")
    joined(queue, A, "a2")

    assert queue.join(M, A, "a3", deadline_s=1.0) is None
    joined(queue, B, "b1")
    assert queue.join(M, B, "b2", deadline_s=1.0) is None
    assert queue.join(N, A, "n1", deadline_s=1.0) is not None


def test_what_waits_keeps_a_bounded_number_of_bytes() -> None:
    queue: FairQueue[str] = FairQueue(QueueLimits(waiting_bytes_max=100))
    first = queue.join(M, A, "a1", deadline_s=1.0, size=60)
    assert first is not None

    assert queue.join(N, B, "too much", deadline_s=1.0, size=50) is None
    queue.leave(first)
    assert queue.join(N, B, "fits", deadline_s=1.0, size=50) is not None


def test_retries_count_for_their_accounts_part() -> None:
    queue: FairQueue[str] = FairQueue(QueueLimits(account_waiting_max=1))
    joined(queue, A, "again", is_retry=True)

    assert queue.join(M, A, "and again", deadline_s=1.0, is_retry=True) is None


def test_only_who_is_late_is_removed() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.join(M, A, "late", deadline_s=5.0)
    queue.join(M, A, "early", deadline_s=50.0)
    queue.join(N, B, "late too", deadline_s=5.0)

    assert {ticket.item for ticket in queue.expired(5.0)} == {"late", "late too"}
    assert order(queue) == ["early"]
    assert queue.expired(5.0) == []
