"""Requests without a key that pay for themselves: over HTTP, with the official x402 client and facilitator."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hushnet.coordinator.ledger.model import Mode
from hushnet.coordinator.ledger.prices import TermsTable
from hushnet.coordinator.payments.x402.authorised import LOOK_MS
from hushnet.coordinator.payments.x402.model import WALLET_ID_FIRST
from hushnet.coordinator.payments.x402.transitions import State
from hushnet.foundation.ids import AccountId
from hushnet.foundation.money import Price
from hushnet.sealing.streaming import MEDIA_REQUEST, MEDIA_STREAM
from support.fleet import MODEL, Network, open_answer, says
from support.x402_network import BASE, PAY_TO, PayingNetwork, chat_body, open_paying
from support.x402_peer import Account, decode_payment_required_header, decode_payment_response_header

COST = 7 + 4
"""What the scripted providers report for one word: seven tokens in, one out."""
BODY = chat_body(model=MODEL)


@pytest.fixture
async def paying(database_path: Path) -> AsyncIterator[PayingNetwork]:
    async with open_paying(database_path) as opened:
        yield opened


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("stream", [False, True])
async def test_the_official_client_pays_and_is_served(paying: PayingNetwork, version: int, stream: bool) -> None:
    provider = await paying.network.provider(part=says("hi"))
    async with paying.official(version=version) as client:
        answer = await client.post("/v1/chat/completions", content=chat_body(model=MODEL, stream=stream))
    assert (answer.status_code, "hi" in answer.text) == (200, True)
    receipt = decode_payment_response_header(
        answer.headers["payment-response" if version == 2 else "x-payment-response"]
    )
    assert (receipt.success, receipt.payer) == (True, paying.account.address)
    assert receipt.network == ("eip155:84532" if version == 2 else "base-sepolia")
    assert receipt.transaction in paying.facilitator.chain.receipts
    assert await paying.network.earned(provider) == COST
    (row,) = await paying.rows()
    assert (row.state, paying.earned) == (State.SETTLED, row.amount)
    assert await paying.credit() == row.amount - COST
    assert row.owner >= WALLET_ID_FIRST


async def test_what_is_left_pays_the_next_request(paying: PayingNetwork) -> None:
    await paying.network.provider(part=says("hi"))
    async with paying.official() as client:
        first = await client.post("/v1/chat/completions", content=BODY)
        await paying.network.settled()  # an answer does not wait for its settlement
        paid = paying.earned
        second = await client.post("/v1/chat/completions", content=chat_body(model=MODEL, max_tokens=20))
    assert (first.status_code, second.status_code, paying.earned) == (200, 200, paid)
    receipt = decode_payment_response_header(second.headers["payment-response"])
    assert (receipt.success, receipt.transaction, receipt.amount) == (True, "", "0")
    await paying.network.settled()
    assert await paying.credit() == paid - 2 * COST


async def test_a_request_without_payment_is_told_its_terms_in_both_versions(paying: PayingNetwork) -> None:
    provider = await paying.network.provider(part=says("hi"))
    told = await paying.terms(BODY)
    required = decode_payment_required_header(told.headers["payment-required"])
    exact, upto = required.accepts
    assert (exact.scheme, exact.network, exact.pay_to.lower(), upto.scheme) == ("exact", "eip155:84532", PAY_TO, "upto")
    assert (required.resource.url, required.error) == (f"{BASE}/v1/chat/completions", "payment_required")
    (one,) = told.json["accepts"]
    assert (told.json["x402Version"], one["network"], one["maxAmountRequired"]) == (1, "base-sepolia", exact.amount)
    assert int(exact.amount) > 100 * 4
    assert provider.served == []
    assert (paying.facilitator.asked, await paying.rows()) == ([], [])


async def test_a_stream_is_not_offered_upto(paying: PayingNetwork) -> None:
    await paying.network.provider(part=says("hi"))
    told = await paying.terms(chat_body(model=MODEL, stream=True))
    assert [terms.scheme for terms in decode_payment_required_header(told.headers["payment-required"]).accepts] == [
        "exact"
    ]


async def test_sealed_requests_pay_alike(paying: PayingNetwork) -> None:
    provider = await paying.network.provider(part=says("hi"))
    sealed = paying.network.seal(provider)
    how: dict[str, Any] = {"content_type": MEDIA_REQUEST}
    headers = await paying.pay(await paying.terms(sealed.raw, **how))
    exchange = await paying.send(sealed.raw, headers={"accept": MEDIA_STREAM, **headers}, **how).finished()
    assert exchange.status == 200
    assert b"hi" in b"".join(frame.data for frame in open_answer(sealed, exchange.body))
    assert "payment-response" in exchange.headers
    record = await paying.network.usage_of(exchange)
    assert (record.cost, record.usage.mode) == (COST, Mode.SEALED)


async def test_a_settlement_that_takes_too_long_is_503_and_the_retry_joins_it(paying: PayingNetwork) -> None:
    await paying.network.provider(part=says("hi"))
    headers = await paying.pay(await paying.terms(BODY))
    paying.facilitator.faults, paying.facilitator.chain.is_down = ["reset_after"], True
    first = await paying.send(BODY, headers=headers).finished()
    assert (first.status, first.json["error"]["code"]) == (503, "payment_pending")
    assert int(first.headers["retry-after"]) >= 1
    assert "payment-required" not in first.headers
    paying.facilitator.chain.is_down = False
    again = await paying.send(BODY, headers=headers).finished()
    assert (again.status, paying.facilitator.settlements) == (200, 1)


async def test_one_payment_serves_one_of_many(paying: PayingNetwork) -> None:
    provider = await paying.network.provider(part=says("hi"), slots=8)
    headers = await paying.pay(await paying.terms(BODY))
    exchanges = [paying.send(BODY, headers=headers) for _ in range(6)]
    await asyncio.gather(*(exchange.finished() for exchange in exchanges))
    await paying.network.settled()
    statuses = sorted(exchange.status for exchange in exchanges)
    assert statuses[0] == 200
    assert set(statuses[1:]) <= {409, 503}
    assert (await paying.send(BODY, headers=headers).finished()).json["error"]["code"] == "payment_used"
    assert (len(provider.served), paying.facilitator.settlements) == (1, 1)


async def test_another_body_with_the_same_payment_is_409(paying: PayingNetwork) -> None:
    await paying.network.provider(part=says("hi"))
    headers = await paying.pay(await paying.terms(BODY))
    await paying.send(BODY, headers=headers).finished()
    other = await paying.send(
        chat_body(model=MODEL, messages=[{"role": "user", "content": "xello"}]), headers=headers
    ).finished()
    assert (other.status, other.json["error"]["code"]) == (409, "payment_conflict")


async def test_a_request_that_nobody_could_serve_leaves_its_payment_for_the_next_try(paying: PayingNetwork) -> None:
    provider = await paying.network.provider()
    headers = await paying.pay(await paying.terms(BODY))
    exchange = paying.send(BODY, headers=headers)
    await provider.attempt()
    provider.close("connection_lost")
    await exchange.finished()
    assert exchange.status >= 500
    assert "payment-response" in exchange.headers, "it was charged for, and its wallet has it back"
    await paying.network.settled()
    assert await paying.credit() == paying.earned > 0

    await paying.network.provider(part=says("hi"))
    again = await paying.send(BODY, headers=headers).finished()
    assert (again.status, paying.facilitator.settlements) == (200, 1)


async def test_a_request_refused_after_it_was_paid_gives_its_hold_back(paying: PayingNetwork) -> None:
    """The same envelope again, with a payment of its own: it is paid before the envelope is known to be old."""
    sealed = paying.network.seal(await paying.network.provider(part=says("hi")))
    how: dict[str, Any] = {"content_type": MEDIA_REQUEST}
    statuses = []
    for _ in range(2):
        headers = await paying.pay(await paying.terms(sealed.raw, **how))
        statuses.append((await paying.send(sealed.raw, headers=headers, **how).finished()).status)
    assert statuses == [200, 409]
    await paying.network.settled()
    owner = AccountId((await paying.rows())[0].owner)
    balance = await paying.network.ledger.balance(owner)
    assert (balance.held, balance.spendable) == (0, paying.earned - COST)


async def test_a_refusal_that_cannot_be_told_gives_the_hold_back_all_the_same(
    paying: PayingNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = paying.network.seal(await paying.network.provider(part=says("hi")))
    how: dict[str, Any] = {"content_type": MEDIA_REQUEST}
    headers = await paying.pay(await paying.terms(sealed.raw, **how))
    assert (await paying.send(sealed.raw, headers=headers, **how).finished()).status == 200
    headers = await paying.pay(await paying.terms(sealed.raw, **how))
    exchange = paying.send(sealed.raw, headers=headers, **how)
    monkeypatch.setattr(exchange, "_reading", _Gone())
    await asyncio.wait({exchange.task})
    await paying.network.settled()
    balance = await paying.network.ledger.balance(AccountId((await paying.rows())[0].owner))
    assert (balance.held, balance.spendable) == (0, paying.earned - COST)


class _Gone:
    """The client's connection, when it is there no more."""

    async def wait(self) -> None:
        raise ConnectionResetError


