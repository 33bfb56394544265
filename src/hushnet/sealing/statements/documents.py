"""Statements as they are stored and sent: a DSSE envelope around a payload that is signed as the bytes it is (section 3)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from hushnet.sealing.encoding import decode_base64, encode_base64, label, pae, sha256
from hushnet.sealing.errors import SealingError
from hushnet.sealing.limits import STATEMENT_MAX

PAYLOAD_TYPE: Final = "application/vnd.hushnet.sealing-keys.v1+json"
KEYS_MAX: Final = 8
SIGNATURES_MAX: Final = 4
_PAYLOAD_TYPE_MAX: Final = 256
_SIGNATURE_MAX: Final = 512
_KEYID_MAX: Final = 256
_EVIDENCE_LABEL: Final = label("evidence")


class _DsseSignature(msgspec.Struct):
    sig: str
    keyid: str = ""


class _Dsse(msgspec.Struct, rename="camel"):
    payload_type: str
    payload: str
    signatures: list[_DsseSignature]


class KeyEntry(msgspec.Struct):
    """One sealing key in a payload, as text."""

    suite: str
    key_id: str
    public_key: str


class PublicKeyEntry(msgspec.Struct):
    """An algorithm's name and a key in base64."""

    alg: str
    public_key: str


class Payload(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a statement says, as text, its types checked and nothing else."""

    v: int
    network: str
    provider: str
    identity: PublicKeyEntry
    serial: int
    issued_at: int
    expires_at: int
    versions: list[int]
    keys: list[KeyEntry]
    receipt_key: PublicKeyEntry | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class Statement:
    """A signed key statement, not yet verified: `payload` is the signed bytes, `signatures` pairs of (keyid, signature)."""

    payload_type: str
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]

    def to_json_object(self) -> dict[str, Any]:
        """Return the DSSE envelope as plain JSON values."""
        return {
            "payloadType": self.payload_type,
            "payload": encode_base64(self.payload),
            "signatures": [{"keyid": keyid, "sig": encode_base64(sig)} for keyid, sig in self.signatures],
        }

    @classmethod
    def from_json_object(cls, document: object) -> Statement:
        """Read a DSSE envelope from plain JSON values; raises `statement_malformed`."""
        try:
            dsse = msgspec.convert(document, _Dsse)
        except (ValueError, RecursionError):
            raise SealingError("statement_malformed") from None
        payload = decode_base64(dsse.payload) if len(dsse.payload) <= STATEMENT_MAX else None
        if (
            payload is None
            or len(dsse.payload_type) > _PAYLOAD_TYPE_MAX
            or not 1 <= len(dsse.signatures) <= SIGNATURES_MAX
        ):
            raise SealingError("statement_malformed")
        return cls(dsse.payload_type, payload, tuple(_signature(entry) for entry in dsse.signatures))

    def signed_bytes(self) -> bytes:
        """Return what the identity key signs."""
        return pae(self.payload_type, self.payload)

    def digest(self) -> bytes:
        """Return S, the 32 bytes that name this statement and that evidence binds."""
        return sha256(self.signed_bytes())


def _signature(entry: _DsseSignature) -> tuple[str, bytes]:
    raw = decode_base64(entry.sig) if len(entry.sig) <= _SIGNATURE_MAX else None
    if raw is None or len(entry.keyid) > _KEYID_MAX:
        raise SealingError("statement_malformed")
    return entry.keyid, raw


def read_payload(raw: bytes) -> Payload:
    """Read a payload's members: no member twice at any depth, types as in section 3; raises `statement_malformed`."""
    try:
        # Two readers, because msgspec checks types and keeps the last of two equal members, and json sees both.
        json.loads(raw.decode("utf-8"), object_pairs_hook=_refuse_duplicates, parse_constant=_refuse)
        payload = msgspec.json.decode(raw, type=Payload)
    except (ValueError, RecursionError):
        raise SealingError("statement_malformed") from None
    if len(payload.keys) > KEYS_MAX:
        raise SealingError("statement_malformed")
    return payload


def write_payload(payload: Payload) -> bytes:
    """Write a payload; whoever signs it keeps these bytes."""
    return msgspec.json.encode(payload)


def evidence_binding(statement: Statement, provider_id: bytes, binds: str) -> bytes | None:
    """Return the 32 bytes that evidence must carry to bind `statement` or `identity`; None for any other word."""
    if binds == "statement":
        return statement.digest()
    if binds == "identity":
        return sha256(_EVIDENCE_LABEL, provider_id)
    return None


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member appears twice")
    return members


def _refuse(_: str) -> None:
    raise ValueError("not a JSON number")
