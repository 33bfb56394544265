"""A receipt is verified once: the word of the reader that did it counts for that very record, and for no other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from hushnet.coordinator.confidential import StandardAttempt
from hushnet.coordinator.serving import settle
from hushnet.coordinator.serving.model import ReceiptTerms
from hushnet.coordinator.serving.rules import reading
from hushnet.coordinator.serving.rules.reading import Reading
from hushnet.coordinator.serving.seal import ForwardingReader, StreamForm
from hushnet.sealing.meters import Meter
from hushnet.sealing.records import Record, parse_record
from support.sealing import NOW, BenchProvider, seal_to

METER = Meter(7, 0, 2, 0)


class Answer:
    """A whole answer of an honest provider, and both of its readers."""

    def __init__(self) -> None:
        home = BenchProvider()
        recipient = home.recipient(now=NOW)
        sealed = seal_to(recipient)
        sealer = home.open(sealed.raw).frame_sealer()
        head = b'{"status":200,"content_type":"application/json","build":""}'
        raws = [sealer.head(head), sealer.content(b"{}"), sealer.end(METER)]
        self.records = [parse_record(raw) for raw in raws]
        self.terms = ReceiptTerms(recipient.receipt_key, sealed.digest, recipient.provider_id, recipient.key_id)
        self.reading = Reading(sealed.header, self.terms)
        self.reader: Any = StandardAttempt(sealed)

    def read(self, *records: Record) -> Answer:
        for record in records or self.records:
            self.reading.take(record)
            self.reader.read(record)
        return self

    @property
    def attempt(self) -> Any:
        return SimpleNamespace(reading=self.reading, reader=self.reader)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """Count the settlement's own verifications; each is still made."""
    verified: list[Record] = []
    verify = reading.verify_receipt

    def counting(key: bytes, record: Record, **bound: bytes) -> Meter:
        verified.append(record)
        return verify(key, record, **bound)

    monkeypatch.setattr(reading, "verify_receipt", counting)
    return verified


def test_a_receipt_that_the_reader_has_verified_is_not_verified_again(monkeypatch: pytest.MonkeyPatch) -> None:
    verified, answer = counted(monkeypatch), Answer().read()

    assert answer.reader.proven is answer.records[-1]
    assert settle.proven(answer.attempt) == (METER, "")
    assert verified == []


def test_an_equal_record_that_the_reader_has_not_seen_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    verified, answer = counted(monkeypatch), Answer()
    answer.read()
    answer.reading.final = parse_record(answer.records[-1].raw)

    assert settle.proven(answer.attempt) == (METER, "")
    assert len(verified) == 1


def test_a_reader_that_opens_nothing_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    verified, answer = counted(monkeypatch), Answer()
    answer.reader = ForwardingReader(StreamForm.BINARY)
    answer.read()

    assert settle.proven(answer.attempt) == (METER, "")
    assert len(verified) == 1


def test_before_the_end_nothing_is_proven() -> None:
    answer = Answer()
    answer.read(*answer.records[:-1])

    assert answer.reader.proven is None
    assert settle.proven(answer.attempt) == (None, "")
