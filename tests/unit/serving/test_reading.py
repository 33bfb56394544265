"""What the relay refuses to believe of an attempt, without opening anything."""

from __future__ import annotations

import pytest

from hushnet.coordinator.serving.model import ReceiptTerms
from hushnet.coordinator.serving.rules.reading import Reading
from hushnet.sealing.errors import SealingError
from hushnet.sealing.meters import Meter
from hushnet.sealing.records import FrameSealer, keepalive_record, parse_record, relay_error_record
from support.sealing import BenchProvider, seal_to


class Bench:
    """One attempt of one request, its provider's sealer and the relay's reading of it."""

    def __init__(self) -> None:
        provider = BenchProvider()
        recipient = provider.recipient()
        sealed = seal_to(recipient)
        self.sealer: FrameSealer = provider.open(sealed.raw).frame_sealer()
        self.terms = ReceiptTerms(recipient.receipt_key, sealed.digest, recipient.provider_id, recipient.key_id)
        self.header = sealed.header
        self.reading = Reading(sealed.header, self.terms)

    def take(self, *raws: bytes) -> None:
        for raw in raws:
            self.reading.take(parse_record(raw))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def refused(bench: Bench, code: str, *raws: bytes) -> None:
    with pytest.raises(SealingError) as raised:
        bench.take(*raws)
    assert raised.value.error_code == code


def test_an_honest_attempt_is_followed_to_its_proven_meter(bench: Bench) -> None:
    sealer = bench.sealer
    bench.take(sealer.head(b"{}"), sealer.content(b"one"), sealer.usage(Meter(5, 0, 1, 0)), sealer.content(b"two"))
    bench.take(sealer.end(Meter(5, 0, 2, 0)))

    assert bench.reading.content_records == 2
    assert bench.reading.proven_meter() == Meter(5, 0, 2, 0)
    assert bench.reading.mark(6).is_final


def test_content_before_the_head_is_refused(bench: Bench) -> None:
    bench.sealer.head(b"{}")

    refused(bench, "frame_gap", bench.sealer.content(b"one"))


def test_a_gap_and_a_repetition_are_refused(bench: Bench) -> None:
    head, lost, third = bench.sealer.head(b"{}"), bench.sealer.content(b"1"), bench.sealer.content(b"2")
    bench.take(head)
    refused(bench, "frame_gap", third)
    bench.take(lost)
    refused(bench, "frame_replayed", lost)


def test_a_head_of_another_provider_or_key_is_refused() -> None:
    for start in (16, 48):
        bench = Bench()
        head = bytearray(bench.sealer.head(b"{}"))
        head[start] ^= 1
        refused(bench, "head_unknown_recipient", bytes(head))


def test_nobody_speaks_for_the_relay(bench: Bench) -> None:
    refused(bench, "frame_unknown_kind", keepalive_record())
    refused(bench, "frame_unknown_kind", relay_error_record("made_up"))


def test_nothing_follows_the_end(bench: Bench) -> None:
    sealer = bench.sealer
    content = sealer.head(b"{}"), sealer.content(b"one")
    bench.take(*content, sealer.end(Meter(5, 0, 1, 0)))

    refused(bench, "frame_after_final", content[1])


def test_an_end_without_a_head_proves_nothing(bench: Bench) -> None:
    with pytest.raises(SealingError) as raised:
        bench.reading.proven_meter()

    assert raised.value.error_code == "receipt_missing"


def test_a_receipt_of_another_digest_or_key_does_not_verify() -> None:
    for wrong in ("digest", "key"):
        bench = Bench()
        terms = bench.terms
        if wrong == "digest":
            terms = ReceiptTerms(terms.key, bytes(32), terms.provider_id, terms.key_id)
        else:
            terms = ReceiptTerms(BenchProvider().recipient().receipt_key, terms.digest, terms.provider_id, terms.key_id)
        reading = Reading(bench.header, terms)
        for raw in (bench.sealer.head(b"{}"), bench.sealer.end(Meter(5, 0, 0, 0))):
            reading.take(parse_record(raw))
        with pytest.raises(SealingError) as raised:
            reading.proven_meter()
        assert raised.value.error_code == "receipt_invalid"


def test_without_a_receipt_key_in_the_statement_the_meter_stands_alone(bench: Bench) -> None:
    terms = bench.terms
    reading = Reading(bench.header, ReceiptTerms(None, terms.digest, terms.provider_id, terms.key_id))
    for raw in (bench.sealer.head(b"{}"), bench.sealer.end(Meter(5, 0, 0, 0))):
        reading.take(parse_record(raw))

    assert reading.proven_meter() == Meter(5, 0, 0, 0)
