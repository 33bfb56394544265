"""Facilitators that answer late, nothing, nonsense or lies: nobody pays twice, nobody is served for nothing."""

from __future__ import annotations

import pytest

from hushnet.coordinator.ledger.chart import Kind
from hushnet.coordinator.payments.model import Finding
from hushnet.coordinator.payments.x402.book import Bought
from hushnet.coordinator.payments.x402.model import Wallet
from hushnet.coordinator.payments.x402.purchases import Due, Pending
from hushnet.coordinator.payments.x402.transitions import State
from support.ledger import database_url
from support.x402_peer import Account
from support.x402_shop import AMOUNT, PAY_TO, Shop, open_facilitator, open_shop, payment_by, real_clock

STRANGER = "0x" + "77" * 20
SAYS_NOTHING = ["reset", "500", "429", "garbage", "huge", "redirect"]
LIES_OF_SUCCESS = ["lie_success", "lie_no_transaction"]
LIES_ABOUT_WHAT_IS_DONE = ["lie_payer", "lie_network", "lie_amount", "lie_refused", "lie_failed"]


@pytest.mark.parametrize("how", SAYS_NOTHING)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_x402_time_out_never_answers_402(shop: Shop, how: str, when: str) -> None:
    payment = await payment_by(shop.account)
    shop.facilitator.faults = [f"{how}_{when}"]
    purchase = await shop.buy(payment)
    if when == "after":
        assert isinstance(purchase, Bought), "the chain shows it, whatever the facilitator said"
    else:
        assert isinstance(purchase, Pending)
        purchase = await shop.bought(payment)
    assert shop.earned == AMOUNT
    await shop.close(purchase, 100)
    assert await shop.credit() == AMOUNT - 100


