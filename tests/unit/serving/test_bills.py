"""The bill: what was relayed, never more than anything that bounds it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hushnet.attestation.tiers import Tier
from hushnet.coordinator.serving.model import Facts
from hushnet.coordinator.serving.rules.bills import bill
from hushnet.coordinator.serving.rules.reading import Mark
from hushnet.foundation.ids import ModelId
from hushnet.sealing.errors import WireCode
from hushnet.sealing.meters import Meter

FACTS = Facts(
    model=ModelId("m"),
    is_stream=True,
    output_tokens_max=100,
    prompt_tokens_max=50,
    features=frozenset(),
    floor=Tier.NONE,
)
COUNT = st.integers(0, 200)


def meter(output: int, *, prompt: int = 10, cached: int = 0, code: int = 0) -> Meter:
    return Meter(prompt, cached, output, 0, code)


def mark(output: int | None, *, content_bytes: int = 1000, records: int = 1, is_final: bool = False) -> Mark:
    return Mark(records, content_bytes, None if output is None else meter(output), is_final)


def test_a_whole_answer_is_billed_by_its_final_meter() -> None:
    decided = bill(FACTS, mark(20, is_final=True), final=meter(20))

    assert (decided.tokens.input, decided.tokens.output, decided.is_delivered) == (10, 20, True)
    assert decided.findings == ()


def test_a_broken_answer_is_billed_by_the_last_meter_that_was_relayed() -> None:
    assert bill(FACTS, mark(16), final=None).tokens.output == 16


def test_a_final_meter_never_raises_the_bill() -> None:
    assert bill(FACTS, mark(16), final=meter(90, code=WireCode.CANCELLED)).tokens.output == 16


def test_a_final_meter_may_lower_the_bill() -> None:
    assert bill(FACTS, mark(16), final=meter(5, code=WireCode.CANCELLED)).tokens.output == 5


def test_tokens_without_bytes_are_not_billed_and_are_found() -> None:
    decided = bill(FACTS, mark(90, content_bytes=30, is_final=True), final=meter(90))

    assert decided.tokens.output == 30
    assert decided.findings == ("output_beyond_content",)


def test_nothing_relayed_costs_nothing() -> None:
    assert not bill(FACTS, mark(90, records=0), final=meter(90)).is_delivered


def test_a_fault_costs_the_provider_everything() -> None:
    decided = bill(FACTS, mark(90, is_final=True), final=None, fault="receipt_invalid")

    assert (decided.is_delivered, decided.findings) == (False, ("receipt_invalid",))


def test_an_error_of_the_request_itself_is_free() -> None:
    assert not bill(FACTS, mark(5), final=meter(5, code=WireCode.CONTEXT_TOO_LONG)).is_delivered


def test_an_empty_answer_is_free() -> None:
    assert not bill(FACTS, mark(0, is_final=True), final=meter(0)).is_delivered


@given(COUNT, COUNT, COUNT, st.none() | st.tuples(COUNT, COUNT, COUNT), st.integers(0, 300), st.integers(0, 3))
def test_a_bill_stays_within_bounds_bytes_meters_and_receipt(
    prompt: int, cached: int, output: int, final: tuple[int, int, int] | None, content_bytes: int, records: int
) -> None:
    relayed = Mark(records, content_bytes, Meter(prompt, min(cached, prompt), output, 0))
    last = None if final is None else Meter(final[0], min(final[1], final[0]), final[2], 0)

    tokens = bill(FACTS, relayed, final=last).tokens

    assert tokens.output <= min(output, content_bytes, FACTS.output_tokens_max)
    assert tokens.input <= min(prompt, FACTS.prompt_tokens_max)
    assert tokens.cached <= tokens.input
    if last is not None:
        assert tokens.output <= last.output
        assert tokens.input <= last.input