async def test_a_request_that_is_cancelled_while_it_pays_gives_its_hold_back(
    paying: PayingNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    await paying.network.provider(part=says("hi"))
    headers = await paying.pay(await paying.terms(BODY))
    purchases = paying.parts.door._purchases
    buy, exchange = purchases.buy, None

    async def cut(*payment: Any, **how: Any) -> Any:
        bought = await buy(*payment, **how)
        assert exchange is not None
        exchange.task.cancel()
        await asyncio.sleep(0)
        return bought

    monkeypatch.setattr(purchases, "buy", cut)
    exchange = paying.send(BODY, headers=headers)
    assert (await exchange.finished()).status == 503
    (row,) = await paying.rows()
    balance = await paying.network.ledger.balance(AccountId(row.owner))
    assert (row.request != 0, balance.held, balance.spendable) == (True, 0, paying.earned)


class TakenElsewhere:
    """Other processes, one of which has had every envelope before."""

    async def claim(self, account: AccountId, envelope_id: bytes, *, until: int) -> bool:
        return False


async def test_a_paid_request_that_is_stopped_before_it_begins_gives_its_hold_back(paying: PayingNetwork) -> None:
    sealed = paying.network.seal(await paying.network.provider(part=says("hi")))
    how: dict[str, Any] = {"content_type": MEDIA_REQUEST}
    headers = await paying.pay(await paying.terms(sealed.raw, **how))
    paying.network.serving.service.claims = TakenElsewhere()
    exchange = await paying.send(sealed.raw, headers=headers, **how).finished()
    await paying.network.settled()
    assert exchange.status == 409
    balance = await paying.network.ledger.balance(AccountId((await paying.rows())[0].owner))
    assert (balance.held, balance.spendable) == (0, paying.earned)


async def test_upto_is_settled_for_what_was_used(paying: PayingNetwork) -> None:
    provider = await paying.network.provider(part=says("hi"))
    headers = await paying.pay(await paying.terms(BODY), scheme="upto")
    exchange = await paying.send(BODY, headers=headers).finished()
    assert (exchange.status, paying.earned) == (200, 0)
    assert "payment-response" not in exchange.headers, "nothing is settled yet"
    await paying.network.settled()
    paying.network.advance(LOOK_MS / 1000 + 1)
    await paying.parts.keeper.step()
    await paying.calls().step()
    assert (paying.earned, await paying.network.earned(provider), await paying.credit()) == (COST, COST, 0)


async def test_what_would_not_be_served_is_not_charged(paying: PayingNetwork) -> None:
    unknown = await paying.send(BODY).finished()
    assert (unknown.status, unknown.json["error"]["code"]) == (404, "model_not_found")
    await paying.network.provider(part=says("hi"))
    own = await paying.send(BODY, headers={"hushnet-route": '{"own": "only"}'}).finished()
    assert (own.status, own.json["error"]["code"]) == (409, "no_own_provider")
    broken = await paying.send(b"{").finished()
    assert broken.status == 400


async def test_who_has_a_key_pays_with_it(paying: PayingNetwork) -> None:
    await paying.network.provider(part=says("hi"))
    headers = await paying.pay(await paying.terms(BODY))
    key = await paying.network.consumer()
    exchange = await paying.network.post(BODY, key=key, headers=headers).finished()
    assert (exchange.status, paying.earned, await paying.rows()) == (200, 0, [])
    wrong = await paying.network.post(BODY, key="nobody").finished()
    assert wrong.status == 401


async def test_what_is_free_needs_a_key(database_path: Path) -> None:
    async with open_paying(database_path, price=Price(0, 0, 0, 0)) as paying:
        await paying.network.provider(part=says("hi"))
        exchange = await paying.send(BODY).finished()
        assert (exchange.status, exchange.json["error"]["code"]) == (401, "invalid_api_key")


async def test_without_the_setting_a_key_is_asked_for(network: Network) -> None:
    await network.provider(part=says("hi"))
    exchange = await network._exchange(
        "POST", "/v1/chat/completions", BODY, {"content-type": "application/json"}
    ).finished()
    assert (exchange.status, "payment-required" in exchange.headers) == (401, False)


@pytest.mark.parametrize(
    "value",
    [b"%%%", base64.b64encode(b"{"), base64.b64encode(b"[]"), base64.b64encode(b'{"x402Version": 1.5}'), b"A" * 9000],
    ids=["no base64", "no JSON", "a list", "a fraction", "too long"],
)
async def test_a_header_that_is_no_payment_is_400(paying: PayingNetwork, value: bytes) -> None:
    await paying.network.provider(part=says("hi"))
    exchange = await paying.send(BODY, headers={"payment-signature": value.decode()}).finished()
    assert (exchange.status, exchange.json["error"]["code"]) == (400, "bad_payment")
    assert (paying.facilitator.asked, await paying.rows()) == ([], [])


async def test_two_payments_for_one_request_are_refused(paying: PayingNetwork) -> None:
    await paying.network.provider(part=says("hi"))
    told = await paying.terms(BODY)
    both = {**await paying.pay(told), **await paying.pay(told, version=1)}
    assert (await paying.send(BODY, headers=both).finished()).json["error"]["code"] == "bad_payment"


async def test_a_flood_without_keys_is_slowed_down(database_path: Path) -> None:
    async with open_paying(database_path, requests_per_s=1.0, burst=3) as paying:
        await paying.network.provider(part=says("hi"))
        statuses = [(await paying.send(BODY).finished()).status for _ in range(5)]
        assert statuses == [402, 402, 402, 429, 429]


async def test_one_sender_without_a_key_shuts_out_no_other(database_path: Path) -> None:
    """Nor does it by addresses of one IPv6 network, or by saying to be sent on from elsewhere."""
    async with open_paying(database_path, address_requests_per_s=1.0, address_burst=2) as paying:
        await paying.network.provider(part=says("hi"))

        async def status(address: str) -> int:
            headers = {"x-forwarded-for": f"9.9.9.{len(seen)}", "forwarded": f"for=9.9.9.{len(seen)}"}
            seen.append((await paying.send(BODY, headers=headers, client=address).finished()).status)
            return seen[-1]

        seen: list[int] = []
        assert [await status("1.1.1.1") for _ in range(4)] == [402, 402, 429, 429]
        assert await status("1.1.1.2") == 402
        assert [await status(f"2606:4700::{n}") for n in range(1, 4)] == [402, 402, 429]
        assert await status("2606:4700:0:1::1") == 402
        assert await status("::ffff:1.1.1.1") == 429
        assert {await status(proxy) for proxy in ("127.0.0.1", "10.0.0.1", "") for _ in range(5)} == {402}


async def test_who_is_shut_out_takes_nothing_from_the_others(database_path: Path) -> None:
    bounds = {"requests_per_s": 1.0, "burst": 3, "address_requests_per_s": 1.0, "address_burst": 1}
    async with open_paying(database_path, **bounds) as paying:
        await paying.network.provider(part=says("hi"))
        senders = ["1.1.1.1"] * 5 + ["1.1.1.2", "1.1.1.3", "1.1.1.4"]
        statuses = [(await paying.send(BODY, client=sender).finished()).status for sender in senders]
        assert statuses == [402, 429, 429, 429, 429, 402, 402, 429]


async def test_a_body_without_a_key_has_a_bound_of_its_own(database_path: Path) -> None:
    async with open_paying(database_path, body_bytes_max=1024) as paying:
        await paying.network.provider(part=says("hi"))
        large = chat_body(model=MODEL, messages=[{"role": "user", "content": "x" * 2000}])
        assert (await paying.send(large).finished()).status == 413


async def test_the_terms_of_a_model_are_public(paying: PayingNetwork) -> None:
    exchange = await paying.network.get(f"/v1/x402/terms?model={MODEL}&prompt_tokens=10&output_tokens=5")
    assert (exchange.status, exchange.json["price"]["output"]) == (200, 4_000_000)
    assert [terms["amount"] for terms in exchange.json["accepts"]] == ["30", "30"]
    for query in ("", "?model=m&prompt_tokens=-1", "?model=m&output_tokens=1.5", "?model=m&prompt_tokens=99999999"):
        assert (await paying.network.get(f"/v1/x402/terms{query}")).status == 400


async def test_the_terms_count_the_dearest_tier_as_the_hold_does(paying: PayingNetwork) -> None:
    service = paying.network.serving.service
    service.limits = replace(service.limits, terms=TermsTable(tier_bps=(10_000, 10_000, 10_000, 12_500)))
    exchange = await paying.network.get(f"/v1/x402/terms?model={MODEL}&prompt_tokens=10&output_tokens=5")
    assert [terms["amount"] for terms in exchange.json["accepts"]] == ["38", "38"]


async def test_two_wallets_share_no_prefix(paying: PayingNetwork) -> None:
    """What providers are told to keep together differs from payer to payer, as between accounts."""
    await paying.network.provider(part=says("hi"))
    told, accounts = await paying.terms(BODY), set()
    for secret in (b"\x01", b"\x05"):
        paying.account = Account.from_key(secret * 32)
        headers = [(name.encode(), value.encode()) for name, value in (await paying.pay(told)).items()]
        accounts.add(paying.parts.door.visitor({"headers": headers}).account)
    assert len(accounts) == 2
    assert all(account < 0 for account in accounts), "nobody's account"


async def test_a_facilitator_that_does_not_settle_what_is_offered_is_told_on(paying: PayingNetwork) -> None:
    assert await paying.parts.facilitator.lacks() == []
    paying.facilitator.kinds = []
    assert await paying.parts.facilitator.lacks() == ["exact", "exact, version 1", "upto"]
