"""Both gateways against their fakes, over real HTTP: quotes, faults, sightings, payouts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from hushnet.coordinator.payments.coins.accounting import quoted
from hushnet.coordinator.payments.coins.addresses import AddressError, Destination
from hushnet.coordinator.payments.coins.assets import pair_named
from hushnet.coordinator.payments.coins.gateways import http
from hushnet.coordinator.payments.coins.gateways.base import Order, Sending
from hushnet.coordinator.payments.coins.gateways.btcpay import BtcPay
from hushnet.coordinator.payments.coins.gateways.coinpay import CoinPay, CoinPayDialect
from hushnet.coordinator.payments.coins.gateways.http import (
    GatewayBusyError,
    GatewayHttp,
    GatewayRefusedError,
    GatewayUnclearError,
    read_json,
)
from hushnet.coordinator.payments.coins.gateways.listing import ListReader
from hushnet.coordinator.payments.coins.model import CoinInvoice, Sighting
from hushnet.coordinator.payments.coins.rates import RateError
from hushnet.coordinator.payments.coins.units import parse_units
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.errors import ConfigurationError
from hushnet.foundation.redaction import Secret
from support.coin_gateways.btcpay import FakeBtcPay
from support.coin_gateways.coinpay import KEY, FakeCoinPay
from support.coin_gateways.server import Fault

BTC, XRP = pair_named("BTC.bitcoin"), pair_named("XRP.ripple")


def wish(clock: ManualClock, pair: str = "BTC.bitcoin", usd: int = 20_000_000) -> CoinInvoice:
    asset, _, network = pair.partition(".")
    now_ms = clock.now_ms()
    return CoinInvoice(
        id=42,
        owner=70_000,
        usd=usd,
        asset=asset,
        network=network,
        gateway="coinpay",
        expires_ms=now_ms,
        created_ms=now_ms,
    )


async def invoice_at(gateway: CoinPay | BtcPay, clock: ManualClock, pair: str = "BTC.bitcoin") -> CoinInvoice:
    asked = wish(clock, pair)
    return quoted(asked, await gateway.ask(asked, is_repeated=False))


@pytest.mark.parametrize("pair", ["BTC.bitcoin", "ETH.ethereum", "XRP.ripple", "USDC.base", "DOGE.dogecoin"])
@pytest.mark.parametrize("name", ["coinpay", "btcpay"])
async def test_a_quote_has_address_amount_and_end(
    name: str, pair: str, coinpay: CoinPay, btcpay: BtcPay, clock: ManualClock
) -> None:
    gateway = coinpay if name == "coinpay" else btcpay
    made = await invoice_at(gateway, clock, pair)
    assert made.address
    assert (made.tag is not None) == (pair == "XRP.ripple")
    assert made.expires_ms > clock.now_ms()
    assert made.url.startswith("http")
    worth = made.units_due * await gateway.rate(made.pair) // 10**made.pair.scale
    assert 20_000_000 <= worth < 20_100_000


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("drop_before", GatewayUnclearError),
        ("drop_after", GatewayUnclearError),
        ("garbage", GatewayUnclearError),
        (500, GatewayUnclearError),
        (302, GatewayUnclearError),
        (429, GatewayBusyError),
        (400, GatewayRefusedError),
        (403, GatewayRefusedError),
    ],
)
async def test_a_failure_is_told_by_what_it_leaves_in_doubt(
    kind: str | int, error: type[Exception], coinpay: CoinPay, coinpay_server: FakeCoinPay, clock: ManualClock
) -> None:
    coinpay_server.faults.append(Fault("create", kind))
    with pytest.raises(error) as failed:
        await coinpay.ask(wish(clock), is_repeated=False)
    assert KEY not in str(failed.value)


async def test_a_gateway_that_is_not_there_surely_did_nothing(clock: ManualClock) -> None:
    http = GatewayHttp("http://127.0.0.1:9", headers={})
    with pytest.raises(GatewayBusyError):
        await http.call("GET", "/")
    await http.aclose()


def test_a_gateway_is_spoken_to_over_tls() -> None:
    with pytest.raises(ConfigurationError):
        GatewayHttp("http://gateway.example", headers={})


async def test_success_false_with_200_is_a_refusal(
    coinpay: CoinPay, coinpay_server: FakeCoinPay, clock: ManualClock
) -> None:
    coinpay_server.is_successful = False
    with pytest.raises(GatewayRefusedError):
        await coinpay.ask(wish(clock), is_repeated=False)


async def test_the_shape_of_a_request_is_configurable(coinpay_server: FakeCoinPay, clock: ManualClock) -> None:
    dialect = CoinPayDialect(
        create_path="/payments/create",
        key_header="x-api-key",
        amount_field="amount",
        coin_field="blockchain",
        extra_fields={"currency": "USD", "business_id": "biz_1"},
    )
    gateway = CoinPay(
        coinpay_server.url + "/api", Secret("k1"), webhook_secrets=(), codes={"BTC.bitcoin": "BTC"}, dialect=dialect
    )
    with pytest.raises(GatewayRefusedError):
        await gateway.ask(wish(clock, usd=20_500_000), is_repeated=False)
    asked = coinpay_server.asked[-1]
    assert asked.headers["x-api-key"] == "k1"
    assert "authorization" not in asked.headers
    assert '"amount":20.50' in asked.text
    assert asked.json["blockchain"] == "BTC"
    assert asked.json["business_id"] == "biz_1"
    assert "70000" not in asked.text, "whose invoice it is, is nobody's business"
    await gateway.aclose()


async def test_an_address_of_another_network_is_not_shown_to_anybody(
    coinpay: CoinPay, coinpay_server: FakeCoinPay, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "support.coin_gateways.coinpay.address_of",
        lambda pair, number: Destination("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"),
    )
    with pytest.raises(AddressError):
        await coinpay.ask(wish(clock), is_repeated=False)


def test_numbers_are_kept_as_they_were_sent() -> None:
    assert read_json(b'{"a": 0.10000000000000000001, "b": 1e-7, "c": 12345678901234567890123}') == {
        "a": "0.10000000000000000001",
        "b": "1e-7",
        "c": "12345678901234567890123",
    }
    for text in (b'{"a": NaN}', b'{"a": Infinity}', b"{", b"[" * 100_000):
        with pytest.raises(ValueError):  # noqa: PT011 - any reason will do
            read_json(text)


async def test_a_confirmed_payment_says_how_much_came_in(
    coinpay: CoinPay, coinpay_server: FakeCoinPay, clock: ManualClock
) -> None:
    invoice = await invoice_at(coinpay, clock)
    assert invoice.gateway_id is not None
    now_ms = clock.now_ms() // 1000 * 1000
    coinpay_server.pay(invoice.gateway_id, "0.000100009")
    for word in ("confirmed", "forwarding", "forwarded"):
        body = coinpay_server.event(invoice.gateway_id, word, at_ms=now_ms)
        assert await coinpay.sighting(invoice, body, now_ms=now_ms, is_fresh=False) == Sighting(
            at_ms=now_ms, is_seen=True, confirmed=10_000, raw="0.000100009"
        )
    body = coinpay_server.event(invoice.gateway_id, "confirmed", at_ms=now_ms, received_amount=None)
    seen = await coinpay.sighting(invoice, body, now_ms=now_ms, is_fresh=False)
    assert seen is not None
    assert seen.confirmed == 10_000, "what an event leaves out is fetched"
    flat = coinpay_server.flat_event(invoice.gateway_id, "confirmed", received_amount=1e-7)
    seen = await coinpay.sighting(invoice, flat, now_ms=now_ms, is_fresh=False)
    assert seen is not None
    assert seen.confirmed == 10


async def test_an_amount_that_nobody_tells_is_not_made_up(
    coinpay: CoinPay, coinpay_server: FakeCoinPay, clock: ManualClock
) -> None:
    invoice = await invoice_at(coinpay, clock)
    assert invoice.gateway_id is not None
    coinpay_server.is_silent = True
    coinpay_server.pay(invoice.gateway_id, "1")
    body = coinpay_server.event(invoice.gateway_id, "confirmed")
    assert await coinpay.sighting(invoice, body, now_ms=0, is_fresh=True) is None
    believing = CoinPay(
        coinpay_server.url + "/api",
        Secret(KEY),
        webhook_secrets=(),
        codes={},
        dialect=CoinPayDialect(is_asked_amount_believed=True),
    )
    seen = await believing.sighting(invoice, body, now_ms=0, is_fresh=False)
    assert seen is not None
    assert seen.confirmed == invoice.units_due
    await believing.aclose()


async def test_a_rate_that_is_missing_or_mad_is_an_error(coinpay: CoinPay, coinpay_server: FakeCoinPay) -> None:
    assert await coinpay.rate(BTC) == 61_234_560_000
    coinpay_server.rates["BTC"] = "1"
    with pytest.raises(RateError):
        await coinpay.rate(BTC)
    coinpay_server.rates.clear()
    with pytest.raises(RateError):
        await coinpay.rate(BTC)


async def test_an_invoice_whose_answer_was_lost_is_found_again(
    btcpay: BtcPay, btcpay_server: FakeBtcPay, clock: ManualClock
) -> None:
    btcpay_server.faults.append(Fault("invoices", "drop_after", "POST"))
    with pytest.raises(GatewayUnclearError):
        await btcpay.ask(wish(clock), is_repeated=False)
    found = await btcpay.ask(wish(clock), is_repeated=True)
    assert (found.gateway_id, len(btcpay_server.invoices)) == ("Inv1", 1)


async def test_units_come_from_the_single_payments(
    btcpay: BtcPay, btcpay_server: FakeBtcPay, clock: ManualClock
) -> None:
    invoice = await invoice_at(btcpay, clock)
    assert invoice.gateway_id is not None
    day_ms = 24 * 3_600_000
    btcpay_server.pay(invoice.gateway_id, "0.0001", at_ms=invoice.expires_ms)
    btcpay_server.pay(invoice.gateway_id, "0.0002", status="Processing")
    btcpay_server.pay(invoice.gateway_id, "0.0004", status="Invalid")
    btcpay_server.pay(invoice.gateway_id, "0.0008", at_ms=invoice.expires_ms + day_ms)
    btcpay_server.pay(invoice.gateway_id, "0.0016", at_ms=invoice.expires_ms + day_ms + 1000)
    body = btcpay_server.event("InvoiceSettled", invoiceId=invoice.gateway_id, overPaid=True, manuallyMarked=True)
    seen = await btcpay.sighting(invoice, body, now_ms=7, is_fresh=False)
    assert seen == Sighting(
        at_ms=7,
        is_seen=True,
        seen=270_000,
        confirmed=250_000,
        prompt=30_000,
        late=110_000,
        raw="0.0001,0.0002,0.0004,0.0008,0.0016",
    )
    btcpay_server.invoices[invoice.gateway_id].status = "Invalid"
    seen = await btcpay.sighting(invoice, body, now_ms=8, is_fresh=False)
    assert seen is not None
    assert (seen.confirmed, seen.is_invalid) == (0, True)
    created = btcpay_server.event("InvoiceCreated", invoiceId=invoice.gateway_id)
    assert await btcpay.sighting(invoice, created, now_ms=9, is_fresh=False) is None


ORDER = Order(
    reference="payout:2",
    pair=BTC,
    to=Destination("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
    units=parse_units("0.0005", BTC),
)


async def yes() -> bool:
    return True


async def test_a_payout_is_approved_once_whatever_answer_is_lost(btcpay: BtcPay, btcpay_server: FakeBtcPay) -> None:
    for path, method in (("payouts", "POST"), ("payouts/Pay1", "POST")):
        btcpay_server.faults.append(Fault(path, "drop_after", method))
    for _ in range(2):
        with pytest.raises(GatewayUnclearError):
            await btcpay.send(ORDER, is_wanted=yes)
    sent = await btcpay.send(ORDER, is_wanted=yes)
    assert (sent.gateway_id, sent.state) == ("Pay1", Sending.ACCEPTED)
    assert [payout["state"] for payout in btcpay_server.payouts.values()] == ["AwaitingPayment"]


async def test_of_two_payouts_that_lost_answers_left_one_is_approved(btcpay: BtcPay, btcpay_server: FakeBtcPay) -> None:
    await btcpay.send(ORDER, is_wanted=yes)
    twin = btcpay_server.payouts["Pay1"] | {"id": "Pay2", "state": "AwaitingApproval"}
    btcpay_server.payouts["Pay2"] = twin
    assert (await btcpay.send(ORDER, is_wanted=yes)).gateway_id == "Pay1"
    assert twin["state"] == "AwaitingApproval"


@pytest.mark.parametrize(
    "spoil",
    [{"originalAmount": "0.5"}, {"originalCurrency": "USD"}, {"destination": "1x"}, {"payoutMethodId": "BTC-LN"}],
)
async def test_a_payout_that_says_something_else_is_cancelled(
    spoil: dict[str, str], btcpay: BtcPay, btcpay_server: FakeBtcPay
) -> None:
    btcpay_server.spoil = spoil
    assert (await btcpay.send(ORDER, is_wanted=yes)).state is Sending.FAILED
    assert [payout["state"] for payout in btcpay_server.payouts.values()] == ["Cancelled"]


async def test_a_payout_that_cannot_be_cancelled_is_not_refused(btcpay: BtcPay, btcpay_server: FakeBtcPay) -> None:
    btcpay_server.faults += [Fault("payouts/Pay1", 400, "POST"), Fault("payouts/Pay1", 404, "DELETE")]
    with pytest.raises(GatewayUnclearError):
        await btcpay.send(ORDER, is_wanted=yes)
    assert (await btcpay.send(ORDER, is_wanted=yes)).state is Sending.ACCEPTED


async def test_a_payout_that_somebody_approved_is_sent(btcpay: BtcPay, btcpay_server: FakeBtcPay) -> None:
    btcpay_server.faults.append(Fault("payouts/Pay1", "drop_before", "POST"))
    with pytest.raises(GatewayUnclearError):
        await btcpay.send(ORDER, is_wanted=yes)
    btcpay_server.payouts["Pay1"]["state"] = "AwaitingPayment"
    assert (await btcpay.send(ORDER, is_wanted=yes)).state is Sending.ACCEPTED
    assert len(btcpay_server.payouts) == 1


async def test_who_was_overtaken_before_it_made_a_payout_approves_none(
    btcpay: BtcPay, btcpay_server: FakeBtcPay
) -> None:
    """Stopped between its listing and its payout for longer than its lease, while another process sent the order."""

    async def overtaken() -> bool:
        btcpay_server.payouts["Pay2"] = btcpay_server.payouts["Pay1"] | {"id": "Pay2", "state": "AwaitingPayment"}
        return False

    with pytest.raises(GatewayUnclearError):
        await btcpay.send(ORDER, is_wanted=overtaken)
    assert {one["id"]: one["state"] for one in btcpay_server.payouts.values()} == {
        "Pay1": "Cancelled",
        "Pay2": "AwaitingPayment",
    }
    told = await btcpay.payout("Pay1")
    assert (told[0], told[1] and told[1].state) == ("payout:2", Sending.ACCEPTED)
    assert (await btcpay.send(ORDER, is_wanted=yes)).gateway_id == "Pay2"


async def test_who_was_overtaken_leaves_the_payout_that_it_found_to_who_goes_on(
    btcpay: BtcPay, btcpay_server: FakeBtcPay
) -> None:
    async def no() -> bool:
        return False

    btcpay_server.faults.append(Fault("payouts", "drop_after", "POST"))
    with pytest.raises(GatewayUnclearError):
        await btcpay.send(ORDER, is_wanted=yes)
    with pytest.raises(GatewayUnclearError):
        await btcpay.send(ORDER, is_wanted=no)
    assert (await btcpay.send(ORDER, is_wanted=yes)).state is Sending.ACCEPTED
    assert len(btcpay_server.payouts) == 1


async def test_a_payout_that_waits_beside_a_cancelled_one_is_not_given_up(
    btcpay: BtcPay, btcpay_server: FakeBtcPay
) -> None:
    btcpay_server.faults.append(Fault("payouts", "drop_after", "POST"))
    with pytest.raises(GatewayUnclearError):
        await btcpay.send(ORDER, is_wanted=yes)
    for n, state in ((0, "Cancelled"), (2, "AwaitingApproval")):
        btcpay_server.payouts[f"Pay{n}"] = btcpay_server.payouts["Pay1"] | {"id": f"Pay{n}", "state": state}
    assert await btcpay.find(ORDER) is None
    assert (await btcpay.send(ORDER, is_wanted=yes)).gateway_id == "Pay1"
    states = {one["id"]: one["state"] for one in btcpay_server.payouts.values()}
    assert states == {"Pay0": "Cancelled", "Pay1": "AwaitingPayment", "Pay2": "Cancelled"}


async def test_of_two_payouts_that_wait_none_is_approved_beside_one_that_somebody_approves(
    btcpay: BtcPay, btcpay_server: FakeBtcPay
) -> None:
    """A click at the server, between our list and the moment when the second one is withdrawn."""
    btcpay_server.faults.append(Fault("payouts", "drop_after", "POST"))
    with pytest.raises(GatewayUnclearError):
        await btcpay.send(ORDER, is_wanted=yes)
    btcpay_server.payouts["Pay2"] = btcpay_server.payouts["Pay1"] | {"id": "Pay2"}
    picked = btcpay._http.picked

    async def clicked(path: str, is_wanted: Callable[[Mapping[str, Any]], bool]) -> list[Any]:
        found = await picked(path, is_wanted)
        btcpay_server.payouts["Pay2"]["state"] = "AwaitingPayment"
        return found

    btcpay._http.picked = clicked  # type: ignore[method-assign]
    sent = await btcpay.send(ORDER, is_wanted=yes)
    assert (sent.gateway_id, sent.state) == ("Pay2", Sending.ACCEPTED)
    assert [one["state"] for one in btcpay_server.payouts.values()] == ["Cancelled", "AwaitingPayment"]


async def test_a_payout_is_found_among_tens_of_thousands(btcpay: BtcPay, btcpay_server: FakeBtcPay) -> None:
    """The server lists every payout there ever was, in one answer."""
    await btcpay.send(ORDER, is_wanted=yes)
    row = btcpay_server.payouts["Pay1"] | {"state": "Completed", "metadata": {"note": "x" * 500}}
    btcpay_server.payouts |= {f"Old{n}": row | {"id": f"Old{n}"} for n in range(10_000)}
    found = await btcpay.find(ORDER)
    assert found is not None
    assert found.gateway_id == "Pay1"


async def test_a_list_beyond_every_bound_says_nothing(
    btcpay: BtcPay, btcpay_server: FakeBtcPay, monkeypatch: pytest.MonkeyPatch
) -> None:
    await btcpay.send(ORDER, is_wanted=yes)
    monkeypatch.setattr(http, "ListReader", partial(ListReader, bytes_max=100))
    with pytest.raises(GatewayUnclearError) as caught:
        await btcpay.find(ORDER)
    assert caught.value.reason == "answer_too_large"


async def test_a_payout_is_found_by_its_reference(btcpay: BtcPay, btcpay_server: FakeBtcPay) -> None:
    assert await btcpay.find(ORDER) is None
    await btcpay.send(ORDER, is_wanted=yes)
    found = await btcpay.find(ORDER)
    assert found is not None
    assert found.state is Sending.ACCEPTED
    btcpay_server.payouts["Pay1"] |= {"state": "Completed", "paymentProof": {"proofType": "x", "id": "tx9"}}
    found = await btcpay.find(ORDER)
    assert found is not None
    assert (found.state, found.txid) == (Sending.CONFIRMED, "tx9")
    assert await btcpay.payout("Pay1") == ("payout:2", found)
    btcpay_server.payouts["Pay1"]["state"] = "Cancelled"
    found = await btcpay.find(ORDER)
    assert found is not None
    assert found.state is Sending.FAILED
    assert await btcpay.find(replace(ORDER, reference="payout:3")) is None
