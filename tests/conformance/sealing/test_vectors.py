"""Every byte of the independent vectors opens, verifies and, where it is deterministic, is remade."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hushnet.sealing import derivations
from hushnet.sealing.encoding import hkdf, pae
from hushnet.sealing.envelope import RecipientSecrets, SealedRequest, parse_envelope
from hushnet.sealing.header import encode_header
from hushnet.sealing.keyring import Keyring
from hushnet.sealing.limits import KEY_GRACE
from hushnet.sealing.meters import sign_receipt, verify_receipt
from hushnet.sealing.opening import FrameOpener, OpenedRequest, open_request
from hushnet.sealing.records import Kind, parse_head, parse_record, split_records
from hushnet.sealing.records.sealer import FrameSealer
from hushnet.sealing.replay import ReplayCache
from hushnet.sealing.statements import KeyPolicy, Recipient, SerialMemory, Statement, verify_keys, verify_statement
from hushnet.sealing.streaming import BinaryRecordReader, SseRecordReader, encode_sse
from hushnet.sealing.suites import PREFERENCE, Suite, key_id_of, load_key_pair
from support.sealing import Ed25519Signer

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent.parent / "vectors" / "sealing-v1.json").read_text("utf-8"))
NOW: int = VECTORS["now"]
PROVIDERS: list[dict[str, Any]] = VECTORS["providers"]
NETWORK = "hushnet-test"


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


CASES = [pytest.param(case, id=case["suite"]) for case in VECTORS["cases"]]
ATTEMPTS = [
    pytest.param(case, index, id=f"{case['suite']}-provider{index}")
    for case in VECTORS["cases"]
    for index in range(len(case["attempts"]))
]


def keyring_of(provider: dict[str, Any]) -> Keyring:
    pairs = [load_key_pair(suite, unhex(provider["private"][suite.label])) for suite in Suite]
    keyring = Keyring(Ed25519Signer(), network=NETWORK)
    receipt_key = Ed25519PrivateKey.from_private_bytes(unhex(provider["receipt_private"]))
    keyring.hold(pairs, receipt_key=receipt_key, expires_at=NOW + KEY_GRACE)
    return keyring


def recipient_of(provider: dict[str, Any], suite: Suite) -> Recipient:
    listing = {"provider": provider["provider"], "statement": provider["statement"]}
    return verify_keys(listing, KeyPolicy(NETWORK, suites=(suite,)), NOW, SerialMemory())


def sealed_of(case: dict[str, Any]) -> SealedRequest:
    envelope = parse_envelope(unhex(case["envelope"]))
    suite = Suite.of_label(case["suite"])
    assert suite is not None
    kept = []
    for provider, reply_key in zip(PROVIDERS, case["reply_keys"], strict=True):
        recipient = recipient_of(provider, suite)
        secret = unhex(case["content_key"]) + unhex(reply_key)
        kept.append(
            RecipientSecrets(suite, recipient.provider_id, recipient.key_id, recipient.receipt_key, secret=secret)
        )
    return SealedRequest(
        raw=envelope.raw,
        header=envelope.header,
        digest=envelope.request_digest,
        recipients=tuple(kept),
        frame_pad=json.loads(case["meta"])["frame_pad"],
    )


def opened(case: dict[str, Any], index: int) -> OpenedRequest:
    return open_request(
        unhex(case["attempts"][index]["envelope"]),
        provider_id=unhex(PROVIDERS[index]["provider"]),
        keyring=keyring_of(PROVIDERS[index]),
        cache=ReplayCache(),
        now=NOW,
    )


def test_the_vectors_are_those_of_this_protocol_and_cover_all_suites() -> None:
    assert VECTORS["protocol"] == "hushnet sealing 1"
    assert {case["suite"] for case in VECTORS["cases"]} == {suite.label for suite in Suite}


def test_primitives_agree() -> None:
    vector = VECTORS["hkdf"]
    okm = hkdf(unhex(vector["ikm"]), salt=unhex(vector["salt"]), info=unhex(vector["info"]), size=vector["len"])
    assert okm.hex() == vector["okm"]
    assert pae(VECTORS["pae"]["type"], VECTORS["pae"]["body"].encode()).hex() == VECTORS["pae"]["pae"]


@pytest.mark.parametrize("provider", PROVIDERS, ids=["provider0", "provider1"])
def test_statements_verify_and_name_the_private_keys(provider: dict[str, Any]) -> None:
    statement = Statement.from_json_object(provider["statement"])
    verified = verify_statement(
        statement, network=NETWORK, now=NOW, provider_id=unhex(provider["provider"]), serials=SerialMemory()
    )
    assert statement.to_json_object() == provider["statement"]
    assert statement.digest().hex() == verified.digest.hex() == provider["statement_digest"]
    assert verified.identity_public_key.hex() == provider["identity_public"]
    assert verified.receipt_key == unhex(provider["receipt_public"])
    assert {key.suite for key in verified.keys} == set(PREFERENCE)
    for key in verified.keys:
        pair = load_key_pair(key.suite, unhex(provider["private"][key.suite.label]))
        assert (pair.public_key, pair.key_id) == (key.public_key, key.key_id)
        assert key.key_id == key_id_of(key.suite, key.public_key)


@pytest.mark.parametrize("provider", PROVIDERS, ids=["provider0", "provider1"])
def test_the_hybrid_private_key_is_the_expanded_x_wing_seed(provider: dict[str, Any]) -> None:
    expanded = hashlib.shake_256(unhex(provider["xwing_seed"])).digest(96)
    assert expanded.hex() == provider["private"]["hpke-mlkem768-x25519"]


@pytest.mark.parametrize("case", CASES)
def test_envelopes_parse_and_select_to_the_attempts(case: dict[str, Any]) -> None:
    envelope = parse_envelope(unhex(case["envelope"]))
    assert envelope.header_bytes.decode() == case["header"]
    assert encode_header(envelope.header) == envelope.header_bytes
    assert hashlib.sha256(envelope.header_bytes).hexdigest() == case["header_hash"]
    assert envelope.request_digest.hex() == case["digest"]
    assert envelope.header.commit == derivations.commitment(unhex(case["content_key"]))
    assert derivations.body_key(unhex(case["content_key"]), envelope.header_bytes).hex() == case["body_key"]
    for index, attempt in enumerate(case["attempts"]):
        entry = envelope.entries[index]
        assert envelope.select(index).hex() == attempt["envelope"]
        context = derivations.wrap_context(entry.suite_id, entry.provider_id, entry.key_id, envelope.request_digest)
        assert context.hex() == attempt["wrap_context"]


@pytest.mark.parametrize("case", CASES)
def test_the_body_is_remade_byte_for_byte(case: dict[str, Any]) -> None:
    envelope = parse_envelope(unhex(case["envelope"]))
    meta, data = case["meta"].encode(), unhex(case["data"])
    plaintext = struct.pack(">II", len(meta), len(data)) + meta + data
    plaintext += bytes(len(envelope.body) - 16 - len(plaintext))
    body = AESGCM(unhex(case["body_key"])).encrypt(derivations.BODY_NONCE, plaintext, envelope.header_bytes)
    assert body == envelope.body


@pytest.mark.parametrize(("case", "index"), ATTEMPTS)
def test_each_provider_opens_its_attempt(case: dict[str, Any], index: int) -> None:
    request = opened(case, index)
    assert request.data == unhex(case["data"])
    assert request.meta == json.loads(case["meta"])
    assert request.digest.hex() == case["digest"]


@pytest.mark.parametrize(("case", "index"), ATTEMPTS)
def test_each_answer_opens_record_by_record(case: dict[str, Any], index: int) -> None:
    attempt = case["attempts"][index]
    opener = FrameOpener(sealed_of(case))
    for raw, plain in zip(attempt["records"], attempt["plain"], strict=True):
        frame = opener.open(unhex(raw))
        assert frame is not None
        assert frame.data == unhex(plain)
    opener.finish()
    assert opener.provider_id == unhex(PROVIDERS[index]["provider"])
    assert opener.receipt is not None


@pytest.mark.parametrize(("case", "index"), ATTEMPTS)
def test_response_keys_agree(case: dict[str, Any], index: int) -> None:
    attempt = case["attempts"][index]
    head = parse_head(parse_record(unhex(attempt["records"][0])))
    assert head.nonce.hex() == attempt["nonce"]
    frame_key, frame_iv = derivations.response_keys(
        unhex(case["content_key"]) + unhex(case["reply_keys"][index]),
        nonce=head.nonce,
        suite=head.suite,
        provider_id=head.provider_id,
        key_id=head.key_id,
        digest=unhex(case["digest"]),
    )
    assert (frame_key.hex(), frame_iv.hex()) == (attempt["frame_key"], attempt["frame_iv"])


@pytest.mark.parametrize(("case", "index"), ATTEMPTS)
def test_each_answer_is_remade_byte_for_byte(case: dict[str, Any], index: int) -> None:
    attempt = case["attempts"][index]
    records = [parse_record(unhex(raw)) for raw in attempt["records"]]
    sealed = sealed_of(case)
    sealer = FrameSealer(
        secret=sealed.recipients[index].secret,
        head=parse_head(records[0]),
        digest=sealed.digest,
        header=sealed.header,
        frame_pad=sealed.frame_pad,
        receipt_key=Ed25519PrivateKey.from_private_bytes(unhex(PROVIDERS[index]["receipt_private"])),
    )
    frames = FrameOpener(sealed)
    for record, plain in zip(records, attempt["plain"], strict=True):
        opened_frame = frames.open(record)
        assert opened_frame is not None
        assert rewrite(sealer, record.kind, unhex(plain), opened_frame.meter) == record.raw


def rewrite(sealer: FrameSealer, kind: Kind, data: bytes, meter: Any) -> bytes:
    match kind:
        case Kind.HEAD:
            return sealer.head(data)
        case Kind.BOILERPLATE:
            return sealer.boilerplate(data)
        case Kind.CONTENT:
            return sealer.content(data)
        case Kind.USAGE:
            return sealer.usage(meter)
        case Kind.ERROR:
            return sealer.error(meter, data)
        case Kind.END:
            return sealer.end(meter)
        case _:
            raise AssertionError(kind)


@pytest.mark.parametrize(("case", "index"), ATTEMPTS)
def test_the_relay_verifies_each_receipt(case: dict[str, Any], index: int) -> None:
    attempt = case["attempts"][index]
    head = parse_head(parse_record(unhex(attempt["records"][0])))
    final = parse_record(unhex(attempt["records"][-1]))
    terms = {
        "digest": unhex(case["digest"]),
        "provider_id": head.provider_id,
        "key_id": head.key_id,
        "nonce": head.nonce,
    }
    meter = verify_receipt(unhex(PROVIDERS[index]["receipt_public"]), final, **terms)
    receipt_key = Ed25519PrivateKey.from_private_bytes(unhex(PROVIDERS[index]["receipt_private"]))
    signature = sign_receipt(receipt_key, kind=final.kind, seq=final.seq, meter=meter, **terms)
    assert meter.pack() + signature == final.clear


@pytest.mark.parametrize(("case", "index"), ATTEMPTS)
def test_both_stream_forms_carry_the_records_unchanged(case: dict[str, Any], index: int) -> None:
    records = [unhex(raw) for raw in case["attempts"][index]["records"]]
    assert SseRecordReader().feed(encode_sse(records)) == records
    assert BinaryRecordReader().feed(b"".join(records)) == records
    assert split_records(b"".join(records)) == ([parse_record(raw) for raw in records], b"")
