"""Where money may go: addresses, one default, cooling down, bank accounts at Stripe."""

from __future__ import annotations

import asyncio

import pytest

from hushnet.coordinator.payments.payouts.asking import Terms, Wish
from hushnet.coordinator.payments.payouts.methods import METHODS_MAX, MethodRefusedError, Place, UnknownMethodError
from hushnet.coordinator.payments.payouts.model import COIN, OnboardingState, PayoutMethod
from hushnet.coordinator.payments.payouts.service import Payouts
from hushnet.foundation.errors import HushnetError, RequestError
from hushnet.foundation.ids import AccountId
from support.ledger import CONSUMER, PROVIDER
from support.money import OpenMoney
from support.payout_desk import DAY_S, TERMS, USD, Desk, open_desk
from support.stripe_fake import Fault

ADDRESS = "0x52908400098527886E0F7030069857D2E4169EE7"
COOLING = Terms(send_after_ms=0)


def checked(asset: str, network: str, address: str, tag: int | None) -> Place:
    """Stands for the check of real addresses: everything here is in its canonical form but for spaces."""
    if not address.strip().startswith("0x"):
        raise RequestError("that is no address", code="bad_address")
    return Place(COIN, asset, network, address.strip(), tag)


def coin_payouts(money: OpenMoney, terms: Terms = TERMS) -> Payouts:
    return Payouts(money.store, terms=terms, check=checked)


async def test_one_address_on_two_networks_makes_two_methods(money: OpenMoney) -> None:
    payouts = coin_payouts(money)
    made = [
        await payouts.add_coin_method(PROVIDER, "USDC", network, ADDRESS, None)
        for network in ("polygon", "base", "polygon")
    ]
    assert made[0] == made[2]
    known = await payouts.methods(PROVIDER)
    assert [(method.network, method.address) for method in known] == [("polygon", ADDRESS), ("base", ADDRESS)]
    assert [method.is_default for method in known] == [True, False]


async def test_an_address_is_checked_and_kept_in_its_canonical_form(money: OpenMoney) -> None:
    payouts = coin_payouts(money)
    assert (await payouts.add_coin_method(PROVIDER, "ETH", "ethereum", f" {ADDRESS} ", None)).address == ADDRESS
    with pytest.raises(RequestError):
        await payouts.add_coin_method(PROVIDER, "ETH", "ethereum", "bc1q", None)
    with pytest.raises(MethodRefusedError):
        await Payouts(money.store, terms=TERMS).add_coin_method(PROVIDER, "ETH", "ethereum", ADDRESS, None)


async def test_another_tag_at_one_address_is_refused_not_lost(money: OpenMoney) -> None:
    payouts = coin_payouts(money)
    await payouts.add_coin_method(PROVIDER, "XRP", "ripple", ADDRESS, 1)
    with pytest.raises(MethodRefusedError):
        await payouts.add_coin_method(PROVIDER, "XRP", "ripple", ADDRESS, 2)
    assert [method.tag for method in await payouts.methods(PROVIDER)] == [1]


async def test_changing_the_default_method_is_atomic(money: OpenMoney) -> None:
    """Whatever rivals do, there is exactly one default at every moment that anybody can see."""
    payouts = coin_payouts(money)
    made = [await payouts.add_coin_method(PROVIDER, "USDC", f"n{n}", ADDRESS, None) for n in range(5)]
    seen: list[int] = []

    async def watch() -> None:
        while len(seen) < 40:
            seen.append(sum(method.is_default for method in await payouts.methods(PROVIDER)))

    changes = [payouts.set_default(PROVIDER, made[n % 5].id) for n in range(20)]
    await asyncio.gather(watch(), *changes)
    assert set(seen) == {1}


async def test_a_default_that_cannot_be_set_leaves_the_old_one(money: OpenMoney) -> None:
    payouts = coin_payouts(money)
    first = await payouts.add_coin_method(PROVIDER, "USDC", "base", ADDRESS, None)
    removed = await payouts.add_coin_method(PROVIDER, "USDC", "polygon", ADDRESS, None)
    theirs = await payouts.add_coin_method(CONSUMER, "USDC", "polygon", ADDRESS, None)
    await payouts.remove_method(PROVIDER, removed.id)
    for wrong in (removed.id, theirs.id, 2):
        with pytest.raises(UnknownMethodError):
            await payouts.set_default(PROVIDER, wrong)
    assert [method.id for method in await payouts.methods(PROVIDER) if method.is_default] == [first.id]


async def test_many_first_methods_at_once_have_one_default(money: OpenMoney) -> None:
    payouts = coin_payouts(money)
    adding = [payouts.add_coin_method(PROVIDER, "USDC", f"n{n % 4}", ADDRESS, None) for n in range(8)]
    await asyncio.gather(*adding)
    known = await payouts.methods(PROVIDER)
    assert len(known) == 4
    assert sum(method.is_default for method in known) == 1


async def test_a_removed_method_is_history_and_cools_down_when_it_comes_back(money: OpenMoney) -> None:
    payouts = coin_payouts(money, COOLING)
    first = await payouts.add_coin_method(PROVIDER, "USDC", "base", ADDRESS, None)
    await payouts.remove_method(PROVIDER, first.id)
    with pytest.raises(UnknownMethodError):
        await payouts.remove_method(PROVIDER, first.id)
    await money.books.advance(3 * DAY_S)
    again = await payouts.add_coin_method(PROVIDER, "USDC", "base", ADDRESS, None)
    assert again.usable_ms == money.clock.now_ms() + 2 * DAY_S * 1000
    assert [row.id for row in await money.all_of(PayoutMethod)] == [first.id, again.id]


