"""Codes as people type them, and the order in which promo credit counts as spent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushnet.coordinator.incentives.codes import (
    digest_of,
    new_invite_code,
    new_referral_code,
    read_invite_code,
    read_referral_code,
)
from hushnet.coordinator.incentives.grants import unspent
from hushnet.coordinator.incentives.model import PromoGrant
from hushnet.foundation.errors import RequestError


def test_a_code_is_read_however_it_was_typed() -> None:
    code = new_invite_code()
    plain = code.reveal()
    sloppy = plain.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    for text in (plain, plain.replace("-", ""), sloppy, f"  {plain}  "):
        assert digest_of(read_invite_code(text)) == digest_of(code)


def test_a_referral_code_is_read_as_it_is_stored() -> None:
    code = new_referral_code()
    assert read_referral_code(code.lower().replace("-", "")) == code


@pytest.mark.parametrize("text", ["", "ABCDE", "ABCDE-FGHJK", "UUUUU-UUUUU-UUUUU-UUUUU", "é" * 20, "0" * 21, "A" * 65])
def test_what_cannot_be_an_invite_is_refused_without_a_look(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_invite_code(text)
    assert caught.value.error_code == "invite_not_found"


def test_codes_are_long_enough_and_never_alike() -> None:
    codes = {new_invite_code().reveal() for _ in range(500)}
    assert len(codes) == 500
    assert {len(code.replace("-", "")) for code in codes} == {20}


def grant(number: int, amount: int, expired: int | None = None) -> PromoGrant:
    return PromoGrant(id=number, grant_key=str(number), owner=1, amount=amount, expired=expired, at_ms=number)


@given(st.lists(st.tuples(st.integers(1, 1_000), st.booleans()), max_size=8), st.data())
def test_what_is_left_of_grants_never_exceeds_what_was_not_spent(
    amounts: list[tuple[int, bool]], data: st.DataObject
) -> None:
    grants = [
        grant(number, amount, data.draw(st.integers(0, amount)) if is_over else None)
        for number, (amount, is_over) in enumerate(amounts)
    ]
    taken_back = sum(each.expired or 0 for each in grants)
    spent = data.draw(st.integers(0, sum(each.amount for each in grants) - taken_back))
    left = unspent(grants, debits=spent + taken_back)

    open_ = [each for each in grants if each.expired is None]
    assert all(0 <= left[each.id] <= each.amount for each in open_)
    assert sum(left.values()) <= sum(each.amount for each in grants) - taken_back - spent
    whole = [left[each.id] == each.amount for each in open_]
    assert whole == sorted(whole), "none is begun while an older one is whole"