@pytest.mark.parametrize("how", SAYS_NOTHING)
async def test_a_lost_answer_and_a_blind_node_never_answer_402(shop: Shop, how: str) -> None:
    payment = await payment_by(shop.account)
    shop.facilitator.faults = [f"{how}_after"]
    shop.chain.is_down = True
    for _ in range(3):
        assert isinstance(await shop.buy(payment), Pending)
    shop.chain.is_down = False
    await shop.bought(payment)
    assert (shop.earned, shop.facilitator.settlements) == (AMOUNT, 1)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_silent_facilitator_is_not_waited_for(kind: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    clock = real_clock()
    with database_url(kind, tmp_path) as url:
        async with open_facilitator(clock) as facilitator, open_shop(url, facilitator, clock, settle_s=1.0) as shop:
            payment = await payment_by(shop.account)
            facilitator.faults = ["hang_before"]
            assert isinstance(await shop.buy(payment), Pending)
            await shop.bought(payment)
            assert shop.earned == AMOUNT


@pytest.mark.parametrize("lie", LIES_OF_SUCCESS)
async def test_success_without_a_transfer_serves_nobody(shop: Shop, lie: str) -> None:
    payment = await payment_by(shop.account)
    shop.facilitator.faults = [lie, lie]
    for _ in range(2):
        assert isinstance(await shop.buy(payment), Pending)
    assert (shop.earned, (await shop.row()).state) == (0, State.SETTLING)
    await shop.bought(payment)
    assert shop.earned == AMOUNT


@pytest.mark.parametrize("lie", LIES_ABOUT_WHAT_IS_DONE)
async def test_what_the_chain_shows_goes_before_what_the_facilitator_says(shop: Shop, lie: str) -> None:
    shop.facilitator.faults = [lie]
    await shop.bought(await payment_by(shop.account))
    assert shop.earned == AMOUNT


@pytest.mark.parametrize("how", ["reset_before", "500_before", "garbage_before", "lie_payer"])
async def test_a_verification_that_says_nothing_charges_nothing(shop: Shop, how: str) -> None:
    payment = await payment_by(shop.account)
    shop.facilitator.verify_faults = [how]
    assert isinstance(await shop.buy(payment), Pending)
    assert (shop.facilitator.settlements, (await shop.row()).state) == (0, State.VERIFIED)
    await shop.bought(payment)


async def test_a_reason_that_is_no_word_reaches_nobody(shop: Shop) -> None:
    shop.facilitator.verify_faults = ["script"]
    assert await shop.buy(await payment_by(shop.account)) == Due("payment_refused")


async def test_a_pending_settlement_is_joined_not_paid_again(shop: Shop) -> None:
    payment = await payment_by(shop.account)
    shop.chain.is_receipt_lost, shop.chain.hidden = True, 1 << 20
    assert isinstance(await shop.buy(payment), Pending)
    shop.chain.is_receipt_lost, shop.chain.hidden = False, 0
    await shop.bought(payment)
    assert (shop.earned, await shop.operator_balance(Kind.X402)) == (AMOUNT, AMOUNT)


async def test_a_node_that_is_behind_is_asked_again(shop: Shop) -> None:
    shop.facilitator.faults = [""]
    shop.chain.hidden = 2
    await shop.bought(await payment_by(shop.account))


async def test_an_empty_wallet_is_told_the_terms_again(shop: Shop) -> None:
    shop.chain.balances[shop.payer] = 0
    purchase = await shop.buy(await payment_by(shop.account))
    assert isinstance(purchase, Due)
    assert purchase.reason.startswith("invalid_exact_evm_")
    assert (shop.facilitator.settlements, (await shop.row()).state) == (0, State.FAILED)


async def test_money_that_left_after_verifying_is_a_definite_refusal(shop: Shop) -> None:
    shop.purchases._reach = lambda point: shop.chain.balances.update({shop.payer: 0})
    assert await shop.buy(await payment_by(shop.account)) == Due("invalid_exact_evm_insufficient_balance")
    assert (await shop.row()).state is State.FAILED


async def test_a_refusal_after_an_unknown_answer_is_not_definite(shop: Shop) -> None:
    """The first settlement may still be under way; only the end of the payment's time settles the matter."""
    payment = await payment_by(shop.account)
    shop.facilitator.faults = ["reset_before"]
    assert isinstance(await shop.buy(payment), Pending)
    shop.purchases._reach = lambda point: shop.chain.balances.update({shop.payer: 0})
    assert isinstance(await shop.buy(payment), Pending)
    await shop.pass_time(600)
    assert await shop.buy(payment) == Due("payment_expired")
    assert (await shop.row()).state is State.LAPSED


async def test_what_a_facilitator_refused_and_settled_all_the_same_becomes_credit(shop: Shop) -> None:
    payment = await payment_by(shop.account)
    shop.purchases._reach = lambda point: shop.chain.balances.update({shop.payer: 0})
    assert isinstance(await shop.buy(payment), Due)
    shop.purchases._reach = lambda point: None
    shop.chain.mint(shop.payer, AMOUNT)
    shop.facilitator.answer("settle", shop.facilitator.asked[-1][1])
    assert shop.earned == AMOUNT
    assert await shop.keeper.step() == 0, "not before its time is over"
    await shop.pass_time(600)
    assert await shop.keeper.step() == 1
    assert (await shop.credit(), (await shop.row()).state) == (AMOUNT, State.SETTLED)
    assert await shop.keeper.step() == 0


async def test_a_nonce_that_was_spent_elsewhere_pays_nothing_here(shop: Shop) -> None:
    """The payer uses the nonce on itself, in a transaction in which it also pays us the same amount for something else."""
    payment = await payment_by(shop.account)
    shop.facilitator.faults = ["reset_before"]
    assert isinstance(await shop.buy(payment), Pending)
    shop.chain.spend_elsewhere(shop.payer, payment.nonce, STRANGER, AMOUNT, besides=[(PAY_TO, AMOUNT)])
    assert await shop.buy(payment) == Due("nonce_used")
    assert await shop.credit() == 0


async def test_a_cancelled_payment_pays_nothing(shop: Shop) -> None:
    payment = await payment_by(shop.account)
    shop.facilitator.faults = ["reset_before"]
    await shop.buy(payment)
    shop.chain.cancel(shop.payer, payment.nonce)
    assert await shop.buy(payment) == Due("nonce_used")


async def test_an_unused_payment_lapses_when_the_chains_time_has_passed(shop: Shop) -> None:
    payment = await payment_by(shop.account)
    shop.facilitator.faults = ["reset_before"]
    assert isinstance(await shop.buy(payment), Pending)
    await shop.pass_time(100)
    assert await shop.keeper.step() == 1
    assert (await shop.row()).state is State.SETTLING, "its time is not over"
    await shop.pass_time(600)
    await shop.keeper.step()
    assert (await shop.row()).state is State.LAPSED
    assert await shop.buy(payment) == Due("payment_expired")


async def test_a_settlement_that_nobody_came_back_for_becomes_credit(shop: Shop) -> None:
    shop.facilitator.faults = ["reset_after"]
    shop.chain.is_down = True
    payment = await payment_by(shop.account)
    assert isinstance(await shop.buy(payment), Pending)
    shop.chain.is_down = False
    await shop.pass_time(70)
    assert await shop.keeper.step() == 1
    assert (await shop.credit(), (await shop.row()).state) == (AMOUNT, State.SETTLED)
    await shop.bought(payment)
    assert (shop.earned, shop.facilitator.settlements) == (AMOUNT, 1)


async def test_a_payment_whose_fate_stays_unknown_is_a_finding(shop: Shop) -> None:
    shop.facilitator.faults = ["reset_before"]
    assert isinstance(await shop.buy(await payment_by(shop.account)), Pending)
    shop.chain.is_down = True
    for _ in range(6):
        await shop.pass_time(1500)
        await shop.keeper.step()
    assert [finding.kind for finding in await shop.money.all_of(Finding)] == ["x402_unresolved"]


async def test_what_came_to_nothing_is_forgotten_and_nothing_else(shop: Shop) -> None:
    """Anybody can sign any number of payments: those that nobody sent are not kept for ever."""
    stranger = Account.from_key(b"\x02" * 32)
    assert isinstance(await shop.buy(await payment_by(stranger)), Due), "it has no money"
    await shop.close(await shop.bought(await payment_by(shop.account), digest=bytes([1]) * 32), 100)
    shop.facilitator.faults = ["reset_before"]
    assert isinstance(await shop.buy(await payment_by(shop.account), digest=bytes([2]) * 32), Pending)
    await shop.pass_time(600)
    while await shop.keeper.step():
        pass
    assert await shop.keeper.prune() == 0, "kept for a day"
    await shop.pass_time(90_000)
    assert await shop.keeper.prune() == 1
    assert await shop.keeper.prune() == 0
    assert sorted(row.state for row in await shop.rows()) == [State.SETTLED, State.LAPSED]
    assert [wallet.payer for wallet in await shop.money.all_of(Wallet)] == [shop.payer]
    assert await shop.credit() == AMOUNT - 100
