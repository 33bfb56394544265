"""`upto`: served first, settled after for what it cost; what can't be collected is the operator's loss."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from hushnet.coordinator.ledger.chart import Kind
from hushnet.coordinator.ledger.model import Busy
from hushnet.coordinator.ledger.transaction import PostingRefusedError
from hushnet.coordinator.payments.model import Call, CallState, Finding
from hushnet.coordinator.payments.x402 import keeper
from hushnet.coordinator.payments.x402.authorised import LOOK_MS
from hushnet.coordinator.payments.x402.book import Bought
from hushnet.coordinator.payments.x402.purchases import Denied, Due, Pending
from hushnet.coordinator.payments.x402.transitions import State
from hushnet.coordinator.storage.money.rows import SqlRows
from hushnet.coordinator.storage.money.store import SqlMoneyStore, _SqlTransaction
from support.ledger import PROVIDER
from support.x402_shop import AMOUNT, OFFER, PAY_TO, Shop, payment_by

OTHER = bytes([1]) * 32
COST = 1200


async def served(shop: Shop, cost: int = COST) -> Bought:
    """Serve a request that its wallet has authorised, until its settlement is due."""
    bought = await shop.bought(await payment_by(shop.account, scheme="upto"))
    await shop.close(bought, cost)
    await shop.pass_time(LOOK_MS / 1000 + 1)
    await shop.keeper.step()
    return bought


async def made_calls(shop: Shop, seconds: float = 0.0) -> None:
    await shop.pass_time(seconds)
    await shop.calls.step()


async def test_what_was_used_is_settled_after_it_was_served(shop: Shop) -> None:
    bought = await shop.bought(await payment_by(shop.account, scheme="upto"))
    assert (shop.earned, await shop.operator_balance(Kind.RECEIVABLE)) == (0, AMOUNT)
    await shop.close(bought, COST)
    await shop.pass_time(LOOK_MS / 1000 + 1)
    await shop.keeper.step()
    assert (await shop.operator_balance(Kind.RECEIVABLE), (await shop.row()).state) == (COST, State.SETTLING)
    await made_calls(shop)
    row = await shop.row()
    assert (row.state, row.settled) == (State.SETTLED, COST)
    assert row.txid in shop.chain.receipts
    assert (shop.earned, await shop.credit()) == (COST, 0)
    assert await shop.operator_balance(Kind.RECEIVABLE) == 0
    assert await shop.operator_balance(Kind.X402) == COST
    assert (await shop.wallet()).unsettled == 0


async def test_what_cost_nothing_is_not_settled(shop: Shop) -> None:
    payment = await payment_by(shop.account, scheme="upto")
    await shop.close(await shop.bought(payment), 0)
    await shop.pass_time(LOOK_MS / 1000 + 1)
    await shop.keeper.step()
    assert ((await shop.row()).state, await shop.money.all_of(Call)) == (State.LAPSED, [])
    assert (await shop.operator_balance(Kind.RECEIVABLE), (await shop.wallet()).unsettled) == (0, 0)
    assert await shop.buy(payment) == Due("payment_expired")


async def test_nothing_is_charged_while_the_request_runs(shop: Shop) -> None:
    payment = await payment_by(shop.account, scheme="upto")
    await shop.bought(payment)
    await shop.pass_time(LOOK_MS / 1000 + 1)
    assert await shop.keeper.step() == 1
    assert await shop.keeper.step() == 0
    assert await shop.operator_balance(Kind.RECEIVABLE) == AMOUNT
    assert await shop.buy(payment) == Pending(2.0)


async def test_an_upto_settlement_that_fails_is_bad_debt_not_the_providers_loss(shop: Shop) -> None:
    await served(shop)
    shop.chain.balances[shop.payer] = 0
    await made_calls(shop)
    assert (await shop.row()).state is State.SETTLING, "the payer may find the money while the permit holds"
    for _ in range(4):
        await made_calls(shop, 300)
    row = await shop.row()
    assert (row.state, row.reason) == (State.LOST, "expired")
    assert await shop.operator_balance(Kind.BAD_DEBT) == COST
    assert await shop.operator_balance(Kind.RECEIVABLE) == 0
    assert (await shop.money.ledger.balance(PROVIDER)).earnings == COST
    assert (shop.earned, await shop.credit()) == (0, 0)
    assert [finding.kind for finding in await shop.money.all_of(Finding)] == ["x402_lost"]
    shop.chain.mint(shop.payer, AMOUNT)
    later = replace(
        OFFER, window_s=1350
    )  # the official client signs by the machine's clock, and 1,206 s have passed here
    assert await shop.buy(await payment_by(shop.account, offer=later), digest=OTHER) == Denied("payer_barred")


async def test_money_that_comes_before_the_permit_ends_is_collected(shop: Shop) -> None:
    await served(shop)
    shop.chain.balances[shop.payer] = 0
    await made_calls(shop)
    shop.chain.mint(shop.payer, COST)
    await made_calls(shop, 30)
    assert ((await shop.row()).state, shop.earned) == (State.SETTLED, COST)


@pytest.mark.parametrize("fault", ["reset_before", "500_before", "garbage_before", "429_before", "lie_success"])
async def test_a_settlement_without_answer_is_sent_again(shop: Shop, fault: str) -> None:
    await served(shop)
    shop.facilitator.faults = [fault]
    await made_calls(shop)
    assert (await shop.row()).state is State.SETTLING
    await made_calls(shop, 30)
    assert ((await shop.row()).state, shop.earned) == (State.SETTLED, COST)


async def test_a_settlement_whose_receipt_is_late_is_found(shop: Shop) -> None:
    await served(shop)
    shop.chain.is_receipt_lost = True
    await made_calls(shop)
    shop.chain.is_receipt_lost = False
    await made_calls(shop, 30)
    assert ((await shop.row()).state, shop.earned, await shop.operator_balance(Kind.X402)) == (
        State.SETTLED,
        COST,
        COST,
    )


async def test_a_settlement_whose_answer_was_lost_is_found_on_the_chain(shop: Shop) -> None:
    shop.chain.transfer(shop.payer, "0x" + "66" * 20, COST)
    await shop.close(await shop.bought(await payment_by(shop.account, amount=COST), digest=OTHER, amount=COST), COST)
    await served(shop)
    shop.facilitator.faults = ["reset_after"]
    await made_calls(shop)
    assert (shop.earned, await shop.operator_balance(Kind.RECEIVABLE)) == (2 * COST, 0)
    assert len({row.txid for row in await shop.rows()}) == 2, "each payment has a transfer of its own"


async def test_a_settlement_that_nobody_can_find_is_never_written_off(shop: Shop) -> None:
    """Two transfers of the amount, and nothing that says which one it was: the money is here, a person decides."""
    await served(shop)
    shop.chain.transfer(shop.payer, PAY_TO, COST)
    shop.facilitator.faults = ["reset_after"]
    await made_calls(shop)
    for _ in range(5):
        await made_calls(shop, 300)
    assert await shop.operator_balance(Kind.BAD_DEBT) == 0
    (call,) = await shop.money.all_of(Call)
    assert call.state not in (CallState.REFUSED, CallState.DONE)


@pytest.mark.parametrize(("earlier_s", "is_complete"), [(301, True), (299, False), (1, False), (-1, False)])
async def test_a_permit_that_its_payer_made_worthless_is_lost(shop: Shop, earlier_s: int, is_complete: bool) -> None:
    """Nothing is written off while the search began less than the clocks' difference before the payment."""
    bought = await served(shop)
    shop.chain.permits.add((shop.payer, int(bought.row.nonce, 16)))
    shop.chain.oldest_s = bought.row.created_ms // 1000 - earlier_s
    await made_calls(shop)
    assert (await shop.row()).state is (State.LOST if is_complete else State.SETTLING)


