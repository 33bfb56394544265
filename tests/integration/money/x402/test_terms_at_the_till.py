"""Payments that are not what was asked for: told the terms again, and nobody is asked anything about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from hushnet.coordinator.payments.x402.networks import NETWORKS
from hushnet.coordinator.payments.x402.payload import Payment, read_payment
from hushnet.coordinator.payments.x402.purchases import Due
from support.x402_peer import Account
from support.x402_shop import AMOUNT, OFFER, PAY_TO, Shop, altered, payment_by, signed

STRANGER = "0x" + "66" * 20


async def untouched(shop: Shop, payment: Payment, reason: str, **how: Any) -> None:
    assert await shop.buy(payment, **how) == Due(reason)
    assert (shop.facilitator.asked, await shop.rows(), shop.earned) == ([], [], 0)


@pytest.mark.parametrize("amount", [AMOUNT - 1, AMOUNT + 1, 1])
async def test_another_amount_is_not_taken(shop: Shop, amount: int) -> None:
    await untouched(shop, await payment_by(shop.account, amount=amount), "amount_mismatch")


async def test_another_recipient_is_not_taken(shop: Shop) -> None:
    payment = await payment_by(shop.account, offer=replace(OFFER, pay_to=STRANGER))
    await untouched(shop, payment, "payment_mismatch")


async def test_another_network_is_not_taken(shop: Shop) -> None:
    other = replace(await payment_by(shop.account), network=NETWORKS["eip155:8453"])
    assert not other.is_signed_by_payer(), "the network is part of what is signed"
    await untouched(shop, other, "invalid_signature")


async def test_another_facilitator_is_not_taken(shop: Shop) -> None:
    payment = await payment_by(shop.account, scheme="upto", offer=replace(OFFER, facilitator=STRANGER))
    await untouched(shop, payment, "unsupported_scheme")


@pytest.mark.parametrize(
    "change",
    [
        {"value": str(AMOUNT * 2)},
        {"to": STRANGER},
        {"from": STRANGER},
        {"validBefore": "9999999999"},
        {"validAfter": "1"},
        {"nonce": "0x" + "00" * 32},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_what_was_altered_after_signing_is_not_taken(shop: Shop, change: dict[str, str]) -> None:
    header = altered(await signed(shop.account, version=1), **change)
    await untouched(shop, read_payment(header, version=1), "invalid_signature")


@pytest.mark.parametrize(
    ("shift_s", "reason"),
    [
        (lambda now: 115, "payment_expired"),
        (lambda now: 100_000, "payment_expired"),
        (lambda now: -1000, "payment_valid_too_long"),
    ],
)
async def test_a_payment_out_of_its_time_is_not_taken(shop: Shop, shift_s: Callable[[int], int], reason: str) -> None:
    payment = await payment_by(shop.account)
    shop.money.clock._now_ms += shift_s(0) * 1000
    if shift_s(0) > 0:
        await shop.money.ledger.renew()
    await untouched(shop, payment, reason)


async def test_a_payment_that_is_not_yet_valid_is_not_taken(shop: Shop) -> None:
    payment = await payment_by(shop.account, version=1)
    shop.money.clock._now_ms -= 700_000
    await untouched(shop, payment, "payment_not_yet_valid")


async def test_a_stranger_learns_nothing_of_anothers_payment(shop: Shop) -> None:
    payment = await payment_by(shop.account)
    await shop.close(await shop.bought(payment), 100)
    forged = replace(
        payment, signature="0x" + Account.from_key(b"\x09" * 32).unsafe_sign_hash(bytes(32)).signature.hex()
    )
    assert await shop.buy(forged) == Due("invalid_signature")
    assert payment.pay_to == PAY_TO
