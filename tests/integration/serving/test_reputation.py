"""A provider's record from what happens: who is sent less, who is believed less, and what leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from hushnet.coordinator.fleet.reputation.keeper import RecordKeeper
from hushnet.coordinator.fleet.reputation.outcomes import Outcome
from hushnet.coordinator.fleet.reputation.record import FALLBACK_MS, Record, score_of
from hushnet.coordinator.routing.model import Candidate
from hushnet.coordinator.storage import Database
from hushnet.coordinator.storage.records import SqlRecordStore
from hushnet.sealing.errors import WireCode
from hushnet.sealing.records import Kind
from hushnet.sealing.records.layout import FINAL, SIGNED
from support.fleet import LIMITS, MODEL, Network, ScriptedProvider, ServedAttempt, refuses, says, until

Play = Callable[[ServedAttempt], None]
DAY_S = 86_400.0


def breaks_after_content(attempt: ServedAttempt) -> None:
    attempt.head()
    attempt.say("so")
    attempt.error(WireCode.ENGINE_FAILED)


def record_of(provider: ScriptedProvider, network: Network) -> Record:
    return network.serving.fleet.records.known(provider.provider_id)


def score(provider: ScriptedProvider, network: Network) -> float:
    return score_of(*record_of(provider, network).components(network.clock.monotonic_s()))


def evidence(provider: ScriptedProvider, network: Network) -> bytes:
    """Return what requests have left in a provider's record."""
    own = record_of(provider, network).own
    return msgspec.json.encode((own.outcomes, own.latency, own.models))


def candidate(provider: ScriptedProvider, network: Network) -> Candidate:
    return network.serving.fleet.view(MODEL).index[provider.provider_id]


def let_pass(network: Network, seconds: float, *providers: ScriptedProvider) -> None:
    """Let time pass, with a fresh statement, an answered challenge and a heartbeat of each provider after it."""
    network.clock.advance(seconds)
    for provider in providers:
        provider.rotate()
    network.advance(0)
    for provider in providers:
        provider.report()


async def ask(network: Network, key: str, times: int = 1) -> None:
    for _ in range(times):
        await network.chat(key=key).finished()
    await network.settled()


def at_pace(network: Network, tokens: int, tokens_s: float, *, stream_first_s: float = 0.1) -> Play:
    """Play a provider that says `tokens` at a pace of the network's own clock."""

    def part(attempt: ServedAttempt) -> None:
        attempt.head()
        network.clock.advance(stream_first_s)
        attempt.say("word ")
        for _ in range(tokens - 1):
            network.clock.advance(1 / tokens_s)
            attempt.say("word ")
        attempt.end()

    return part


async def test_a_provider_that_fails_is_sent_less_and_in_time_its_share_again(network: Network) -> None:
    failing, other = await network.provider(part=breaks_after_content), await network.provider(part=says("hi"))
    key = await network.consumer()

    async def share() -> float:
        before = len(failing.served), len(other.served)
        for _ in range(40):
            await ask(network, key)
            let_pass(network, 10, failing, other)
        asked = len(failing.served) - before[0], len(other.served) - before[1]
        return asked[0] / sum(asked)

    for _ in range(10):  # its breaker opens and closes, but it does not forget
        await ask(network, key, 4)
        let_pass(network, 400, failing, other)
    assert score(failing, network) < score(other, network) - 0.03
    assert candidate(failing, network).failures_ms == 0, "the breaker has closed: what follows is the record's"
    failing.part = says("hi")
    assert await share() < 0.25

    for _ in range(20):
        let_pass(network, DAY_S, failing, other)
    assert abs(score(failing, network) - score(other, network)) < 0.01
    assert 0.2 < await share() < 0.8


async def test_a_liar_about_its_speed_is_corrected_and_an_honest_one_is_not(network: Network) -> None:
    liar = await network.provider(decode_tokens_s=400.0)
    liar.part = at_pace(network, 64, 20.0)
    key = await network.consumer()
    await ask(network, key, 6)
    let_pass(network, 10, liar)
    assert 20.0 <= candidate(liar, network).decode_tokens_s <= 1.3 * 20.0

    honest = await network.provider(decode_tokens_s=40.0)
    honest.part = at_pace(network, 64, 40.0)
    await ask(network, key, 6)
    let_pass(network, 10, liar, honest)
    assert len(honest.served) == 6
    assert candidate(honest, network).decode_tokens_s == 40.0


async def test_a_provider_that_reports_no_speed_is_counted_on_for_what_was_seen(network: Network) -> None:
    silent = await network.provider(decode_tokens_s=0.0)
    silent.part = at_pace(network, 64, 100.0)
    await ask(network, await network.consumer(), 6)
    let_pass(network, 10, silent)
    assert 95.0 <= candidate(silent, network).decode_tokens_s <= 105.0