async def test_an_account_has_a_bounded_number_of_methods(money: OpenMoney) -> None:
    payouts = coin_payouts(money)
    for n in range(METHODS_MAX):
        await payouts.add_coin_method(PROVIDER, "USDC", f"n{n}", ADDRESS, None)
    with pytest.raises(MethodRefusedError):
        await payouts.add_coin_method(PROVIDER, "USDC", "one-more", ADDRESS, None)


async def test_a_new_payout_address_cools_down(money: OpenMoney) -> None:
    payouts = coin_payouts(money, COOLING)
    await money.books.give(PROVIDER, earnings=5 * USD)
    await money.books.advance(DAY_S + 1)
    await payouts.add_coin_method(PROVIDER, "USDC", "base", ADDRESS, None)
    wish = Wish(PROVIDER, "c1", 2 * USD)
    await money.books.advance(2 * DAY_S - 1)
    with pytest.raises(MethodRefusedError) as caught:
        await payouts.request(wish)
    assert caught.value.error_code == "payout_method_cooling_down"
    await money.books.advance(1)
    assert (await payouts.request(wish)).rail == COIN


async def test_without_a_method_nothing_can_be_asked_for(desk: Desk) -> None:
    with pytest.raises(UnknownMethodError) as caught:
        await desk.ask()
    assert caught.value.error_code == "no_payout_method"


async def test_a_method_is_not_removed_while_a_payout_goes_there(desk: Desk) -> None:
    method = await desk.provider()
    payout = await desk.ask()
    with pytest.raises(MethodRefusedError):
        await desk.payouts.remove_method(PROVIDER, method.id)
    await desk.payouts.cancel(PROVIDER, payout.id)
    await desk.payouts.remove_method(PROVIDER, method.id)
    assert (await desk.payouts.add_bank_method(PROVIDER)).id != method.id


async def test_somebody_elses_method_pays_nobody(desk: Desk) -> None:
    method = await desk.provider()
    for wish in (Wish(CONSUMER, "c1", USD, method.id), Wish(AccountId(CONSUMER + 1), "c1", None, method.id)):
        with pytest.raises(UnknownMethodError):
            await desk.payouts.request(wish)


async def test_onboarding_makes_one_account_and_a_method_once_stripe_is_ready(desk: Desk) -> None:
    begun = await asyncio.gather(*(desk.onboarder.begin(PROVIDER) for _ in range(4)))
    assert {one.state for one in begun} == {OnboardingState.PENDING}
    assert len({one.url for one in begun}) == 4
    (account,) = desk.stripe.world.objects["accounts"].values()
    assert account["settings"]["payouts"]["schedule"]["interval"] == "manual"
    assert await desk.payouts.methods(PROVIDER) == []
    desk.stripe.onboard(account["id"])
    await desk.settle(copies=3)
    (method,) = await desk.payouts.methods(PROVIDER)
    assert (method.address, method.is_default) == (account["id"], True)
    seen = await desk.onboarder.look(PROVIDER)
    assert seen is not None
    assert seen.state is OnboardingState.READY
    assert await desk.onboarder.look(CONSUMER) is None


async def test_a_lost_answer_to_onboarding_gives_the_same_account(desk: Desk) -> None:
    desk.stripe.fail("POST /v1/accounts", Fault.DROP_AFTER)
    with pytest.raises(HushnetError) as caught:
        await desk.onboarder.begin(PROVIDER)
    assert caught.value.error_code == "payments_unavailable"
    await desk.onboarder.begin(PROVIDER)
    assert len(desk.stripe.world.objects["accounts"]) == 1


async def test_an_account_that_stripe_disables_is_paid_nothing_until_it_is_enabled(desk: Desk) -> None:
    method = await desk.provider()
    desk.stripe.onboard(method.address, is_enabled=False)
    await desk.settle()
    with pytest.raises(MethodRefusedError):
        await desk.ask()
    desk.stripe.onboard(method.address)
    late, *_ = desk.told[::-1]
    await desk.settle()
    await desk.tell_again([late])  # what was true before: the account is fetched, so the order does not matter
    assert (await desk.ask()).method == method.id
    assert len(await desk.payouts.methods(PROVIDER)) == 1


async def test_a_method_that_was_removed_does_not_come_back_by_itself(desk: Desk) -> None:
    method = await desk.provider()
    await desk.payouts.remove_method(PROVIDER, method.id)
    await desk.tell_again([event for event in desk.told if event["type"] == "account.updated"])
    assert await desk.payouts.methods(PROVIDER) == []


async def test_an_owner_that_takes_our_access_away_is_not_paid(desk: Desk) -> None:
    method = await desk.provider()
    gone = {"id": "evt_gone", "type": "account.application.deauthorized", "account": method.address}
    await desk.receive({**gone, "data": {"object": {"id": "ca_1", "object": "application"}}})
    await desk.settle()
    with pytest.raises(MethodRefusedError):
        await desk.ask()


@pytest.mark.parametrize("cool_down_h", [48])
async def test_a_bank_account_cools_down_too(money: OpenMoney, desk: Desk, cool_down_h: int) -> None:
    async with open_desk(money, desk.stripe, terms=COOLING) as cooling:
        method = await cooling.provider()
        assert method.usable_ms - money.clock.now_ms() > (cool_down_h - 1) * 3_600_000
        with pytest.raises(MethodRefusedError):
            await cooling.ask()
