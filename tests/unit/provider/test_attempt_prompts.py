"""What an answer's prompt costs: counted beforehand only where it could exceed its bound, and metered truly all the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator

import pytest

from hushnet.provider.attempt import ServingLimits
from hushnet.provider.engines.base import Capabilities, ChatRequest, Delta, EngineFailed, Event, Finished, Usage
from hushnet.sealing.errors import WireCode
from hushnet.sealing.records import Kind
from support.provider_bench import Bench, opened
from support.scripted_engine import Script, ScriptedEngine


def saying(*events: Event) -> Script:
    """Script events that are all ready at once."""

    async def script(request: ChatRequest) -> AsyncGenerator[Event, None]:
        del request
        for event in events:
            yield event

    return script


async def stall_after_two(request: ChatRequest) -> AsyncGenerator[Event, None]:
    """Say two tokens without the prompt's count, and fall silent."""
    del request
    yield Delta("one ", 1)
    yield Delta("two", 1)
    await asyncio.Event().wait()


async def never_counted(request: ChatRequest) -> int:
    raise AssertionError(request.model)


async def test_a_prompt_that_fits_its_bound_in_bytes_is_not_counted_beforehand() -> None:
    told = saying(Delta("a", 1, prompt_tokens=7), Finished("stop", Usage(input=7, cached=3, output=1)))
    untold = saying(Delta("a", 1), Finished("stop", Usage(input=7, cached=3, output=1)))
    for script in (told, untold):
        bench = await Bench.open(ScriptedEngine(script, count=never_counted))
        sealed = bench.seal(max_prompt_tokens=1024)
        meter = opened(sealed, await bench.exchange(sealed))[-1].meter

        assert meter is not None
        assert (meter.input, meter.cached, meter.output, meter.code) == (7, 3, 1, 0)
        await bench.aclose()


async def test_a_count_above_the_bound_is_metered_as_the_bound() -> None:
    bench = await Bench.open(ScriptedEngine(saying(Delta("a", 1), Finished("stop", Usage(5000, 4000, 1)))))
    sealed = bench.seal(max_prompt_tokens=1024)
    meter = opened(sealed, await bench.exchange(sealed))[-1].meter

    assert meter is not None
    assert (meter.input, meter.cached) == (1024, 1024)
    await bench.aclose()


async def test_pictures_are_counted_whatever_their_text_is() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    data = json.dumps({"model": "tiny", "stream": True, "messages": [{"role": "user", "content": [picture]}]}).encode()
    bench = await Bench.open(
        ScriptedEngine(prompt_tokens=2000, capabilities=Capabilities(frozenset({"vision"}), 4096, 1))
    )
    sealed = bench.seal(data, features=("vision",), max_prompt_tokens=1024)
    meter = opened(sealed, await bench.exchange(sealed))[-1].meter

    assert meter is not None
    assert meter.code == WireCode.BOUND_EXCEEDED
    await bench.aclose()


async def tell_and_stall(request: ChatRequest) -> AsyncGenerator[Event, None]:
    """Say a token with the prompt's count, and fall silent."""
    del request
    yield Delta("one", 1, prompt_tokens=7)
    await asyncio.Event().wait()


async def tell_and_break(request: ChatRequest) -> AsyncGenerator[Event, None]:
    """Say a token with the prompt's count, and die."""
    del request
    yield Delta("one", 1, prompt_tokens=7)
    raise EngineFailed("died")


async def say_and_break(request: ChatRequest) -> AsyncGenerator[Event, None]:
    """Say a token without the prompt's count, and die."""
    del request
    yield Delta("one", 1)
    raise EngineFailed("died")


@pytest.mark.parametrize(
    ("script", "counts", "prompt_tokens"),
    [
        (tell_and_stall, 0, 7),
        (tell_and_break, 0, 7),
        (stall_after_two, 1, 9),  # its engine tells the count at its end only, which will not come
        (say_and_break, 1, 9),
    ],
)
async def test_an_uncounted_prompt_is_metered_truly_however_its_answer_is_cut_short(
    script: Script, counts: int, prompt_tokens: int
) -> None:
    counted: list[ChatRequest] = []

    async def count(request: ChatRequest) -> int:
        counted.append(request)
        return 9

    bench = await Bench.open(ScriptedEngine(script, count=count))
    sealed = bench.seal(max_prompt_tokens=1024)
    number, writer = bench.send(sealed)
    await writer.have(Kind.CONTENT)
    bench.cancel(number, writer)
    await asyncio.wait_for(writer.over.wait(), 60)

    meter = opened(sealed, writer)[-1].meter
    assert meter is not None
    assert meter.code in (WireCode.CANCELLED, WireCode.ENGINE_FAILED)
    assert (meter.input, len(counted)) == (prompt_tokens, counts)
    await bench.aclose()


async def test_an_engine_that_cannot_count_after_it_broke_is_paid_what_it_said() -> None:
    async def stuck(request: ChatRequest) -> int:
        del request
        await asyncio.Event().wait()
        return 1

    bench = await Bench.open(ScriptedEngine(say_and_break, count=stuck), limits=ServingLimits(recount_s_max=0.01))
    sealed = bench.seal(max_prompt_tokens=1024)
    meter = opened(sealed, await bench.exchange(sealed))[-1].meter

    assert meter is not None
    assert (meter.code, meter.input, meter.output) == (WireCode.ENGINE_FAILED, 0, 1)
    await bench.aclose()