async def test_answers_of_one_piece_show_a_liar_too(network: Network) -> None:
    liar = await network.provider(decode_tokens_s=400.0)
    key = await network.consumer()

    def part(attempt: ServedAttempt) -> None:
        attempt.head()
        attempt.say(*["word "] * 90)
        network.clock.advance(30.0)
        attempt.end()

    liar.part = part
    for _ in range(6):
        await network.chat(key=key, stream=False).finished()
    await network.settled()
    let_pass(network, 10, liar)
    assert candidate(liar, network).decode_tokens_s < 5.0
    assert score(liar, network) < 0.95, "it was late by its own word as well"


async def test_a_reader_that_is_slow_costs_its_provider_nothing(database_path: Path) -> None:
    limits = replace(LIMITS, window_bytes=4096)
    async with Network.open(database_path, limits=limits) as network:
        provider = await network.provider(decode_tokens_s=400.0)
        key = await network.consumer()
        for number in range(6):
            exchange = network.chat(key=key)
            exchange.stop_reading()
            attempt = await provider.attempt(number + 1)
            attempt.head()
            attempt.say(*["word "] * 50)
            network.clock.advance(5.0)
            exchange.read_on()
            await until(lambda attempt=attempt: attempt.granted)
            attempt.end()
            await exchange.finished()
        await network.settled()
        let_pass(network, 10, provider)
        assert candidate(provider, network).decode_tokens_s == 400.0
        assert record_of(provider, network).uptime(MODEL, network.clock.monotonic_s())[0] == (6, 0)
        assert record_of(provider, network).own.latency.good == 0.0, "nothing was measured"


async def test_hang_ups_bad_requests_and_want_of_room_leave_no_trace(network: Network) -> None:
    provider = await network.provider()
    key = await network.consumer()
    before = evidence(provider, network)

    leaving = network.chat(key=key)
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("one", "two")
    await leaving.said("two")
    leaving.hang_up()
    await leaving.finished()
    await network.settled()
    assert evidence(provider, network) == before

    def wrong(attempt: ServedAttempt) -> None:
        attempt.head(status=400, content_type="application/json")
        attempt.error(WireCode.BAD_REQUEST)

    for part in (wrong, refuses(WireCode.BAD_REQUEST), refuses(WireCode.UNKNOWN_KEY)):
        provider.part = part
        await ask(network, key)
    assert len(provider.served) == 4
    assert evidence(provider, network) == before

    provider.part = refuses(WireCode.CAPACITY)
    waiting = network.chat(key=key)
    await until(lambda: network.serving.service.waiting)
    waiting.hang_up()
    await waiting.finished()
    await network.settled()
    assert len(provider.served) == 5
    assert evidence(provider, network) == before


async def test_silence_is_the_providers_fault_and_a_request_that_came_late_is_not(database_path: Path) -> None:
    limits = replace(LIMITS, queue_s_max=10.0, request_s_max=60.0, first_content_s_max=60.0, idle_s_max=30.0)
    async with Network.open(database_path, limits=limits) as network:
        silent, last = await network.provider(decode_tokens_s=400.0), await network.provider()
        exchange = network.chat(key=await network.consumer())
        (await silent.attempt()).head()
        network.advance(61.0)  # given up after a minute, and sent on
        (await last.attempt()).head()
        network.advance(10.0)  # the request's own time is over
        await exchange.finished()
        await network.settled()
        now_s = network.clock.monotonic_s()
        assert last.served[0].cancelled is WireCode.TIMED_OUT
        assert record_of(silent, network).uptime(MODEL, now_s)[0] == (0, 1)
        assert record_of(last, network).uptime(MODEL, now_s)[0] == (0, 0)


@pytest.mark.parametrize("is_sealed", [False, True])
async def test_a_receipt_that_does_not_verify_weighs_as_much_as_five_crashes(network: Network, is_sealed: bool) -> None:
    def forges(attempt: ServedAttempt) -> None:
        attempt.head()
        attempt.say("hello")
        attempt.usage()
        forged = attempt.meter().pack() + bytes(64)
        attempt.send(attempt.sealer._seal(Kind.END, FINAL | SIGNED, forged, b""))
        attempt.finish()

    forger = await network.provider(part=forges)
    key = await network.consumer()
    # In sealed mode the answer is complete before its receipt is looked at.
    exchange = network.send_sealed(network.seal(forger), key=key) if is_sealed else network.chat(key=key)
    await exchange.finished()
    await network.settled()
    assert len(forger.served) == 1
    assert record_of(forger, network).own.outcomes.bad == Outcome.VIOLATION.failure_weight == 5.0
    assert record_of(forger, network).own.outcomes.good == 0.0
    assert record_of(forger, network).uptime(MODEL, network.clock.monotonic_s())[0] == (0, 1)


