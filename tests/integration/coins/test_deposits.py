"""Coins in: invoices asked for over real HTTP, webhooks in any order, and books that balance, on both databases."""

from __future__ import annotations

import asyncio
import random

import pytest

from hushnet.coordinator.payments.coins import intake
from hushnet.coordinator.payments.coins.accounting import LATE_MS
from hushnet.coordinator.payments.coins.assets import AssetError, pair_named
from hushnet.coordinator.payments.coins.gateways.coinpay import CoinPayDialect
from hushnet.coordinator.payments.coins.intake import CoinStray, ForgedWebhookError, apply_sighting
from hushnet.coordinator.payments.coins.invoices import InvoiceError
from hushnet.coordinator.payments.coins.model import CoinInvoice, InvoiceState
from hushnet.coordinator.payments.coins.units import format_units
from hushnet.coordinator.payments.inbox import Waiting
from hushnet.coordinator.payments.model import Call, EventState
from hushnet.foundation.errors import CapacityError
from hushnet.foundation.ids import AccountId
from hushnet.foundation.money import AmountError
from support.coin_gateways.server import Fault
from support.coin_world import CoinWorld, coin_world
from support.ledger import CONSUMER, database_url
from support.money import OpenMoney, open_money

USD = 20_000_000
ETH = "ETH.ethereum"
OTHER = AccountId(71_000)


