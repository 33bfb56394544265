"""Section 15, statements: nobody seals to a key that its provider's identity did not endorse, for this network, now."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from hushnet.sealing.encoding import decode_base64, encode_base64, pae
from hushnet.sealing.errors import SealingError
from hushnet.sealing.identities import IdentitySigner, provider_id_of, verify_identity
from hushnet.sealing.statements import (
    PAYLOAD_TYPE,
    KeyPolicy,
    Recipient,
    SerialMemory,
    Statement,
    evidence_binding,
    issue_statement,
    verify_keys,
    verify_statement,
)
from hushnet.sealing.suites import PREFERENCE, Suite, generate_key_pair, key_id_of
from support.sealing import NETWORK, NOW, BenchProvider, Ed25519Signer, P256Signer

HOME = BenchProvider()
POLICY = KeyPolicy(NETWORK)
ORDER_EIGHT = bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")

Edit = Callable[[dict[str, Any]], None]


def payload_of(home: BenchProvider = HOME) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(home.statement.payload)
    return payload


def signed(payload: bytes, signer: IdentitySigner, payload_type: str = PAYLOAD_TYPE) -> dict[str, Any]:
    """Return a listing whose statement `signer` signed as it is; the listing names the provider of `HOME`."""
    signature = signer.sign(pae(payload_type, payload))
    statement = Statement(payload_type, payload, (("", signature),)).to_json_object()
    return {"provider": HOME.provider_id.hex(), "statement": statement}


def resigned(edit: Edit) -> dict[str, Any]:
    """Return HOME's listing after HOME itself put its name under an edited payload."""
    payload = payload_of()
    edit(payload)
    return signed(json.dumps(payload).encode(), HOME.signer)


def relayed(edit: Edit) -> dict[str, Any]:
    """Return HOME's listing after a relay edited it."""
    listing = copy.deepcopy(HOME.listing())
    edit(listing)
    return listing


def with_payload(payload: bytes) -> Edit:
    return lambda listing: listing["statement"].update(payload=encode_base64(payload))


def set_key(index: int, **members: Any) -> Edit:
    return lambda payload: payload["keys"][index].update(members)


def replaced_key(suite: Suite, public_key: bytes) -> Edit:
    """Put another key in place of `suite`'s, its key id right."""
    index = PREFERENCE.index(suite)
    return set_key(index, public_key=encode_base64(public_key), key_id=key_id_of(suite, public_key).hex())


def hybrid_key() -> bytes:
    raw = decode_base64(payload_of()["keys"][0]["public_key"])
    assert raw is not None
    return raw


def without_strong_suite(payload: bytes) -> bytes:
    members = json.loads(payload)
    members["keys"] = members["keys"][1:]
    return json.dumps(members).encode()


def low_order_cases() -> dict[str, Edit]:
    points = {"zero": bytes(32), "one": b"\1" + bytes(31), "order_eight": ORDER_EIGHT}
    cases: dict[str, Edit] = {}
    for name, point in points.items():
        for suite in (Suite.NACL_BOX, Suite.HPKE_X25519):
            cases[f"low_order {name} {suite.label}"] = replaced_key(suite, point)
        cases[f"low_order {name} hybrid"] = replaced_key(Suite.HPKE_MLKEM768_X25519, hybrid_key()[:1184] + point)
    return cases


def twice(payload: dict[str, Any]) -> None:
    payload["keys"].append(payload["keys"][0])


def nine_keys(payload: dict[str, Any]) -> None:
    payload["keys"] += [payload["keys"][1] | {"suite": f"later-{number}"} for number in range(6)]


