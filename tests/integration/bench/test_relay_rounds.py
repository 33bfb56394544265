"""The relay bench measures real processes: a second of it, so that it can't rot unseen."""

from bench.relay import report
from bench.relay.rounds import Plan, measure


def test_a_round_measures_the_coordinator_beside_the_provider_asked_directly() -> None:
    # Two thousand chunks cost several ticks of the processor's clock (10 ms); fewer may show as none.
    plan = Plan(("direct", "hushnet_standard"), 1, 1.0, 20, 100.0, ("paced", "requests"), 0.2, False)
    outcome = measure(plan)
    assert not outcome.absent
    [taken] = outcome.rounds
    for loads in taken.values():
        for measured in loads.values():
            assert measured.faults == 0
            assert measured.units > 0
    found = report.systems(outcome)
    assert found["hushnet_standard"]["chunk_us"][0] > 0
    assert found["hushnet_standard"]["request_us"][0] > 0
    assert "added_delay_ms" in found["hushnet_standard"]
