"""The table of a request's states: closed, reachable, and drawn truly."""

from __future__ import annotations

from pathlib import Path

import pytest

from hushnet.coordinator.serving.transitions import TRANSITIONS, Event, State, advance, render_page
from hushnet.foundation.errors import LocalProtocolError

PAGE = Path(__file__).parents[3] / "docs" / "request-life.md"
HELD = frozenset({State.ROUTING, State.DISPATCHED, State.RELAYING, State.SETTLING})


def test_every_state_is_reached_and_every_event_is_used() -> None:
    assert {State.ARRIVED, *TRANSITIONS.values()} == set(State)
    assert {event for _, event in TRANSITIONS} == set(Event)


def test_once_money_is_held_every_path_leads_through_the_finaliser() -> None:
    for (source, _), target in TRANSITIONS.items():
        if source in HELD and source is not State.SETTLING:
            assert target in HELD
    assert {target for (source, _), target in TRANSITIONS.items() if source is State.SETTLING} == {State.SETTLED}


def test_nothing_follows_the_end() -> None:
    assert not [source for source, _ in TRANSITIONS if source is State.SETTLED]


def test_a_request_can_be_stopped_wherever_it_waits_for_others() -> None:
    for state in (State.ROUTING, State.DISPATCHED, State.RELAYING):
        assert advance(state, Event.STOPPED) is State.SETTLING


def test_a_step_that_is_not_in_the_table_is_a_bug() -> None:
    with pytest.raises(LocalProtocolError):
        advance(State.SETTLED, Event.COMMITTED)


def test_the_page_is_drawn_from_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == render_page()