async def test_a_lie_about_an_older_transaction_settles_nothing(shop: Shop) -> None:
    """The facilitator names a transfer of the same payer and amount that another payment counts as its own."""
    await shop.close(await shop.bought(await payment_by(shop.account, amount=COST), digest=OTHER, amount=COST), COST)
    await served(shop)
    shop.facilitator.faults = ["lie_success"]
    await made_calls(shop)
    assert (await shop.operator_balance(Kind.RECEIVABLE), shop.earned) == (COST, COST)


async def test_a_payer_owes_for_one_request_at_a_time(shop: Shop) -> None:
    payments = [await payment_by(shop.account, scheme="upto") for _ in range(4)]
    purchases = await asyncio.gather(*(shop.buy(p, digest=bytes([n]) * 32) for n, p in enumerate(payments)))
    assert sorted(type(purchase).__name__ for purchase in purchases) == ["Bought", "Denied", "Denied", "Denied"]
    assert await shop.operator_balance(Kind.RECEIVABLE) == AMOUNT


async def test_a_bound_above_what_is_risked_is_refused(shop: Shop) -> None:
    payment = await payment_by(shop.account, scheme="upto", amount=AMOUNT + 1)
    assert await shop.buy(payment, amount=AMOUNT + 1) == Denied("amount_out_of_bounds")


