"""The official SDK against our fake Stripe: shapes, idempotency keys, errors, signatures, faults."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import stripe as sdk

from hushnet.coordinator.payments.stripe.transport import StripeTransport
from support.stripe_fake import FakeStripe, Fault, running_stripe
from support.waiting import eventually


@pytest.fixture(scope="module")
def served() -> Iterator[FakeStripe]:
    with running_stripe() as stripe:
        yield stripe


@pytest.fixture
def stripe(served: FakeStripe) -> FakeStripe:
    served.reset()
    return served


@pytest.fixture
async def client(stripe: FakeStripe) -> AsyncIterator[sdk.StripeClient]:
    transport = StripeTransport(timeout_s=60)
    yield sdk.StripeClient(
        stripe.api_key, base_addresses={"api": stripe.base_url}, http_client=transport, max_network_retries=0
    )
    await transport.close_async()


LINE = {"price_data": {"currency": "usd", "unit_amount": 2000, "product_data": {"name": "Credit"}}, "quantity": 1}


def key(text: str) -> dict[str, str]:
    return {"idempotency_key": text}


async def checkout(client: sdk.StripeClient, **more: object) -> sdk.checkout.Session:
    wanted = {"mode": "payment", "success_url": "https://example.com/ok", "line_items": [LINE], **more}
    return await client.v1.checkout.sessions.create_async(wanted, key("k1"))


async def test_a_paid_checkout_has_an_intent_a_charge_and_a_balance_transaction(
    stripe: FakeStripe, client: sdk.StripeClient
) -> None:
    session = await checkout(client, payment_intent_data={"metadata": {"deposit": "7"}})
    assert (session.status, session.payment_status, session.payment_intent) == ("open", "unpaid", None)
    intent_id = stripe.pay(session.id)
    paid = await client.v1.checkout.sessions.retrieve_async(session.id)
    assert (paid.status, paid.payment_status, paid.payment_intent) == ("complete", "paid", intent_id)
    intent = await client.v1.payment_intents.retrieve_async(intent_id)
    assert (intent.status, intent.amount_received, intent.metadata["deposit"]) == ("succeeded", 2000, "7")
    page = await client.v1.balance_transactions.list_async({"limit": 5})
    assert [(one.type, one.amount, one.fee, one.source) for one in page.data] == [
        ("charge", 2000, 88, intent.latest_charge)
    ]
    assert [event["type"] for event in stripe.pending()][-2:] == [
        "payment_intent.succeeded",
        "checkout.session.completed",
    ]


async def test_one_key_makes_one_object_and_other_parameters_are_refused(
    stripe: FakeStripe, client: sdk.StripeClient
) -> None:
    first = await checkout(client)
    again = await checkout(client)
    assert first.id == again.id
    assert again.last_response is not None
    assert again.last_response.headers["idempotent-replayed"] == "true"
    with pytest.raises(sdk.IdempotencyError):
        await checkout(client, cancel_url="https://example.com/no")
    assert len(stripe.world.objects["sessions"]) == 1


async def test_a_stored_500_is_replayed_and_a_429_is_not(stripe: FakeStripe, client: sdk.StripeClient) -> None:
    stripe.fail("POST /v1/checkout/sessions", Fault.ERROR_500_AFTER)
    for _ in range(2):
        with pytest.raises(sdk.APIError):
            await checkout(client)
    assert len(stripe.world.objects["sessions"]) == 1
    stripe.reset()
    stripe.fail("POST /v1/checkout/sessions", Fault.RATE_LIMIT)
    with pytest.raises(sdk.RateLimitError):
        await checkout(client)
    assert (await checkout(client)).status == "open"


@pytest.mark.parametrize(("fault", "made"), [(Fault.DROP_BEFORE, 0), (Fault.DROP_AFTER, 1)])
async def test_a_reset_connection_may_have_done_it_and_the_key_says_so(
    stripe: FakeStripe, client: sdk.StripeClient, fault: Fault, made: int
) -> None:
    stripe.fail("POST /v1/checkout/sessions", fault)
    with pytest.raises(sdk.APIConnectionError):
        await checkout(client)
    assert len(stripe.world.objects["sessions"]) == made
    assert (await checkout(client)).status == "open"
    assert len(stripe.world.objects["sessions"]) == 1


async def test_a_hanging_answer_was_executed(stripe: FakeStripe) -> None:
    transport = StripeTransport(timeout_s=1.5)
    client = sdk.StripeClient(stripe.api_key, base_addresses={"api": stripe.base_url}, http_client=transport)
    stripe.fail("POST /v1/checkout/sessions", Fault.HANG_AFTER)
    with pytest.raises(sdk.APIConnectionError):
        await checkout(client)
    eventually(lambda: len(stripe.world.objects["sessions"]) == 1, what="the request that nobody waits for")
    await transport.close_async()


async def test_a_request_in_progress_is_409(stripe: FakeStripe, client: sdk.StripeClient) -> None:
    stripe.fail("POST /v1/checkout/sessions", Fault.IN_PROGRESS)
    with pytest.raises(sdk.APIError) as caught:
        await checkout(client)
    assert caught.value.http_status == 409


async def test_an_unknown_parameter_a_wrong_key_and_a_missing_object_are_refused(
    stripe: FakeStripe, client: sdk.StripeClient
) -> None:
    with pytest.raises(sdk.InvalidRequestError) as caught:
        await checkout(client, colour="green")
    assert (caught.value.code, caught.value.param) == ("parameter_unknown", "colour")
    with pytest.raises(sdk.AuthenticationError):
        await client.v1.customers.create_async({}, {"api_key": "sk_test_other"})
    with pytest.raises(sdk.InvalidRequestError) as caught:
        await client.v1.refunds.retrieve_async("re_none")
    assert (caught.value.http_status, caught.value.code) == (404, "resource_missing")


async def test_a_saved_card_is_charged_off_session_and_a_decline_is_a_card_error(
    stripe: FakeStripe, client: sdk.StripeClient
) -> None:
    customer = await client.v1.customers.create_async({"metadata": {"owner": "1"}})
    session = await checkout(client, customer=customer.id, payment_intent_data={"setup_future_usage": "off_session"})
    stripe.pay(session.id)
    methods = await client.v1.customers.payment_methods.list_async(customer.id, {"type": "card"})
    card = methods.data[0].id
    wanted = {"amount": 500, "currency": "usd", "customer": customer.id, "payment_method": card}
    charge = {**wanted, "off_session": True, "confirm": True}
    assert (await client.v1.payment_intents.create_async(charge, key("a"))).status == "succeeded"
    stripe.decline(card)
    for _ in range(2):  # a decline is stored under its key too
        with pytest.raises(sdk.CardError) as caught:
            await client.v1.payment_intents.create_async(charge, key("b"))
        assert (caught.value.http_status, caught.value.code) == (402, "card_declined")
    assert sum(event["type"] == "payment_intent.payment_failed" for event in stripe.pending()) == 1


async def test_a_transfer_lands_is_reversed_and_pays_out(stripe: FakeStripe, client: sdk.StripeClient) -> None:
    account = await client.v1.accounts.create_async({"type": "express", "country": "US"})
    wanted = {"amount": 700, "currency": "usd", "destination": account.id, "transfer_group": "payout:1"}
    stripe.fund(1000)
    with pytest.raises(sdk.InvalidRequestError) as caught:
        await client.v1.transfers.create_async(wanted)
    assert caught.value.code == "insufficient_capabilities_for_transfer"
    link = {"account": account.id, "type": "account_onboarding", "refresh_url": "https://a", "return_url": "https://b"}
    assert (await client.v1.account_links.create_async(link)).url.startswith("https://")
    stripe.onboard(account.id)
    transfer = await client.v1.transfers.create_async(wanted)
    found = await client.v1.transfers.list_async({"transfer_group": "payout:1"})
    assert [one.id for one in found.data] == [transfer.id]
    there = {"stripe_account": account.id}
    payout = await client.v1.payouts.create_async({"amount": 300, "currency": "usd", "method": "instant"}, there)
    stripe.end_payout(payout.id, "failed")
    assert (await client.v1.payouts.retrieve_async(payout.id, options=there)).status == "failed"
    assert (await client.v1.balance.retrieve_async(options=there)).available[0].amount == 700
    await client.v1.transfers.reversals.create_async(transfer.id, {"amount": 700})
    assert (await client.v1.balance.retrieve_async()).available[0].amount == 1000
    events = [(event["type"], event.get("account")) for event in stripe.pending()]
    assert ("transfer.reversed", None) in events
    assert ("payout.failed", account.id) in events
    with pytest.raises(sdk.InvalidRequestError) as caught:
        await client.v1.transfers.reversals.create_async(transfer.id, {"amount": 1})
    assert caught.value.http_status == 400


async def test_disputes_move_funds_and_come_back(stripe: FakeStripe, client: sdk.StripeClient) -> None:
    intent = stripe.pay((await checkout(client)).id)
    dispute = stripe.dispute(intent)
    assert (await client.v1.balance.retrieve_async()).available[0].amount == 2000 - 88 - 2000 - 1500
    stripe.end_dispute(dispute, "won")
    got = await client.v1.disputes.retrieve_async(dispute)
    assert (got.status, [one.amount for one in got.balance_transactions]) == ("won", [-2000, 2000])
    assert [event["type"].rpartition(".")[2] for event in stripe.pending()[-4:]] == [
        "created",
        "funds_withdrawn",
        "funds_reinstated",
        "closed",
    ]


async def test_events_are_signed_and_due_until_they_are_accepted(stripe: FakeStripe, client: sdk.StripeClient) -> None:
    taken: list[sdk.Event] = []
    statuses = [500, 200]

    def receive(request: httpx.Request) -> httpx.Response:
        event = sdk.Webhook.construct_event(request.content, request.headers["stripe-signature"], "whsec_x")
        taken.append(event)
        return httpx.Response(statuses[min(len(taken), 2) - 1])

    await checkout(client)
    stripe.expire(next(iter(stripe.world.objects["sessions"])))
    stripe.listen("https://here/v1/webhooks/stripe", "whsec_x")
    for expected in statuses:
        door = httpx.Client(transport=httpx.MockTransport(receive))
        assert [one.status for one in stripe.deliver(client=door)] == [expected]
    assert stripe.pending() == []
    stripe.endpoints.clear()
    assert [event.type for event in taken] == ["checkout.session.expired"] * 2
