"""One payment buys one request: the official client signs, the official facilitator settles, on both databases."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from hushnet.coordinator.ledger.chart import Kind
from hushnet.coordinator.ledger.model import Held
from hushnet.coordinator.payments.x402.model import WALLET_ID_FIRST, Wallet
from hushnet.coordinator.payments.x402.purchases import Denied, Due, Pending
from hushnet.coordinator.payments.x402.transitions import State
from support.ledger import database_url
from support.x402_peer import Account
from support.x402_shop import AMOUNT, DIGEST, LIMITS, Shop, open_facilitator, open_shop, payment_by, real_clock

OTHER = bytes([1]) * 32


async def test_a_payment_is_settled_credited_and_held_before_it_is_served(shop: Shop) -> None:
    bought = await shop.bought(await payment_by(shop.account))
    assert bought.parts == Held(0, AMOUNT, 0)
    row = await shop.row()
    assert (row.state, row.settled, row.request) == (State.SETTLED, AMOUNT, bought.request)
    assert row.txid in shop.chain.receipts
    assert (shop.earned, await shop.operator_balance(Kind.X402)) == (AMOUNT, AMOUNT)
    assert await shop.credit() == 0
    await shop.close(bought, 1200)
    assert await shop.credit() == AMOUNT - 1200


async def test_version_1_pays_alike(shop: Shop) -> None:
    bought = await shop.bought(await payment_by(shop.account, version=1))
    assert bought.parts.total == AMOUNT
    assert shop.earned == AMOUNT


async def test_one_nonce_serves_one_request(shop: Shop) -> None:
    payment = await payment_by(shop.account)
    first = await asyncio.gather(*(shop.buy(payment) for _ in range(8)))
    bought = [purchase for purchase in first if not isinstance(purchase, Pending)]
    assert len(bought) == 1
    assert [await shop.buy(payment) for _ in range(3)] == [Pending(LIMITS.retry_after_s)] * 3, "while it runs"
    await shop.close(bought[0], 700)  # type: ignore[arg-type] - the one that bought
    later = await asyncio.gather(*(shop.buy(payment) for _ in range(8)))
    assert later == [Denied("payment_used")] * 8
    assert (shop.earned, await shop.credit()) == (AMOUNT, AMOUNT - 700)


async def test_another_request_with_the_same_payment_is_refused(shop: Shop) -> None:
    payment = await payment_by(shop.account)
    bought = await shop.bought(payment)
    assert await shop.buy(payment, digest=OTHER) == Denied("payment_conflict")
    assert (await shop.row()).request == bought.request


async def test_a_request_that_came_to_nothing_leaves_its_payment_for_the_next_try(shop: Shop) -> None:
    payment = await payment_by(shop.account)
    first = await shop.bought(payment)
    await shop.close(first, 0)
    again = await asyncio.gather(*(shop.buy(payment) for _ in range(6)))
    second = [purchase for purchase in again if not isinstance(purchase, Pending)]
    assert len(second) == 1
    assert second[0].request != first.request  # type: ignore[union-attr] - the one that bought
    assert shop.earned == AMOUNT
    await shop.close(second[0], 10)  # type: ignore[arg-type] - the one that bought
    assert await shop.buy(payment) == Denied("payment_used")


async def test_what_is_left_pays_the_next_request_and_nothing_is_settled(shop: Shop) -> None:
    await shop.close(await shop.bought(await payment_by(shop.account)), 1200)
    bought = await shop.bought(await payment_by(shop.account, amount=3000), digest=OTHER, amount=3000)
    assert (bought.row.state, bought.row.settled, bought.row.txid) == (State.VERIFIED, 0, "")
    assert (shop.earned, shop.facilitator.settlements, await shop.credit()) == (AMOUNT, 1, AMOUNT - 1200 - 3000)

    await shop.pass_time(600)
    await shop.keeper.step()
    (row,) = [row for row in await shop.rows() if row.amount == 3000]
    assert row.state is State.LAPSED


async def test_credit_that_does_not_suffice_is_left_alone(shop: Shop) -> None:
    await shop.close(await shop.bought(await payment_by(shop.account)), 4000)
    await shop.bought(await payment_by(shop.account), digest=OTHER)
    assert (shop.earned, await shop.credit()) == (2 * AMOUNT, 1000)


async def test_credit_is_spent_once_by_requests_at_the_same_time(shop: Shop) -> None:
    await shop.close(await shop.bought(await payment_by(shop.account)), 0)
    payments = [await payment_by(shop.account) for _ in range(3)]
    digests = [bytes([n]) * 32 for n in range(10, 13)]
    await asyncio.gather(*(shop.bought(p, digest=d) for p, d in zip(payments, digests, strict=True)))
    assert (shop.earned, await shop.credit()) == (3 * AMOUNT, 0)


async def test_a_price_that_rose_meanwhile_leaves_the_payment_as_credit(shop: Shop) -> None:
    payment = await payment_by(shop.account)
    shop.facilitator.faults = ["reset_after"]
    shop.chain.is_down = True
    assert isinstance(await shop.buy(payment), Pending)
    shop.chain.is_down = False
    assert await shop.buy(payment, amount=AMOUNT + 1) == Due("price_changed")
    assert (await shop.credit(), (await shop.row()).state) == (AMOUNT, State.SETTLED)


async def test_a_price_that_rose_before_the_payment_was_sent_leaves_it_unsettled(shop: Shop) -> None:
    payment = await payment_by(shop.account)
    shop.facilitator.verify_faults = ["500_before"]
    assert isinstance(await shop.buy(payment), Pending)
    assert await shop.buy(payment, amount=AMOUNT + 1) == Due("price_changed")
    assert (shop.earned, (await shop.row()).state) == (0, State.VERIFIED)


async def test_a_wallet_is_an_owner_of_its_own_that_no_account_can_be(shop: Shop) -> None:
    stranger = Account.from_key(b"\x02" * 32)
    shop.chain.mint(stranger.address, AMOUNT)
    for account, digest in ((shop.account, DIGEST), (shop.account, OTHER), (stranger, bytes([2]) * 32)):
        await shop.bought(await payment_by(account), digest=digest)
    wallets = await shop.money.all_of(Wallet)
    assert len(wallets) == len({wallet.owner for wallet in wallets}) == 2
    assert all(WALLET_ID_FIRST <= wallet.owner < 2 * WALLET_ID_FIRST for wallet in wallets)
    assert {row.owner for row in await shop.rows() if row.payer == shop.payer} == {(await shop.wallet()).owner}


async def test_a_barred_payer_pays_for_nothing(shop: Shop) -> None:
    await shop.close(await shop.bought(await payment_by(shop.account)), 1)
    wallet = await shop.wallet()
    await shop.money.store.transact(lambda tx: tx.rows(Wallet).save(replace(wallet, barred_ms=1)))
    assert await shop.buy(await payment_by(shop.account), digest=OTHER) == Denied("payer_barred")
    assert shop.earned == AMOUNT


async def test_a_payer_has_a_bounded_number_of_open_payments(shop: Shop) -> None:
    shop.facilitator.verify_faults = ["500_before"] * LIMITS.open_max
    for n in range(LIMITS.open_max):
        assert isinstance(await shop.buy(await payment_by(shop.account), digest=bytes([n]) * 32), Pending)
    assert await shop.buy(await payment_by(shop.account), digest=OTHER) == Denied("too_many_payments")


async def test_two_processes_sell_one_request_for_one_payment(tmp_path: Path) -> None:
    clock = real_clock()
    with database_url("postgresql", tmp_path) as url:
        async with (
            open_facilitator(clock) as facilitator,
            open_shop(url, facilitator, clock) as one,
            open_shop(url, facilitator, clock) as other,
        ):
            for round_ in range(3):
                payment, digest = await payment_by(one.account), bytes([round_ + 1]) * 32
                purchases = await asyncio.gather(*(shop.buy(payment, digest=digest) for shop in (one, other) * 4))
                (bought,) = [purchase for purchase in purchases if not isinstance(purchase, Pending)]
                await one.close(bought, AMOUNT)  # type: ignore[arg-type] - the one that bought
                again = [await shop.buy(payment, digest=digest) for shop in (one, other)]
                assert again == [Denied("payment_used")] * 2
            assert (one.earned, facilitator.settlements) == (3 * AMOUNT, 3)
