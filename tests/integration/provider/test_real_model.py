"""The built-in model behind a seal: real weights, real llama.cpp, real keys."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hushnet.foundation.ids import ModelId
from hushnet.provider.attempt import ServingLimits
from hushnet.provider.engines.llamacpp import LlamaCppEngine
from hushnet.provider.models.source import resolve_model
from hushnet.sealing.errors import WireCode
from hushnet.sealing.records import Kind, meter_of
from support.provider_bench import Bench, answer_bytes, body, events_of, opened, text_of
from support.waiting import best_s

NUMBERS = {"type": "array", "items": {"type": "integer"}, "minItems": 400, "maxItems": 400}
LONG = {"response_format": {"type": "json_schema", "json_schema": {"name": "numbers", "schema": NUMBERS}}}
"""An answer that the grammar forces to be long, so that there is time to stop it."""


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    found = await resolve_model(None, home=tmp_path)
    spec = replace(found, model=ModelId("tiny"), slots=2, threads=1)
    made = await Bench.open(LlamaCppEngine(), spec, limits=ServingLimits(queue=6))
    yield made
    await made.aclose()


async def test_a_question_is_answered_as_a_stream_with_true_counts(bench: Bench) -> None:
    sealed = bench.seal(body(stream=True, temperature=0, stream_options={"include_usage": True}))
    frames = opened(sealed, await bench.exchange(sealed))
    stream = answer_bytes(frames)

    assert "hushnet" in text_of(stream).lower()
    usage, meter = events_of(stream)[-2]["usage"], frames[-1].meter
    assert meter is not None
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (meter.input, meter.output)
    assert 0 < meter.input <= 256
    assert 0 < meter.output <= 64
    assert len(json.loads(frames[0].data)["build"]) == 64


async def test_a_whole_answer_says_the_same_as_a_stream(bench: Bench) -> None:
    streamed, whole = bench.seal(body(stream=True, temperature=0)), bench.seal(body(temperature=0), stream=False)
    said = text_of(answer_bytes(opened(streamed, await bench.exchange(streamed))))
    completion = json.loads(answer_bytes(opened(whole, await bench.exchange(whole))))

    assert completion["choices"][0]["message"]["content"] == said


async def test_a_schema_and_logprobs_are_honoured(bench: Bench) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    members = {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}}
    sealed = bench.seal(
        body(logprobs=True, top_logprobs=2, temperature=0, **members),
        stream=False,
        features=("json_schema", "logprobs"),
    )
    choice = json.loads(answer_bytes(opened(sealed, await bench.exchange(sealed))))["choices"][0]

    assert isinstance(json.loads(choice["message"]["content"])["n"], int)
    assert choice["logprobs"]["content"][0]["logprob"] <= 0
    assert len(choice["logprobs"]["content"][0]["top_logprobs"]) == 2


async def test_requests_beyond_the_slots_wait_and_are_all_answered(bench: Bench) -> None:
    sealed = [bench.seal(body(stream=True, max_tokens=16)) for _ in range(6)]
    writers = await asyncio.gather(*(bench.exchange(each) for each in sealed))

    assert [writer.kinds[-1] for writer in writers] == [Kind.END] * 6
    assert all(opened(each, writer)[-1].meter for each, writer in zip(sealed, writers, strict=True))


async def test_a_bound_of_the_body_is_kept(bench: Bench) -> None:
    sealed = bench.seal(body(stream=True, max_tokens=3))
    frames = opened(sealed, await bench.exchange(sealed))

    assert frames[-1].meter is not None
    assert frames[-1].meter.output == 3
    assert events_of(answer_bytes(frames))[-2]["choices"][0]["finish_reason"] == "length"


async def seconds_to_stop(bench: Bench, *, is_stream: bool) -> float:
    """Start a long answer, cancel it once it has a slot, and measure until llama.cpp has let go of it."""
    long = bench.seal(
        body(stream=is_stream, **LONG), stream=is_stream, max_output_tokens=1024, features=("json_schema",)
    )
    idle = bench.engine.capacity().active
    number, writer = bench.send(long)
    while bench.engine.capacity().active == idle:  # noqa: ASYNC110 - llama.cpp tells nobody what it does
        await asyncio.sleep(0.001)
    if is_stream:
        await writer.have(Kind.CONTENT)

    began = time.perf_counter()
    bench.cancel(number, writer)
    await asyncio.wait_for(writer.over.wait(), 60)
    while bench.engine.capacity().active > idle:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    took = time.perf_counter() - began
    assert meter_of(writer.records[-1]).code == WireCode.CANCELLED
    opened(long, writer)
    return took


@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_cancel_frees_the_slot_within_100_ms(bench: Bench, is_stream: bool) -> None:
    assert await best_s(lambda: seconds_to_stop(bench, is_stream=is_stream), wanted_s=0.1) < 0.1


async def test_the_neighbour_of_a_cancelled_request_goes_on(bench: Bench) -> None:
    neighbour = bench.seal(body(stream=True, **LONG), max_output_tokens=1024, features=("json_schema",))
    _, going_on = bench.send(neighbour)
    doomed, writer = bench.send(
        bench.seal(body(stream=True, **LONG), max_output_tokens=1024, features=("json_schema",))
    )
    await going_on.have(Kind.CONTENT)
    await writer.have(Kind.CONTENT)
    bench.cancel(doomed, writer)
    await asyncio.wait_for(going_on.over.wait(), 60)

    frames = opened(neighbour, going_on)
    assert frames[-1].kind is Kind.END
    assert frames[-1].meter is not None
    assert frames[-1].meter.output > 100


async def test_a_prompt_longer_than_the_context_is_refused_under_seal(bench: Bench) -> None:
    sealed = bench.seal(body(stream=True, text="word " * 20_000), max_prompt_tokens=1 << 20)
    frames = opened(sealed, await bench.exchange(sealed))

    assert json.loads(frames[-1].data)["error"]["code"] == "context_too_long"
    assert frames[-1].meter is not None
    assert (frames[-1].meter.input, frames[-1].meter.output) == (0, 0)


async def test_a_prompt_is_metered_truly_without_being_counted_beforehand(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = bench.seal(body(stream=True, **LONG), max_output_tokens=1024, features=("json_schema",))
    number, writer = bench.send(counted)
    await writer.have(Kind.CONTENT)
    bench.cancel(number, writer)
    await asyncio.wait_for(writer.over.wait(), 60)

    monkeypatch.setattr(bench.engine, "count_prompt_tokens", None)
    uncounted = bench.seal(
        body(stream=True, **LONG), max_output_tokens=1024, max_prompt_tokens=2048, features=("json_schema",)
    )
    number, other = bench.send(uncounted)
    await other.have(Kind.CONTENT)
    bench.cancel(number, other)
    await asyncio.wait_for(other.over.wait(), 60)

    meters = [meter_of(each.records[-1]) for each in (writer, other)]
    assert [meter.code for meter in meters] == [WireCode.CANCELLED] * 2
    assert meters[0].input == meters[1].input > 0


async def test_a_prompt_that_only_the_engine_finds_too_long_is_refused_under_seal_and_free(bench: Bench) -> None:
    sealed = bench.seal(body(stream=True, text="word " * 9_000), max_prompt_tokens=1 << 20)
    head, end = opened(sealed, await bench.exchange(sealed))

    assert json.loads(head.data)["status"] == 400
    assert json.loads(end.data)["error"]["code"] == "context_too_long"
    assert end.meter is not None
    assert (end.meter.code, end.meter.input, end.meter.output) == (WireCode.CONTEXT_TOO_LONG, 0, 0)


async def test_a_schema_that_no_grammar_can_hold_is_the_callers_error(bench: Bench) -> None:
    members = {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "riddle"}}}}
    sealed = bench.seal(body(stream=True, **members), features=("json_schema",))
    head, end = opened(sealed, await bench.exchange(sealed))

    assert json.loads(head.data)["status"] == 400
    assert json.loads(end.data)["error"]["code"] == "unsupported_schema"
    assert end.meter is not None
    assert end.meter.code == WireCode.BAD_REQUEST
    assert bench.host.suspicions == []
