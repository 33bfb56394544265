"""However an attempt is stopped: the engine stops, the end is said once, the slot is free, the others go on."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import AsyncGenerator

import pytest

from hushnet.foundation.errors import RequestError
from hushnet.foundation.ids import AttemptId
from hushnet.provider import generation
from hushnet.provider.attempt import ServingLimits
from hushnet.provider.checks import failed
from hushnet.provider.engines.base import (
    Capabilities,
    ChatRequest,
    ContextTooLong,
    Delta,
    EngineBusy,
    EngineFailed,
    Event,
    Finished,
    Usage,
)
from hushnet.provider.metering import MeterPace
from hushnet.sealing.errors import WireCode
from hushnet.sealing.records import Kind
from support.provider_bench import (
    Bench,
    answer_bytes,
    body,
    error_code,
    held_back_after,
    opened,
    settled,
    text_of,
)
from support.scripted_engine import ScriptedEngine, say_hello, talk_for_ever

CANARY = "zebra-canary-7319"
ONE_SLOT = Capabilities(frozenset(), 1024, 1)
TURNS_MAX = 50
"""How many turns of the loop stopping may take, however busy the machine is; bench/cancel.py measures milliseconds."""


async def stall(request: ChatRequest) -> AsyncGenerator[Event, None]:
    """Read the prompt for ever."""
    del request
    await asyncio.Event().wait()
    yield Delta("never", 1)


async def stall_after_two(request: ChatRequest) -> AsyncGenerator[Event, None]:
    """Say two tokens and fall silent."""
    del request
    yield Delta("one ", 1)
    yield Delta("two", 1)
    await asyncio.Event().wait()


async def turns_until(event: asyncio.Event) -> int:
    """Count the turns of the loop until `event`: what waits for a timer or a thread takes very many."""
    turns = 0
    while not event.is_set():
        await asyncio.sleep(0)
        turns += 1
    return turns


async def test_a_cancel_before_the_first_token_stops_the_engine_at_once() -> None:
    engine = ScriptedEngine(stall)
    bench = await Bench.open(engine)
    sealed = bench.seal()
    number, writer = bench.send(sealed)
    await engine.started.wait()

    bench.cancel(number, writer)
    assert await turns_until(engine.stopped) < TURNS_MAX
    assert await turns_until(writer.over) < TURNS_MAX

    assert writer.kinds == [Kind.HEAD, Kind.ERROR]
    meter = opened(sealed, writer)[-1].meter
    assert meter is not None
    assert (meter.code, meter.input, meter.output) == (WireCode.CANCELLED, 0, 0)
    await settled(bench)
    await bench.aclose()


@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_cancel_in_mid_answer_reports_what_was_generated(is_stream: bool) -> None:
    engine = ScriptedEngine(stall_after_two)
    bench = await Bench.open(engine)
    sealed = bench.seal(stream=is_stream)
    number, writer = bench.send(sealed)
    await (writer.have(Kind.CONTENT) if is_stream else engine.started.wait())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    bench.cancel(number, writer)
    assert await turns_until(writer.over) < TURNS_MAX
    assert engine.stops == 1

    meter = opened(sealed, writer)[-1].meter
    assert meter is not None
    assert (meter.code, meter.input, meter.output) == (WireCode.CANCELLED, 5, 2)
    assert writer.records[-1].is_signed
    await settled(bench)
    await bench.aclose()


async def test_a_prompt_that_was_never_read_costs_nothing_however_long_it_takes() -> None:
    engine = ScriptedEngine(stall)
    bench = await Bench.open(engine, limits=ServingLimits(pace=MeterPace(seconds=0.005)))
    sealed = bench.seal()
    writer = await bench.exchange(sealed, deadline_ms=60)

    meter = opened(sealed, writer)[-1].meter
    assert meter is not None
    assert (meter.code, meter.input) == (WireCode.TIMED_OUT, 0)
    assert Kind.USAGE not in writer.kinds
    await bench.aclose()


async def test_a_cancel_in_the_queue_never_reaches_the_engine() -> None:
    engine = ScriptedEngine(stall, capabilities=ONE_SLOT)
    bench = await Bench.open(engine)
    first, first_writer = bench.send(bench.seal())
    await engine.started.wait()
    second, second_writer = bench.send(bench.seal())
    await bench.queued(1)
    bench.cancel(second, second_writer)
    await asyncio.wait_for(second_writer.over.wait(), 60)

    assert error_code(second_writer) is WireCode.CANCELLED
    assert len(engine.bounds) == 1
    bench.cancel(first, first_writer)
    await settled(bench)
    await bench.aclose()


async def test_a_cancel_while_the_prompt_is_counted_is_a_refusal() -> None:
    counting = asyncio.Event()

    async def count_for_ever(request: ChatRequest) -> int:
        del request
        counting.set()
        await asyncio.Event().wait()
        return 1

    bench = await Bench.open(ScriptedEngine(count=count_for_ever))
    number, writer = bench.send(bench.seal())
    await counting.wait()
    bench.cancel(number, writer)
    await asyncio.wait_for(writer.over.wait(), 60)

    assert writer.refusals == [WireCode.CANCELLED]
    await settled(bench)
    await bench.aclose()


async def test_a_cancel_while_a_large_body_is_opened_is_a_refusal() -> None:
    engine = ScriptedEngine()
    bench = await Bench.open(engine)
    number, writer = bench.send(bench.seal(body(stream=True, text="x" * 2_000_000)))
    await asyncio.sleep(0)
    bench.cancel(number, writer)
    await asyncio.wait_for(writer.over.wait(), 60)

    assert (writer.refusals, engine.bounds) == ([WireCode.CANCELLED], [])
    await settled(bench)
    await bench.aclose()


async def test_a_cancel_in_the_same_moment_as_the_arrival_is_a_refusal() -> None:
    engine = ScriptedEngine()
    bench = await Bench.open(engine)
    number, writer = bench.send(bench.seal())
    bench.cancel(number, writer)
    await asyncio.wait_for(writer.over.wait(), 60)

    assert (writer.refusals, engine.bounds) == ([WireCode.CANCELLED], [])
    await settled(bench)
    await bench.aclose()


@pytest.mark.parametrize("last", [Kind.HEAD, Kind.BOILERPLATE, Kind.CONTENT, Kind.USAGE])
async def test_a_cancel_while_the_reader_takes_nothing_leaves_no_gap(last: Kind) -> None:
    bench = await Bench.open(ScriptedEngine(talk_for_ever))
    sealed = bench.seal(max_output_tokens=1 << 20)
    number, writer = bench.send(sealed, credit=1)
    await held_back_after(writer, last)
    bench.cancel(number, writer)
    await asyncio.wait_for(writer.over.wait(), 60)

    assert error_code(writer) is WireCode.CANCELLED
    assert [record.seq for record in writer.records] == list(range(len(writer.records)))
    assert opened(sealed, writer)[-1].kind is Kind.ERROR
    await settled(bench)
    await bench.aclose()


async def test_cancels_that_come_twice_late_or_for_nobody_change_nothing() -> None:
    engine = ScriptedEngine(stall)
    bench = await Bench.open(engine)
    number, writer = bench.send(bench.seal())
    await engine.started.wait()
    bench.cancel(number, writer)
    bench.cancel(number, writer)
    await asyncio.wait_for(writer.over.wait(), 60)
    bench.cancel(number, writer)
    bench.serving.attempt_cancelled(AttemptId(4_000_000), 207)

    assert bench.reports[-1].outcome == "cancelled"
    assert len(bench.reports) == 1
    await bench.aclose()


async def test_the_deadline_ends_an_engine_that_stalls() -> None:
    engine = ScriptedEngine(stall_after_two)
    bench = await Bench.open(engine)
    sealed = bench.seal()
    writer = await bench.exchange(sealed, deadline_ms=60)

    assert error_code(writer) is WireCode.TIMED_OUT
    assert engine.stops == 1
    await settled(bench)
    await bench.aclose()


async def test_the_deadline_counts_in_the_queue_too() -> None:
    engine = ScriptedEngine(stall, capabilities=ONE_SLOT)
    bench = await Bench.open(engine)
    first, first_writer = bench.send(bench.seal())
    await engine.started.wait()
    waited = await bench.exchange(bench.seal(), deadline_ms=30)

    assert error_code(waited) is WireCode.TIMED_OUT
    bench.cancel(first, first_writer)
    await settled(bench)
    await bench.aclose()


async def test_a_lost_link_stops_every_attempt_in_silence_and_numbers_start_anew() -> None:
    engine = ScriptedEngine(stall_after_two)
    bench = await Bench.open(engine)
    _, talking = bench.send(bench.seal())
    _, blocked = bench.send(bench.seal(), credit=1)
    await talking.have(Kind.CONTENT)
    talking.lose()
    blocked.lose()
    bench.serving.link_lost()
    bench._next = 1
    engine.script = say_hello
    again = await bench.exchange(bench.seal())

    assert again.kinds[-1] is Kind.END
    assert not talking.is_finished
    assert [report.outcome for report in bench.reports[:2]] == ["link_lost", "link_lost"]
    await settled(bench)
    await bench.aclose()


async def test_a_writer_that_finds_the_link_gone_ends_its_attempt() -> None:
    engine = ScriptedEngine(talk_for_ever)
    bench = await Bench.open(engine)
    _, writer = bench.send(bench.seal(), credit=600)
    await asyncio.wait_for(writer.held_back.wait(), 60)
    writer.lose()
    await settled(bench)

    assert [report.outcome for report in bench.reports] == ["link_lost"]
    assert engine.stops == 1
    await bench.aclose()


@pytest.mark.parametrize(
    ("script_error", "code"),
    [
        (EngineFailed("died"), WireCode.ENGINE_FAILED),
        (EngineBusy("full"), WireCode.CAPACITY),
        (RuntimeError(CANARY), WireCode.ENGINE_FAILED),
        (RequestError("the schema does not compile", code="unsupported_value"), WireCode.BAD_REQUEST),
        (ContextTooLong(prompt_tokens=9, context_tokens=8), WireCode.CONTEXT_TOO_LONG),
    ],
)
async def test_an_engine_that_fails_ends_its_attempt_by_its_code(script_error: Exception, code: WireCode) -> None:
    async def fail(request: ChatRequest) -> AsyncGenerator[Event, None]:
        del request
        raise script_error
        yield Delta("", 0)

    bench = await Bench.open(ScriptedEngine(fail))
    sealed = bench.seal()
    writer = await bench.exchange(sealed)

    assert error_code(writer) is code
    message = json.loads(opened(sealed, writer)[-1].data)["error"]["message"]
    assert message
    assert CANARY not in message
    assert bool(bench.host.suspicions) is (code is WireCode.ENGINE_FAILED)
    await settled(bench)
    await bench.aclose()


async def test_an_engine_that_breaks_in_mid_answer_is_charged_for_what_it_said() -> None:
    async def break_off(request: ChatRequest) -> AsyncGenerator[Event, None]:
        del request
        yield Delta("one", 3)
        raise EngineFailed("died")

    bench = await Bench.open(ScriptedEngine(break_off))
    sealed = bench.seal()
    frames = opened(sealed, await bench.exchange(sealed))

    assert text_of(answer_bytes(frames)) == "one"
    assert frames[-1].meter is not None
    assert (frames[-1].meter.code, frames[-1].meter.output) == (WireCode.ENGINE_FAILED, 3)
    await bench.aclose()


async def test_an_engine_that_stops_without_finishing_has_failed() -> None:
    async def fall_silent(request: ChatRequest) -> AsyncGenerator[Event, None]:
        del request
        yield Delta("one", 1)

    bench = await Bench.open(ScriptedEngine(fall_silent))
    writer = await bench.exchange(bench.seal())

    assert error_code(writer) is WireCode.ENGINE_FAILED
    await bench.aclose()


async def test_an_engine_that_fails_to_count_is_a_refusal() -> None:
    async def fail(request: ChatRequest) -> int:
        raise ValueError(request.messages[0]["content"])

    bench = await Bench.open(ScriptedEngine(count=fail))
    writer = await bench.exchange(bench.seal())

    assert writer.refusals == [WireCode.ENGINE_FAILED]
    assert bench.host.suspicions == [False]
    await bench.aclose()


async def test_a_busy_engine_frees_the_envelope_for_another_try() -> None:
    async def busy(request: ChatRequest) -> AsyncGenerator[Event, None]:
        del request
        raise EngineBusy("full")
        yield Delta("", 0)

    engine = ScriptedEngine(busy)
    bench = await Bench.open(engine)
    sealed = bench.seal()
    assert error_code(await bench.exchange(sealed.raw)) is WireCode.CAPACITY

    engine.script = say_hello
    assert (await bench.exchange(sealed.raw)).kinds[-1] is Kind.END
    await bench.aclose()


async def test_an_engine_that_will_not_stop_is_reported_as_stuck_and_keeps_its_slot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(generation, "STOP_S_MAX", 0.02)
    release = asyncio.Event()

    async def cling(request: ChatRequest) -> AsyncGenerator[Event, None]:
        del request
        try:
            await asyncio.Event().wait()
            yield Delta("", 0)
        finally:
            await release.wait()

    engine = ScriptedEngine(cling)
    bench = await Bench.open(engine)
    number, writer = bench.send(bench.seal())
    await engine.started.wait()
    bench.cancel(number, writer)
    await asyncio.wait_for(writer.over.wait(), 60)

    assert error_code(writer) is WireCode.CANCELLED
    assert bench.host.suspicions == [True]
    assert bench.host.loaded is not None
    assert bench.host.loaded.slots.active == 1
    release.set()
    await asyncio.wait_for(engine.stopped.wait(), 60)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await settled(bench)
    await bench.aclose()


async def test_slots_and_queue_are_bounded_and_served_in_order() -> None:
    turns: list[asyncio.Event] = [asyncio.Event() for _ in range(4)]
    order: list[str] = []

    async def wait_turn(request: ChatRequest) -> AsyncGenerator[Event, None]:
        name = request.messages[0]["content"]
        order.append(name)
        await turns[int(name)].wait()
        yield Finished("stop", Usage(5, 0, 0))

    engine = ScriptedEngine(wait_turn, capabilities=ONE_SLOT)
    bench = await Bench.open(engine, limits=ServingLimits(queue=2))
    sent = []
    for name in range(3):
        sent.append(bench.send(bench.seal(body(stream=True, text=str(name))))[1])
        await (bench.queued(name) if name else engine.started.wait())
    surplus = bench.seal(body(stream=True, text="3"))
    refused = await bench.exchange(surplus.raw)
    assert refused.refusals == [WireCode.CAPACITY]
    assert bench.serving.tokens_queued == 2 * (5 + 64)

    for name in range(3):
        turns[name].set()
        await asyncio.wait_for(sent[name].over.wait(), 60)
    assert order == ["0", "1", "2"]
    assert engine.running_most == 1
    turns[3].set()
    assert (await bench.exchange(surplus.raw)).kinds[-1] is Kind.END
    await settled(bench)
    await bench.aclose()


async def test_draining_refuses_the_new_and_finishes_the_running() -> None:
    go = asyncio.Event()

    async def wait(request: ChatRequest) -> AsyncGenerator[Event, None]:
        del request
        await go.wait()
        yield Delta("done", 1)
        yield Finished("stop", Usage(5, 0, 1))

    engine = ScriptedEngine(wait)
    bench = await Bench.open(engine)
    _, running = bench.send(bench.seal())
    await engine.started.wait()
    bench.serving.begin_drain()
    refused = await bench.exchange(bench.seal())
    go.set()
    await asyncio.wait_for(running.over.wait(), 60)

    assert refused.refusals == [WireCode.DRAINING]
    assert running.kinds[-1] is Kind.END
    await bench.aclose()


async def test_closing_ends_what_still_runs_and_says_so() -> None:
    engine = ScriptedEngine(stall)
    bench = await Bench.open(engine)
    _, writer = bench.send(bench.seal())
    await engine.started.wait()
    await asyncio.wait_for(bench.aclose(), 60)

    assert error_code(writer) is WireCode.DRAINING
    assert engine.stops == 1


async def test_a_drain_frees_an_envelope_that_waits_and_never_one_that_the_engine_has_begun() -> None:
    engine = ScriptedEngine(stall, capabilities=ONE_SLOT)
    bench = await Bench.open(engine)
    begun, waiting = bench.seal(), bench.seal()
    sent = [bench.send(begun)]
    await engine.started.wait()
    sent.append(bench.send(waiting))
    await bench.queued(1)
    for number, writer in reversed(sent):
        bench.serving._by_number[number].stop(failed(WireCode.DRAINING))
        await asyncio.wait_for(writer.over.wait(), 60)
        assert error_code(writer) is WireCode.DRAINING

    engine.script = say_hello
    assert (await bench.exchange(begun)).refusals == [WireCode.REPLAYED]
    assert (await bench.exchange(waiting)).kinds[-1] is Kind.END
    await bench.aclose()


async def test_without_an_engine_everything_is_refused_and_may_be_tried_again() -> None:
    bench = await Bench.open(ScriptedEngine())
    loaded, bench.host.loaded = bench.host.loaded, None
    sealed = bench.seal()
    assert (await bench.exchange(sealed.raw)).refusals == [WireCode.MODEL_UNAVAILABLE]

    bench.host.loaded = loaded
    assert (await bench.exchange(sealed.raw)).kinds[-1] is Kind.END
    await bench.aclose()


async def test_a_dead_engine_ends_its_attempts_the_queued_ones_too() -> None:
    engine = ScriptedEngine(stall, capabilities=ONE_SLOT)
    bench = await Bench.open(engine)
    writers = [bench.send(bench.seal())[1] for _ in range(3)]
    await engine.started.wait()
    await bench.queued(2)
    bench.host.loaded = None
    bench.serving.engine_changed()
    for writer in writers:
        await asyncio.wait_for(writer.over.wait(), 60)

    assert [error_code(writer) for writer in writers] == [WireCode.ENGINE_FAILED] * 3
    assert engine.running == 0
    await bench.aclose()


async def test_nothing_of_a_prompt_or_answer_is_logged_or_shown(caplog: pytest.LogCaptureFixture) -> None:
    async def echo_then_fail(request: ChatRequest) -> AsyncGenerator[Event, None]:
        yield Delta(request.messages[0]["content"], 1)
        raise ValueError(request.messages[0]["content"])

    bench = await Bench.open(ScriptedEngine(echo_then_fail))
    with caplog.at_level(logging.DEBUG):
        await bench.exchange(bench.seal(body(stream=True, text=CANARY)))
        await bench.exchange(bench.seal(json.dumps({"model": CANARY}).encode()))
        _, writer = bench.send(bench.seal(body(stream=True, text=CANARY)))
        shown = repr(list(bench.serving._running))
        await asyncio.wait_for(writer.over.wait(), 60)
        await settled(bench)
        gc.collect()  # a task that failed unseen says so when it is collected

    said = " ".join(str(record.__dict__) for record in caplog.records) + shown + repr(bench.reports)
    assert CANARY not in said
    assert {report.outcome for report in bench.reports} == {"engine_failed", "bad_request"}
    await bench.aclose()