BY_THE_RELAY: dict[str, tuple[Edit, str]] = {
    "payload_edited": (with_payload(HOME.statement.payload.replace(b'"v":1', b'"v": 1')), "statement_bad_signature"),
    "strong_suite_stripped": (
        with_payload(without_strong_suite(HOME.statement.payload)),
        "statement_bad_signature",
    ),
    "wrong_payload_type": (
        lambda listing: listing["statement"].update(payloadType="application/json"),
        "statement_wrong_type",
    ),
    "other_provider_under_this_name": (
        lambda listing: listing.update(statement=BenchProvider().listing()["statement"]),
        "statement_wrong_provider",
    ),
    "no_signature": (lambda listing: listing["statement"].update(signatures=[]), "statement_malformed"),
    "five_signatures": (
        lambda listing: listing["statement"].update(signatures=listing["statement"]["signatures"] * 5),
        "statement_malformed",
    ),
    "signature_of_nothing": (
        lambda listing: listing["statement"]["signatures"][0].update(sig=""),
        "statement_bad_signature",
    ),
    "signature_too_long": (
        lambda listing: listing["statement"]["signatures"][0].update(sig=encode_base64(bytes(65))),
        "statement_bad_signature",
    ),
    "stray_base64": (
        lambda listing: listing["statement"].update(payload=listing["statement"]["payload"] + "\n"),
        "statement_malformed",
    ),
    "stray_base64_in_signature": (
        lambda listing: listing["statement"]["signatures"][0].update(
            sig=stray(listing["statement"]["signatures"][0]["sig"])
        ),
        "statement_malformed",
    ),
    "payload_above_maximum": (with_payload(b" " * 12289), "statement_malformed"),
    "payload_is_no_text": (lambda listing: listing["statement"].update(payload=7), "statement_malformed"),
    "payload_is_no_json": (with_payload(b"{"), "statement_malformed"),
    "payload_is_an_array": (with_payload(b"[]"), "statement_malformed"),
    "payload_is_nested_deeply": (with_payload(b'{"a":' + b"[" * 12000), "statement_malformed"),
    "payload_is_not_utf8": (with_payload(b'"\xff"'), "statement_malformed"),
    "statement_missing": (lambda listing: listing.pop("statement"), "statement_malformed"),
    "statement_is_null": (lambda listing: listing.update(statement=None), "statement_malformed"),
    "signature_without_sig": (
        lambda listing: listing["statement"].update(signatures=[{"keyid": ""}]),
        "statement_malformed",
    ),
    "provider_missing": (lambda listing: listing.pop("provider"), "statement_malformed"),
    "provider_in_capitals": (
        lambda listing: listing.update(provider=listing["provider"].upper()),
        "statement_malformed",
    ),
    "provider_is_a_number": (lambda listing: listing.update(provider=5), "statement_malformed"),
}


def stray(text: str) -> str:
    """Set the bits that canonical base64 of 64 bytes leaves zero."""
    assert text.endswith("==")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return text[:-3] + alphabet[alphabet.index(text[-3]) + 1] + "=="


