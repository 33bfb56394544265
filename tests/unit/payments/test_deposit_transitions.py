"""The tables of deposits and reversals: the order of what is told does not matter, and money is never undone by a word."""

from __future__ import annotations

from itertools import permutations

import pytest

from hushnet.coordinator.payments.deposits.model import DepositState, ReversalKind, ReversalState
from hushnet.coordinator.payments.deposits.transitions import DepositEvent as E
from hushnet.coordinator.payments.deposits.transitions import (
    Early,
    Move,
    ReversalEvent,
    next_deposit,
    next_reversal,
)

STORIES = {
    "paid": ((E.MADE, E.PAID, E.PAID), DepositState.PAID),
    "a bank debit": ((E.MADE, E.UNPAID, E.PAID), DepositState.PAID),
    "a bank debit that fails": ((E.MADE, E.UNPAID, E.FAILED), DepositState.FAILED),
    "a bank debit that fails, and is paid after all": ((E.MADE, E.UNPAID, E.FAILED, E.PAID), DepositState.PAID),
    "expired": ((E.MADE, E.EXPIRED), DepositState.EXPIRED),
    "expired, and paid after all": ((E.MADE, E.EXPIRED, E.PAID), DepositState.PAID),
    "refused": ((E.REFUSED,), DepositState.FAILED),
    "something else": ((E.MADE, E.UNPAID, E.MISMATCH), DepositState.HELD),
}


@pytest.mark.parametrize("story", STORIES)
def test_a_deposit_ends_alike_in_any_order(story: str) -> None:
    events, end = STORIES[story]
    for order in permutations(events):
        state = DepositState.CREATED
        for event in (*order, *order):
            state = next_deposit(state, event)
        assert state is end


@pytest.mark.parametrize("state", [DepositState.PAID, DepositState.HELD])
def test_paid_and_held_are_never_left(state: DepositState) -> None:
    assert {next_deposit(state, event) for event in E} == {state}


def test_a_paid_event_wins_over_every_other_state() -> None:
    for state in DepositState:
        assert next_deposit(state, E.PAID) is (state if state is DepositState.HELD else DepositState.PAID)


def net(moves: list[Move]) -> tuple[int, int, int]:
    """What moves leave: of the owner's money, set aside in frozen, gone from Stripe; in units of the amount."""
    effects = {
        Move.TAKE_AND_SEND: (-1, 0, 1),
        Move.SEND: (0, -1, 1),
        Move.PUT_BACK: (1, -1, 0),
        Move.CREDIT_BACK: (1, 0, -1),
        Move.WITHDRAW: (-1, 1, 1),
        Move.GIVE_BACK: (1, -1, -1),
        Move.LOSE: (0, -1, 0),
        Move.SUSPEND: (0, 0, -1),
    }
    return tuple(map(sum, zip((0, 0, 0), *(effects[move] for move in moves), strict=True)))  # type: ignore[return-value]


def walk(
    kind: ReversalKind, state: ReversalState | None, events: tuple[ReversalEvent, ...]
) -> tuple[ReversalState | None, tuple[int, int, int]]:
    """Apply events in this order, each twice; what comes too early comes again at the end."""
    moves: list[Move] = []
    waiting = list(events) * 2
    for _ in range(20):
        again = []
        for event in waiting:
            found = next_reversal(kind, state, event)
            if isinstance(found, Early):
                again.append(event)
            elif found is not None:
                state, made = found
                moves += made
        waiting = again
    return state, net(moves)


V = ReversalEvent


@pytest.mark.parametrize(
    ("kind", "start", "events", "left"),
    [
        (ReversalKind.REFUND, None, (V.WITHDRAWN, V.DONE), (-1, 0, 1)),
        (ReversalKind.REFUND, None, (V.WITHDRAWN, V.BACK), (0, 0, 0)),
        (ReversalKind.REFUND, None, (V.WITHDRAWN, V.DONE, V.BACK), (0, 0, 0)),
        (ReversalKind.REFUND, ReversalState.ASKED, (V.WITHDRAWN, V.DONE), (0, -1, 1)),
        (ReversalKind.REFUND, ReversalState.ASKED, (V.WITHDRAWN, V.DONE, V.BACK), (1, -1, 0)),
        (ReversalKind.REFUND, ReversalState.ASKED, (V.BACK,), (1, -1, 0)),
        (ReversalKind.DISPUTE, None, (V.WITHDRAWN, V.DONE), (-1, 0, 1)),
        (ReversalKind.DISPUTE, None, (V.WITHDRAWN, V.BACK), (0, 0, 0)),
    ],
)
def test_a_reversal_leaves_the_same_money_in_any_order(
    kind: ReversalKind, start: ReversalState | None, events: tuple[V, ...], left: tuple[int, int, int]
) -> None:
    ends = {walk(kind, start, order) for order in permutations(events)}
    assert len(ends) == 1
    (end,) = ends
    assert end[1] == left
