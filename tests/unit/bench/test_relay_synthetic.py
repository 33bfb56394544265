"""A synthetic provider answers by its instructions, in records that a consumer opens, and never beyond its credit."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from bench.relay.answers import EventReader
from bench.relay.instructions import Instructions
from bench.relay.provider import Journal, SyntheticProvider
from bench.relay.synthetic import USAGE_EVERY_RECORDS
from bench.relay.upstream import Pace

from hushnet.foundation.ids import AttemptId
from hushnet.sealing.envelope import RequestFields, SealedRequest, seal_request
from hushnet.sealing.opening import FrameOpener
from hushnet.sealing.records import Kind
from hushnet.sealing.statements import SerialMemory, verify_statement
from hushnet.wire.errors import LinkLost

NETWORK = "hushnet-test"
FIRST = AttemptId(1)


class Writer:
    """The link's end of one attempt: takes `credit` records before the rest has to wait."""

    def __init__(self, credit: int = 1_000_000) -> None:
        self.records: list[bytes] = []
        self.refused: int | None = None
        self.finished = asyncio.Event()
        self.is_lost = False
        self._credit = credit
        self._granted = asyncio.Event()

    def grant(self, records: int) -> None:
        self._credit += records
        self._granted.set()

    def write(self, record: bytes) -> None:
        self.records.append(record)

    async def ready(self) -> None:
        while len(self.records) >= self._credit:
            self._granted.clear()
            await self._granted.wait()
        if self.is_lost:
            raise LinkLost("the link ended")

    def refuse(self, code: int) -> None:
        self.refused = code

    def finish(self) -> None:
        self.finished.set()


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    with (tmp_path / "report.jsonl").open("ab") as sink:
        yield Journal(sink)


@pytest.fixture
async def provider(journal: Journal) -> SyntheticProvider:
    pace = Pace(asyncio.get_running_loop())
    return SyntheticProvider(NETWORK, slots=4, pace=pace, journal=journal)


def sealed(provider: SyntheticProvider, asked: Instructions, *, stream: bool = True) -> SealedRequest:
    now = int(time.time())
    verified = verify_statement(
        provider.statement(), network=NETWORK, now=now, provider_id=None, serials=SerialMemory()
    )
    fields = RequestFields(
        endpoint="/v1/chat/completions",
        model="synthetic",
        stream=stream,
        max_output_tokens=1024,
        max_prompt_tokens=1024,
        features=(),
        trust="none",
    )
    body = asked.chat(stream=stream)
    return seal_request(fields, meta={"frame_pad": 64}, data=body, recipients=(verified.recipient(),), now=now)


def opened(request: SealedRequest, writer: Writer) -> tuple[list[Kind], bytes]:
    """Open every record that left; return their kinds and the body."""
    opener = FrameOpener(request)
    frames = [frame for record in writer.records if (frame := opener.open(record)) is not None]
    body = b"".join(frame.data for frame in frames if frame.kind is Kind.CONTENT)
    return [frame.kind for frame in frames], body


async def test_a_streamed_answer_is_its_chunks_in_order_and_a_signed_end(provider: SyntheticProvider) -> None:
    request, writer = sealed(provider, Instructions(chunks=5, rate=1000.0)), Writer()
    provider.attempt_arrived(FIRST, request.raw, 60_000, writer)
    await writer.finished.wait()
    kinds, body = opened(request, writer)
    events = EventReader()
    events.feed(body)
    assert (events.count, events.disorders, events.is_done) == (5, 0, True)
    assert (kinds[0], kinds[-1]) == (Kind.HEAD, Kind.END)


async def test_usage_is_told_at_least_every_sixteen_content_records(provider: SyntheticProvider) -> None:
    request, writer = sealed(provider, Instructions(chunks=100)), Writer()
    provider.attempt_arrived(FIRST, request.raw, 60_000, writer)
    await writer.finished.wait()
    kinds, _ = opened(request, writer)
    since = 0
    for kind in kinds:
        since = 0 if kind is Kind.USAGE else since + (kind is Kind.CONTENT)
        assert since <= USAGE_EVERY_RECORDS


async def test_an_answer_without_credit_waits_and_loses_nothing(provider: SyntheticProvider) -> None:
    request, writer = sealed(provider, Instructions(chunks=40)), Writer(credit=4)
    provider.attempt_arrived(FIRST, request.raw, 60_000, writer)
    held = len(writer.records)
    assert not writer.finished.is_set()
    writer.grant(1_000_000)
    await writer.finished.wait()
    _, body = opened(request, writer)
    assert held < 8
    assert body.count(b'"content":"') == 40


async def test_a_whole_answer_is_one_document(provider: SyntheticProvider) -> None:
    request, writer = sealed(provider, Instructions(chunks=3), stream=False), Writer()
    provider.attempt_arrived(FIRST, request.raw, 60_000, writer)
    await writer.finished.wait()
    document = msgspec.json.decode(opened(request, writer)[1])
    assert document["choices"][0]["message"]["content"] == "word word word"


async def test_a_cancel_ends_the_answer_once_and_its_moment_is_written_down(
    provider: SyntheticProvider, journal: Journal, tmp_path: Path
) -> None:
    request, writer = sealed(provider, Instructions(chunks=9, delay_ms=60_000, tag="mine")), Writer()
    provider.attempt_arrived(FIRST, request.raw, 60_000, writer)
    before_ns = time.monotonic_ns()
    provider.attempt_cancelled(FIRST, 499)
    provider.attempt_cancelled(FIRST, 499)
    noted = [msgspec.json.decode(line) for line in (tmp_path / "report.jsonl").read_bytes().splitlines()]
    assert [(each["tag"], each["outcome"]) for each in noted] == [("mine", "cancelled")]
    assert before_ns <= noted[0]["cancelled_ns"] <= time.monotonic_ns()
    assert len(writer.records) == 2  # the head and the error
    assert journal.outcomes == {"cancelled": 1}


async def test_a_lost_link_ends_answers_in_silence(provider: SyntheticProvider, journal: Journal) -> None:
    request, writer = sealed(provider, Instructions(chunks=9, delay_ms=60_000)), Writer()
    provider.attempt_arrived(FIRST, request.raw, 60_000, writer)
    provider.link_lost()
    assert (writer.records, writer.finished.is_set()) == ([], False)
    assert journal.outcomes == {"link_lost": 1}
    assert provider.capacity().active == 0


async def test_what_holds_no_instructions_is_refused(provider: SyntheticProvider) -> None:
    writer = Writer()
    provider.attempt_arrived(FIRST, b"no envelope", 60_000, writer)
    assert writer.refused
    assert provider.capacity().active == 0