BY_THE_PROVIDER: dict[str, tuple[Edit, str]] = {
    "id_not_hash_of_identity": (lambda payload: payload.update(provider="00" * 32), "statement_wrong_provider"),
    "other_network": (lambda payload: payload.update(network="hushnet-main"), "statement_wrong_network"),
    "expired": (
        lambda payload: payload.update(issued_at=NOW - 10, expires_at=NOW),
        "statement_expired",
    ),
    "not_yet_valid": (
        lambda payload: payload.update(issued_at=NOW + 121, expires_at=NOW + 500),
        "statement_not_yet_valid",
    ),
    "too_long_lived": (
        lambda payload: payload.update(expires_at=payload["issued_at"] + 86401),
        "statement_too_long_lived",
    ),
    "lives_backwards": (
        lambda payload: payload.update(expires_at=payload["issued_at"]),
        "statement_too_long_lived",
    ),
    "unknown_version": (lambda payload: payload.update(v=2), "unsupported_version"),
    "speaks_only_later_versions": (lambda payload: payload.update(versions=[2, 3]), "unsupported_version"),
    "unknown_identity_alg": (
        lambda payload: payload["identity"].update(alg="rsa"),
        "statement_unknown_identity_alg",
    ),
    "identity_alg_that_this_build_lacks": (
        lambda payload: payload["identity"].update(alg="bip340"),
        "statement_unknown_identity_alg",
    ),
    "identity_of_wrong_length": (
        lambda payload: payload["identity"].update(public_key=encode_base64(bytes(31))),
        "statement_malformed",
    ),
    "key_id_mismatch": (set_key(1, key_id="00" * 16), "key_id_mismatch"),
    "key_wrong_length": (
        replaced_key(Suite.HPKE_X25519, bytes(range(1, 32))),
        "key_malformed",
    ),
    "hybrid_of_wrong_length": (
        replaced_key(Suite.HPKE_MLKEM768_X25519, hybrid_key() + b"\1"),
        "key_malformed",
    ),
    "mlkem_not_reduced": (
        replaced_key(Suite.HPKE_MLKEM768_X25519, b"\xff" * 1184 + hybrid_key()[1184:]),
        "key_malformed",
    ),
    **{name: (edit, "key_low_order") for name, edit in low_order_cases().items()},
    "two_keys_of_one_suite": (twice, "key_duplicate_suite"),
    "nine_keys": (nine_keys, "statement_malformed"),
    "no_acceptable_suite": (
        lambda payload: payload.update(keys=[payload["keys"][0] | {"suite": "later"}]),
        "no_acceptable_suite",
    ),
    "no_keys": (lambda payload: payload.update(keys=[]), "no_acceptable_suite"),
    "key_id_in_capitals": (set_key(0, key_id="AB" * 16), "statement_malformed"),
    "key_in_stray_base64": (set_key(1, public_key="AAAA\nAAA="), "statement_malformed"),
    "bool_as_version": (lambda payload: payload.update(v=True), "statement_malformed"),
    "float_as_time": (lambda payload: payload.update(issued_at=float(NOW)), "statement_malformed"),
    "text_as_serial": (lambda payload: payload.update(serial="1"), "statement_malformed"),
    "huge_serial": (lambda payload: payload.update(serial=2**53), "statement_malformed"),
    "negative_time": (lambda payload: payload.update(issued_at=-1), "statement_malformed"),
    "infinite_time": (lambda payload: payload.update(note=float("inf")), "statement_malformed"),
    "member_missing": (lambda payload: payload.pop("serial"), "statement_malformed"),
    "receipt_key_of_other_alg": (lambda payload: payload["receipt_key"].update(alg="p256"), "statement_malformed"),
    "receipt_key_too_short": (
        lambda payload: payload["receipt_key"].update(public_key="AAAA"),
        "statement_malformed",
    ),
    "receipt_key_is_null": (lambda payload: payload.update(receipt_key=None), "statement_malformed"),
}


def refusal(
    listing: Mapping[str, Any], policy: KeyPolicy = POLICY, *, now: int = NOW, serials: SerialMemory | None = None
) -> str | None:
    try:
        verify_keys(listing, policy, now, serials or SerialMemory())
    except SealingError as error:
        return error.error_code
    return None


@pytest.mark.parametrize("name", BY_THE_RELAY)
def test_a_listing_that_a_relay_edited_is_refused(name: str) -> None:
    edit, code = BY_THE_RELAY[name]
    assert refusal(relayed(edit)) == code


@pytest.mark.parametrize("name", BY_THE_PROVIDER)
def test_a_statement_that_breaks_a_rule_is_refused_although_it_is_signed(name: str) -> None:
    edit, code = BY_THE_PROVIDER[name]
    assert refusal(resigned(edit)) == code


def test_a_signature_made_under_another_payload_type_is_refused() -> None:
    case = "signed_under_other_type"
    listing = signed(HOME.statement.payload, HOME.signer, "application/vnd.hushnet.receipt.v1")
    listing["statement"]["payloadType"] = PAYLOAD_TYPE
    assert refusal(listing) == "statement_bad_signature", case


def test_a_signature_by_another_identity_is_refused() -> None:
    case = "signed_by_other_identity"
    assert refusal(signed(HOME.statement.payload, Ed25519Signer())) == "statement_bad_signature", case


