"""The table of a payment's life."""

from __future__ import annotations

import itertools

import pytest

from hushnet.coordinator.payments.x402.transitions import TABLE, Event, State, advance
from hushnet.foundation.errors import LocalProtocolError


@pytest.mark.parametrize("pair", list(itertools.product(State, Event)), ids=str)
def test_every_event_in_every_state_leads_on_or_is_refused(pair: tuple[State, Event]) -> None:
    if pair in TABLE:
        assert advance(*pair) is TABLE[pair]
    else:
        with pytest.raises(LocalProtocolError):
            advance(*pair)


def test_money_that_came_is_never_undone() -> None:
    assert not [pair for pair in TABLE if pair[0] is State.SETTLED]


def test_what_is_over_changes_only_for_money_that_came() -> None:
    over = {pair[1]: after for pair, after in TABLE.items() if pair[0] in (State.LAPSED, State.LOST)}
    assert over == {Event.PAID: State.SETTLED}


def test_whatever_was_paid_is_settled() -> None:
    assert {after for (_, event), after in TABLE.items() if event is Event.PAID} == {State.SETTLED}


def test_nothing_is_lost_that_was_not_to_be_settled() -> None:
    assert [before for (before, event) in TABLE if event is Event.LOST] == [State.SETTLING]
