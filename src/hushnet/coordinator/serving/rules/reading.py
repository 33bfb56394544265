"""What the relay may read of an attempt: kinds, order, meters, the receipt. Pure, and the same in both modes."""

from __future__ import annotations

from typing import Final

import msgspec

from hushnet.coordinator.serving.model import ReceiptTerms
from hushnet.sealing.errors import SealingError
from hushnet.sealing.header import RoutingHeader
from hushnet.sealing.meters import Meter, verify_receipt
from hushnet.sealing.records import Kind, Record, meter_of, parse_head

# Compared once a record; as a global that is half the cost of an attribute of an enum.
_HEAD: Final = Kind.HEAD
_CONTENT: Final = Kind.CONTENT
_BOILERPLATE: Final = Kind.BOILERPLATE


class Mark(msgspec.Struct, frozen=True, gc=False):
    """How far an attempt had come at one point of its stream; one is made for every batch of records."""

    content_records: int = 0
    content_bytes: int = 0
    meter: Meter | None = None
    is_final: bool = False
    is_error: bool = False


class Reading:
    """Follows one attempt's clear parts in order and refuses what the protocol does not allow."""

    __slots__ = ("_header", "_next_seq", "_nonce", "_receipt", "content_records", "final", "meter")

    def __init__(self, header: RoutingHeader, receipt: ReceiptTerms) -> None:
        self._header = header
        self._receipt = receipt
        self._next_seq = 0
        self._nonce: bytes | None = None
        self.content_records = 0
        self.meter: Meter | None = None
        self.final: Record | None = None

    def take(self, record: Record) -> None:
        """Take the next record; raises `SealingError` for one that no honest provider sends here."""
        kind, seq = record.kind, self._next_seq
        if record.seq != seq or (kind is _HEAD) is not (seq == 0) or self.final is not None:
            raise self._misplaced(record)
        self._next_seq = seq + 1
        if kind is _CONTENT:
            self.content_records += 1
        elif kind is _HEAD:
            self._take_head(record)
        elif kind is not _BOILERPLATE:
            self._take_meter(record)

    def mark(self, content_bytes: int) -> Mark:
        """Return how far the attempt has come; `content_bytes` is the reader's count."""
        final = self.final
        if final is None:
            return Mark(self.content_records, content_bytes, self.meter)
        return Mark(self.content_records, content_bytes, self.meter, True, final.kind is Kind.ERROR)

    def proven_meter(self) -> Meter:
        """Return the final meter once its receipt has verified (about 0.1 ms).

        Raises `receipt_missing` or `receipt_invalid`. A statement without a receipt key promises no receipts.
        """
        if self.final is None or self._nonce is None:
            raise SealingError("receipt_missing")
        if self._receipt.key is None:
            return meter_of(self.final)
        return verify_receipt(
            self._receipt.key,
            self.final,
            digest=self._receipt.digest,
            provider_id=self._receipt.provider_id,
            key_id=self._receipt.key_id,
            nonce=self._nonce,
        )

    def _misplaced(self, record: Record) -> SealingError:
        if self.final is not None:
            return SealingError("frame_after_final")
        if record.is_from_relay:
            return SealingError("frame_unknown_kind")
        if record.seq != self._next_seq:
            return SealingError("frame_gap" if record.seq > self._next_seq else "frame_replayed")
        return SealingError("frame_out_of_state")

    def _take_head(self, record: Record) -> None:
        head = parse_head(record)
        if head.provider_id != self._receipt.provider_id or head.key_id != self._receipt.key_id:
            raise SealingError("head_unknown_recipient")
        self._nonce = head.nonce

    def _take_meter(self, record: Record) -> None:
        meter = meter_of(record)
        meter.check(self._header, self.meter, is_error=record.kind is Kind.ERROR)
        self.meter = meter
        if record.is_final:
            self.final = record
