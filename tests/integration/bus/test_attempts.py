"""Requests that land on one worker and are served by a provider of the other, over a real Unix socket."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from pathlib import Path

import pytest

from hushnet.coordinator.bus.frames import Beat, Dispatch, Lost, Records
from hushnet.coordinator.fleet.health import COOL_DOWN_MS, COOL_DOWN_S
from hushnet.coordinator.ledger.model import UsageOutcome
from hushnet.sealing.errors import WireCode
from support.fleet import MODEL, Network, ScriptedProvider, ServedAttempt, body_of, open_answer, says
from support.mesh import QUICK, RawPeer, folder, until
from support.pair import Worker, pair, worker_of


async def joined(here: Worker, there: Worker, **choices: object) -> ScriptedProvider:
    """Let a provider join `there` and wait until `here` knows it."""
    provider = await there.network.provider(**choices)
    await here.knows(provider)
    return provider


@pytest.mark.parametrize("is_stream", [True, False], ids=["streamed", "whole"])
async def test_a_standard_request_is_served_by_a_provider_of_the_other_worker(
    both: tuple[Worker, Worker], is_stream: bool
) -> None:
    here, there = both
    provider = await joined(here, there, part=says("one ", "two"))
    key = await here.network.consumer()
    exchange = await here.network.chat(key=key, stream=is_stream).finished()
    assert exchange.status == 200
    text = exchange.text if is_stream else exchange.json["choices"][0]["message"]["content"]
    assert text == "one two"
    assert exchange.headers["hushnet-provider"] == provider.provider_id
    record = await here.network.usage_of(exchange)
    assert (record.usage.outcome, record.usage.tokens_out) == (UsageOutcome.COMPLETED, 2)
    assert record.usage.provider == provider.account
    await until(lambda: there.bus.hosted == 0 and here.bus.crossing == 0)
    live = there.network.serving.fleet.get(provider.provider_id)
    assert live is not None
    assert live.load.open_total == 0


@pytest.mark.parametrize("is_stream", [True, False], ids=["streamed", "whole"])
async def test_a_sealed_request_is_served_by_a_provider_of_the_other_worker(
    both: tuple[Worker, Worker], is_stream: bool
) -> None:
    here, there = both
    provider = await joined(here, there, part=says("sealed ", "words"))
    key = await here.network.consumer()
    sealed = there.network.seal(provider, stream=is_stream)
    exchange = await here.network.send_sealed(sealed, key=key).finished()
    assert exchange.status == 200
    assert b"words" in body_of(open_answer(sealed, exchange.body))
    assert (await here.network.usage_of(exchange)).usage.outcome is UsageOutcome.COMPLETED


async def test_a_hang_up_reaches_the_provider_and_frees_its_slot(both: tuple[Worker, Worker]) -> None:
    here, there = both
    provider = await joined(here, there)
    key = await here.network.consumer()
    exchange = here.network.chat(key=key)
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("something")
    await exchange.said("something")
    exchange.hang_up()
    await until(lambda: attempt.cancelled is WireCode.CANCELLED)
    await until(lambda: attempt.is_over and there.bus.hosted == 0)
    await exchange.finished()
    assert (await here.network.usage(key))[0].usage.outcome is UsageOutcome.CANCELLED


async def test_a_cancel_is_on_the_socket_in_the_step_in_which_it_was_asked(both: tuple[Worker, Worker]) -> None:
    here, there = both
    provider = await joined(here, there)
    key = await here.network.consumer()
    exchange = here.network.chat(key=key)
    await provider.attempt()
    peer = here.bus.mesh.peer(2)
    assert peer is not None
    [life] = here.network.serving.service._lives
    assert life.attempt is not None
    life.attempt.stop(WireCode.CANCELLED)
    assert peer._waiting_bytes == 0
    exchange.hang_up()
    await exchange.finished()


async def test_credit_goes_back_to_the_provider_as_the_consumer_reads(both: tuple[Worker, Worker]) -> None:
    here, there = both
    provider = await joined(here, there)
    key = await here.network.consumer()
    exchange = here.network.chat(key=key)
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("begin")
    await exchange.said("begin")
    exchange.stop_reading()
    window = here.network.serving.service.limits.window_bytes
    text, sent = "x" * 8000, 0
    while sent < window // 2:
        attempt.say(text)
        sent += len(text)
    await until(lambda: not here.bus.mesh.peer(2)._waiting)  # type: ignore[union-attr]
    granted_before = attempt.granted
    assert granted_before < window // 2
    exchange.read_on()
    await until(lambda: attempt.granted >= window // 4)
    attempt.end()
    await exchange.finished()
    assert exchange.is_done


async def test_a_refusal_of_the_provider_leads_to_another_try(both: tuple[Worker, Worker]) -> None:
    here, there = both
    refused: list[ServedAttempt] = []

    def part(attempt: ServedAttempt) -> None:
        refused.append(attempt)
        attempt.refuse(WireCode.INTERNAL)

    await joined(here, there, part=part)
    await joined(here, there, part=says("good"), decode_tokens_s=1)
    exchange = await here.network.chat(key=await here.network.consumer()).finished()
    assert (exchange.text, len(refused)) == ("good", 1)


async def test_a_provider_that_loses_its_link_before_content_is_replaced_by_another(
    both: tuple[Worker, Worker],
) -> None:
    here, there = both
    dying = await joined(here, there)
    other = await joined(here, there, part=says("saved"), decode_tokens_s=1)
    exchange = here.network.chat(key=await here.network.consumer())
    await dying.attempt()
    dying.close("connection_lost")
    await exchange.finished()
    assert exchange.text == "saved"
    assert len(other.served) == 1
    await here.misses(dying)


async def test_slots_are_counted_by_their_own_worker_and_never_promised_twice(both: tuple[Worker, Worker]) -> None:
    """Both workers dispatch to one provider of two slots in the same moment; the owner lets two in."""
    here, there = both
    open_now, most = 0, 0

    def part(attempt: ServedAttempt) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)

        def end() -> None:
            nonlocal open_now
            attempt.head()
            attempt.role()
            attempt.say("x")
            open_now -= 1
            attempt.end()

        asyncio.get_running_loop().call_later(0.003, end)

    provider = await joined(here, there, slots=2, part=part)
    keys = [await here.network.consumer(), await there.network.consumer()]
    exchanges = [
        worker.network.chat(key=key) for _ in range(20) for worker, key in zip((here, there), keys, strict=True)
    ]
    for exchange in exchanges:
        await exchange.finished()
    assert most <= 2
    assert len(provider.served) >= 20
    # Who was refused by the other worker in a race is told to come again; nobody's answer is broken.
    assert {exchange.status for exchange in exchanges} <= {200, 503}
    assert sum(exchange.status == 200 for exchange in exchanges) >= 20
    await until(lambda: there.bus.hosted == 0 and here.bus.crossing == 0)
    live = there.network.serving.fleet.get(provider.provider_id)
    assert live is not None
    assert live.load.open_total == 0


async def test_an_attempt_beyond_the_slots_is_refused_with_capacity_by_the_worker_that_counts(
    both: tuple[Worker, Worker],
) -> None:
    here, there = both
    provider = await joined(here, there, slots=1)
    full = there.network.chat(key=await there.network.consumer())
    await provider.attempt()
    live = here.network.serving.fleet.get(provider.provider_id)
    assert live is not None
    refused: list[int] = []

    class Sink:
        def content_arrived(self, record: object) -> None: ...
        def records_arrived(self, records: object) -> None: ...
        def link_lost(self) -> None: ...
        def attempt_finished(self) -> None: ...
        def attempt_refused(self, code: int) -> None:
            refused.append(code)

    sealed = there.network.seal(provider)
    live.link.dispatch(sealed.raw, deadline_ms=1000, credit_bytes=1000, sink=Sink())
    await until(lambda: refused == [WireCode.CAPACITY])
    assert len(provider.served) == 1
    full.hang_up()
    await full.finished()


async def test_a_freed_slot_wakes_the_queue_of_the_other_worker(both: tuple[Worker, Worker]) -> None:
    here, there = both
    provider = await joined(here, there, slots=1)
    first = there.network.chat(key=await there.network.consumer())
    attempt = await provider.attempt()
    fleet = here.network.serving.fleet
    await until(lambda: all(each.slots_left == 0 for each in fleet.view(MODEL).index.values()))
    second = here.network.chat(key=await here.network.consumer())
    await until(lambda: here.network.serving.service.waiting == 1)
    says("first")(attempt)
    await first.finished()
    says("second")(await provider.attempt(2))
    await second.finished()
    assert (first.text, second.text) == ("first", "second")


async def test_a_worker_that_dies_mid_stream_ends_its_requests_elsewhere_with_an_error(
    template: Path, tmp_path: Path
) -> None:
    database = tmp_path / "1.db"
    shutil.copyfile(template, database)
    with folder() as path:
        async with Network.open(database) as network, worker_of(network, path, 1) as here:
            other_database = tmp_path / "2.db"
            shutil.copyfile(template, other_database)
            async with Network.open(other_database) as other:
                async with worker_of(other, path, 2) as there:
                    provider = await joined(here, there)
                    exchange = network.chat(key=await network.consumer())
                    attempt = await provider.attempt()
                    attempt.head()
                    attempt.say("half an ans")
                    await exchange.said("half an ans")
                # The mesh of the other is gone, as if its process were.
                await exchange.finished()
                assert b'"link_lost"' in exchange.body
                assert not exchange.is_done
                assert here.bus.crossing == 0
                assert network.serving.fleet.get(provider.provider_id) is None
                await until(lambda: attempt.cancelled is WireCode.CANCELLED)


async def test_every_attempt_hears_that_its_worker_is_lost_exactly_once(template: Path, tmp_path: Path) -> None:
    """Played against a peer that takes attempts and dies: nothing is told twice, and the books still balance."""
    async with pair(template, tmp_path) as (here, there):
        provider = await joined(here, there, slots=64)
        live = here.network.serving.fleet.get(provider.provider_id)
        assert live is not None
        told: list[tuple[int, str]] = []

        class Sink:
            def __init__(self, number: int) -> None:
                self.number = number

            def content_arrived(self, record: object) -> None: ...

            def records_arrived(self, records: object) -> None: ...

            def link_lost(self) -> None:
                told.append((self.number, "lost"))

            def attempt_finished(self) -> None:
                told.append((self.number, "finished"))

            def attempt_refused(self, code: int) -> None:
                told.append((self.number, "refused"))

        sealed = [there.network.seal(provider) for _ in range(20)]
        for number, each in enumerate(sealed):
            live.link.dispatch(each.raw, deadline_ms=60_000, credit_bytes=100_000, sink=Sink(number))
        await until(lambda: len(provider.served) == 20)
        peer = here.bus.mesh.peer(2)
        assert peer is not None
        peer.drop("test")
        assert sorted(told) == [(number, "lost") for number in range(20)]
        await until(lambda: all(attempt.cancelled for attempt in provider.served))
        await until(lambda: there.bus.hosted == 0)
        assert len(told) == 20


async def test_slots_of_a_lost_worker_come_free_though_their_provider_never_says_so(
    template: Path, tmp_path: Path
) -> None:
    limits = dataclasses.replace(QUICK, linger_s=5.0)
    async with pair(template, tmp_path, limits=limits) as (here, there):
        provider = await joined(here, there)
        provider.ignores_cancel = True
        exchange = here.network.chat(key=await here.network.consumer())
        await provider.attempt()
        exchange.hang_up()
        await exchange.finished()
        peer = there.bus.mesh.peer(1)
        assert peer is not None
        peer.drop("test")
        live = there.network.serving.fleet.get(provider.provider_id)
        assert live is not None
        assert live.load.open_total == 1
        there.network.clock.advance(6)
        for host in there.bus._orphans:
            host.tick()
        assert live.load.open_total == 0
        here.network.advance(31)


async def test_a_slot_that_a_provider_frees_too_late_is_taken_back_and_the_provider_serves_on(
    template: Path, tmp_path: Path
) -> None:
    limits = dataclasses.replace(QUICK, linger_s=5.0)
    async with pair(template, tmp_path, limits=limits) as (here, there):
        provider = await joined(here, there)
        provider.ignores_cancel = True
        key = await here.network.consumer()
        exchange = here.network.chat(key=key)
        attempt = await provider.attempt()
        exchange.hang_up()
        await exchange.finished()
        await until(lambda: attempt.cancelled is not None)
        there.network.clock.advance(6)
        for host in there.bus._hosts.values():
            host.tick()
        await until(lambda: here.bus.crossing == 0)
        here.network.advance(31)

        provider.ignores_cancel, provider.part = False, says("on")
        assert (await here.network.chat(key=key).finished()).status == 200


async def test_records_that_are_no_records_end_the_connection_to_the_worker_that_sent_them(
    template: Path, tmp_path: Path
) -> None:
    async with pair(template, tmp_path) as (here, there):
        provider = await joined(here, there)
        exchange = here.network.chat(key=await here.network.consumer())
        await provider.attempt()
        there.bus.mesh.send(Records(1, b"no record at all, to be sure"))
        await until(lambda: here.bus.crossing == 0)
        exchange.hang_up()
        await exchange.finished()


async def test_an_attempt_for_a_provider_that_is_not_there_is_lost(template: Path, tmp_path: Path) -> None:
    database = tmp_path / "1.db"
    shutil.copyfile(template, database)
    with folder() as path:
        async with Network.open(database) as network, worker_of(network, path, 1):
            provider = await network.provider()
            raw = await RawPeer.dial(path, 1, as_worker=2)
            live = network.serving.fleet.get(provider.provider_id)
            assert live is not None
            sealed = network.seal(provider)
            raw.say(Dispatch(7, provider.provider_id, live.connected_ms + 1, 1000, 1000, sealed.raw))
            raw.say(Dispatch(8, "0" * 64, live.connected_ms, 1000, 1000, sealed.raw))
            heard = [frame for frame in [await raw.hear() for _ in range(4)] if not isinstance(frame, Beat)]
            assert [frame.number for frame in heard if isinstance(frame, Lost)] == [7, 8]
            assert provider.served == []
            raw.close()


@pytest.mark.parametrize("is_backup_there", [True, False], ids=["backup elsewhere", "first elsewhere"])
@pytest.mark.parametrize("is_backup_faster", [True, False], ids=["backup wins", "first wins"])
async def test_a_race_between_workers_has_one_winner_and_frees_both_slots(
    both: tuple[Worker, Worker], is_backup_there: bool, is_backup_faster: bool
) -> None:
    here, there = both
    limits = here.network.serving.service.limits
    if is_backup_there:
        first = await here.network.provider(decode_tokens_s=400.0)
        standby = await joined(here, there)
    else:
        first = await joined(here, there, decode_tokens_s=400.0)
        standby = await here.network.provider()
    exchange = here.network.chat(key=await here.network.consumer())
    slow = await first.attempt()
    here.network.advance(limits.first_content_s_max * limits.hedge_share)
    backup = await standby.attempt()
    winner, loser = (backup, slow) if is_backup_faster else (slow, backup)

    says("won")(winner)
    await exchange.finished()

    assert exchange.text == "won"
    await until(lambda: loser.cancelled is WireCode.CANCELLED and loser.is_over)
    await until(lambda: there.bus.hosted == 0 and here.bus.crossing == 0)
    assert (await here.network.usage_of(exchange)).usage.provider == winner.provider.account
    for worker in both:
        await until(
            lambda worker=worker: not any(live.load.open_total for live in worker.network.serving.fleet.providers())
        )


async def test_a_worker_that_dies_in_a_race_takes_only_its_own_attempt_along(both: tuple[Worker, Worker]) -> None:
    here, there = both
    limits = here.network.serving.service.limits
    first = await here.network.provider(decode_tokens_s=400.0)
    standby = await joined(here, there)
    exchange = here.network.chat(key=await here.network.consumer())
    slow = await first.attempt()
    here.network.advance(limits.first_content_s_max * limits.hedge_share)
    await standby.attempt()

    await there.bus.aclose()
    await here.misses(standby)
    assert slow.cancelled is None
    says("alone")(slow)
    await exchange.finished()

    assert exchange.text == "alone"


async def test_the_rest_of_a_provider_elsewhere_ends_with_its_reports_too(both: tuple[Worker, Worker]) -> None:
    here, there = both
    provider = await joined(here, there)
    live = here.network.serving.fleet.get(provider.provider_id)
    assert live is not None
    for _ in range(2):
        here.network.serving.fleet.note_failed(live, MODEL)

    def shown_ms() -> int:
        return here.network.serving.fleet.view(MODEL).index[provider.provider_id].failures_ms

    assert shown_ms() == COOL_DOWN_MS
    here.network.clock.advance(COOL_DOWN_S)
    provider.report()
    await until(lambda: shown_ms() == 0)
