"""The stopwatch of a request: always in one stage, so that the parts add up to the whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hushnet.coordinator.telemetry import timing
from hushnet.coordinator.telemetry.timing import STAGES, Stopwatch
from hushnet.foundation.clock import ManualClock


def shown(value: bytes) -> dict[str, int]:
    return {name: int(us) for name, _, us in (part.partition("=") for part in value.decode().split(", "))}


def test_every_stage_is_named_in_the_order_of_the_header() -> None:
    clock = ManualClock()

    assert tuple(shown(Stopwatch(clock.monotonic_s).render())) == STAGES
    assert STAGES[timing.PARSE] == "parse"
    assert STAGES[timing.RELAY] == "relay"


@given(st.lists(st.tuples(st.integers(0, len(STAGES)), st.integers(0, 10**7)), max_size=30))
def test_the_parts_add_up_to_the_whole_less_the_wait_for_the_body(steps: list[tuple[int, int]]) -> None:
    clock, expected = ManualClock(), [0] * (len(STAGES) + 1)
    watch = Stopwatch(clock.monotonic_s)
    stage = timing.AUTH
    for following, spent_us in steps:
        clock.advance(spent_us / 1e6)
        expected[stage] += spent_us
        watch.enter(following)
        stage = following

    values = list(shown(watch.render()).values())

    assert all(abs(value - wanted) <= 1 for value, wanted in zip(values, expected[: timing.BODY], strict=True))
    assert abs(sum(values) - sum(expected[: timing.BODY])) <= len(STAGES)


def test_a_stage_may_have_ended_before_it_was_noticed_but_not_before_it_began() -> None:
    clock = ManualClock()
    watch = Stopwatch(clock.monotonic_s)
    began_s = clock.monotonic_s()
    clock.advance(0.003)
    watch.enter(timing.PROVIDER)
    heard_s = clock.monotonic_s() + 0.004
    clock.advance(0.010)

    watch.enter(timing.RELAY, at_s=heard_s)
    clock.advance(0.001)
    parts = shown(watch.render())

    assert (parts["auth"], parts["provider"], parts["relay"]) == (3000, 4000, 7000)
    watch.enter(timing.SEAL, at_s=began_s)
    assert all(value >= 0 for value in shown(watch.render()).values())
