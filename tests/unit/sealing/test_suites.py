"""Suites, keys, padding and the small encodings under everything."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hushnet.sealing import suites
from hushnet.sealing.encoding import decode_base64, decode_hex, encode_base64, hkdf, label, pae
from hushnet.sealing.padding import is_frame_pad, is_zero, padme_1k
from hushnet.sealing.suites import PREFERENCE, Suite, available_suites, chosen_suite, generate_key_pair, key_id_of


@pytest.mark.parametrize(
    ("suite", "number", "name", "public", "wrap"),
    [
        (Suite.NACL_BOX, 1, "nacl-box", 32, 168),
        (Suite.HPKE_X25519, 2, "hpke-x25519", 32, 112),
        (Suite.HPKE_MLKEM768_X25519, 3, "hpke-mlkem768-x25519", 1216, 1200),
    ],
)
def test_suites_are_those_of_the_registry(suite: Suite, number: int, name: str, public: int, wrap: int) -> None:
    assert (int(suite), suite.label, suite.public_key_size, suite.wrap_size) == (number, name, public, wrap)
    assert Suite.of_label(name) is suite
    pair = generate_key_pair(suite)
    assert len(pair.public_key) == public
    assert pair.key_id == key_id_of(suite, pair.public_key)
    assert len(suites.wrap(suite, pair.public_key, bytes(64), context=b"context")) == wrap
    assert generate_key_pair(suite).public_key != pair.public_key


def test_the_strongest_suite_comes_first_and_unknown_names_are_none() -> None:
    assert PREFERENCE == (Suite.HPKE_MLKEM768_X25519, Suite.HPKE_X25519, Suite.NACL_BOX)
    assert Suite.of_label("later") is None
    assert set(available_suites()) == set(Suite)


def test_a_library_without_mlkem_reports_the_hybrid_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: bytes) -> MLKEM768PrivateKey:
        raise UnsupportedAlgorithm("no ML-KEM here")

    monkeypatch.setattr(suites.MLKEM768PrivateKey, "from_seed_bytes", refuse)
    available_suites.cache_clear()
    try:
        assert available_suites() == PREFERENCE[1:]
        assert chosen_suite(PREFERENCE, PREFERENCE) is Suite.HPKE_X25519
        assert chosen_suite(PREFERENCE, [Suite.HPKE_MLKEM768_X25519]) is None
    finally:
        available_suites.cache_clear()


def test_a_key_id_names_suite_and_key() -> None:
    ids = {key_id_of(suite, key) for suite in Suite for key in (bytes(32), b"\1" * 32)}
    assert len(ids) == 6


@pytest.mark.parametrize(
    ("size", "padded"),
    [
        (0, 1024),
        (1, 1024),
        (1024, 1024),
        (1025, 2048),
        (16384, 16384),
        (16385, 17408),
        (100_000, 100_352),
        (1_000_000, 1_015_808),
        (16_000_000, 16_252_928),
    ],
)
def test_bodies_are_padded_to_kibibytes_and_then_by_padme(size: int, padded: int) -> None:
    assert padme_1k(size) == padded


def test_padding_grows_with_its_input_and_costs_at_most_seven_per_cent_above_16_kib() -> None:
    sizes = [*range(16_384, 70_000, 37), *range(70_000, 2**24, 99_991)]
    padded = [padme_1k(size) for size in sizes]
    assert padded == sorted(padded)
    assert all(size <= result <= size * 1.07 for size, result in zip(sizes, padded, strict=True))
    assert all(padme_1k(result) == result for result in padded)


def test_record_pads_are_powers_of_two() -> None:
    assert [value for value in range(-2, 10_000) if is_frame_pad(value)] == [2**power for power in range(13)]
    assert not any(is_frame_pad(value) for value in (True, 1.0, "1", None))


def test_zeros_are_told_from_anything_else() -> None:
    assert is_zero(b"\1\0\0", 1)
    assert is_zero(b"\1", 1)
    assert not is_zero(b"\0\1\0", 1)
    assert not is_zero(b"\0\0\1", 1)


@pytest.mark.parametrize("size", [1, 32, 33, 44, 64, 100])
@pytest.mark.parametrize("salt", [b"", b"salt" * 8])
def test_hkdf_agrees_with_the_library(size: int, salt: bytes) -> None:
    expected = HKDF(hashes.SHA256(), size, salt or None, b"info").derive(b"ikm" * 20)
    assert hkdf(b"ikm" * 20, salt=salt, info=b"info", size=size) == expected


def test_hkdf_extracts_with_32_zeros_where_there_is_no_salt() -> None:
    key = hmac.digest(bytes(32), b"ikm", "sha256")
    assert hkdf(b"ikm", salt=b"", info=b"", size=32) == hmac.digest(key, b"\1", "sha256")


def test_labels_and_pae_frame_what_they_hold() -> None:
    assert label("wrap") == b"hushnet/1 wrap\0"
    assert pae("a", b"bc") == b"DSSEv1 1 a 2 bc"
    assert pae("ä", b"") == "DSSEv1 2 ä 0 ".encode()
    assert hashlib.sha256(pae("a", b"b c")).digest() != hashlib.sha256(pae("a b", b"c")).digest()


def test_text_forms_have_one_spelling() -> None:
    assert decode_hex("00ff", 2) == b"\0\xff"
    for text in ("00FF", "00f", "00ff00", "00fg", " 0ff", "", "0\n00"):
        assert decode_hex(text, 2) is None
    assert decode_base64(encode_base64(b"\0\xff")) == b"\0\xff"
    assert decode_base64("") == b""
    for text in ("AP8", "AP9=", "AP8=\n", " AP8=", "AP8==", "A_8=", "ÄP8=", "====", "AP8=AP8="):
        assert decode_base64(text) is None
