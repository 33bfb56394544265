"""Invites: used and credited together or not at all, once an account, never beyond their uses, on both databases."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hushnet.coordinator.incentives.codes import digest_of
from hushnet.coordinator.incentives.invites import AMOUNT_MAX, TRIES_BURST, Invites, NewInvite
from hushnet.coordinator.incentives.model import Invite, PromoGrant, Redemption
from hushnet.coordinator.ledger.faults import APPLY_AFTER_COMMIT, APPLY_BEFORE_COMMIT
from hushnet.foundation.errors import AccessError, CapacityError, HushnetError, RequestError
from hushnet.foundation.ids import AccountId
from support.incentives import AMPLE, close_account, open_account
from support.ledger import CONSUMER, database_url
from support.money import OpenMoney, open_money

HOUR_MS = 3_600_000


class Killed(BaseException):
    """The process is gone at this point."""


async def invited(money: OpenMoney, *, amount: int = 500, uses_max: int = 1, credit_ms: int = 0) -> NewInvite:
    ends_ms = money.clock.now_ms() + HOUR_MS
    return await Invites(money.store, money.clock, AMPLE).create(
        amount, uses_max=uses_max, expires_ms=ends_ms, credit_ms=credit_ms, note="friends"
    )


async def refused(invites: Invites, owner: AccountId, text: str) -> str:
    with pytest.raises(HushnetError) as caught:
        await invites.redeem(owner, text)
    return caught.value.error_code


async def state(money: OpenMoney, owner: AccountId = CONSUMER) -> tuple[int, int, int, int]:
    """Return promo, uses, redemptions, grants."""
    (invite,) = await money.all_of(Invite)
    redemptions, grants = await money.all_of(Redemption), await money.all_of(PromoGrant)
    return (await money.ledger.balance(owner)).promo, invite.uses, len(redemptions), len(grants)


async def test_a_code_gives_its_credit_once_and_the_same_again_tells_so(money: OpenMoney) -> None:
    await open_account(money, CONSUMER)
    made = await invited(money, credit_ms=HOUR_MS)
    invites = Invites(money.store, money.clock, AMPLE)

    first = await invites.redeem(CONSUMER, made.code.reveal())
    again = await invites.redeem(CONSUMER, made.code.reveal().lower().replace("-", " "))

    assert (first.amount, first.is_new, again.amount, again.is_new) == (500, True, 500, False)
    assert first.expires_ms == again.expires_ms == money.clock.now_ms() + HOUR_MS
    assert await state(money) == (500, 1, 1, 1)
    assert (await money.ledger.balance(CONSUMER)).withdrawable == 0


async def test_only_the_digest_of_a_code_is_stored(money: OpenMoney) -> None:
    made = await invited(money)
    (row,) = await money.all_of(Invite)
    assert row.code_hash == digest_of(made.code)
    plain = made.code.reveal()
    assert plain not in repr(row)
    assert plain not in repr(made)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize(("hook", "after"), [(APPLY_BEFORE_COMMIT, (0, 0, 0, 0)), (APPLY_AFTER_COMMIT, (500, 1, 1, 1))])
async def test_an_invite_is_used_and_credited_together_or_not_at_all(
    tmp_path: Path, kind: str, hook: str, after: tuple[int, int, int, int]
) -> None:
    armed = False

    def reach(name: str) -> None:
        if armed and name == hook:
            raise Killed

    with database_url(kind, tmp_path) as url:
        async with open_money(url, reach=reach) as money:
            await open_account(money, CONSUMER)
            made = await invited(money)
            invites = Invites(money.store, money.clock, AMPLE)
            armed = True
            with pytest.raises(Killed):
                await invites.redeem(CONSUMER, made.code.reveal())
            armed = False
            assert await state(money) == after
            assert (await invites.redeem(CONSUMER, made.code.reveal())).amount == 500
            assert await state(money) == (500, 1, 1, 1)


async def test_a_closed_or_unknown_account_cannot_redeem(money: OpenMoney) -> None:
    made = await invited(money)
    invites = Invites(money.store, money.clock, AMPLE)
    assert await refused(invites, CONSUMER, made.code.reveal()) == "account_not_found"
    await open_account(money, CONSUMER)
    await close_account(money, CONSUMER)
    with pytest.raises(AccessError):
        await invites.redeem(CONSUMER, made.code.reveal())
    assert await state(money) == (0, 0, 0, 0)


async def test_twenty_at_once_get_no_more_than_the_invite_allows(money: OpenMoney) -> None:
    owners = [await open_account(money, AccountId(CONSUMER + number)) for number in range(20)]
    made = await invited(money, uses_max=7)
    invites = Invites(money.store, money.clock, AMPLE)

    async def take(owner: AccountId) -> str:
        try:
            return "new" if (await invites.redeem(owner, made.code.reveal())).is_new else "old"
        except RequestError as error:
            return error.error_code

    assert sorted(await asyncio.gather(*(take(owner) for owner in owners))) == ["invite_over"] * 13 + ["new"] * 7
    balances = [(await money.ledger.balance(owner)).promo for owner in owners]
    assert sorted(balances) == [0] * 13 + [500] * 7
    assert (await money.all_of(Invite))[0].uses == 7


async def test_one_account_redeems_once_however_often_it_tries_at_once(money: OpenMoney) -> None:
    await open_account(money, CONSUMER)
    made = await invited(money, uses_max=9)
    invites = Invites(money.store, money.clock, AMPLE)
    answers = await asyncio.gather(*(invites.redeem(CONSUMER, made.code.reveal()) for _ in range(6)))
    assert sum(answer.is_new for answer in answers) == 1
    assert await state(money) == (500, 1, 1, 1)


async def test_an_account_uses_one_invite_and_no_second(money: OpenMoney) -> None:
    await open_account(money, CONSUMER)
    first, second = await invited(money), await invited(money)
    invites = Invites(money.store, money.clock, AMPLE)
    await invites.redeem(CONSUMER, first.code.reveal())
    assert await refused(invites, CONSUMER, second.code.reveal()) == "already_redeemed"
    assert (await money.ledger.balance(CONSUMER)).promo == 500


async def test_an_invite_that_ended_or_was_revoked_gives_nothing(money: OpenMoney) -> None:
    await open_account(money, CONSUMER)
    revoked, ended = await invited(money), await invited(money)
    invites = Invites(money.store, money.clock, AMPLE)
    assert await invites.revoke(revoked.invite.id) is not None
    assert await refused(invites, CONSUMER, revoked.code.reveal()) == "invite_over"
    await money.books.advance(3_600)
    assert await refused(invites, CONSUMER, ended.code.reveal()) == "invite_over"
    assert await invites.revoke(2) is None
    assert [row.id for row in await invites.list()] == [ended.invite.id, revoked.invite.id]
    assert [row.id for row in await invites.list(before=ended.invite.id)] == [revoked.invite.id]


async def test_guessing_is_slowed_down_for_each_account(money: OpenMoney) -> None:
    await open_account(money, CONSUMER)
    made = await invited(money)
    invites = Invites(money.store, money.clock, AMPLE)
    for _ in range(TRIES_BURST):
        assert await refused(invites, CONSUMER, "ABCDE-FGHJK-MNPQR-STVWX") == "invite_not_found"
    with pytest.raises(CapacityError):
        await invites.redeem(CONSUMER, made.code.reveal())
    await money.books.advance(361)
    assert (await invites.redeem(CONSUMER, made.code.reveal())).is_new


@pytest.mark.parametrize(
    "numbers",
    [
        {"amount": 0},
        {"amount": AMOUNT_MAX + 1},
        {"amount": 1.5},
        {"uses_max": 0},
        {"credit_ms": -1},
        {"expires_ms": 1},
        {"expires_ms": 2**62},
    ],
)
async def test_an_invite_out_of_bounds_is_not_made(money: OpenMoney, numbers: dict[str, int]) -> None:
    plain = {"amount": 5, "uses_max": 1, "credit_ms": 0, "expires_ms": money.clock.now_ms() + HOUR_MS}
    wanted = {**plain, **numbers}
    with pytest.raises(RequestError):
        await Invites(money.store, money.clock, AMPLE).create(wanted.pop("amount"), **wanted)
    assert await money.all_of(Invite) == []
