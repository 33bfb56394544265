"""Neighbours of an attempt: readers that take nothing, and hostile envelopes beside an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from hushnet.provider import generation
from hushnet.provider.attempt import ServingLimits
from hushnet.provider.engines.base import (
    ChatRequest,
    Delta,
    Event,
    Finished,
    Usage,
)
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
from support.scripted_engine import ScriptedEngine, talk_for_ever

CANARY = "zebra-canary-7319"


async def test_records_wait_for_credit_and_the_engine_is_held_back() -> None:
    said = 0

    async def talk(request: ChatRequest) -> AsyncGenerator[Event, None]:
        nonlocal said
        del request
        while True:
            said += 1
            yield Delta("x", 1)
            await asyncio.sleep(0)

    bench = await Bench.open(ScriptedEngine(talk))
    sealed = bench.seal(max_output_tokens=1 << 20)
    number, writer = bench.send(sealed, credit=1)
    await held_back_after(writer, Kind.USAGE)
    written, sent = len(writer.records), said
    for _ in range(4 * generation.AHEAD_MAX):
        await asyncio.sleep(0)
    assert len(writer.records) == written
    assert said - sent <= generation.AHEAD_MAX

    writer.grant(100_000)
    await writer.have(Kind.CONTENT, writer.kinds.count(Kind.CONTENT) + 1)
    bench.cancel(number, writer)
    await asyncio.wait_for(writer.over.wait(), 60)
    meter = opened(sealed, writer)[-1].meter
    assert meter is not None
    assert meter.output >= generation.AHEAD_MAX
    await bench.aclose()


async def test_a_reader_that_takes_nothing_for_too_long_loses_the_answer() -> None:
    engine = ScriptedEngine(talk_for_ever)
    bench = await Bench.open(engine, limits=ServingLimits(credit_s_max=0.03))
    writer = await bench.exchange(bench.seal(max_output_tokens=1 << 20), credit=600)

    assert error_code(writer) is WireCode.BACKPRESSURE
    assert engine.stops == 1
    await settled(bench)
    await bench.aclose()


async def test_hostile_neighbours_do_not_disturb_an_answer() -> None:
    go = asyncio.Event()

    async def wait(request: ChatRequest) -> AsyncGenerator[Event, None]:
        if request.messages[0]["content"] == "crash":
            raise ZeroDivisionError
        yield Delta("still ", 1)
        await go.wait()
        yield Delta("here", 1)
        yield Finished("stop", Usage(5, 0, 2))

    bench = await Bench.open(ScriptedEngine(wait))
    sealed = bench.seal()
    _, steady = bench.send(sealed)
    await steady.have(Kind.CONTENT)
    hostile = [
        bench.seal(b"{" * 5000).raw,
        bench.seal().raw[:-3],
        b"HSE1" * 9,
        bench.seal(body(text="crash", stream=True)),
    ]
    for envelope in hostile:
        await bench.exchange(envelope)
    go.set()
    await asyncio.wait_for(steady.over.wait(), 60)

    assert text_of(answer_bytes(opened(sealed, steady))) == "still here"
    await settled(bench)
    await bench.aclose()