async def test_a_record_cannot_be_made_of_ones_own_requests(network: Network) -> None:
    key = await network.consumer()
    provider = await network.provider(account=network.account_of(key), part=says("well", "done"))
    before = evidence(provider, network)
    await ask(network, key, 5)
    provider.part = breaks_after_content
    await ask(network, key)
    assert len(provider.served) == 6
    assert evidence(provider, network) == before


async def test_an_empty_answer_is_no_success(network: Network) -> None:
    provider = await network.provider(part=says())
    before = evidence(provider, network)
    await ask(network, await network.consumer())
    assert provider.served
    assert evidence(provider, network) == before


async def test_below_eighty_percent_of_a_hundred_a_provider_is_only_fallen_back_on(network: Network) -> None:
    bad, good = await network.provider(part=says("hi")), await network.provider(part=says("hi"))
    now_s = network.clock.monotonic_s()
    for number in range(100):
        record_of(bad, network).note(MODEL, Outcome.SERVER_ERROR if number % 4 == 0 else Outcome.SERVED, now_s)
    let_pass(network, 10, bad, good)
    assert candidate(bad, network).record_ms > FALLBACK_MS
    key = await network.consumer()
    await ask(network, key, 8)
    assert (len(bad.served), len(good.served)) == (0, 8)

    good.close("gone")
    await ask(network, key)
    assert len(bad.served) == 1, "nobody else was there"

    let_pass(network, DAY_S, bad)
    assert candidate(bad, network).record_ms < FALLBACK_MS


async def test_challenges_that_are_answered_and_missed_are_in_the_record(network: Network) -> None:
    provider = await network.provider()
    for _ in range(3):
        network.advance(301)
    own = record_of(provider, network).own
    assert own.challenges.good > 2.9
    assert own.challenges.bad == 0.0

    provider.ignores_challenges = True
    before = score(provider, network)
    network.advance(301)
    network.advance(31)
    network.advance(31)
    assert own.challenges.bad > 1.9
    assert score(provider, network) < before


async def test_a_record_outlives_the_link(network: Network) -> None:
    provider = await network.provider(part=breaks_after_content)
    key = await network.consumer()
    await ask(network, key, 3)
    before = score(provider, network)

    provider.close("connection_lost")
    network.clock.advance(60)
    provider.closed = None
    provider.rotate()
    await provider.join()

    assert record_of(provider, network).own.outcomes.bad > 2.9
    assert score(provider, network) < before, "the lost link has come on top"
    assert candidate(provider, network).record_ms > 1_000


async def test_a_record_outlives_the_process_and_each_worker_keeps_its_own(tmp_path: Path, network: Network) -> None:
    provider = await network.provider(part=breaks_after_content)
    await ask(network, await network.consumer(), 3)
    database = await Database.open(f"sqlite:///{tmp_path}/records.db")
    try:
        store, fleet, clock = SqlRecordStore(database), network.serving.fleet, network.clock
        for worker in (1, 2):
            record_of(provider, network).is_changed = True
            await RecordKeeper(store, fleet.records, clock, worker=worker).save()
        assert not list(fleet.records.changed())

        for _ in range(3):  # each start reads both, and writes its own alone
            fleet.records = type(fleet.records)(clock)
            keeper = RecordKeeper(store, fleet.records, clock, worker=1)
            await keeper.load()
            record_of(provider, network).is_changed = True
            await keeper.save()
            assert record_of(provider, network).own.outcomes.bad == 3.0
            assert record_of(provider, network).others.outcomes.bad == 3.0
            assert record_of(provider, network).uptime(MODEL, clock.monotonic_s()) == ((0, 6), (0, 6))
    finally:
        await database.aclose()


async def test_a_stored_record_that_cannot_be_read_is_a_newcomers(tmp_path: Path, network: Network) -> None:
    provider = await network.provider()
    database = await Database.open(f"sqlite:///{tmp_path}/records.db")
    try:
        store, fleet = SqlRecordStore(database), network.serving.fleet
        keeper = RecordKeeper(store, fleet.records, network.clock)
        await keeper.save()
        (row,) = await store.load(after="", providers=10)
        for document in (
            "",
            "[]",
            '{"a": 1}',
            row.document.replace("0.0", "-1.0"),
            row.document.replace("0.0", "null"),
        ):
            await store.save([type(row)(row.provider_id, row.worker, row.at_ms, document)])
            fleet.records = type(fleet.records)(network.clock)
            await RecordKeeper(store, fleet.records, network.clock).load()
            assert score(provider, network) > 0.9
    finally:
        await database.aclose()
