"""What the SDK raises becomes a value that says whether the request may have been done."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator

import pytest

from hushnet.coordinator.payments.calls import Again, Refused, Unknown
from hushnet.coordinator.payments.stripe.gateway import Answered, StripeGateway
from hushnet.coordinator.payments.stripe.objects import Named, Page, Refund, Session
from hushnet.foundation.errors import CapacityError, RequestError
from hushnet.foundation.redaction import Secret
from support.stripe_fake import FakeStripe, Fault, running_stripe
from support.waiting import eventually

CUSTOMERS = "POST /v1/customers"


@pytest.fixture(scope="module")
def served() -> Iterator[FakeStripe]:
    with running_stripe() as stripe:
        yield stripe


@pytest.fixture
def stripe(served: FakeStripe) -> FakeStripe:
    served.reset()
    return served


async def write(
    stripe: FakeStripe, *, key: str = "k", timeout_s: float = 30.0, api_key: str = "", **params: object
) -> object:
    gateway = StripeGateway(Secret(api_key or stripe.api_key), api_base=stripe.base_url, timeout_s=timeout_s)
    try:
        options = {"idempotency_key": key}
        return await gateway.write(lambda v1: v1.customers.create_async(params, options), Named)
    finally:
        await gateway.aclose()


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault.DROP_BEFORE, Unknown("reset")),
        (Fault.DROP_AFTER, Unknown("reset")),
        (Fault.ERROR_500_BEFORE, Unknown("http_500")),
        (Fault.ERROR_500_AFTER, Unknown("http_500")),
        (Fault.UNAVAILABLE, Unknown("http_503")),
        (Fault.RATE_LIMIT, Again("rate_limited")),
        (Fault.IN_PROGRESS, Again("in_progress")),
    ],
)
async def test_a_fault_says_whether_it_may_have_been_done(stripe: FakeStripe, fault: Fault, told: object) -> None:
    stripe.fail(CUSTOMERS, fault)
    assert await write(stripe) == told
    assert stripe.asked(CUSTOMERS) == 1  # the SDK repeats nothing by itself
    assert isinstance(await write(stripe, key="other"), Answered)


async def test_no_answer_in_time_is_unknown(stripe: FakeStripe) -> None:
    stripe.fail(CUSTOMERS, Fault.HANG_AFTER)
    assert await write(stripe, timeout_s=1.5) == Unknown("time_out")
    eventually(lambda: len(stripe.world.objects["customers"]) == 1, what="the request that nobody waits for")


async def test_nobody_listening_is_surely_not_done(stripe: FakeStripe) -> None:
    with socket.socket() as taken:  # nobody else may listen there meanwhile
        taken.bind(("127.0.0.1", 0))
        gateway = StripeGateway(
            Secret("sk_test_x"), api_base=f"http://127.0.0.1:{taken.getsockname()[1]}", timeout_s=30
        )
        assert await gateway.write(lambda v1: v1.customers.create_async({}), Named) == Again("no_connection")
        await gateway.aclose()


async def test_a_refusal_is_a_word_of_ours(stripe: FakeStripe) -> None:
    assert await write(stripe, colour="green") == Refused("parameter_unknown")
    assert await write(stripe, api_key="sk_test_wrong") == Again("unauthorised")


async def test_another_request_under_the_same_key_is_never_taken_for_a_refusal(stripe: FakeStripe) -> None:
    assert isinstance(await write(stripe, email="a@example.com"), Answered)
    assert await write(stripe, email="b@example.com") == Unknown("other_request_under_this_key")


async def test_an_answer_of_another_shape_is_unknown_for_a_write(stripe: FakeStripe) -> None:
    gateway = StripeGateway(Secret(stripe.api_key), api_base=stripe.base_url)
    assert await gateway.write(lambda v1: v1.customers.create_async({}), Session) == Unknown("bad_answer")
    await gateway.aclose()


async def test_a_look_up_returns_or_raises(stripe: FakeStripe) -> None:
    gateway = StripeGateway(Secret(stripe.api_key), api_base=stripe.base_url)
    assert (await gateway.read(lambda v1: v1.refunds.list_async(), Page[Refund])).data == []
    with pytest.raises(RequestError) as caught:
        await gateway.read(lambda v1: v1.refunds.retrieve_async("re_none"), Refund)
    assert caught.value.error_code == "resource_missing"
    stripe.fail("GET /v1/refunds", Fault.UNAVAILABLE)
    with pytest.raises(CapacityError):
        await gateway.read(lambda v1: v1.refunds.list_async(), Page[Refund])
    await gateway.aclose()


async def test_nothing_of_a_request_is_logged(stripe: FakeStripe, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await write(stripe, email="canary@example.com")
        await write(stripe, colour="canary")
    assert "canary" not in caplog.text
    assert stripe.api_key not in caplog.text


@pytest.mark.parametrize(
    ("key", "is_live"), [("sk_live_a", True), ("rk_live_a", True), ("sk_test_a", False), ("rk_test_a", False)]
)
def test_the_key_says_which_mode_it_is(key: str, is_live: bool) -> None:
    assert StripeGateway(Secret(key)).is_live is is_live
