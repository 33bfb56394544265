"""Token meters, clear because the relay bills by them, and the receipts that sign the last one (section 9)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nacl import bindings as sodium
from nacl.exceptions import CryptoError

from hushnet.sealing.encoding import pae
from hushnet.sealing.errors import SealingError
from hushnet.sealing.header import RoutingHeader

if TYPE_CHECKING:
    from hushnet.sealing.records.layout import Record

METER_SIZE: Final = 20
SIGNATURE_SIZE: Final = 64
RECEIPT_TYPE: Final = "application/vnd.hushnet.receipt.v1"
_METER: Final = struct.Struct(">IIIIHH")
_SEQ: Final = struct.Struct(">BI")


class Meter(msgspec.Struct, frozen=True, gc=False):
    """Cumulative token counts of one attempt; `code` is a wire code in an error record and 0 elsewhere."""

    input: int
    cached: int
    output: int
    reasoning: int
    code: int = 0

    def pack(self) -> bytes:
        """Write the 20 bytes of the wire; raises `meter_invalid` for a count outside u32."""
        try:
            return _METER.pack(self.input, self.cached, self.output, self.reasoning, self.code, 0)
        except struct.error:
            raise SealingError("meter_invalid") from None

    @classmethod
    def unpack(cls, raw: bytes) -> Meter:
        """Read the first 20 bytes of `raw`; raises `meter_invalid` for fewer, or when the reserved bytes are set."""
        if len(raw) < METER_SIZE:
            raise SealingError("meter_invalid")
        *counts, reserved = _METER.unpack_from(raw)
        if reserved:
            raise SealingError("meter_invalid")
        return cls(*counts)

    def check(self, header: RoutingHeader, previous: Meter | None, *, is_error: bool) -> None:
        """Raise `meter_invalid` unless the counts obey the header, each other, the meter before and the record's kind."""
        if (
            self.input > header.max_prompt_tokens
            or self.output > header.max_output_tokens
            or self.cached > self.input
            or self.reasoning > self.output
            or (self.code != 0) is not is_error
            or (previous is not None and self._runs_behind(previous))
        ):
            raise SealingError("meter_invalid")

    def _runs_behind(self, previous: Meter) -> bool:
        return (
            self.input < previous.input
            or self.cached < previous.cached
            or self.output < previous.output
            or self.reasoning < previous.reasoning
        )


def _receipt_bytes(
    *, digest: bytes, provider_id: bytes, key_id: bytes, nonce: bytes, kind: int, seq: int, meter: bytes
) -> bytes:
    return pae(RECEIPT_TYPE, b"".join((digest, provider_id, key_id, nonce, _SEQ.pack(kind, seq), meter)))


def sign_receipt(
    receipt_key: Ed25519PrivateKey,
    *,
    digest: bytes,
    provider_id: bytes,
    key_id: bytes,
    nonce: bytes,
    kind: int,
    seq: int,
    meter: Meter,
) -> bytes:
    """Sign the last meter of an attempt, 64 bytes: which request, who, under which key, in which record."""
    return receipt_key.sign(
        _receipt_bytes(
            digest=digest,
            provider_id=provider_id,
            key_id=key_id,
            nonce=nonce,
            kind=kind,
            seq=seq,
            meter=meter.pack(),
        )
    )


def verify_receipt(
    receipt_key: bytes, record: Record, *, digest: bytes, provider_id: bytes, key_id: bytes, nonce: bytes
) -> Meter:
    """Return the meter that a terminal record's receipt proves; relay and consumer both verify it.

    `receipt_key` is the 32 bytes of the statement that the request was sealed under, `nonce` the one of the attempt's
    head. Raises `receipt_missing` for a record without a signature, `receipt_invalid` for one that does not verify.

    By libsodium, which takes half the time of OpenSSL (53 to 103 us) and also refuses keys and points of small order,
    which no signer makes: under such a key one signature can fit many messages.
    """
    if not record.is_signed:
        raise SealingError("receipt_missing")
    signed = _receipt_bytes(
        digest=digest,
        provider_id=provider_id,
        key_id=key_id,
        nonce=nonce,
        kind=record.kind,
        seq=record.seq,
        meter=record.clear[:METER_SIZE],
    )
    try:
        sodium.crypto_sign_open(record.clear[METER_SIZE:] + signed, receipt_key)
    except (CryptoError, ValueError):
        raise SealingError("receipt_invalid") from None
    return Meter.unpack(record.clear)
