"""The discovery document."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from hushnet.sealing.errors import SealingError
from hushnet.sealing.statements import (
    KeyPolicy,
    ListedProvider,
    SerialMemory,
    decode_listing,
    encode_listing,
    verify_keys,
)
from support.sealing import NETWORK, NOW, BenchProvider

HOMES = [BenchProvider() for _ in range(2)]
RAW = encode_listing(
    [
        ListedProvider(home.provider_id, "measured", ("m", "n"), 3, home.statement, ({"kind": "tpm2"},))
        for home in HOMES
    ],
    network=NETWORK,
    now=NOW,
)


def test_a_listing_survives_the_round_trip_and_its_entries_verify() -> None:
    listing = decode_listing(RAW)
    assert (listing.v, listing.network, listing.time, listing.max_recipients) == (1, NETWORK, NOW, 8)
    serials = SerialMemory()
    recipients = [verify_keys(entry, KeyPolicy(NETWORK), NOW, serials) for entry in listing.providers]
    assert [recipient.provider_id for recipient in recipients] == [home.provider_id for home in HOMES]


def test_a_listing_has_the_members_of_the_text() -> None:
    document = json.loads(RAW)
    assert document.keys() == {"v", "network", "time", "max_recipients", "header_versions", "providers"}
    assert document["providers"][0].keys() == {"provider", "trust", "models", "load", "statement", "evidence"}
    assert document["providers"][0]["models"] == ["m", "n"]


def edited(edit: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(RAW)
    edit(document)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "statement_malformed"),
        (b"[]", "statement_malformed"),
        (b"{}", "statement_malformed"),
        (b"[" * 2000, "statement_malformed"),
        (b" " * (1024 * 1024 + 1), "statement_malformed"),
        (RAW.ljust(1024 * 1024 + 1), "statement_malformed"),
        (edited(lambda document: document.update(providers=[1])), "statement_malformed"),
        (edited(lambda document: document.update(time="now")), "statement_malformed"),
        (edited(lambda document: document.update(v=2)), "unsupported_version"),
        (edited(lambda document: document.update(header_versions=[2])), "unsupported_version"),
    ],
)
def test_what_is_no_listing_is_refused(raw: bytes, code: str) -> None:
    with pytest.raises(SealingError) as caught:
        decode_listing(raw)
    assert caught.value.error_code == code


def test_the_largest_listing_is_read() -> None:
    assert len(decode_listing(RAW.ljust(1024 * 1024)).providers) == 2


def test_an_empty_listing_is_one() -> None:
    assert decode_listing(encode_listing([], network=NETWORK, now=NOW)).providers == []
