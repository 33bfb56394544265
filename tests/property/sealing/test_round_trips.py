"""What goes in comes out: requests, answers, both stream forms, headers, meters, paddings."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hushnet.sealing.envelope import RequestFields, parse_envelope, seal_request
from hushnet.sealing.header import ENDPOINTS, TIERS, decode_header, encode_header
from hushnet.sealing.meters import Meter
from hushnet.sealing.opening import FrameOpener
from hushnet.sealing.padding import padme_1k
from hushnet.sealing.records import Kind, keepalive_record, parse_record, split_records
from hushnet.sealing.streaming import BinaryRecordReader, SseRecordReader, encode_sse
from hushnet.sealing.suites import Suite
from support.sealing import NOW, BenchProvider

HOMES = [BenchProvider(capacity=100_000) for _ in range(3)]
RECIPIENTS = {(index, suite): HOMES[index].recipient(suite) for index in range(3) for suite in Suite}
SOME = settings(max_examples=80, deadline=None)

FIELDS = st.builds(
    RequestFields,
    endpoint=st.sampled_from(sorted(ENDPOINTS)),
    model=st.from_regex(r"\A[A-Za-z0-9._:/@+-]{1,128}\Z"),
    stream=st.booleans(),
    max_output_tokens=st.integers(1, 2**20),
    max_prompt_tokens=st.integers(1, 2**24),
    features=st.sets(st.from_regex(r"\A[a-z0-9_]{1,32}\Z"), max_size=8).map(sorted).map(tuple),
    trust=st.sampled_from(TIERS),
    cache=st.none() | st.binary(min_size=16, max_size=16),
)
PADS = st.sampled_from([2**power for power in range(13)])


@SOME
@given(FIELDS, st.binary(max_size=3000), st.lists(st.sampled_from(list(Suite)), min_size=1, max_size=3), PADS)
def test_every_recipient_opens_what_was_sealed(
    fields: RequestFields, data: bytes, suites: list[Suite], frame_pad: int
) -> None:
    recipients = [RECIPIENTS[index, suite] for index, suite in enumerate(suites)]
    meta = {"frame_pad": frame_pad}
    sealed = seal_request(fields, meta=meta, data=data, recipients=recipients, now=NOW)
    envelope = parse_envelope(sealed.raw)
    assert encode_header(decode_header(envelope.header_bytes)) == envelope.header_bytes
    for index in range(len(suites)):
        request = HOMES[index].open(envelope.select(index))
        assert (request.data, request.meta, request.frame_pad) == (data, meta, frame_pad)
        for name in fields.__slots__:
            assert getattr(request.header, name) == getattr(fields, name)


PIECES = st.lists(st.tuples(st.sampled_from([Kind.BOILERPLATE, Kind.CONTENT]), st.binary(max_size=200)), max_size=12)


@SOME
@given(PIECES, PADS, st.booleans(), st.integers(1, 500))
def test_an_answer_arrives_as_it_was_written_over_both_forms(
    pieces: list[tuple[Kind, bytes]], frame_pad: int, is_failure: bool, chunk: int
) -> None:
    fields = RequestFields(
        endpoint="/v1/responses", model="m", stream=True, max_output_tokens=2**20, max_prompt_tokens=2**24
    )
    sealed = seal_request(
        fields, meta={"frame_pad": frame_pad}, data=b"{}", recipients=[RECIPIENTS[0, Suite.NACL_BOX]], now=NOW
    )
    sealer = HOMES[0].open(sealed.raw).frame_sealer()
    records = [keepalive_record(), sealer.head(b"{}")]
    for count, (kind, data) in enumerate(pieces):
        records.append(sealer.content(data) if kind is Kind.CONTENT else sealer.boilerplate(data))
        records.append(sealer.usage(Meter(7, 0, count, 0)))
    last = Meter(7, 7, len(pieces), 0, code=204 if is_failure else 0)
    records.append(sealer.error(last, b"detail") if is_failure else sealer.end(last))

    binary, events = b"".join(records), encode_sse(records)
    over_binary, over_events = BinaryRecordReader(), SseRecordReader()
    got = [raw for at in range(0, len(binary), chunk) for raw in over_binary.feed(binary[at : at + chunk])]
    assert got == records
    got = [raw for at in range(0, len(events), chunk) for raw in over_events.feed(events[at : at + chunk])]
    assert got == records[1:]

    opener = FrameOpener(sealed)
    frames = [frame for raw in records if (frame := opener.open(raw)) is not None]
    opener.finish()
    assert [(frame.kind, frame.data) for frame in frames if frame.kind in (2, 3)] == pieces
    assert frames[-1].meter == last
    assert frames[-1].data == (b"detail" if is_failure else b"")


@SOME
@given(st.lists(st.binary(max_size=100), max_size=6), st.binary(max_size=11))
def test_records_are_split_where_they_end(payloads: list[bytes], rest: bytes) -> None:
    raws = [
        parse_record(b"\3\0\0\0" + number.to_bytes(4, "big") + (len(data) + 20).to_bytes(4, "big") + bytes(20) + data)
        for number, data in enumerate(payloads)
    ]
    records, left = split_records(b"".join(record.raw for record in raws) + rest)
    assert records == raws
    assert left == rest


COUNT = st.integers(0, 2**32 - 1)


@given(COUNT, COUNT, COUNT, COUNT, st.integers(0, 2**16 - 1))
def test_meters_survive_the_round_trip(first: int, second: int, third: int, fourth: int, code: int) -> None:
    meter = Meter(first, second, third, fourth, code)
    assert Meter.unpack(meter.pack()) == meter


@given(st.integers(1, 2**24))
def test_padding_is_enough_stable_and_bounded(size: int) -> None:
    padded = padme_1k(size)
    assert size <= padded <= max(1024, size * 1.07, size + 1023)
    assert padme_1k(padded) == padded