def due_text(invoice: CoinInvoice, *, parts: tuple[int, int] = (1, 1)) -> str:
    return format_units(invoice.units_due * parts[0] // parts[1], invoice.pair.scale)


async def coinpay_event(world: CoinWorld, invoice: CoinInvoice, word: str, **data: object) -> bool:
    assert invoice.gateway_id is not None
    body = world.coinpay_server.event(invoice.gateway_id, word, **data)
    return await world.deliver(world.coinpay, world.coinpay_server.signed(body))


async def btcpay_event(world: CoinWorld, invoice: CoinInvoice, kind: str, **members: object) -> bool:
    body = world.btcpay_server.event(kind, invoiceId=invoice.gateway_id, metadata={}, **members)
    return await world.deliver(world.btcpay, world.btcpay_server.signed(body))


async def test_an_invoice_needs_its_owner_and_is_idempotent(world: CoinWorld) -> None:
    first = await world.ask()
    assert (first.state, first.owner, first.usd) == (InvoiceState.PENDING, CONSUMER, USD)
    again = await asyncio.gather(*(world.invoices.ask(CONSUMER, pair_named("BTC.bitcoin"), USD) for _ in range(3)))
    assert {invoice.id for invoice in again} == {first.id}
    assert world.btcpay_server.calls("POST", "/invoices") == 1
    other = await world.ask(owner=OTHER)
    assert other.id != first.id
    assert [invoice.id for invoice in await world.invoices.of(CONSUMER)] == [first.id]
    with pytest.raises(InvoiceError):
        await world.invoices.one(OTHER, first.id)
    assert await world.invoices.one(CONSUMER, first.id) == first


async def test_asking_at_once_makes_one_invoice(world: CoinWorld) -> None:
    asked = await asyncio.gather(*(world.invoices.ask(CONSUMER, pair_named(ETH), USD) for _ in range(4)))
    assert len({invoice.id for invoice in asked}) == 1
    assert len(await world.money.all_of(Call)) == 1


async def test_an_invoice_that_is_being_paid_is_shown_again(world: CoinWorld) -> None:
    invoice = await world.ask(ETH)
    assert invoice.gateway_id is not None
    world.coinpay_server.pay(invoice.gateway_id, due_text(invoice, parts=(1, 4)))
    await coinpay_event(world, invoice, "confirmed")
    again = await world.ask(ETH)
    assert (again.id, again.state, again.credited) == (invoice.id, InvoiceState.DETECTED, USD // 4)


async def test_an_invoice_that_has_ended_is_not_shown_again(world: CoinWorld) -> None:
    first = await world.ask()
    await world.money.books.advance(16 * 60)
    second = await world.ask()
    assert second.id != first.id
    assert (await world.invoice(first.id)).state is InvoiceState.EXPIRED


async def test_an_invoice_that_was_never_quoted_does_not_stand_in_the_way(world: CoinWorld) -> None:
    """Its gateway was out of reach, or was taken out of the settings, for longer than a quote is waited for."""
    first = await world.invoices.ask(CONSUMER, pair_named("BTC.bitcoin"), USD)
    await world.money.books.advance(16 * 60)
    second = await world.ask()
    assert (second.id != first.id, second.state) == (True, InvoiceState.PENDING)
    assert (await world.invoice(first.id)).state is InvoiceState.REFUSED
    assert world.btcpay_server.calls("POST", "/invoices") == 1


async def test_what_is_not_offered_is_refused_before_a_row_is_made(world: CoinWorld) -> None:
    for usd in (0, 999_999, 1_000_001, 10_000_000_001, -USD):
        with pytest.raises(AmountError):
            await world.invoices.ask(CONSUMER, pair_named(ETH), usd)
    for n in range(5):
        await world.invoices.ask(CONSUMER, pair_named(ETH), USD + n * 10_000)
    with pytest.raises(InvoiceError) as refused:
        await world.invoices.ask(CONSUMER, pair_named(ETH), USD * 2)
    assert refused.value.error_code == "too_many_invoices"
    world.invoices.gateways = {}
    with pytest.raises(AssetError):
        await world.invoices.ask(OTHER, pair_named(ETH), USD)
    assert len(await world.money.all_of(CoinInvoice)) == 5


async def test_a_lost_answer_leaves_one_invoice(world: CoinWorld) -> None:
    world.btcpay_server.faults += [Fault("invoices", "drop_after", "POST"), Fault("payment-methods", 500)]
    made = await world.ask()
    assert made.state is InvoiceState.CREATING
    for _ in range(3):
        await world.money.books.advance(10)
        await world.settle_calls()
    made = await world.invoice(made.id)
    assert made.state is InvoiceState.PENDING
    assert list(world.btcpay_server.invoices) == [made.gateway_id]


async def test_a_gateway_that_refuses_leaves_a_refused_invoice(world: CoinWorld) -> None:
    world.coinpay_server.is_successful = False
    made = await world.ask(ETH)
    assert made.state is InvoiceState.REFUSED
    assert await world.findings() == ["coin_quote_refused"]
    world.coinpay_server.is_successful = True
    assert (await world.ask(ETH)).state is InvoiceState.PENDING


async def test_a_quote_that_takes_dollars_for_coins_is_refused(world: CoinWorld) -> None:
    world.coinpay_server.rates["ETH"] = "1"
    made = await world.ask(ETH)
    assert (made.state, made.address) == (InvoiceState.REFUSED, "")
    with pytest.raises(CapacityError):
        await _asked_and_refused(world)


async def _asked_and_refused(world: CoinWorld) -> None:
    world.invoices._limits = type(world.invoices._limits)(quote_s_max=60)
    asking = asyncio.create_task(world.invoices.ask(CONSUMER, pair_named(ETH), USD))
    while not asking.done():
        await world.calls.step()
        await asyncio.sleep(0.01)
    await asking


async def test_confirmations_one_by_one_credit_once(world: CoinWorld) -> None:
    invoice = await world.ask(ETH)
    assert invoice.gateway_id is not None
    await coinpay_event(world, invoice, "detected")
    assert (await world.invoice(invoice.id)).state is InvoiceState.DETECTED
    assert await world.balances() == {}
    world.coinpay_server.pay(invoice.gateway_id, due_text(invoice))
    for word in ("confirmed", "confirmed", "forwarding", "forwarded"):
        await coinpay_event(world, invoice, word)
    done = await world.invoice(invoice.id)
    assert (done.state, done.credited) == (InvoiceState.PAID, USD)
    assert await world.balances() == {
        "coin:ETH.ethereum": -invoice.units_due,
        "fx_coin:ETH.ethereum": invoice.units_due,
        "fx": -USD,
        "paid": USD,
    }


async def test_two_deliveries_of_one_event_are_one(world: CoinWorld) -> None:
    invoice = await world.ask(ETH)
    assert invoice.gateway_id is not None
    world.coinpay_server.pay(invoice.gateway_id, due_text(invoice))
    delivery = world.coinpay_server.signed(world.coinpay_server.event(invoice.gateway_id, "confirmed"))
    told = await asyncio.gather(*(world.deliver(world.coinpay, delivery) for _ in range(4)))
    assert sorted(told) == [False, False, False, True]
    assert (await world.balances())["paid"] == USD


async def test_the_older_dialect_credits_once_too(money: OpenMoney) -> None:
    async with coin_world(money, dialect=CoinPayDialect(is_body_signature_taken=True)) as world:
        invoice = await world.ask(ETH)
        assert invoice.gateway_id is not None
        fake = world.coinpay_server
        fake.pay(invoice.gateway_id, due_text(invoice))
        delivery = fake.signed_plainly(fake.flat_event(invoice.gateway_id, "confirmed"), prefix="")
        assert [await world.deliver(world.coinpay, delivery) for _ in range(3)] == [True, False, False]
        assert (await world.balances())["paid"] == USD


async def test_a_forged_delivery_leaves_nothing(world: CoinWorld) -> None:
    invoice = await world.ask(ETH)
    assert invoice.gateway_id is not None
    fake = world.coinpay_server
    body = fake.event(invoice.gateway_id, "confirmed", received_amount="9999")
    old_ms = world.money.clock.now_ms() - 400_000
    for delivery in (fake.signed(body, secret="guess"), fake.signed(body, at_ms=old_ms), fake.signed_plainly(body)):
        with pytest.raises(ForgedWebhookError):
            await world.deliver(world.coinpay, delivery)
    with pytest.raises(ForgedWebhookError):
        await world.deliver(world.btcpay, world.btcpay_server.signed(body, secret="guess"))
    assert await world.events() == []


@pytest.mark.parametrize("word", ["unpaid", "unconfirmed", "confirmed ", "Confirmed", "success", "paid", "refunded"])
async def test_unpaid_and_unconfirmed_do_not_count_as_paid(word: str, world: CoinWorld) -> None:
    invoice = await world.ask(ETH)
    assert invoice.gateway_id is not None
    world.coinpay_server.pay(invoice.gateway_id, due_text(invoice))
    await coinpay_event(world, invoice, word)
    assert await world.invoice(invoice.id) == invoice
    assert await world.events() == [(EventState.IGNORED, "unknown_word")]
    assert await world.findings() == ["unknown_word"]
    assert await world.balances() == {}


async def test_an_unknown_invoice_is_not_ok(world: CoinWorld) -> None:
    invoice = await world.ask(ETH)
    assert invoice.gateway_id is not None
    fake = world.coinpay_server
    fake.payments["pay_9"] = fake.payments.pop(invoice.gateway_id)
    fake.payments["pay_9"].id = "pay_9"
    fake.pay("pay_9", "1.5")
    await world.deliver(world.coinpay, fake.signed(fake.event("pay_9", "confirmed")))
    await world.deliver(world.coinpay, fake.signed(fake.event("pay_9", "forwarded")))
    assert await world.events() == [(EventState.WAITING, "unknown_invoice")] * 2
    await world.settle_inbox()
    assert await world.findings() == ["unknown_invoice"]
    (stray,) = await world.money.all_of(CoinStray)
    assert (stray.payment, stray.units, stray.usd) == ("pay_9", 1_500_000_000, 3_750_000_000)
    assert await world.balances() == {
        "coin:ETH.ethereum": -1_500_000_000,
        "fx_coin:ETH.ethereum": 1_500_000_000,
        "fx": -3_750_000_000,
        "suspense": 3_750_000_000,
    }


async def test_a_second_event_of_coins_without_an_invoice_changes_nothing_at_another_rate(world: CoinWorld) -> None:
    invoice = await world.ask(ETH)
    assert invoice.gateway_id is not None
    fake = world.coinpay_server
    fake.payments["pay_9"] = fake.payments.pop(invoice.gateway_id)
    fake.payments["pay_9"].id = "pay_9"
    fake.pay("pay_9", "1.5")
    for word in ("confirmed", "forwarded"):
        await world.deliver(world.coinpay, fake.signed(fake.event("pay_9", word)))
        await world.settle_inbox()
        world.rates[ETH] *= 2
    assert await world.events() == [(EventState.APPLIED, "")] * 2
    assert (await world.balances())["suspense"] == 3_750_000_000


async def test_what_a_gateway_said_before_its_last_word_waits(world: CoinWorld) -> None:
    invoice = await world.ask()
    assert invoice.gateway_id is not None
    fake = world.btcpay_server
    fake.pay(invoice.gateway_id, due_text(invoice))
    before = await world.btcpay.look(invoice, now_ms=world.money.clock.now_ms())
    await world.money.books.advance(1)
    fake.invoices[invoice.gateway_id].status = "Invalid"
    await btcpay_event(world, invoice, "InvoiceInvalid")
    verdict = await world.money.store.transact(lambda tx: apply_sighting(tx, invoice.id, before, rate=None))
    assert verdict == Waiting("out_of_date")
    assert await world.balances() == {}


async def test_a_payment_that_the_gateway_does_not_know_is_ignored_and_noted(world: CoinWorld) -> None:
    invoice = await world.ask(ETH)
    assert invoice.gateway_id is not None
    body = world.coinpay_server.event(invoice.gateway_id, "confirmed", payment_id="pay_77")
    await world.deliver(world.coinpay, world.coinpay_server.signed(body))
    await world.settle_inbox()
    assert await world.events() == [(EventState.IGNORED, "unknown_invoice")]
    assert await world.findings() == ["unknown_invoice"]


async def test_an_event_that_overtakes_our_own_quote_waits_for_it(world: CoinWorld) -> None:
    world.coinpay_server.faults.append(Fault("create", "drop_after"))
    made = await world.ask(ETH)
    assert made.state is InvoiceState.CREATING
    await world.deliver(world.coinpay, world.coinpay_server.signed(world.coinpay_server.event("pay_1", "detected")))
    assert await world.events() == [(EventState.WAITING, "invoice_without_quote")]


async def test_a_late_expired_event_does_not_unpay(world: CoinWorld) -> None:
    invoice = await world.ask(ETH)
    assert invoice.gateway_id is not None
    world.coinpay_server.pay(invoice.gateway_id, due_text(invoice))
    await coinpay_event(world, invoice, "confirmed")
    await coinpay_event(world, invoice, "expired")
    assert (await world.invoice(invoice.id)).state is InvoiceState.PAID
    assert (await world.balances())["paid"] == USD


async def test_over_under_exact_and_late_coins(world: CoinWorld) -> None:
    invoice = await world.ask("XRP.ripple")
    assert invoice.tag is not None
    assert invoice.gateway_id is not None
    fake, end_ms = world.btcpay_server, invoice.expires_ms
    half = due_text(invoice, parts=(1, 2))
    fake.pay(invoice.gateway_id, half)
    await btcpay_event(world, invoice, "InvoicePaymentSettled")
    fake.invoices[invoice.gateway_id].status = "Expired"
    await btcpay_event(world, invoice, "InvoiceExpired", partiallyPaid=True)
    under = await world.invoice(invoice.id)
    assert (under.state, under.credited) == (InvoiceState.UNDERPAID, USD // 2)

    await world.money.books.advance(3600)
    world.rates["XRP.ripple"] = 1_250_000
    fake.pay(invoice.gateway_id, half, at_ms=end_ms + LATE_MS)
    await btcpay_event(world, invoice, "InvoicePaymentSettled", afterExpiration=True)
    late = await world.invoice(invoice.id)
    assert (late.state, late.credited) == (InvoiceState.UNDERPAID, USD * 3 // 4), "late coins at today's lower rate"

    world.rates["XRP.ripple"] = 9_000_000
    fake.pay(invoice.gateway_id, due_text(invoice), at_ms=end_ms + LATE_MS + 1000)
    await btcpay_event(world, invoice, "InvoicePaymentSettled", afterExpiration=True)
    stale = await world.invoice(invoice.id)
    assert (stale.credited, stale.suspended) == (USD * 3 // 4, USD // 2)
    assert await world.findings() == ["coins_too_late"]
    assert (await world.balances())["suspense"] == USD // 2


async def test_a_reversal_after_the_money_was_spent_leaves_a_debt(world: CoinWorld) -> None:
    invoice = await world.ask()
    assert invoice.gateway_id is not None
    fake = world.btcpay_server
    fake.pay(invoice.gateway_id, due_text(invoice))
    await btcpay_event(world, invoice, "InvoiceSettled", overPaid=False, manuallyMarked=False)
    await world.money.books.held(USD // 2)
    fake.invoices[invoice.gateway_id].status = "Invalid"
    await btcpay_event(world, invoice, "InvoiceInvalid", manuallyMarked=True)
    await btcpay_event(world, invoice, "InvoiceSettled")
    assert (await world.invoice(invoice.id)).state is InvoiceState.REVERSED
    assert await world.findings() == ["coin_reversed"]
    assert await world.balances() == {"paid": USD // 2, "owed": -USD // 2}


async def test_a_lost_webhook_is_made_good_by_looking(world: CoinWorld) -> None:
    paid, forgotten = await world.ask(), await world.ask(ETH)
    assert paid.gateway_id is not None
    world.btcpay_server.pay(paid.gateway_id, due_text(paid))
    assert await world.watch.step() == 0
    await world.money.books.advance(21 * 60)
    assert await world.watch.step() == 2
    assert (await world.invoice(paid.id)).state is InvoiceState.PAID
    assert (await world.invoice(forgotten.id)).state is InvoiceState.EXPIRED
    assert await world.watch.step() == 0


async def test_an_invoice_that_its_gateway_has_lost_is_not_in_the_way_of_others(
    world: CoinWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "_LOOKS", 1)
    lost, paid = await world.ask(), await world.ask(usd=2 * USD)
    assert lost.gateway_id is not None
    assert paid.gateway_id is not None
    world.btcpay_server.pay(paid.gateway_id, due_text(paid))
    del world.btcpay_server.invoices[lost.gateway_id]
    await world.money.books.advance(21 * 60)
    for _ in range(2):
        await world.watch.step()
    assert (await world.invoice(paid.id)).state is InvoiceState.PAID
    assert await world.watch.step() == 0, "it is looked at again when an hour is over"
    await world.money.books.advance(3601)
    assert await world.watch.step() == 1


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_any_order_of_any_multiset_of_events_ends_in_the_same_books(
    seed: int, database: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chance = random.Random(seed)
    chosen = chance.choices(["detected", "third", "due", "more", "late", "expired", "failed"], k=6)
    books = []
    for turn in range(2):
        with database_url(database, tmp_path_factory.mktemp(f"{database}{turn}")) as url:
            async with open_money(url) as money, coin_world(money) as world:
                books.append(await _shuffled(world, chosen, random.Random(seed * 2 + turn)))
    assert books[0] == books[1]


async def _shuffled(world: CoinWorld, chosen: list[str], chance: random.Random) -> tuple[dict[str, int], int]:
    """Deliver the events in an order of chance, some twice, all signed when the last of them is."""
    invoice = await world.ask(ETH)
    assert invoice.gateway_id is not None
    end_ms, fake = invoice.expires_ms, world.coinpay_server
    await world.money.books.advance(25 * 3600)
    amounts = {"third": (1, 3), "due": (1, 1), "more": (5, 4), "late": (7, 4)}
    times = {"detected": -9000, "third": -8000, "due": -1000, "more": 5000, "late": LATE_MS + 5000}
    order = chosen + chance.choices(chosen, k=3)
    chance.shuffle(order)
    for name in order:
        fake.payments[invoice.gateway_id].received = due_text(invoice, parts=amounts[name]) if name in amounts else ""
        word = "confirmed" if name in amounts else name
        body = fake.event(invoice.gateway_id, word, at_ms=end_ms + times.get(name, 1000))
        await world.deliver(world.coinpay, fake.signed(body))
    await world.settle_inbox()
    return await world.balances(), (await world.invoice(invoice.id)).state
