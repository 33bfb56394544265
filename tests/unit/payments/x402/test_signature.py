"""Signatures: what eth-account signs is recovered, what differs in anything is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushnet.coordinator.payments.x402.signature import checksummed, is_checksum_right, keccak, signer_of
from support.x402_peer import Account, to_checksum_address
from support.x402_peer import keccak as eth_keccak

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
WALLET = Account.from_key(b"\x01" * 32)
DIGEST = bytes(range(32))
SIGNATURE = bytes(WALLET.unsafe_sign_hash(DIGEST).signature)


@given(st.integers(1, ORDER - 1), st.binary(min_size=32, max_size=32))
def test_the_signer_is_recovered(secret: int, digest: bytes) -> None:
    wallet = Account.from_key(secret.to_bytes(32, "big"))
    assert signer_of(digest, bytes(wallet.unsafe_sign_hash(digest).signature)) == wallet.address.lower()


@given(st.integers(0, 64), st.integers(1, 255))
def test_a_changed_byte_is_not_the_signers(place: int, change: int) -> None:
    changed = bytearray(SIGNATURE)
    changed[place] ^= change
    assert signer_of(DIGEST, bytes(changed)) != WALLET.address.lower()


def test_the_mirrored_signature_is_refused() -> None:
    """USDC's contract refuses `s` in the upper half; otherwise one payment had two signatures."""
    s = ORDER - int.from_bytes(SIGNATURE[32:64], "big")
    assert signer_of(DIGEST, SIGNATURE[:32] + s.to_bytes(32, "big") + bytes([55 - SIGNATURE[64]])) is None


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        SIGNATURE[:64],
        SIGNATURE + b"\x1b",
        SIGNATURE[:64] + bytes([SIGNATURE[64] - 27]),
        bytes(32) + SIGNATURE[32:],
        SIGNATURE[:32] + bytes(32) + SIGNATURE[64:],
        b"\xff" * 32 + SIGNATURE[32:],
        bytes(64) + b"\x1b",
    ],
    ids=["empty", "short", "long", "v of 0", "r of 0", "s of 0", "r beyond the order", "zeros"],
)
def test_what_is_no_signature_has_no_signer(signature: bytes) -> None:
    assert signer_of(DIGEST, signature) is None


@given(st.binary(max_size=300))
def test_digests_are_ethereums(data: bytes) -> None:
    assert keccak(data) == eth_keccak(data)


@given(st.binary(min_size=20, max_size=20))
def test_checksums_are_ethereums(address: bytes) -> None:
    text = "0x" + address.hex()
    assert checksummed(text) == to_checksum_address(text)
    assert is_checksum_right(checksummed(text))
    assert is_checksum_right(text)


def test_a_mistyped_capital_is_seen() -> None:
    assert not is_checksum_right("0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913".replace("fCD6", "fcD6"))
