"""The table of payouts, walked exhaustively: whatever is delivered in whatever order, the books end whole or paid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushnet.coordinator.payments.payouts.model import COIN, RAILS, STRIPE, Payout, PayoutState
from hushnet.coordinator.payments.payouts.transitions import (
    ALARMING,
    EARLY,
    TABLE,
    PayoutEvent,
    Posting,
    RailCall,
    Step,
    Without,
)
from support.payouts import PlainBooks, applied, payout_row, requested

E, S = PayoutEvent, PayoutState
FINISHED = (S.PAID, S.RETURNED, S.CANCELLED)
Node = tuple[PayoutState, bool, frozenset[Posting]]


def walk(rail: str, *, instant: bool) -> Iterator[tuple[Payout, PlainBooks, dict[PayoutEvent, Node]]]:
    """Every payout that any sequence of any events of any length leads to, with where each event leads from there."""
    waiting = [requested(rail, instant=instant)]
    seen: set[Node] = {node_of(*waiting[0])}
    while waiting:
        payout, books = waiting.pop()
        following = {event: applied(payout, books, event)[:2] for event in PayoutEvent}
        yield payout, books, {event: node_of(*after) for event, after in following.items()}
        for after in following.values():
            if node_of(*after) not in seen:
                seen.add(node_of(*after))
                waiting.append(after)


def node_of(payout: Payout, books: PlainBooks) -> Node:
    return payout.state, payout.is_reversed, books.posted


@pytest.mark.parametrize("instant", [True, False])
@pytest.mark.parametrize("rail", RAILS)
def test_after_any_sequence_of_events_the_books_say_who_has_the_money(rail: str, instant: bool) -> None:
    """Also: no fact is ever posted twice (`PlainBooks.post` insists)."""
    nodes = 0
    for payout, books, _ in walk(rail, instant=instant):
        books.check(payout)
        nodes += 1
    assert nodes > 5


@pytest.mark.parametrize("rail", RAILS)
def test_from_everywhere_the_books_can_end_whole_or_paid(rail: str) -> None:
    following = {node_of(payout, books): set(after.values()) for payout, books, after in walk(rail, instant=True)}
    ending = {node for node in following if node[0] in FINISHED}
    while True:
        more = {node for node, after in following.items() if node not in ending and after & ending}
        if not more:
            break
        ending |= more
    assert ending == set(following)


@pytest.mark.parametrize("rail", RAILS)
def test_every_row_of_the_table_is_reachable(rail: str) -> None:
    states = {payout.state for payout, _, _ in walk(rail, instant=True)}
    assert {state for state, _ in TABLE[rail]} <= states
    assert {step.to for step in TABLE[rail].values()} <= states


def test_only_a_paid_payout_that_stripe_takes_back_leaves_an_end() -> None:
    for rail in RAILS:
        leaving = {(state, event) for state, event in TABLE[rail] if state in FINISHED}
        assert leaving == ({(S.PAID, E.PAYOUT_FAILED)} if rail == STRIPE else set())


def test_what_is_early_or_alarming_is_not_in_the_table() -> None:
    assert not EARLY & ALARMING
    assert not EARLY & set(TABLE[STRIPE])
    assert not ALARMING & (set(TABLE[STRIPE]) | set(TABLE[COIN]))


HISTORIES: dict[str, tuple[dict[RailCall, list[list[PayoutEvent]]], PayoutState]] = {
    # For each call: what Stripe tells, each list in the order in which it became true; then where it must end.
    "paid": ({RailCall.PAYOUT: [[E.PAYOUT_MADE], [E.PAYOUT_PAID]]}, S.PAID),
    "failed": ({RailCall.PAYOUT: [[E.PAYOUT_MADE], [E.PAYOUT_FAILED]]}, S.RETURNED),
    "canceled": ({RailCall.PAYOUT: [[E.PAYOUT_MADE], [E.PAYOUT_CANCELED]]}, S.RETURNED),
    "paid, then failed": ({RailCall.PAYOUT: [[E.PAYOUT_MADE], [E.PAYOUT_PAID], [E.PAYOUT_FAILED]]}, S.RETURNED),
    "payout refused": ({RailCall.PAYOUT: [[E.PAYOUT_REFUSED]]}, S.RETURNED),
    "transfer refused": ({RailCall.TRANSFER: [[E.TRANSFER_REFUSED]]}, S.RETURNED),
    "reversal refused": (
        {RailCall.PAYOUT: [[E.PAYOUT_MADE], [E.PAYOUT_FAILED]], RailCall.REVERSAL: [[E.REVERSAL_REFUSED]]},
        S.STUCK,
    ),
}
USUAL: dict[RailCall, list[list[PayoutEvent]]] = {
    RailCall.TRANSFER: [[E.TRANSFER_MADE]],
    RailCall.REVERSAL: [[E.REVERSAL_MADE, E.TRANSFER_REVERSED]],
}


@given(st.sampled_from(sorted(HISTORIES)), st.randoms(use_true_random=False), st.integers(1, 4))
@settings(max_examples=300, deadline=None)
def test_any_order_of_any_multiset_of_events_ends_in_the_same_books(name: str, random: object, copies: int) -> None:
    """One true history at Stripe, its events delivered up to four times each, in any order after the call that caused them."""
    told, end = HISTORIES[name]
    payout, books = requested(STRIPE)
    pile: list[PayoutEvent] = [E.CLAIMED]
    while pile:
        random.shuffle(pile)  # type: ignore[attr-defined] - a random.Random
        event = pile.pop()
        payout, books, step = applied(payout, books, event)
        books.check(payout)
        if step is Without.EARLY:
            pile.append(event)
        if isinstance(step, Step) and step.call is not None:
            pile += _deliveries({**USUAL, **told}[step.call], copies)
    assert payout.state is end


def _deliveries(told: Sequence[Sequence[PayoutEvent]], copies: int) -> list[PayoutEvent]:
    return [event for events in told for event in events for _ in range(copies)]


def test_completing_twice_pays_once() -> None:
    payout, books = requested(STRIPE)
    for event in (E.CLAIMED, E.TRANSFER_MADE, E.PAYOUT_MADE, E.PAYOUT_PAID):
        payout, books, _ = applied(payout, books, event)
    again, same, step = applied(payout, books, E.PAYOUT_PAID)
    assert (again, same, step) == (payout, books, Without.EFFECT)


def test_a_refused_or_cancelled_payout_is_whole_and_a_transfer_made_after_all_alarms() -> None:
    for end in (S.RETURNED, S.CANCELLED):
        payout = payout_row(STRIPE, state=end)
        assert applied(payout, PlainBooks(), E.TRANSFER_MADE)[2] is Without.ALARMING


def test_coins_that_were_sent_come_back_only_on_proof() -> None:
    for state in (S.SENDING, S.IN_TRANSIT):
        payout = payout_row(COIN, state=state)
        moved = {event for event in PayoutEvent if isinstance(applied(payout, PlainBooks(), event)[2], Step)}
        allowed = {E.COINS_CONFIRMED, E.COINS_LOST}
        assert moved == (allowed | {E.COINS_ACCEPTED, E.COINS_REFUSED} if state is S.SENDING else allowed)
