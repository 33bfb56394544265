"""The tables are closed, connected, and speak of frames that exist."""

from __future__ import annotations

from typing import Any

import pytest

from hushnet.wire.codec import COORDINATOR_TAGS, PROVIDER_TAGS
from hushnet.wire.transitions import (
    COORDINATOR_ATTEMPT,
    COORDINATOR_LINK,
    PROVIDER_ATTEMPT,
    PROVIDER_LINK,
    AttemptState,
    LinkState,
)

TABLES: dict[str, tuple[Any, Any, Any]] = {
    "coordinator link": (COORDINATOR_LINK, LinkState.GREETED, LinkState.CLOSED),
    "provider link": (PROVIDER_LINK, LinkState.DIALLED, LinkState.CLOSED),
    "coordinator attempt": (COORDINATOR_ATTEMPT, AttemptState.WAITING, AttemptState.OVER),
    "provider attempt": (PROVIDER_ATTEMPT, AttemptState.RECEIVING, AttemptState.OVER),
}
NOT_FRAMES = {"record", "final", "envelope", "envelope_last"}
ABOUT_ATTEMPTS = {"record", "final", "refused", "finished", "cancel", "envelope", "envelope_last"}


@pytest.mark.parametrize("name", TABLES)
def test_every_state_is_reached_and_every_state_reaches_the_end(name: str) -> None:
    table, start, end = TABLES[name]
    states = {state for state, _ in table} | set(table.values())

    def reached(origin: Any, steps: set[tuple[Any, Any]]) -> set[Any]:
        found = {origin}
        while more := {after for before, after in steps if before in found} - found:
            found |= more
        return found

    steps = {(before, after) for (before, _), after in table.items()}
    assert reached(start, steps) == states
    assert reached(end, {(after, before) for before, after in steps}) == states
    assert not [trigger for state, trigger in table if state is end]


@pytest.mark.parametrize("name", TABLES)
def test_every_trigger_is_a_frame_that_this_end_sends_or_receives(name: str) -> None:
    table, _, _ = TABLES[name]
    is_coordinator = name.startswith("coordinator")
    arriving = (PROVIDER_TAGS if is_coordinator else COORDINATOR_TAGS) | NOT_FRAMES
    leaving = (COORDINATOR_TAGS if is_coordinator else PROVIDER_TAGS) | NOT_FRAMES
    for _, trigger in table:
        direction, _, word = trigger.partition(" ")
        assert trigger == "end" or word in (arriving if direction == "<-" else leaving), trigger


@pytest.mark.parametrize(
    ("table", "arriving", "leaving"),
    [(COORDINATOR_LINK, PROVIDER_TAGS, COORDINATOR_TAGS), (PROVIDER_LINK, COORDINATOR_TAGS, PROVIDER_TAGS)],
    ids=["coordinator", "provider"],
)
def test_every_frame_has_its_place_in_the_link_table(
    table: Any, arriving: frozenset[str], leaving: frozenset[str]
) -> None:
    triggers = {trigger for _, trigger in table}
    greeting = {"-> hello", "<- bye", "-> bye"}  # sent by making a session; a bye is an `end`
    expected = {f"<- {tag}" for tag in arriving} | {f"-> {tag}" for tag in leaving}
    assert expected - greeting == triggers - {"end", "<- record", "-> record", "<- envelope"}


@pytest.mark.parametrize(
    ("ours", "theirs"), [(COORDINATOR_ATTEMPT, PROVIDER_ATTEMPT), (PROVIDER_ATTEMPT, COORDINATOR_ATTEMPT)]
)
def test_what_one_end_of_an_attempt_sends_the_other_takes(ours: Any, theirs: Any) -> None:
    sent = {trigger.removeprefix("-> ") for _, trigger in ours if trigger.startswith("->")}
    taken = {trigger.removeprefix("<- ") for _, trigger in theirs if trigger.startswith("<-")}
    assert sent <= taken | {"envelope"}
