"""The known answer of docs/sealing.md section 16: every value that is a function of fixed bytes."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hushnet.sealing import derivations
from hushnet.sealing.encoding import hkdf, pae
from hushnet.sealing.envelope import parse_envelope
from hushnet.sealing.header import decode_header, encode_header
from hushnet.sealing.identities import provider_id_of
from hushnet.sealing.meters import RECEIPT_TYPE, Meter
from hushnet.sealing.records import Head, Kind
from hushnet.sealing.suites import Suite, box_wrap, key_id_of, load_key_pair
from support.sealing import RecordForger, frame_plaintext, pack_entry, pack_envelope, pack_plaintext

HEADER = (
    b'{"commit":"1eaa8d43598528a9eaaf39fa55be82ca7c570cd9622f585443b380e55558e59f","endpoint":"/v1/chat/completions",'
    b'"exp":1800000180,"features":[],"iat":1800000000,"id":"707172737475767778797a7b7c7d7e7f","max_output_tokens":16,'
    b'"max_prompt_tokens":256,"model":"m","stream":true,"trust":"none","v":1}'
)


def run_of(start: int, size: int) -> bytes:
    return bytes((start + offset) % 256 for offset in range(size))


CONTENT_KEY, REPLY_KEY, NONCE = run_of(0x00, 32), run_of(0x20, 32), run_of(0x80, 32)
PAIR = load_key_pair(Suite.NACL_BOX, run_of(0xE0, 32))
PROVIDER_ID = provider_id_of("ed25519", run_of(0x40, 32))
BODY = AESGCM(derivations.body_key(CONTENT_KEY, HEADER)).encrypt(
    derivations.BODY_NONCE, pack_plaintext(b"{}", b"hello", bytes(64 - 8 - 2 - 5)), HEADER
)
DIGEST = derivations.request_digest(HEADER, BODY)
WRAP = box_wrap(
    PAIR.public_key,
    CONTENT_KEY + REPLY_KEY,
    context=derivations.wrap_context(Suite.NACL_BOX, PROVIDER_ID, PAIR.key_id, DIGEST),
    ephemeral=run_of(0xA0, 32),
    nonce=run_of(0xC0, 24),
)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_identifiers_are_those_of_the_known_answer() -> None:
    assert PROVIDER_ID.hex() == "adfaa96a13297e293b1fcd804d10d86ad6abc38e78141fa14ef80cc8543e30eb"
    assert PAIR.public_key.hex() == "736845d54e87de09d6bb114aa7042c50a4a015bd9901d1a0026f5956533a1519"
    assert PAIR.key_id.hex() == "c74a0107f04a31ab76d44d94001bc065"
    assert PAIR.key_id == key_id_of(Suite.NACL_BOX, PAIR.public_key)


def test_the_header_is_the_known_one_both_ways() -> None:
    header = decode_header(HEADER)
    assert encode_header(header) == HEADER
    assert header.commit == derivations.commitment(CONTENT_KEY)
    assert sha256(HEADER) == "713b8e9ae0c31d6d71a636eb3d6f07ad42bb3171c2c35ef48990d252bcf2bbf9"


def test_body_digest_and_wrap_are_the_known_ones() -> None:
    body_key = derivations.body_key(CONTENT_KEY, HEADER)
    assert body_key.hex() == "5e039c2700706b436760bd8057ba0943246b0f7071a0f2e26a4046a6874be8f9"
    assert sha256(BODY) == "a66ac4b868d3a94ccc729ed8ad78269a3c40bcb47ee6709312c34f5cdb75a6dd"
    assert DIGEST.hex() == "64cb76adf247d43ee9d0579e48a0bcc24511e1e19913e2c72e29da300c6b178e"
    assert sha256(WRAP) == "81bab45b556f405cdbb51d0dad65575ec77a439cd6c8c28a18b23ef7058b21ef"


def test_the_envelope_is_the_known_one() -> None:
    raw = pack_envelope(HEADER, [pack_entry(Suite.NACL_BOX, PROVIDER_ID, PAIR.key_id, WRAP)], BODY)
    assert len(raw) == 605
    assert sha256(raw) == "b46419a510fb4341b5fe599b6fbe66c626ac1a9c9c4ee898b292d77b68ccfd3f"
    envelope = parse_envelope(raw)
    assert envelope.request_digest == DIGEST
    assert envelope.select(0) == raw


def test_response_keys_and_records_are_the_known_ones() -> None:
    head = Head(Suite.NACL_BOX, PROVIDER_ID, PAIR.key_id, NONCE)
    frame_key, frame_iv = derivations.response_keys(
        CONTENT_KEY + REPLY_KEY, nonce=NONCE, suite=1, provider_id=PROVIDER_ID, key_id=PAIR.key_id, digest=DIGEST
    )
    assert frame_key.hex() == "eee811077f6273ea5f7a64c0837c603fcca360275b20341659caebd543a71b1f"
    assert frame_iv.hex() == "227078cce63888defaa6beee"
    forger = RecordForger(CONTENT_KEY + REPLY_KEY, head, DIGEST)
    assert sha256(forger.begin()) == "c5fdce371534bafe236fbed3db9c0734b59eef1f0f5cffefa553a93d83d47c6f"
    content = forger.record(Kind.CONTENT, 0, 1, plaintext=frame_plaintext(b"hi"))
    assert content.hex() == "030000000000000100000016e0cfe068a9e95197f82b13330b7085fdadf814ddd57f"


def test_receipt_bytes_are_the_known_ones() -> None:
    meter = Meter(5, 0, 1, 0).pack()
    signed = DIGEST + PROVIDER_ID + PAIR.key_id + NONCE + bytes((Kind.END,)) + (2).to_bytes(4, "big") + meter
    assert sha256(pae(RECEIPT_TYPE, signed)) == "7057aaec05e414c7ed141bfc9533c16043b8606dc46ec14f3a48b49852ca2dec"


def test_hkdf_is_the_one_of_the_rfc() -> None:
    okm = hkdf(
        bytes.fromhex("0b" * 22), salt=bytes(range(13)), info=bytes(range(0xF0, 0xFA)), size=42
    )  # RFC 5869, test case 1
    assert okm.hex() == ("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")