async def test_what_is_authorised_is_nobodys_credit(shop: Shop) -> None:
    """Between the end of the request and its charge the wallet's account shows money that is not its own."""
    bought = await shop.bought(await payment_by(shop.account, scheme="upto"))
    await shop.close(bought, COST)
    assert await shop.credit() == AMOUNT - COST
    other = await shop.bought(await payment_by(shop.account, amount=3000), digest=OTHER, amount=3000)
    assert (other.row.settled, shop.earned) == (3000, 3000), "it was paid for, not taken from what is authorised"
    await shop.pass_time(LOOK_MS / 1000 + 1)
    await shop.keeper.step()
    await made_calls(shop)
    assert (shop.earned, await shop.operator_balance(Kind.RECEIVABLE)) == (3000 + COST, 0)


async def test_two_keepers_charge_once(shop: Shop) -> None:
    bought = await shop.bought(await payment_by(shop.account, scheme="upto"))
    await shop.close(bought, COST)
    await shop.pass_time(LOOK_MS / 1000 + 1)
    await asyncio.gather(*(shop.keeper.step() for _ in range(4)))
    await asyncio.gather(*(shop.calls.step() for _ in range(4)))
    assert (shop.earned, await shop.operator_balance(Kind.RECEIVABLE)) == (COST, 0)
    assert (await shop.wallet()).unsettled == 0


async def test_a_bound_signed_at_an_earlier_price_is_not_stretched_by_the_wallets_credit(shop: Shop) -> None:
    await shop.close(await shop.bought(await payment_by(shop.account)), 0)
    payment = await payment_by(shop.account, scheme="upto", amount=AMOUNT // 2)
    shop.facilitator.verify_faults = ["500_before"]
    assert isinstance(await shop.buy(payment, digest=OTHER, amount=AMOUNT // 2), Pending)
    assert await shop.buy(payment, digest=OTHER, amount=AMOUNT) == Due("price_changed")
    assert (await shop.credit(), await shop.operator_balance(Kind.RECEIVABLE)) == (AMOUNT, 0)


async def test_a_payment_that_the_books_refuse_keeps_no_other_waiting(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PostingRefusedError(Busy())

    await shop.close(await shop.bought(await payment_by(shop.account, scheme="upto")), COST)
    shop.facilitator.faults, shop.chain.is_down = ["reset_after"], True
    assert isinstance(await shop.buy(await payment_by(shop.account), digest=OTHER), Pending)
    shop.chain.is_down = False
    await shop.pass_time(61)
    with monkeypatch.context() as patched:
        patched.setattr(keeper, "charge", refused)
        assert await shop.keeper.step() == 2
    assert sorted(row.state for row in await shop.rows()) == [State.VERIFIED, State.SETTLED]
    assert await shop.keeper.step() == 0, "it is looked at again, and not without pause"
    await shop.pass_time(601)
    await shop.keeper.step()
    assert sorted(row.state for row in await shop.rows()) == [State.SETTLING, State.SETTLED]


@pytest.mark.parametrize("is_lost", [False, True])
async def test_rows_are_locked_before_the_books(is_lost: bool, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that lock the same two in another order stop each other, and everything else on this process's lane."""
    locked: list[str] = []
    get, lane, once = SqlRows.get, _SqlTransaction._lock_lane, SqlMoneyStore._once

    def noted_get(rows: Any, *key: Any) -> Any:
        name = rows._shape.row_type.TABLE
        if rows._is_locking and name not in locked:
            assert "books" not in locked, f"{name} is locked after the books"
            locked.append(name)
        return get(rows, *key)

    def noted_lane(transaction: Any) -> Any:
        locked.append("books")
        return lane(transaction)

    async def noted_once(store: Any, work: Any) -> Any:
        locked.clear()
        return await once(store, work)

    monkeypatch.setattr(SqlRows, "get", noted_get)
    monkeypatch.setattr(_SqlTransaction, "_lock_lane", noted_lane)
    monkeypatch.setattr(SqlMoneyStore, "_once", noted_once)
    await served(shop)
    if is_lost:
        shop.chain.balances[shop.payer] = 0
    for _ in range(4 if is_lost else 1):
        await made_calls(shop, 300 * is_lost)
    assert (await shop.row()).state is (State.LOST if is_lost else State.SETTLED)
