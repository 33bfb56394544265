"""Headers that pay: what the official client writes is read, and nothing else is."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushnet.coordinator.payments.x402.payload import (
    HEADER_BYTES_MAX,
    PaymentError,
    Scheme,
    payment_of,
    read_payment,
)
from hushnet.foundation.money import TRANSFER_MICRO_USD_MAX
from support.x402_peer import Account
from support.x402_shop import AMOUNT, PAY_TO, signed

WALLET = Account.from_key(b"\x01" * 32)
HEADERS = {
    (version, scheme): asyncio.run(signed(WALLET, version=version, scheme=scheme))
    for version, scheme in ((1, "exact"), (2, "exact"), (2, "upto"))
}


def changed(key: tuple[int, str], change: Callable[[Any], object]) -> bytes:
    document = json.loads(base64.b64decode(HEADERS[key]))
    change(document)
    return base64.b64encode(json.dumps(document).encode())


@pytest.mark.parametrize("key", HEADERS, ids=str)
def test_what_the_official_client_signs_is_read(key: tuple[int, str]) -> None:
    payment = read_payment(HEADERS[key], version=key[0])
    assert (payment.version, payment.scheme, payment.payer) == (*key, WALLET.address.lower())
    assert (payment.amount, payment.pay_to, payment.network.caip2) == (AMOUNT, PAY_TO, "eip155:84532")
    assert payment.is_signed_by_payer()


@pytest.mark.parametrize("key", HEADERS, ids=str)
def test_what_goes_on_is_what_was_signed(key: tuple[int, str]) -> None:
    payment = read_payment(HEADERS[key], version=key[0])
    sent = json.loads(base64.b64decode(HEADERS[key]))["payload"]
    assert json.loads(json.dumps(payment.inner()).lower()) == json.loads(json.dumps(sent).lower())
    stored = json.dumps(payment.inner()).encode()
    assert payment_of(payment.version, payment.network.caip2, payment.scheme, stored) == payment


@pytest.mark.parametrize("key", HEADERS, ids=str)
@pytest.mark.parametrize(
    "change",
    [
        {"amount": AMOUNT + 1},
        {"pay_to": "0x" + "66" * 20},
        {"payer": "0x" + "66" * 20},
        {"nonce": "0x" + "00" * 32},
        {"valid_before_s": 2_000_000_000},
        {"valid_after_s": 3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_is_changed_the_signature_is_no_longer_the_payers(
    key: tuple[int, str], change: dict[str, Any]
) -> None:
    assert not replace(read_payment(HEADERS[key], version=key[0]), **change).is_signed_by_payer()


def _authorization(document: Any) -> Any:
    return document["payload"]["authorization"]


BROKEN: dict[str, Callable[[Any], object]] = {
    "an amount that is a number": lambda d: _authorization(d).update(value=AMOUNT),
    "a fraction": lambda d: _authorization(d).update(value="5000.0"),
    "an exponent": lambda d: _authorization(d).update(value="5e3"),
    "a sign": lambda d: _authorization(d).update(value="+5000"),
    "a negative amount": lambda d: _authorization(d).update(value="-5000"),
    "a leading zero": lambda d: _authorization(d).update(value="05000"),
    "nothing": lambda d: _authorization(d).update(value="0"),
    "not a number": lambda d: _authorization(d).update(value="NaN"),
    "digits of another script": lambda d: _authorization(d).update(value="٥٠٠٠"),
    "an amount beyond all bounds": lambda d: _authorization(d).update(value=str(TRANSFER_MICRO_USD_MAX + 1)),
    "an amount of 256 bits": lambda d: _authorization(d).update(value=str((1 << 256) - 1)),
    "a time beyond all bounds": lambda d: _authorization(d).update(validBefore=str(1 << 60)),
    "a time that is a number": lambda d: _authorization(d).update(validAfter=0),
    "a short address": lambda d: _authorization(d).update(to="0x66"),
    "an address without 0x": lambda d: _authorization(d).update(to="66" * 21),
    "a short nonce": lambda d: _authorization(d).update(nonce="0x00"),
    "a nonce that is no hex": lambda d: _authorization(d).update(nonce="0x" + "zz" * 32),
    "a short signature": lambda d: d["payload"].update(signature="0x" + "11" * 64),
    "a wrapped signature": lambda d: d["payload"].update(signature="0x" + "11" * 320),
    "no signature": lambda d: d["payload"].pop("signature"),
    "a further member": lambda d: _authorization(d).update(spender="0x"),
    "no authorisation": lambda d: d["payload"].pop("authorization"),
    "another scheme": lambda d: d["accepted"].update(scheme="subscription"),
    "a scheme that it was not signed for": lambda d: d["accepted"].update(scheme="upto"),
    "an unknown network": lambda d: d["accepted"].update(network="eip155:1"),
    "a network that is a word": lambda d: d["accepted"].update(network="base"),
    "another asset": lambda d: d["accepted"].update(asset="0x" + "66" * 20),
    "another accepted amount": lambda d: d["accepted"].update(amount="1"),
    "another accepted recipient": lambda d: d["accepted"].update(payTo="0x" + "66" * 20),
    "an amount with decimals": lambda d: d["accepted"].update(amount="5000.00"),
    "no terms": lambda d: d.pop("accepted"),
    "another version": lambda d: d.update(x402Version=1),
    "a version that is text": lambda d: d.update(x402Version="2"),
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_a_broken_payment_is_none(change: Callable[[Any], object]) -> None:
    with pytest.raises(PaymentError):
        read_payment(changed((2, "exact"), change), version=2)


@pytest.mark.parametrize(
    ("member", "value"),
    [("spender", "0x" + "66" * 20), ("nonce", str(1 << 256)), ("nonce", "0x01"), ("deadline", "soon")],
)
def test_a_broken_permit_is_none(member: str, value: str) -> None:
    with pytest.raises(PaymentError):
        read_payment(
            changed((2, "upto"), lambda d: d["payload"]["permit2Authorization"].update({member: value})), version=2
        )


def test_a_permit_of_another_token_is_none() -> None:
    def other(document: Any) -> None:
        document["payload"]["permit2Authorization"]["permitted"]["token"] = "0x" + "66" * 20

    with pytest.raises(PaymentError):
        read_payment(changed((2, "upto"), other), version=2)


@pytest.mark.parametrize("version", [1, 2])
def test_a_payment_counts_only_in_the_header_of_its_version(version: int) -> None:
    with pytest.raises(PaymentError):
        read_payment(HEADERS[version, "exact"], version=3 - version)


def test_the_last_of_repeated_members_is_what_is_read_and_sent_on() -> None:
    """A facilitator that takes the first would see another payment; what it gets is made anew."""
    document = json.loads(base64.b64decode(HEADERS[2, "exact"]))
    first = json.dumps({**_authorization(document), "to": "0x" + "66" * 20})
    twice = json.dumps(document).replace('"authorization":', f'"authorization": {first}, "authorization":', 1)
    payment = read_payment(base64.b64encode(twice.encode()), version=2)
    assert (payment.pay_to, json.dumps(payment.inner()).count("authorization")) == (PAY_TO, 1)


def test_an_error_shows_nothing_that_was_sent() -> None:
    with pytest.raises(PaymentError) as caught:
        read_payment(changed((2, "exact"), lambda d: _authorization(d).update(value="canary")), version=2)
    assert "canary" not in str(caught.value) + caught.value.hint()


@given(st.binary(max_size=HEADER_BYTES_MAX + 8), st.sampled_from([1, 2]))
def test_no_header_breaks_the_reader(data: bytes, version: int) -> None:
    for header in (data, base64.b64encode(data)):
        with pytest.raises(PaymentError):
            read_payment(header, version=version)


@given(st.sampled_from(list(HEADERS)), st.integers(0, 2000), st.characters(min_codepoint=32, max_codepoint=126))
def test_a_changed_character_is_refused_or_is_not_what_was_signed(key: tuple[int, str], place: int, other: str) -> None:
    text = base64.b64decode(HEADERS[key]).decode()
    place %= len(text)
    header = base64.b64encode((text[:place] + other + text[place + 1 :]).encode())
    try:
        payment = read_payment(header, version=key[0])
    except PaymentError:
        return
    original = read_payment(HEADERS[key], version=key[0])
    assert payment == original or not payment.is_signed_by_payer()
    assert payment.scheme in Scheme
