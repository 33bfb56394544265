"""Key statements: how a provider endorses its sealing keys, and every check before anyone seals to them (section 3).

The steps and their order are those of `verify_keys` in docs/sealing.md; `verify_statement` is its steps 1 to 11,
which is what a coordinator checks at registration.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hushnet.sealing.encoding import decode_base64, decode_hex
from hushnet.sealing.errors import SealingError
from hushnet.sealing.header import TIERS
from hushnet.sealing.identities import (
    VERIFIABLE_ALGS,
    is_identity_key,
    provider_id_of,
    verify_identity,
)
from hushnet.sealing.limits import INT_MAX, SKEW, STATEMENT_LIFE_MAX
from hushnet.sealing.statements.documents import (
    PAYLOAD_TYPE,
    KeyEntry,
    Payload,
    PublicKeyEntry,
    Statement,
    read_payload,
)
from hushnet.sealing.suites import (
    PREFERENCE,
    Suite,
    check_public_key,
    chosen_suite,
    key_id_of,
)

VerifyEvidence = Callable[[Statement, Sequence[Mapping[str, Any]]], str]
"""Own verification of a listing's evidence: returns the tier it proves, raises `evidence_unbound` for another's."""

_SERIALS_KEPT: Final = 65536


@dataclass(frozen=True, slots=True)
class Recipient:
    """A provider that one may seal to until `expires_at`: the outcome of `verify_keys`."""

    provider_id: bytes
    suite: Suite
    key_id: bytes
    public_key: bytes
    receipt_key: bytes | None
    expires_at: int
    statement_digest: bytes


@dataclass(frozen=True, slots=True)
class OfferedKey:
    """One checked sealing key of a statement."""

    suite: Suite
    key_id: bytes
    public_key: bytes


@dataclass(frozen=True, slots=True)
class VerifiedStatement:
    """What a statement says once its checks have passed; times in Unix seconds, `serial` in milliseconds."""

    provider_id: bytes
    network: str
    identity_alg: str
    identity_public_key: bytes
    serial: int
    issued_at: int
    expires_at: int
    keys: tuple[OfferedKey, ...]
    receipt_key: bytes | None
    digest: bytes

    def recipient(self, suites: Sequence[Suite] = PREFERENCE) -> Recipient:
        """Choose the first of `suites` that is offered and runs here; raises `no_acceptable_suite`."""
        by_suite = {key.suite: key for key in self.keys}
        suite = chosen_suite(tuple(by_suite), suites)
        if suite is None:
            raise SealingError("no_acceptable_suite")
        return Recipient(
            provider_id=self.provider_id,
            suite=suite,
            key_id=by_suite[suite].key_id,
            public_key=by_suite[suite].public_key,
            receipt_key=self.receipt_key,
            expires_at=self.expires_at,
            statement_digest=self.digest,
        )


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """Whom a sealing client accepts.

    `pins`: provider ids, None for any. `floor` above `self_signed` asks for evidence that `verify_evidence` proves;
    a coordinator's own trust label counts for nothing.
    """

    network: str
    pins: frozenset[bytes] | None = None
    suites: tuple[Suite, ...] = PREFERENCE
    floor: str = "self_signed"
    verify_evidence: VerifyEvidence | None = None

    def __post_init__(self) -> None:
        if self.floor not in TIERS:
            raise ValueError("a trust floor is one of " + ", ".join(TIERS))


class SerialMemory:
    """The highest statement serial ever accepted, by provider: what stops a relay from showing old statements.

    Bounded: beyond `capacity` the provider seen longest ago is forgotten. Safe to use from several threads.
    """

    __slots__ = ("_capacity", "_lock", "_serials")

    def __init__(self, capacity: int = _SERIALS_KEPT) -> None:
        self._capacity = capacity
        self._serials: OrderedDict[bytes, int] = OrderedDict()
        self._lock = threading.Lock()

    def accepted(self, provider_id: bytes) -> int:
        """Return the highest serial remembered, 0 for a provider never seen."""
        return self._serials.get(provider_id, 0)

    def remember(self, provider_id: bytes, serial: int) -> None:
        """Raise the provider's mark to `serial`; it never sinks."""
        with self._lock:
            self._serials[provider_id] = max(serial, self._serials.get(provider_id, 0))
            self._serials.move_to_end(provider_id)
            if len(self._serials) > self._capacity:
                self._serials.popitem(last=False)


def verify_statement(
    statement: Statement, *, network: str, now: int, provider_id: bytes | None, serials: SerialMemory
) -> VerifiedStatement:
    """Check a statement without evidence or policy (steps 1 to 11) and remember its serial.

    `provider_id` is the id under which it was shown, None where it was shown under none. Raises `SealingError`.
    """
    verified = _verified(statement, network=network, now=now, provider_id=provider_id, serials=serials)
    serials.remember(verified.provider_id, verified.serial)
    return verified


def verify_keys(listing: Mapping[str, Any], policy: KeyPolicy, now: int, serials: SerialMemory) -> Recipient:
    """Check one entry of a discovery document against `policy` (all steps); raises `SealingError`.

    `listing` is untrusted JSON: `provider`, `statement` and, for a floor above `self_signed`, `evidence`.
    """
    shown = listing.get("provider")
    provider_id = decode_hex(shown, 32) if isinstance(shown, str) else None
    if provider_id is None:
        raise SealingError("statement_malformed")
    statement = Statement.from_json_object(listing.get("statement"))
    verified = _verified(statement, network=policy.network, now=now, provider_id=provider_id, serials=serials)
    if policy.pins is not None and provider_id not in policy.pins:
        raise SealingError("provider_not_pinned")
    if TIERS.index(policy.floor) > TIERS.index("self_signed"):
        _require_evidence(statement, listing.get("evidence"), policy)
    recipient = verified.recipient(policy.suites)
    serials.remember(provider_id, verified.serial)
    return recipient


