"""Account ids say whose they are, and never meet."""

from __future__ import annotations

import pytest

from hushnet.coordinator.ledger.chart import (
    COINS,
    OWNER_MAX,
    OWNER_MIN,
    AccountInfo,
    Floor,
    Kind,
    account_info,
    coin_account,
    is_operator,
    on_lane,
    operator_account,
    user_account,
)


def test_a_user_account_says_whose_it_is() -> None:
    for owner in (OWNER_MIN, 70_000, OWNER_MAX):
        for kind in (Kind.PROMO, Kind.PAID, Kind.EARNINGS, Kind.IN_TRANSIT, Kind.FROZEN):
            info = account_info(user_account(owner, kind))
            assert info == AccountInfo(owner, kind, "USD", 0, Floor.NEVER_NEGATIVE)
        assert account_info(user_account(owner, Kind.OWED)) == AccountInfo(
            owner, Kind.OWED, "USD", 0, Floor.NEVER_POSITIVE
        )


def test_an_operator_account_is_one_row_a_lane() -> None:
    revenue = operator_account(Kind.REVENUE)

    assert account_info(on_lane(revenue, 9)) == AccountInfo(0, Kind.REVENUE, "USD", 9, Floor.FREE)
    assert on_lane(on_lane(revenue, 9), 0) == revenue
    assert on_lane(user_account(70_000, Kind.PAID), 9) == user_account(70_000, Kind.PAID)


def test_users_and_operators_never_meet() -> None:
    lowest_user = user_account(OWNER_MIN, Kind(1))

    assert not is_operator(lowest_user)
    assert all(is_operator(operator_account(kind, 255)) for kind in Kind if kind >= Kind.REVENUE)
    assert is_operator(coin_account("USDC", "base", "gateway_fees", 255))


def test_a_coin_on_a_network_has_three_accounts_in_its_own_units() -> None:
    assert coin_account("BTC", "bitcoin", "coin") == 256 << 8
    assert coin_account("USDC", "base", "gateway_fees", 9) == (256 + 4 * 15 + 2) << 8 | 9
    for name in COINS:
        asset, _, network = name.partition(".")
        infos = [account_info(coin_account(asset, network, what, 3)) for what in ("coin", "fx_coin", "gateway_fees")]
        assert infos == [
            AccountInfo(0, kind, name, 3, Floor.FREE) for kind in (Kind.COIN, Kind.FX_COIN, Kind.GATEWAY_FEES)
        ]
    with pytest.raises(ValueError, match="not in"):
        coin_account("BTC", "base", "coin")


@pytest.mark.parametrize(
    "account",
    [259 << 8, 320 << 8, 255 << 8, 0, -1, True, "5", 15 << 8, 33 << 8, 70_000 << 4, 70_000 << 4 | 7, (1 << 63) | 1],
)
def test_no_other_number_is_an_account(account: object) -> None:
    assert account_info(account) is None  # type: ignore[arg-type]
