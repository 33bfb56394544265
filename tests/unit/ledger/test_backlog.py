"""What goes into the next transaction: everything in order while it fits, holds first where it does not, nobody starved."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from hushnet.coordinator.ledger.model import Capped, Conflict, Held, Hold, Insufficient, Operation, Refused
from hushnet.coordinator.ledger.writing.backlog import Backlog, Waiting
from hushnet.foundation.ids import RequestId
from support.ledger import CONSUMER, post

BATCH = 8


def hold(number: int) -> Hold:
    return Hold(RequestId(2 * number), CONSUMER, 10, 1)


def close(number: int) -> Operation:
    return post(hold(number), Held(10, 0, 0), 1)


def waiting(operation: Operation) -> Waiting:
    loop = asyncio.new_event_loop()
    try:
        return Waiting(operation, loop.create_future())
    finally:
        loop.close()


def filled(kinds: str) -> tuple[Backlog, list[Waiting]]:
    """Return a backlog of holds (h) and closes (c), and what is in it."""
    backlog = Backlog(batch_max=BATCH)
    added = [waiting(hold(n) if kind == "h" else close(n)) for n, kind in enumerate(kinds)]
    for each in added:
        backlog.add(each)
    return backlog, added


def test_what_fits_goes_in_the_order_of_arrival_and_overtakes_nothing() -> None:
    backlog, added = filled("chchcchc")

    batch = backlog.next_batch()

    assert batch == added
    assert not any(each.has_overtaken for each in batch)
    assert not backlog


def test_holds_behind_a_long_backlog_of_closes_are_in_the_next_batch() -> None:
    backlog, added = filled("c" * 100 + "hhh")

    batch = backlog.next_batch()

    assert batch == [*added[:5], *added[-3:]]
    assert [each.has_overtaken for each in batch] == [False] * 5 + [True] * 3


def test_a_flood_of_holds_leaves_a_quarter_of_each_batch_to_the_oldest() -> None:
    backlog, added = filled("c" * 10 + "h" * 100)

    batches = [backlog.next_batch() for _ in range(5)]

    closes = added[:10]
    assert [sum(each in closes for each in batch) for batch in batches] == [2, 2, 2, 2, 2]


def test_a_hold_that_overtook_and_found_too_little_is_asked_again_in_its_turn() -> None:
    backlog, added = filled("c" * 20 + "h")
    last = added[-1]
    assert last in backlog.next_batch()

    assert backlog.asks_again(last, Insufficient(0))
    assert not backlog.asks_again(added[0], Insufficient(0))
    following = [backlog.next_batch(), backlog.next_batch()]

    assert following[-1][-1] is last
    assert not last.has_overtaken
    assert not backlog.asks_again(last, Insufficient(0))


def test_only_what_those_overtaken_may_change_is_asked_again() -> None:
    answers = [
        (Held(1, 0, 0), False),
        (Conflict(), False),
        (Capped(1, 0), True),
        (Insufficient(3), True),
        (Refused(), True),
    ]
    for outcome, is_asked in answers:
        backlog, added = filled("c" * 20 + "h")
        backlog.next_batch()
        assert backlog.asks_again(added[-1], outcome) is is_asked


def test_a_refused_batch_comes_back_in_halves_with_other_batches_between() -> None:
    backlog, added = filled("ccccc")
    backlog.halve(backlog.next_batch())
    newcomers = [waiting(hold(50 + n)) for n in range(2)]
    backlog.add(newcomers[0])

    taken = [backlog.next_batch(), backlog.next_batch()]
    backlog.add(newcomers[1])
    taken += [backlog.next_batch(), backlog.next_batch()]

    assert taken[0] == added[:2]
    assert taken[1] == [newcomers[0]]
    assert taken[2] == added[2:]
    assert taken[3] == [newcomers[1]]
    assert newcomers[0].has_overtaken
    assert not newcomers[1].has_overtaken


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(["h", "c", "take", "poison"]), max_size=120))
def test_everything_is_taken_once_and_no_hold_waits_for_more_than_two_batches_unless_holds_fill_them(
    steps: list[str],
) -> None:
    backlog = Backlog(batch_max=BATCH)
    left: set[Waiting] = set()
    holds_since: dict[Waiting, int] = {}
    for step in [*steps, *["take"] * 300]:
        if step in ("h", "c"):
            each = waiting(hold(1) if step == "h" else close(1))
            backlog.add(each)
            left.add(each)
            if step == "h":
                holds_since[each] = 0
            continue
        ahead = len(holds_since)
        batch = backlog.next_batch()
        assert len(batch) <= BATCH
        assert [each.number for each in batch] == sorted(each.number for each in batch)
        if step == "poison" and len(batch) > 1:
            backlog.halve(batch)
            for each in batch:
                holds_since.pop(each, None)  # it has had its batch; its halves follow
            continue
        for each in batch:
            left.remove(each)
            holds_since.pop(each, None)
        holds_since = {each: waited + 1 for each, waited in holds_since.items()}
        assert max(holds_since.values(), default=0) <= 2 * (1 + ahead // (BATCH * 3 // 4) + 1)
    assert not left
    assert len(backlog) == 0