def _verified(
    statement: Statement, *, network: str, now: int, provider_id: bytes | None, serials: SerialMemory
) -> VerifiedStatement:
    payload = read_payload(statement.payload)
    fields = _binary_fields(payload)
    if statement.payload_type != PAYLOAD_TYPE:
        raise SealingError("statement_wrong_type")
    if payload.v != 1 or 1 not in payload.versions:
        raise SealingError("unsupported_version")
    _check_identity(statement, payload, fields, shown_as=provider_id)
    if payload.network != network:
        raise SealingError("statement_wrong_network")
    _check_times(payload, now)
    if payload.serial < serials.accepted(fields.provider_id):
        raise SealingError("statement_rollback")
    return VerifiedStatement(
        provider_id=fields.provider_id,
        network=payload.network,
        identity_alg=payload.identity.alg,
        identity_public_key=fields.identity,
        serial=payload.serial,
        issued_at=payload.issued_at,
        expires_at=payload.expires_at,
        keys=_checked_keys(payload.keys, fields.keys),
        receipt_key=fields.receipt_key,
        digest=statement.digest(),
    )


@dataclass(frozen=True, slots=True)
class _BinaryFields:
    """A payload's binary members, each of which was spelled canonically; `keys` are (key_id, public_key)."""

    provider_id: bytes
    identity: bytes
    receipt_key: bytes | None
    keys: tuple[tuple[bytes, bytes], ...]


def _binary_fields(payload: Payload) -> _BinaryFields:
    """Decode hex and base64 members, check the bounds of integers and known lengths: the rest of step 1."""
    provider_id = decode_hex(payload.provider, 32)
    identity = decode_base64(payload.identity.public_key)
    receipt_key = None
    if isinstance(payload.receipt_key, PublicKeyEntry):
        receipt_key = decode_base64(payload.receipt_key.public_key)
        if payload.receipt_key.alg != "ed25519" or receipt_key is None or len(receipt_key) != 32:
            raise SealingError("statement_malformed")
    integers = (payload.serial, payload.issued_at, payload.expires_at)
    if provider_id is None or identity is None or not all(0 <= number <= INT_MAX for number in integers):
        raise SealingError("statement_malformed")
    return _BinaryFields(provider_id, identity, receipt_key, tuple(_binary_key(entry) for entry in payload.keys))


def _binary_key(entry: KeyEntry) -> tuple[bytes, bytes]:
    key_id, public_key = decode_hex(entry.key_id, 16), decode_base64(entry.public_key)
    if key_id is None or public_key is None:
        raise SealingError("statement_malformed")
    return key_id, public_key


def _check_identity(statement: Statement, payload: Payload, fields: _BinaryFields, *, shown_as: bytes | None) -> None:
    """Steps 4 to 6: the algorithm is known, the id is the key's hash wherever it is shown, a signature verifies."""
    alg = payload.identity.alg
    if alg not in VERIFIABLE_ALGS:
        raise SealingError("statement_unknown_identity_alg")
    if not is_identity_key(alg, fields.identity):
        raise SealingError("statement_malformed")
    if fields.provider_id != provider_id_of(alg, fields.identity) or shown_as not in (None, fields.provider_id):
        raise SealingError("statement_wrong_provider")
    signed = statement.signed_bytes()
    if not any(
        verify_identity(alg, fields.identity, signature=signature, message=signed)
        for _, signature in statement.signatures
    ):
        raise SealingError("statement_bad_signature")


def _check_times(payload: Payload, now: int) -> None:
    if not 0 < payload.expires_at - payload.issued_at <= STATEMENT_LIFE_MAX:
        raise SealingError("statement_too_long_lived")
    if now < payload.issued_at - SKEW:
        raise SealingError("statement_not_yet_valid")
    if now >= payload.expires_at:
        raise SealingError("statement_expired")


def _checked_keys(entries: Sequence[KeyEntry], decoded: Sequence[tuple[bytes, bytes]]) -> tuple[OfferedKey, ...]:
    """Step 11, for every known suite whether or not it will be chosen; unknown suites are skipped."""
    keys: dict[Suite, OfferedKey] = {}
    for entry, (key_id, public_key) in zip(entries, decoded, strict=True):
        suite = Suite.of_label(entry.suite)
        if suite is None:
            continue
        if suite in keys:
            raise SealingError("key_duplicate_suite")
        if len(public_key) != suite.public_key_size:
            raise SealingError("key_malformed")
        if key_id != key_id_of(suite, public_key):
            raise SealingError("key_id_mismatch")
        check_public_key(suite, public_key)
        keys[suite] = OfferedKey(suite, key_id, public_key)
    return tuple(keys.values())


def _require_evidence(statement: Statement, evidence: object, policy: KeyPolicy) -> None:
    """Step 13: evidence is there, says that it binds this statement or identity, and own verification reaches the floor."""
    if not isinstance(evidence, list) or not evidence:
        raise SealingError("evidence_missing")
    items = [item for item in evidence if isinstance(item, dict) and item.get("binds") in ("statement", "identity")]
    if not items:
        raise SealingError("evidence_unbound")
    tier = policy.verify_evidence(statement, items) if policy.verify_evidence is not None else "self_signed"
    if tier not in TIERS or TIERS.index(tier) < TIERS.index(policy.floor):
        raise SealingError("trust_below_floor")
