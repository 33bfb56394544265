"""Consumers on real sockets that stop reading: cut after one grace, told so in band, billed exactly, and nobody else's loss."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from hushnet.coordinator.ledger.model import UsageOutcome, UsageRecord
from hushnet.coordinator.serving.rules.stops import STEP_BYTES_MAX
from hushnet.dialects.openai_chat import Usage, render_completion
from hushnet.sealing.errors import SealingError, WireCode
from hushnet.sealing.records import Kind, parse_record
from hushnet.sealing.streaming import BinaryRecordReader, SseRecordReader
from support.fleet import LIMITS, MODEL, Network, ServedAttempt, open_answer, until
from support.readers import SocketConsumer, Talker, bytes_held, is_shut, listening, lives_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is known of a reader is Linux's TCP_INFO")

WINDOW = 16 * 1024
SMALL = replace(LIMITS, window_bytes=WINDOW)
PADDING = 1500
RECORD_BYTES_MAX = 4096
BEATS_MAX = round((STEP_BYTES_MAX / SMALL.pace_bytes_s_min + SMALL.grace_s) / 0.1) + 2
STALLED_TOKENS = 3999
SEND_BUFFER_BYTES_MAX = 64 * 1024
"""Of a transport, before it says stop."""
FORMS = ["standard", "sealed events", "sealed binary"]


class Scene:
    """One consumer that asked and does not read, and the provider that talks to it."""

    def __init__(self, network: Network, port: int, form: str) -> None:
        self.network = network
        self.port = port
        self.form = form

    async def begin(self, *, version: str = "1.1", **talk: int) -> None:
        self.key = await self.network.consumer()
        self.provider = await self.network.provider()
        self.consumer = await SocketConsumer.connect(self.port)
        self.consumer.version = version
        if self.form == "standard":
            await self.consumer.chat(self.key)
        else:
            self.sealed = self.network.seal(self.provider, max_output_tokens=4000)
            await self.consumer.send_sealed(self.key, self.sealed, is_binary=self.form == "sealed binary")
        self.attempt = await self.provider.attempt()
        self.talker = Talker(self.attempt, WINDOW, **{"padding": PADDING, **talk})
        self.talker.start()

    async def stalls(self) -> None:
        await until(lambda: is_shut(lives_of(self.network)[0]))

    def beats_until_cut(self) -> int:
        """Let the pulse beat until the provider is told; returns how often it beat."""
        for beat in range(BEATS_MAX):
            self.network.advance(0.1)
            if self.attempt.cancelled is not None:
                return beat
        raise AssertionError("a stalled reader was never given up")

    def words_received(self) -> int:
        """How many words reached the consumer, in order from the first."""
        if self.form == "standard":
            found = [int(word) for word in re.findall(rb"<(\d+)>", self.consumer.body)]
            assert found == list(range(len(found)))
            return len(found)
        return sum(1 for raw in self.records() if parse_record(raw).kind is Kind.CONTENT)

    def records(self) -> list[bytes]:
        reader = BinaryRecordReader() if self.form == "sealed binary" else SseRecordReader()
        return reader.feed(self.consumer.body)


@pytest.mark.parametrize("form", FORMS)
async def test_a_reader_that_stops_is_cut_told_in_band_and_billed_for_what_was_relayed(
    database_path: Path, form: str
) -> None:
    async with Network.open(database_path, limits=SMALL) as network, listening(network) as listener:
        scene = Scene(network, listener.port, form)
        await scene.begin()
        await scene.stalls()

        assert scene.beats_until_cut() * 0.1 >= SMALL.grace_s
        assert scene.attempt.cancelled is WireCode.BACKPRESSURE
        await network.settled()
        assert scene.attempt.is_over
        assert not scene.provider.attempts_open
        await scene.consumer.read_to_end()

        [record] = await network.usage(scene.key)
        assert record.usage.outcome is UsageOutcome.FAILED_AFTER_CONTENT
        assert record.usage.tokens_out == scene.words_received() > 0
        assert record.cost == 7 + 4 * record.usage.tokens_out
        assert await network.earned(scene.provider) == record.cost
        scene.consumer.close()


@pytest.mark.parametrize("form", FORMS)
async def test_the_error_for_a_stalled_reader_never_looks_like_a_proper_end(database_path: Path, form: str) -> None:
    async with Network.open(database_path, limits=SMALL) as network, listening(network) as listener:
        scene = Scene(network, listener.port, form)
        await scene.begin()
        await scene.stalls()
        scene.beats_until_cut()
        await network.settled()
        await scene.consumer.read_to_end()

        body = scene.consumer.body
        if form == "standard":
            events = [line[6:] for line in body.split(b"\n\n") if line.startswith(b"data: ")]
            assert json.loads(events[-1])["error"]["code"] == "backpressure"
            assert b"[DONE]" not in body
            assert b'"finish_reason":"' not in body
        else:
            kinds = [parse_record(raw).kind for raw in scene.records()]
            assert kinds[-1] is Kind.RELAY_ERROR
            assert b"backpressure" in scene.records()[-1]
            assert Kind.END not in kinds
            with pytest.raises(SealingError, match="relay_error"):
                open_answer(scene.sealed, body, is_binary=form == "sealed binary")
        scene.consumer.close()


async def test_a_reader_that_goes_on_before_the_grace_is_over_gets_everything(database_path: Path) -> None:
    async with Network.open(database_path, limits=SMALL) as network, listening(network) as listener:
        scene = Scene(network, listener.port, "standard")
        await scene.begin(words=400)
        await scene.stalls()
        network.advance(0.1)
        network.advance(0.1)

        await scene.consumer.read_to_end()

        assert scene.words_received() == 400
        assert scene.consumer.body.endswith(b"data: [DONE]\n\n")
        assert scene.attempt.cancelled is None
        assert (await network.usage(scene.key))[0].usage.outcome is UsageOutcome.COMPLETED
        scene.consumer.close()


async def test_a_reader_that_stops_is_cut_where_the_answer_can_not_go_straight_to_its_socket(
    database_path: Path,
) -> None:
    async with Network.open(database_path, limits=SMALL) as network, listening(network) as listener:
        scene = Scene(network, listener.port, "standard")
        await scene.begin(version="1.0")
        await scene.stalls()
        scene.beats_until_cut()
        await network.settled()
        await scene.consumer.read_to_end()

        assert scene.attempt.cancelled is WireCode.BACKPRESSURE
        [record] = await network.usage(scene.key)
        assert 0 < record.usage.tokens_out <= scene.words_received()
        assert scene.consumer.body.count(b'"backpressure"') == 1
        assert b"[DONE]" not in scene.consumer.body
        scene.consumer.close()


async def test_a_provider_is_held_back_by_credit_while_its_consumer_does_not_read(database_path: Path) -> None:
    async with Network.open(database_path, limits=SMALL) as network, listening(network) as listener:
        scene = Scene(network, listener.port, "standard")
        await scene.begin()
        await scene.stalls()
        said = scene.talker.said
        for _ in range(50):
            await asyncio.sleep(0)

        assert scene.talker.said == said
        assert scene.talker.ahead_most <= WINDOW + RECORD_BYTES_MAX
        while scene.talker.said == said:
            await scene.consumer.read(4096)
        assert scene.talker.ahead_most <= WINDOW + RECORD_BYTES_MAX
        scene.consumer.close()


async def test_a_reader_that_stops_before_a_whole_answer_holds_nobody_up(database_path: Path) -> None:
    async with Network.open(database_path, limits=SMALL) as network, listening(network) as listener:
        key, provider = await network.consumer(), await network.provider()
        consumer = await SocketConsumer.connect(listener.port)
        await consumer.chat(key, stream=False)
        attempt = await provider.attempt()
        attempt.head()
        attempt.output = 1000
        answer = render_completion(
            completion_id="c", model=MODEL, created_s=0, text="y" * 1_000_000, reason="stop", usage=Usage(7, 0, 1000)
        )
        for start in range(0, len(answer), 32 * 1024):
            attempt.send(attempt.sealer.content(answer[start : start + 32 * 1024]))
        attempt.send(attempt.sealer.end(attempt.meter()))
        attempt.finish()
        await network.settled()

        assert not provider.attempts_open
        [record] = await network.usage(key)
        assert (record.usage.outcome, record.usage.tokens_out) == (UsageOutcome.COMPLETED, 1000)
        await consumer.read_to_end()
        assert len(json.loads(consumer.body)["choices"][0]["message"]["content"]) == 1_000_000
        consumer.close()


STREAMS, STALLED, WORDS = 500, 50, 40


async def test_fifty_stalled_readers_cost_the_other_450_streams_nothing(database_path: Path) -> None:
    async with Network.open(database_path, limits=SMALL) as network, listening(network) as listener:
        key = await network.consumer(50_000_000)
        talkers: list[Talker] = []

        def play(attempt: ServedAttempt) -> None:
            is_stalled = json.loads(attempt.opened.data)["max_tokens"] == STALLED_TOKENS
            talkers.append(Talker(attempt, WINDOW, words=None if is_stalled else WORDS, padding=PADDING))
            talkers[-1].start()

        provider = await network.provider(slots=STREAMS, part=play)
        stalled = [await SocketConsumer.connect(listener.port) for _ in range(STALLED)]
        for consumer in stalled:
            await consumer.chat(key, max_tokens=STALLED_TOKENS)
        await until(lambda: len(lives_of(network)) == STALLED and all(map(is_shut, lives_of(network))))
        healthy = [await SocketConsumer.connect(listener.port) for _ in range(STREAMS - STALLED)]
        await asyncio.gather(*(consumer.chat(key) for consumer in healthy))
        await until(lambda: len(lives_of(network)) == STREAMS)
        assert max(map(bytes_held, lives_of(network))) <= WINDOW + SEND_BUFFER_BYTES_MAX + 2 * RECORD_BYTES_MAX

        await asyncio.gather(*(consumer.read_to_end() for consumer in healthy))
        for consumer in healthy:
            assert [int(word) for word in re.findall(rb"<(\d+)>", consumer.body)] == list(range(WORDS))
            assert consumer.body.endswith(b"data: [DONE]\n\n")
        assert max(talker.ahead_most for talker in talkers) <= WINDOW + RECORD_BYTES_MAX

        for _ in range(BEATS_MAX):
            network.advance(0.1)
        await network.settled()
        assert not provider.attempts_open
        cut = [attempt for attempt in provider.served if attempt.cancelled is not None]
        assert [attempt.cancelled for attempt in cut] == [WireCode.BACKPRESSURE] * STALLED
        await asyncio.gather(*(consumer.read_to_end() for consumer in stalled))
        for consumer in stalled:
            assert consumer.body.count(b'"backpressure"') == 1
            assert b"[DONE]" not in consumer.body
        outcomes = Counter([record.usage.outcome for record in await usage_of_all(network, key)])
        assert outcomes == {
            UsageOutcome.COMPLETED: STREAMS - STALLED,
            UsageOutcome.FAILED_AFTER_CONTENT: STALLED,
        }
        for consumer in (*stalled, *healthy):
            consumer.close()


async def usage_of_all(network: Network, key: str) -> list[UsageRecord]:
    """Read every page of an account's records."""
    records: list[UsageRecord] = []
    while page := await network.ledger.usage(
        network.account_of(key), before=records[-1].id if records else None, limit=100
    ):
        records += page
    return records
