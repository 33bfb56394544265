"""How every engine shares its slots, reports its load, keeps caches apart, and stops."""

import asyncio
import time
from contextlib import aclosing, suppress

import pytest

from hushnet.foundation.errors import ConfigurationError
from hushnet.provider.engines.base import Engine, EngineFailed, Event, ModelSpec
from hushnet.provider.engines.registry import load_engine
from support.engines import CONTEXT_TOKENS, answer, ask, endless, loaded, placed, when
from support.waiting import best_s

pytestmark = pytest.mark.asyncio(loop_scope="session")

STOP_S_MAX = 0.1


async def test_more_requests_than_slots_are_all_answered_and_counted_truly(engine: Engine) -> None:
    prompts = [f"What is {word}?" for word in ("Hushnet", "sealing", "a provider", "a receipt", "a slot")]
    alone = [(await answer(engine, ask(prompt))).text for prompt in prompts]

    together = asyncio.gather(*(answer(engine, ask(prompt)) for prompt in prompts))
    busy = await when(engine, lambda load: load.active == 2 and load.tokens_active > 0)
    answers = await together

    assert busy.slots == 2
    assert busy.active + busy.queued <= len(prompts)
    assert [answered.text for answered in answers] == alone
    idle = engine.capacity()
    assert (idle.active, idle.queued, idle.tokens_active) == (0, 0, 0)
    assert idle.decode_tokens_s > 0
    assert idle.prefill_tokens_s > 0


async def test_active_tokens_are_prompt_and_answer_so_far(engine: Engine) -> None:
    request = endless()
    prompt_tokens = await engine.count_prompt_tokens(request)

    async with aclosing(engine.generate(request, max_output_tokens=300)) as events:
        seen = (await anext(events)).tokens
        assert engine.capacity().tokens_active >= prompt_tokens + seen
    await when(engine, lambda load: load.tokens_active == 0)


async def test_the_event_loop_runs_on_while_the_engine_works(engine: Engine) -> None:
    work = asyncio.ensure_future(answer(engine, endless(), at_most=800))
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1

    assert turns > 100


async def _first_event(engine: Engine, began_s: float) -> float:
    await answer(engine, ask("Hi"), at_most=1)
    return time.perf_counter() - began_s


async def _cancelled_while_it_writes(engine: Engine) -> float:
    events = engine.generate(endless(), max_output_tokens=900)
    await anext(events)
    began_s = time.perf_counter()
    await events.aclose()
    return await _first_event(engine, began_s)


async def _cancelled_while_it_reads(engine: Engine) -> float:
    events = engine.generate(ask("word " * 400), max_output_tokens=500)
    reading = asyncio.ensure_future(anext(events))
    await when(engine, lambda load: load.tokens_active > 400)
    began_s = time.perf_counter()
    reading.cancel()
    with suppress(asyncio.CancelledError):
        await reading
    await events.aclose()
    return await _first_event(engine, began_s)


async def _cancelled_while_it_waits(engine: Engine) -> float:
    running = engine.generate(endless(), max_output_tokens=900)
    await anext(running)
    waiting = asyncio.ensure_future(anext(engine.generate(endless(), max_output_tokens=900)))
    await when(engine, lambda load: load.queued == 1)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    assert engine.capacity().queued == 0
    began_s = time.perf_counter()
    await running.aclose()
    return await _first_event(engine, began_s)


@pytest.mark.parametrize("phase", [_cancelled_while_it_writes, _cancelled_while_it_reads, _cancelled_while_it_waits])
async def test_a_closed_request_frees_its_only_slot_within_100_ms(narrow_engine: Engine, phase) -> None:
    assert await best_s(lambda: phase(narrow_engine), wanted_s=STOP_S_MAX) < STOP_S_MAX
    assert narrow_engine.capacity().active == 0


async def test_a_cancelled_task_frees_the_slot_as_well(narrow_engine: Engine) -> None:
    task = asyncio.ensure_future(answer(narrow_engine, endless(), at_most=900))
    await when(narrow_engine, lambda load: load.tokens_active > 0)

    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

    assert (await when(narrow_engine, lambda load: load.active == 0)).queued == 0


async def test_other_requests_go_on_when_one_is_cancelled(engine: Engine) -> None:
    undisturbed = (await answer(engine, endless(), at_most=200)).text
    other = asyncio.ensure_future(answer(engine, endless(), at_most=200))
    cancelled = engine.generate(endless(), max_output_tokens=900)
    await anext(cancelled)
    await cancelled.aclose()

    assert (await other).text == undisturbed


async def test_prefixes_are_reused_under_one_salt_and_never_across_salts(narrow_engine: Engine) -> None:
    request = ask("word " * 200)

    async def cached(salt: str | None) -> int:
        return (await answer(narrow_engine, request, at_most=1, salt=salt)).finished.usage.cached

    assert await cached("aa") == 0
    assert await cached("aa") > 100
    assert await cached("bb") == 0
    assert await cached(None) == 0
    assert await cached(None) == 0
    assert await cached("bb") == 0


async def test_a_loaded_engine_is_healthy(engine: Engine) -> None:
    assert (await engine.health()).is_healthy


async def test_loading_reports_what_was_probed_and_happens_once(engine_name: str) -> None:
    with placed(engine_name, slots=3) as spec:
        engine = load_engine(engine_name)
        capabilities = await engine.load(spec)

        assert capabilities.features == {"json_schema", "logprobs"}
        assert capabilities.context_tokens == CONTEXT_TOKENS
        assert capabilities.slots == engine.capacity().slots == 3
        assert engine.name == engine_name
        with pytest.raises(ConfigurationError):
            await engine.load(spec)
        await engine.unload()


async def test_unloading_breaks_off_what_runs_and_refuses_what_comes(engine_name: str) -> None:
    async with loaded(engine_name) as engine:
        running = engine.generate(endless(), max_output_tokens=900)
        await anext(running)
        waiting = asyncio.ensure_future(anext(engine.generate(ask("Hi"), max_output_tokens=5)))
        await when(engine, lambda load: load.queued == 1)

        await engine.unload()

        with pytest.raises(EngineFailed):
            await _drain(running)
        with pytest.raises(EngineFailed):
            await waiting
        with pytest.raises(EngineFailed):
            await answer(engine, ask("Hi"))
        with pytest.raises(EngineFailed):
            await engine.count_prompt_tokens(ask("Hi"))
        assert not (await engine.health()).is_healthy
        await engine.unload()


async def _drain(events) -> list[Event]:
    return [event async for event in events]


async def test_an_engine_that_never_loaded_refuses_and_unloads(engine_name: str) -> None:
    engine = load_engine(engine_name)

    with pytest.raises(EngineFailed):
        await answer(engine, ask("Hi"))
    with pytest.raises(ConfigurationError):
        await engine.load(ModelSpec(model="x"))
    assert engine.capacity().slots == 0
    await engine.unload()
