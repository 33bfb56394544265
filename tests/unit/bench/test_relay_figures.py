"""What is said of hang-ups, first tokens, a soak, requests and links follows from the raw rounds alone."""

import pytest
from bench.relay import cancel, links, requests, soak, ttft
from bench.relay.client import Measured
from bench.relay.soak import Reading


def reading(at_s: float, rss_mib: float) -> Reading:
    return Reading(at_s=at_s, rss_mib=rss_mib, files=10, threads=3, running=0, served=int(at_s))


def measured(cpu_us: float, *, whole: int = 100, lost: int = 0) -> Measured:
    return Measured(
        streams=10,
        units=100,
        window_s=2.0,
        cpu_us={"coordinator": cpu_us * 100},
        rss_mib={"coordinator": 150.0},
        verdicts={"whole": whole} | ({"lost": lost} if lost else {}),
        delay_us=(1.0, 2.0, 3000.0),
        first_ms=(1.0, 5.0, 9.0),
    )


def test_a_hang_up_is_timed_from_the_close_to_the_cancel() -> None:
    closed = {"standard.mid_stream.0": 1_000_000_000, "standard.before_headers.0": 5}
    reports = [{"tag": "standard.mid_stream.0", "outcome": "cancelled", "cancelled_ns": 1_004_000_000}]
    taken = cancel.match(closed, reports)
    assert [each["ms"] for each in taken] == [4.0, None]
    figures = cancel.figures(taken)
    assert figures["cancel_p99_ms"].value == 4.0
    assert figures["cancel_unstarted"].value == 1


def test_a_hang_up_that_did_not_stop_the_provider_is_an_error() -> None:
    reports = [{"tag": "sealed.mid_stream.0", "outcome": "served"}]
    with pytest.raises(RuntimeError, match="served"):
        cancel.match({"sealed.mid_stream.0": 1}, reports)


def test_added_time_is_the_difference_inside_a_pass() -> None:
    taken = [{"direct": 1.0, "standard": 2.0, "sealed": 1.5}, {"direct": 11.0, "standard": 12.0, "sealed": 11.5}]
    figures = ttft.figures(taken)
    assert figures["added_ttft_p99_ms"].value == 1.0
    assert figures["added_ttft_sealed_p50_ms"].value == 0.5


def test_growth_is_the_fitted_lines_and_noise_is_not_growth() -> None:
    flat = [reading(60.0 * minute, 100.0 + minute % 2) for minute in range(16)]
    rising = [reading(60.0 * minute, 100.0 + minute) for minute in range(16)]
    assert abs(soak.growth(flat)[0]) < 0.5
    assert soak.growth(rising) == pytest.approx((15.0, 15.0))
    assert soak.growth(flat[:1]) == (0.0, 0.0)


def test_a_request_costs_the_median_of_its_rounds() -> None:
    rounds = [{"standard": measured(cpu), "sealed": measured(cpu / 2)} for cpu in (300.0, 100.0, 200.0)]
    figures = requests.figures(rounds)
    assert figures["request_cpu_us"].value == 200.0
    assert figures["request_sealed_cpu_us"].value == 100.0
    assert figures["requests_per_s"].value == 50.0


def test_a_request_that_was_not_answered_whole_spoils_the_figure() -> None:
    with pytest.raises(RuntimeError, match="3 requests"):
        requests.figures([{"standard": measured(1.0, lost=3), "sealed": measured(1.0)}])


def test_every_broken_stream_of_a_thousand_counts_as_lost() -> None:
    figures = links.figures(measured(20.0, whole=998, lost=2), resident_mib=160.0)
    assert figures["links_1000_lost_chunks"].value == 2
    assert figures["links_1000_ttft_p95_ms"].value == 5.0
    assert figures["links_1000_rss_mib"].value == 160.0
