"""What a wallet's requests may cost is bounded by its budgets like anybody's, on both databases."""

from __future__ import annotations

import pytest

from hushnet.coordinator.budgets.model import Allowance, CapScope, Period
from hushnet.coordinator.payments.x402.purchases import Denied, Pending
from hushnet.foundation.ids import AccountId
from support.x402_shop import AMOUNT, Shop, payment_by

SCOPES = (CapScope.ACCOUNT, CapScope.OPERATOR)
OTHER, THIRD = bytes([1]) * 32, bytes([2]) * 32
COST = 1200


async def bound(shop: Shop, scope: CapScope, ceilings: dict[Period, int]) -> AccountId:
    """Give the wallet, which has paid once, budgets."""
    await shop.close(await shop.bought(await payment_by(shop.account)), COST)
    owner = AccountId((await shop.wallet()).owner)
    await shop.budgets.put(owner, scope, owner, ceilings)
    return owner


@pytest.mark.parametrize("is_upto", [False, True])
@pytest.mark.parametrize("scope", SCOPES)
async def test_a_wallets_hold_counts_in_its_budgets(shop: Shop, scope: CapScope, is_upto: bool) -> None:
    owner = await bound(shop, scope, {Period.DAY: 2 * AMOUNT - 1})
    how = {"scheme": "upto"} if is_upto else {}
    bought = await shop.bought(await payment_by(shop.account, **how), digest=OTHER)
    (budget,) = await shop.budgets.budgets_of((scope, owner))
    assert (budget.held, budget.spent) == (AMOUNT, 0)
    earned = shop.earned
    assert await shop.buy(await payment_by(shop.account), digest=THIRD) == Denied("insufficient_quota")
    assert shop.earned == earned, "nothing is taken for what a budget refuses"
    await shop.close(bought, COST)
    (budget,) = await shop.budgets.budgets_of((scope, owner))
    assert (budget.held, budget.spent) == (0, COST)


@pytest.mark.parametrize("scope", SCOPES)
async def test_one_request_of_a_wallet_costs_no_more_than_it_may(shop: Shop, scope: CapScope) -> None:
    await bound(shop, scope, {Period.REQUEST: AMOUNT - 1})
    assert await shop.buy(await payment_by(shop.account), digest=OTHER) == Denied("insufficient_quota")
    assert shop.earned == AMOUNT


async def test_a_payment_of_unknown_outcome_is_pending_whatever_the_budgets_say(shop: Shop) -> None:
    """Who is answered 402 may pay again: not before it is known that this payment has been taken."""
    owner = await bound(shop, CapScope.OPERATOR, {Period.DAY: 10 * AMOUNT})
    payment = await payment_by(shop.account)
    shop.facilitator.faults = ["reset_after"]
    shop.chain.is_down = True
    assert isinstance(await shop.buy(payment, digest=OTHER), Pending)
    await shop.budgets.put(owner, CapScope.OPERATOR, owner, {Period.DAY: AMOUNT - 1})
    assert isinstance(await shop.buy(payment, digest=OTHER), Pending)
    shop.chain.is_down = False
    for _ in range(2):
        assert await shop.buy(payment, digest=OTHER) == Denied("insufficient_quota")
    assert (shop.facilitator.settlements, await shop.credit()) == (2, 2 * AMOUNT - COST)


@pytest.mark.parametrize("is_upto", [False, True])
async def test_a_budget_that_another_request_used_up_meanwhile_refuses_the_hold(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, is_upto: bool
) -> None:
    owner = await bound(shop, CapScope.OPERATOR, {Period.LIFE: AMOUNT - 1})
    allowance = await shop.budgets.room(owner, 1)

    async def stale(account_id: AccountId, amount: int) -> Allowance | None:
        return allowance

    monkeypatch.setattr(shop.budgets, "room", stale)
    how = {"scheme": "upto"} if is_upto else {}
    assert await shop.buy(await payment_by(shop.account, **how), digest=OTHER) == Denied("insufficient_quota")
    assert await shop.credit() == (AMOUNT - COST if is_upto else 2 * AMOUNT - COST), "what was paid is credit"
