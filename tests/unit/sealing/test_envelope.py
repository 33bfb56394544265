"""Section 15, the envelope's cases: what is not an envelope is refused before any cryptography."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace

import pytest

from hushnet.sealing.envelope import parse_envelope, read_meta, seal_request
from hushnet.sealing.errors import SealingError
from hushnet.sealing.limits import BODY_MAX, ENVELOPE_MAX
from hushnet.sealing.padding import padme_1k
from hushnet.sealing.suites import Suite
from support.sealing import (
    DATA,
    FIELDS,
    NOW,
    BenchProvider,
    RequestForger,
    pack_entry,
    pack_envelope,
    pack_plaintext,
    seal_to,
)

HOME = BenchProvider()
BOX = HOME.recipient(Suite.NACL_BOX)
FORGER = RequestForger([BOX])
RAW = FORGER.raw()
HEADER = FORGER.header_bytes
BODY = FORGER.body()
ENTRY = FORGER.entry(BOX, BODY)


def stranger(number: int) -> bytes:
    return pack_entry(Suite.NACL_BOX, bytes([number]) * 32, bytes(16), bytes(168))


def with_wrap(suite: Suite, size: int) -> bytes:
    return pack_envelope(HEADER, [pack_entry(suite, HOME.provider_id, BOX.key_id, bytes(size))], BODY)


STRUCTURE: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "wrong_magic": lambda: b"HXE1" + RAW[4:],
    "reserved_not_zero": lambda: pack_envelope(HEADER, [ENTRY], BODY, reserved=1),
    "reserved_not_zero_in_entry": lambda: pack_envelope(
        HEADER, [pack_entry(1, HOME.provider_id, BOX.key_id, bytes(168), reserved=1)], BODY
    ),
    "no_recipient": lambda: pack_envelope(HEADER, [], BODY),
    "nine_recipients": lambda: pack_envelope(HEADER, [stranger(number) for number in range(9)], BODY),
    "duplicate_provider": lambda: pack_envelope(HEADER, [stranger(1), stranger(2), stranger(1)], BODY),
    "trailing_byte": lambda: RAW + b"\0",
    "header_over_maximum": lambda: pack_envelope(HEADER.ljust(1025), [ENTRY], BODY),
    "header_under_minimum": lambda: pack_envelope(b"{", [ENTRY], BODY),
    "body_too_large": lambda: pack_envelope(HEADER, [ENTRY], bytes(BODY_MAX + 1)),
    "body_too_small": lambda: pack_envelope(HEADER, [ENTRY], bytes(23)),
    "more_than_any_envelope": lambda: bytes(ENVELOPE_MAX + 1),
    "wrap_length_of_other_suite": lambda: with_wrap(Suite.NACL_BOX, 112),
    "hpke_secret_too_short": lambda: with_wrap(Suite.HPKE_X25519, 111),
    "unknown_suite_without_wrap": lambda: pack_envelope(HEADER, [pack_entry(9, bytes(32), bytes(16), b"")], BODY),
    "unknown_suite_with_giant_wrap": lambda: pack_envelope(
        HEADER, [pack_entry(9, bytes(32), bytes(16), bytes(4097))], BODY
    ),
}


@pytest.mark.parametrize("name", STRUCTURE)
def test_what_is_not_an_envelope_is_refused_by_relay_and_provider_alike(name: str) -> None:
    raw = STRUCTURE[name]()
    with pytest.raises(SealingError) as relay:
        parse_envelope(raw)
    with pytest.raises(SealingError) as provider:
        HOME.open(raw)
    assert relay.value.error_code == provider.value.error_code == "bad_envelope"


def test_an_envelope_is_refused_when_truncated_at_every_length() -> None:
    case = "truncated_at_every_length"
    for length in range(len(RAW)):
        with pytest.raises(SealingError) as caught:
            parse_envelope(RAW[:length])
        assert caught.value.error_code == "bad_envelope", (case, length)


@pytest.mark.parametrize("digit", [b"0", b"2", b"9"])
def test_the_magic_of_a_future_version_is_an_unsupported_version(digit: bytes) -> None:
    case = "future_version"
    with pytest.raises(SealingError) as caught:
        HOME.open(b"HSE" + digit + RAW[4:])
    assert caught.value.error_code == "unsupported_version", case


def test_two_recipients_reach_a_relay_but_no_provider() -> None:
    case = "two_recipients_at_provider"
    raw = RequestForger([BOX, BenchProvider().recipient()]).raw()
    assert len(parse_envelope(raw).entries) == 2
    with pytest.raises(SealingError) as caught:
        HOME.open(raw)
    assert caught.value.error_code == "bad_envelope", case


def test_an_unknown_suite_is_forwarded_by_the_relay_and_refused_by_the_provider() -> None:
    case = "unknown_suite"
    raw = pack_envelope(HEADER, [pack_entry(9, HOME.provider_id, bytes(16), b"?")], BODY)
    assert parse_envelope(raw).select(0) == raw
    with pytest.raises(SealingError) as caught:
        HOME.open(raw)
    assert caught.value.error_code == "unsupported_suite", case


INSIDE: dict[str, bytes] = {
    "inner_lengths_overrun": struct.pack(">II", 2, 100) + b"{}" + DATA,
    "inner_lengths_overrun_by_the_largest": struct.pack(">II", 2**32 - 1, 2**32 - 1) + b"{}" + DATA,
    "inner_meta_too_long": pack_plaintext(b'{"a":"' + b"x" * 4089 + b'"}', DATA),
    "inner_padding_not_zero": pack_plaintext(b"{}", DATA, bytes(9) + b"\1"),
    "inner_padding_not_zero_at_once": pack_plaintext(b"{}", DATA, b"\1" + bytes(9)),
    "meta_is_not_json": pack_plaintext(b"{", DATA),
    "meta_is_not_an_object": pack_plaintext(b"[]", DATA),
    "meta_is_empty": pack_plaintext(b"", DATA),
    "meta_is_nested_deeply": pack_plaintext(b'{"a":' + b"[" * 4000, DATA),
    "meta_asks_for_odd_frames": pack_plaintext(b'{"frame_pad":3}', DATA),
    "meta_asks_for_giant_frames": pack_plaintext(b'{"frame_pad":8192}', DATA),
    "meta_asks_for_no_frames": pack_plaintext(b'{"frame_pad":0}', DATA),
    "meta_has_a_boolean_pad": pack_plaintext(b'{"frame_pad":true}', DATA),
    "meta_has_bad_headers": pack_plaintext(b'{"headers":{"a":1}}', DATA),
    "meta_has_a_bad_salt": pack_plaintext(b'{"cache_salt":"00"}', DATA),
}


@pytest.mark.parametrize("name", INSIDE)
def test_what_does_not_fit_inside_is_refused_and_burns_no_id(name: str) -> None:
    forger = RequestForger([BOX], plaintext=INSIDE[name])
    with pytest.raises(SealingError) as caught:
        HOME.open(forger.raw())
    assert caught.value.error_code == "bad_envelope"
    assert forger.header.id not in HOME.cache


def test_the_longest_meta_opens() -> None:
    home = BenchProvider()
    meta = b'{"a":"' + b"x" * 4088 + b'"}'
    assert len(meta) == 4096
    request = home.open(RequestForger([home.recipient()], plaintext=pack_plaintext(meta, DATA)).raw())
    assert len(request.meta["a"]) == 4088


@pytest.mark.parametrize("suite", Suite)
def test_a_request_opens_under_every_suite(suite: Suite) -> None:
    home = BenchProvider()
    meta = {"frame_pad": 64, "headers": {"anthropic-version": "2023-06-01"}, "cache_salt": "00" * 16, "later": [1]}
    sealed = seal_request(FIELDS, meta=meta, data=DATA, recipients=[home.recipient(suite)], now=NOW)
    request = home.open(sealed.raw)
    assert (request.data, request.meta, request.frame_pad) == (DATA, meta, 64)
    assert request.header == sealed.header
    assert request.digest == sealed.digest == parse_envelope(sealed.raw).request_digest


def test_each_of_eight_recipients_opens_its_own_attempt() -> None:
    homes = [BenchProvider() for _ in range(8)]
    suites = list(Suite) * 3
    sealed = seal_to(*(home.recipient(suite) for home, suite in zip(homes, suites, strict=False)))
    envelope = parse_envelope(sealed.raw)
    assert [entry.provider_id for entry in envelope.entries] == [home.provider_id for home in homes]
    for index, home in enumerate(homes):
        assert home.open(envelope.select(index)).data == DATA


def test_bodies_are_padded_by_default_and_up_to_the_largest() -> None:
    home = BenchProvider()
    recipient = home.recipient()
    small = seal_request(FIELDS, meta={}, data=b"x", recipients=[recipient], now=NOW)
    assert len(parse_envelope(small.raw).body) == 1024 + 16
    largest = seal_request(FIELDS, meta={}, data=bytes(BODY_MAX - 16 - 8 - 2), recipients=[recipient], now=NOW)
    assert len(parse_envelope(largest.raw).body) == BODY_MAX
    assert len(home.open(largest.raw).data) == BODY_MAX - 26


@pytest.mark.parametrize("size", [1024, 20_000, 1_000_000])
def test_a_padded_body_has_the_padded_size(size: int) -> None:
    sealed = seal_request(FIELDS, meta={}, data=bytes(size), recipients=[BOX], now=NOW)
    assert len(parse_envelope(sealed.raw).body) == padme_1k(8 + 2 + size) + 16


REFUSED_TO_SEAL = {
    "no_recipients": ([], {}, DATA, "bad_recipients"),
    "nine": ([replace(BOX, provider_id=bytes([number]) * 32) for number in range(9)], {}, DATA, "bad_recipients"),
    "one_twice": ([BOX, replace(BOX, suite=Suite.HPKE_X25519)], {}, DATA, "bad_recipients"),
    "statement_expired": ([replace(BOX, expires_at=NOW)], {}, DATA, "bad_recipients"),
    "low_order_key": ([replace(BOX, public_key=bytes(32))], {}, DATA, "key_low_order"),
    "low_order_hpke_key": (
        [replace(BOX, suite=Suite.HPKE_X25519, public_key=bytes(32))],
        {},
        DATA,
        "key_low_order",
    ),
    "malformed_hybrid_key": (
        [replace(BOX, suite=Suite.HPKE_MLKEM768_X25519, public_key=b"\xff" * 1216)],
        {},
        DATA,
        "key_malformed",
    ),
    "meta_too_long": ([BOX], {"a": "x" * 4090}, DATA, "bad_envelope"),
    "meta_with_odd_pad": ([BOX], {"frame_pad": 48}, DATA, "bad_envelope"),
    "data_too_long": ([BOX], {}, bytes(BODY_MAX), "bad_envelope"),
}


@pytest.mark.parametrize("name", REFUSED_TO_SEAL)
def test_a_client_refuses_to_seal_what_nobody_may_open(name: str) -> None:
    recipients, meta, data, code = REFUSED_TO_SEAL[name]
    with pytest.raises(SealingError) as caught:
        seal_request(FIELDS, meta=meta, data=data, recipients=recipients, now=NOW)
    assert caught.value.error_code == code


@pytest.mark.parametrize(
    "fields",
    [
        replace(FIELDS, endpoint="/v1/other"),
        replace(FIELDS, model="two words"),
        replace(FIELDS, max_output_tokens=0),
        replace(FIELDS, features=("tools", "audio")),
        replace(FIELDS, trust="much"),
        replace(FIELDS, cache=b"short"),
    ],
)
def test_a_client_refuses_to_seal_a_header_outside_its_table(fields: object) -> None:
    with pytest.raises(SealingError) as caught:
        seal_to(BOX, fields=fields)  # type: ignore[arg-type]
    assert caught.value.error_code == "bad_header"


def test_the_meta_reader_keeps_unknown_members_and_tells_the_pad() -> None:
    assert read_meta(b'{"frame_pad":16,"x":{"y":[null]}}') == ({"frame_pad": 16, "x": {"y": [None]}}, 16)
    assert read_meta(b"{}") == ({}, 1)


def test_two_seals_of_one_request_share_no_id_key_or_byte_of_body() -> None:
    first, second = seal_to(BOX), seal_to(BOX)
    assert first.header.id != second.header.id
    assert first.header.commit != second.header.commit
    assert bytes(parse_envelope(first.raw).body) != bytes(parse_envelope(second.raw).body)


def test_recipients_of_one_request_share_the_content_key_and_no_reply_key() -> None:
    sealed = seal_to(HOME.recipient(), BenchProvider().recipient())
    first, second = (recipient.secret for recipient in sealed.recipients)
    assert first[:32] == second[:32]
    assert first[32:] != second[32:]