def test_another_identity_that_claims_the_victims_id_is_refused() -> None:
    case = "claims_victims_id"
    mallory = Ed25519Signer()
    payload = payload_of()
    payload["identity"]["public_key"] = encode_base64(mallory.public_key)
    assert refusal(signed(json.dumps(payload).encode(), mallory)) == "statement_wrong_provider", case


@pytest.mark.parametrize(
    "payload",
    [
        HOME.statement.payload.replace(b'"v":1', b'"v":1,"v":1'),
        HOME.statement.payload.replace(b'"alg":"ed25519"', b'"alg":"ed25519","alg":"ed25519"'),
        HOME.statement.payload.replace(b'"v":1', b'"v":1,"later":{"a":1,"a":2}'),
    ],
    ids=["outside", "inside", "in an unknown member"],
)
def test_a_member_that_appears_twice_is_malformed(payload: bytes) -> None:
    case = "duplicate_json_key"
    assert refusal(signed(payload, HOME.signer)) == "statement_malformed", case


def test_a_payload_of_16384_base64_characters_is_the_longest() -> None:
    longest = HOME.statement.payload.ljust(16384 // 4 * 3)
    assert refusal(signed(longest, HOME.signer)) is None
    assert refusal(signed(longest + b" ", HOME.signer)) == "statement_malformed"


def test_a_statement_of_eight_keys_is_the_longest() -> None:
    def five_more(payload: dict[str, Any]) -> None:
        payload["keys"] += [payload["keys"][1] | {"suite": f"later-{number}"} for number in range(5)]

    assert refusal(resigned(five_more)) is None


def test_an_older_statement_is_a_rollback_and_the_same_one_is_not() -> None:
    case = "rollback"
    home = BenchProvider()
    old = home.listing()
    home.statement = home.keyring.rotate(NOW + 1)
    serials = SerialMemory()
    assert refusal(old, serials=serials) is None
    assert refusal(home.listing(), serials=serials) is None
    assert refusal(home.listing(), serials=serials) is None
    assert refusal(old, serials=serials) == "statement_rollback", case


def test_a_statement_that_was_refused_raises_no_mark() -> None:
    home = BenchProvider()
    serials = SerialMemory()
    assert refusal(home.listing(), replace(POLICY, pins=frozenset()), serials=serials) == "provider_not_pinned"
    assert serials.accepted(home.provider_id) == 0
    assert refusal(home.listing(), serials=serials) is None
    assert serials.accepted(home.provider_id) == NOW * 1000


def test_the_serial_memory_never_sinks_and_forgets_the_oldest() -> None:
    serials = SerialMemory(capacity=2)
    for provider, serial in ((b"a", 5), (b"a", 3), (b"b", 1), (b"a", 4), (b"c", 9)):
        serials.remember(provider, serial)
    assert [serials.accepted(provider) for provider in (b"a", b"b", b"c")] == [5, 0, 9]


def test_a_provider_outside_the_pins_is_refused() -> None:
    case = "not_pinned"
    assert refusal(HOME.listing(), replace(POLICY, pins=frozenset({bytes(32)}))) == "provider_not_pinned", case
    assert refusal(HOME.listing(), replace(POLICY, pins=frozenset({HOME.provider_id}))) is None


def test_a_policy_that_accepts_no_offered_suite_is_an_error() -> None:
    assert refusal(HOME.listing(), replace(POLICY, suites=())) == "no_acceptable_suite"


def proven(tier: str) -> Callable[[Statement, Sequence[Mapping[str, Any]]], str]:
    return lambda statement, evidence: tier


def bound_quote(statement: Statement, evidence: Sequence[Mapping[str, Any]]) -> str:
    """Verify as a verifier of quotes does: each shows what it binds, and only this statement's counts."""
    for item in evidence:
        if item["data"] != encode_base64(evidence_binding(statement, HOME.provider_id, item["binds"]) or b""):
            raise SealingError("evidence_unbound")
    return "measured"


MEASURED = replace(POLICY, floor="measured")
QUOTE = {"kind": "tpm2", "binds": "statement", "data": encode_base64(HOME.statement.digest())}
FLOORS: dict[str, tuple[object, KeyPolicy, str | None]] = {
    "evidence_missing": ([], replace(MEASURED, verify_evidence=proven("hardware")), "evidence_missing"),
    "evidence_absent": (None, replace(MEASURED, verify_evidence=proven("hardware")), "evidence_missing"),
    "evidence_of_other_statement": (
        [QUOTE | {"data": encode_base64(BenchProvider().statement.digest())}],
        replace(MEASURED, verify_evidence=bound_quote),
        "evidence_unbound",
    ),
    "evidence_that_binds_nothing": (
        [QUOTE | {"binds": "weather"}],
        replace(MEASURED, verify_evidence=proven("hardware")),
        "evidence_unbound",
    ),
    "evidence_that_is_no_object": (["x"], replace(MEASURED, verify_evidence=proven("hardware")), "evidence_unbound"),
    "below_floor": ([QUOTE], replace(MEASURED, verify_evidence=proven("self_signed")), "trust_below_floor"),
    "below_higher_floor": (
        [QUOTE],
        replace(POLICY, floor="hardware", verify_evidence=proven("measured")),
        "trust_below_floor",
    ),
    "unknown_tier": ([QUOTE], replace(MEASURED, verify_evidence=proven("divine")), "trust_below_floor"),
    "nobody_verifies": ([QUOTE], MEASURED, "trust_below_floor"),
    "proved": ([QUOTE], replace(MEASURED, verify_evidence=bound_quote), None),
    "proved_by_identity": (
        [
            {
                "kind": "apple-mda",
                "binds": "identity",
                "data": encode_base64(evidence_binding(HOME.statement, HOME.provider_id, "identity") or b""),
            }
        ],
        replace(MEASURED, verify_evidence=bound_quote),
        None,
    ),
    "floor_none": (None, replace(POLICY, floor="none"), None),
}


@pytest.mark.parametrize("name", FLOORS)
def test_a_floor_above_self_signed_asks_for_evidence_that_own_verification_proves(name: str) -> None:
    evidence, policy, code = FLOORS[name]
    assert refusal(HOME.listing() | {"evidence": evidence}, policy) == code


def test_the_coordinators_own_trust_label_counts_for_nothing() -> None:
    listing = HOME.listing() | {"trust": "hardware", "evidence": [QUOTE]}
    assert refusal(listing, replace(MEASURED, verify_evidence=proven("self_signed"))) == "trust_below_floor"


def test_evidence_binds_a_statement_or_an_identity_and_nothing_else() -> None:
    assert evidence_binding(HOME.statement, HOME.provider_id, "statement") == HOME.statement.digest()
    assert evidence_binding(HOME.statement, HOME.provider_id, "identity") is not None
    assert evidence_binding(HOME.statement, HOME.provider_id, "weather") is None


def test_a_policy_knows_its_floors() -> None:
    with pytest.raises(ValueError, match="floor"):
        KeyPolicy(NETWORK, floor="total")


@pytest.mark.parametrize("signer", [Ed25519Signer(), P256Signer()], ids=["ed25519", "p256"])
@pytest.mark.parametrize("suite", Suite)
def test_a_statement_under_either_identity_gives_a_recipient(signer: IdentitySigner, suite: Suite) -> None:
    home = BenchProvider(signer)
    recipient = verify_keys(home.listing(), replace(POLICY, suites=(suite,)), NOW, SerialMemory())
    assert (recipient.provider_id, recipient.suite) == (home.provider_id, suite)
    assert recipient.key_id == key_id_of(suite, recipient.public_key)
    assert recipient.expires_at == NOW + 3600
    assert recipient.statement_digest == home.statement.digest()


def test_the_strongest_offered_suite_is_chosen_by_default() -> None:
    assert verify_keys(HOME.listing(), POLICY, NOW, SerialMemory()).suite is Suite.HPKE_MLKEM768_X25519
    listing = resigned(lambda payload: payload["keys"].pop(0))
    assert verify_keys(listing, POLICY, NOW, SerialMemory()).suite is Suite.HPKE_X25519


def test_unknown_members_and_suites_are_passed_over() -> None:
    def add(payload: dict[str, Any]) -> None:
        payload["later"] = {"a": [1, 2.5, None]}
        payload["keys"].append({"suite": "later", "key_id": "00" * 16, "public_key": "AAAA", "note": 1})

    assert refusal(resigned(add)) is None


@pytest.mark.parametrize(
    ("now", "code"), [(NOW - 120, None), (NOW + 3599, None), (NOW - 121, "statement_not_yet_valid")]
)
def test_a_statement_is_valid_from_two_minutes_before_to_its_last_second(now: int, code: str | None) -> None:
    assert refusal(HOME.listing(), now=now) == code


def test_one_good_signature_among_several_is_enough() -> None:
    def surround(listing: dict[str, Any]) -> None:
        bad = {"keyid": "x", "sig": encode_base64(bytes(64))}
        listing["statement"]["signatures"] = [bad, bad, *listing["statement"]["signatures"], bad]

    assert refusal(relayed(surround)) is None


def test_a_statement_without_receipt_key_gives_a_recipient_without_one() -> None:
    listing = resigned(lambda payload: payload.pop("receipt_key"))
    recipient: Recipient = verify_keys(listing, POLICY, NOW, SerialMemory())
    assert recipient.receipt_key is None


def test_a_coordinator_verifies_a_statement_shown_under_no_name() -> None:
    verified = verify_statement(HOME.statement, network=NETWORK, now=NOW, provider_id=None, serials=SerialMemory())
    assert verified.provider_id == HOME.provider_id
    assert verified.recipient().suite is PREFERENCE[0]
    with pytest.raises(SealingError) as caught:
        verify_statement(HOME.statement, network=NETWORK, now=NOW, provider_id=bytes(32), serials=SerialMemory())
    assert caught.value.error_code == "statement_wrong_provider"


def test_statements_survive_the_round_trip_through_json() -> None:
    again = Statement.from_json_object(json.loads(json.dumps(HOME.statement.to_json_object())))
    assert again == HOME.statement
    assert again.digest() == HOME.statement.digest()


def test_an_issuer_makes_no_statement_that_nobody_accepts() -> None:
    keys = [generate_key_pair(Suite.NACL_BOX)]
    common: dict[str, Any] = {"network": NETWORK, "receipt_public_key": None, "serial": 1}
    for wrong in (
        {"keys": [], "issued_at": NOW, "expires_at": NOW + 10},
        {"keys": keys * 2, "issued_at": NOW, "expires_at": NOW + 10},
        {"keys": keys, "issued_at": NOW, "expires_at": NOW},
        {"keys": keys, "issued_at": NOW, "expires_at": NOW + 86401},
    ):
        with pytest.raises(ValueError, match="statement"):
            issue_statement(HOME.signer, **common, **wrong)


@pytest.mark.parametrize("signer", [Ed25519Signer(), P256Signer()], ids=["ed25519", "p256"])
def test_identity_signatures_verify_for_their_message_alone(signer: IdentitySigner) -> None:
    signature = signer.sign(b"message")

    def verifies(signature: bytes, message: bytes, public_key: bytes = signer.public_key) -> bool:
        return verify_identity(signer.alg, public_key, signature=signature, message=message)

    assert verifies(signature, b"message")
    assert not verifies(signature, b"another")
    assert not verifies(signature[:-1], b"message")
    assert not verifies(bytes(64), b"message")
    assert not verifies(signature, b"message", bytes(len(signer.public_key)))
    assert not verifies(signature, b"message", signer.public_key[:-1])
    assert not verify_identity("bip340", signer.public_key, signature=signature, message=b"message")


def test_provider_ids_differ_by_algorithm_and_key() -> None:
    ids = {provider_id_of(alg, key) for alg in ("ed25519", "bip340") for key in (bytes(32), b"\1" * 32)}
    assert len(ids) == 4
    with pytest.raises(ValueError, match="identity"):
        provider_id_of("rsa", bytes(32))
