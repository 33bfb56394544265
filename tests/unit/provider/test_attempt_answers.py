"""What an attempt sends when it goes well, and what it refuses before any engine works."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest

from hushnet.foundation.clock import SystemClock
from hushnet.foundation.errors import RequestError
from hushnet.provider.attempt import ServingLimits
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
from support.provider_bench import Bench, answer_bytes, body, events_of, opened, text_of
from support.scripted_engine import Script, ScriptedEngine

ANSWER = [Kind.HEAD, Kind.BOILERPLATE, Kind.CONTENT, Kind.END]


def saying(*events: Event) -> Script:
    """Script events that are all ready at once."""

    async def script(request: ChatRequest) -> AsyncGenerator[Event, None]:
        del request
        for event in events:
            yield event

    return script


def paced(count: int, pause: asyncio.Event) -> Script:
    """Script tokens of which each waits until the writer has had the one before."""

    async def script(request: ChatRequest) -> AsyncGenerator[Event, None]:
        del request
        for _ in range(count):
            pause.clear()
            yield Delta("a", 1)
            await asyncio.wait_for(pause.wait(), 60)
        yield Finished("stop", Usage(5, 0, count))

    return script


async def test_a_streamed_answer_is_head_role_content_and_a_signed_end() -> None:
    bench = await Bench.open(ScriptedEngine())
    sealed = bench.seal()
    writer = await bench.exchange(sealed)
    frames = opened(sealed, writer)

    assert [frame.kind for frame in frames] == ANSWER
    assert json.loads(frames[0].data) == {"status": 200, "content_type": "text/event-stream", "build": ""}
    stream = answer_bytes(frames)
    assert text_of(stream) == "hello"
    assert events_of(stream)[-1] == "[DONE]"
    assert events_of(stream)[-2]["choices"][0]["finish_reason"] == "stop"
    meter = frames[-1].meter
    assert meter is not None
    assert (meter.input, meter.cached, meter.output, meter.code) == (5, 0, 2, 0)
    assert writer.records[-1].is_signed
    assert writer.is_finished
    await bench.aclose()


async def test_a_whole_answer_is_one_json_body() -> None:
    bench = await Bench.open(ScriptedEngine())
    sealed = bench.seal(stream=False)
    frames = opened(sealed, await bench.exchange(sealed))

    assert json.loads(frames[0].data)["content_type"] == "application/json"
    assert [frame.kind for frame in frames] == [Kind.HEAD, Kind.CONTENT, Kind.END]
    completion = json.loads(answer_bytes(frames))
    assert completion["choices"][0]["message"]["content"] == "hello"
    assert completion["usage"] == {
        "prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "prompt_tokens_details": {"cached_tokens": 0},
    }  # fmt: skip
    await bench.aclose()


async def test_partial_tool_calls_and_logprobs_come_whole() -> None:
    one = {"token": "a", "logprob": -0.1}
    engine = ScriptedEngine(
        saying(
            Delta("a", 1, logprobs=[one]),
            Delta("", 1, tool_calls=[{"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"x"'}}]),
            Delta("", 1, tool_calls=[{"index": 0, "function": {"arguments": ":1}"}}]),
            Finished("tool_calls", Usage(5, 0, 3)),
        ),
        capabilities=Capabilities(frozenset({"logprobs", "tools"}), 1024, 1),
    )
    bench = await Bench.open(engine)
    sealed = bench.seal(body(stream=False, logprobs=True), stream=False, features=("logprobs", "tools"))
    choice = json.loads(answer_bytes(opened(sealed, await bench.exchange(sealed))))["choices"][0]

    assert choice["logprobs"]["content"] == [one]
    assert choice["message"]["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    ]
    await bench.aclose()


async def test_an_answer_without_content_ends_well() -> None:
    bench = await Bench.open(ScriptedEngine(saying(Finished("stop", Usage(5, 0, 1)))))
    for is_stream in (True, False):
        sealed = bench.seal(stream=is_stream)
        frames = opened(sealed, await bench.exchange(sealed))
        assert frames[-1].kind is Kind.END
        assert frames[-1].meter is not None
        assert frames[-1].meter.output == 1
    await bench.aclose()


async def test_tokens_that_are_ready_together_share_a_record() -> None:
    engine = ScriptedEngine(saying(*[Delta("ab", 1) for _ in range(50)], Finished("stop", Usage(5, 0, 50))))
    bench = await Bench.open(engine)
    sealed = bench.seal()
    writer = await bench.exchange(sealed)

    assert writer.kinds == ANSWER
    assert text_of(answer_bytes(opened(sealed, writer))) == "ab" * 50
    await bench.aclose()


async def test_the_usage_event_says_what_the_receipt_signs() -> None:
    bench = await Bench.open(ScriptedEngine(saying(Delta("x", 1), Finished("stop", Usage(5, 3, 9)))))
    sealed = bench.seal(body(stream=True, stream_options={"include_usage": True}))
    frames = opened(sealed, await bench.exchange(sealed))

    usage = events_of(answer_bytes(frames))[-2]["usage"]
    meter = frames[-1].meter
    assert meter is not None
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (meter.input, meter.output) == (5, 9)
    assert usage["prompt_tokens_details"]["cached_tokens"] == meter.cached == 3
    await bench.aclose()


async def test_a_usage_record_comes_at_least_every_sixteen_content_records() -> None:
    pause = asyncio.Event()
    bench = await Bench.open(ScriptedEngine(paced(50, pause)))
    sealed = bench.seal()
    _, writer = bench.send(sealed)
    while not writer.over.is_set():
        pause.set()
        await asyncio.sleep(0)

    contents = [len(run) for run in "".join("c" if kind is Kind.CONTENT else " " for kind in writer.kinds).split()]
    assert max(contents) <= 16
    assert writer.kinds.count(Kind.USAGE) >= 3
    meters = [frame.meter.output for frame in opened(sealed, writer) if frame.meter is not None]
    assert meters == sorted(meters)
    await bench.aclose()


async def test_a_usage_record_comes_in_time_while_nothing_else_does() -> None:
    pause = asyncio.Event()
    limits = ServingLimits(pace=MeterPace(seconds=0.01))
    bench = await Bench.open(ScriptedEngine(paced(2, pause)), limits=limits)
    _, writer = bench.send(bench.seal(stream=False))
    await writer.have(Kind.USAGE)

    assert Kind.CONTENT not in writer.kinds
    while not writer.over.is_set():
        pause.set()
        await asyncio.sleep(0)
    await bench.aclose()


async def test_bodies_longer_than_a_record_are_cut_and_come_together() -> None:
    text = "é" * 200_000
    bench = await Bench.open(ScriptedEngine(saying(Delta(text, 1), Finished("stop", Usage(5, 0, 1)))))
    for is_stream in (True, False):
        sealed = bench.seal(stream=is_stream)
        writer = await bench.exchange(sealed)
        stream = answer_bytes(opened(sealed, writer))
        said = text_of(stream) if is_stream else json.loads(stream)["choices"][0]["message"]["content"]
        assert said == text
        assert writer.kinds.count(Kind.CONTENT) == 7
    await bench.aclose()


@pytest.mark.parametrize(
    ("asked", "header_bound", "prompt_tokens", "bound"),
    [(None, 64, 5, 64), (10, 64, 5, 10), (64, 64, 5, 64), (None, 1 << 20, 1000, 24), (100, 128, 1000, 24)],
)
async def test_the_engine_is_bound_by_body_header_and_context(
    asked: int | None, header_bound: int, prompt_tokens: int, bound: int
) -> None:
    engine = ScriptedEngine(prompt_tokens=prompt_tokens)
    bench = await Bench.open(engine)
    members = {} if asked is None else {"max_tokens": asked}
    text = "é" * 1000  # more bytes than are reserved: it is counted
    sealed = bench.seal(body(stream=True, text=text, **members), max_output_tokens=header_bound, max_prompt_tokens=2048)
    await bench.exchange(sealed)

    assert engine.bounds == [bound]
    await bench.aclose()


async def test_a_meter_never_passes_the_bounds_that_the_engine_ignored() -> None:
    engine = ScriptedEngine(saying(Delta("x", 500), Delta("y", 500), Finished("length", Usage(9999, 9999, 9999))))
    bench = await Bench.open(engine)
    sealed = bench.seal(max_output_tokens=64)
    meter = opened(sealed, await bench.exchange(sealed))[-1].meter

    assert meter is not None
    assert (meter.input, meter.cached, meter.output) == (5, 5, 64)
    await bench.aclose()


async def test_a_final_count_below_the_running_one_does_not_run_backwards() -> None:
    pause = asyncio.Event()

    async def script(request: ChatRequest) -> AsyncGenerator[Event, None]:
        del request
        for _ in range(20):
            pause.clear()
            yield Delta("a", 2)
            await asyncio.wait_for(pause.wait(), 60)
        yield Finished("stop", Usage(1, 0, 1))

    bench = await Bench.open(ScriptedEngine(script))
    sealed = bench.seal()
    _, writer = bench.send(sealed)
    while not writer.over.is_set():
        pause.set()
        await asyncio.sleep(0)

    meter = opened(sealed, writer)[-1].meter
    assert meter is not None
    assert (meter.input, meter.output) == (5, 40)
    await bench.aclose()


async def test_the_prefix_cache_salt_reaches_the_engine() -> None:
    engine = ScriptedEngine()
    bench = await Bench.open(engine)
    await bench.exchange(bench.seal(meta={"cache_salt": "00" * 16}))
    await bench.exchange(bench.seal())

    assert engine.salts == ["00" * 16, None]
    await bench.aclose()


async def test_a_large_body_is_opened_off_the_event_loop() -> None:
    opened_in: list[int] = []

    class WatchedClock(SystemClock):
        def now_ms(self) -> int:
            opened_in.append(threading.get_ident())
            return super().now_ms()

    bench = await Bench.open(ScriptedEngine())
    bench.serving.clock = WatchedClock()
    for size, is_elsewhere in ((1000, False), (300 * 1024, True)):
        opened_in.clear()
        writer = await bench.exchange(bench.seal(body(stream=True, text="x" * size)))
        assert writer.kinds[-1] is Kind.END
        assert (opened_in[0] != threading.get_ident()) is is_elsewhere
    await bench.aclose()


def flipped(raw: bytes, place: int) -> bytes:
    return raw[:place] + bytes((raw[place] ^ 1,)) + raw[place + 1 :]


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda raw: b"", WireCode.BAD_ENVELOPE),
        (lambda raw: raw[:-1], WireCode.BAD_ENVELOPE),
        (lambda raw: raw + b"\0", WireCode.BAD_ENVELOPE),
        (lambda raw: b"HSE9" + raw[4:], WireCode.UNSUPPORTED_VERSION),
        (lambda raw: flipped(raw, len(raw) - 1), WireCode.OPEN_FAILED),
        (lambda raw: raw.replace(b'"tiny"', b'"tony"'), WireCode.OPEN_FAILED),
        (lambda raw: raw.replace(b'"stream":true', b'"stream":True'), WireCode.BAD_HEADER),
        (lambda raw: b"\0" * 100_000, WireCode.BAD_ENVELOPE),
    ],
)
async def test_a_hostile_envelope_is_refused_by_its_code_and_no_engine_works(spoil: Any, code: WireCode) -> None:
    engine = ScriptedEngine()
    bench = await Bench.open(engine)
    writer = await bench.exchange(spoil(bench.seal().raw))

    assert (writer.refusals, writer.records, engine.bounds) == ([code], [], [])
    assert bench.reports[0].outcome == code.label
    await bench.aclose()


async def test_an_envelope_for_another_provider_is_refused() -> None:
    bench, other = await Bench.open(ScriptedEngine()), await Bench.open(ScriptedEngine())
    writer = await bench.exchange(other.seal())

    assert writer.refusals == [WireCode.NOT_FOR_ME]
    await bench.aclose()
    await other.aclose()


async def test_an_envelope_runs_once() -> None:
    bench = await Bench.open(ScriptedEngine())
    sealed = bench.seal()
    first, second = await bench.exchange(sealed.raw), await bench.exchange(sealed.raw)

    assert first.kinds[-1] is Kind.END
    assert second.refusals == [WireCode.REPLAYED]
    await bench.aclose()


LONG = {"max_output_tokens": 64, "max_prompt_tokens": 1 << 20}


@pytest.mark.parametrize(
    ("data", "fields", "code", "status", "said"),
    [
        (b"{", {}, WireCode.BAD_REQUEST, 400, "invalid_json"),
        (b"[]", {}, WireCode.BAD_REQUEST, 400, None),
        (b"[" * 100_000, {}, WireCode.BAD_REQUEST, 400, None),
        (body(stream=True, temperature="hot"), {}, WireCode.BAD_REQUEST, 400, "wrong_type"),
        (body(stream=True, max_tokens=-5), {}, WireCode.BAD_REQUEST, 400, "out_of_range"),
        (body(stream=True, max_tokens=10**30), {}, WireCode.BAD_REQUEST, 400, None),
        (body(stream=True, model="other"), {}, WireCode.HEADER_BODY_MISMATCH, 400, "header_body_mismatch"),
        (body(stream=False), {}, WireCode.HEADER_BODY_MISMATCH, 400, "header_body_mismatch"),
        (body(stream=True, logprobs=True), {}, WireCode.HEADER_BODY_MISMATCH, 400, "header_body_mismatch"),
        (body(stream=True, max_tokens=65), {}, WireCode.BOUND_EXCEEDED, 400, "bound_exceeded"),
        (None, {"max_prompt_tokens": 4}, WireCode.BOUND_EXCEEDED, 400, "bound_exceeded"),
        (None, {"endpoint": "/v1/embeddings"}, WireCode.BAD_REQUEST, 404, "bad_request"),
    ],
)
async def test_a_body_that_breaks_its_header_is_told_under_seal_and_costs_nothing(
    data: bytes | None, fields: dict[str, Any], code: WireCode, status: int, said: str | None
) -> None:
    engine = ScriptedEngine()
    bench = await Bench.open(engine)
    sealed = bench.seal(data, **fields)
    writer = await bench.exchange(sealed)
    frames = opened(sealed, writer)

    assert [frame.kind for frame in frames] == [Kind.HEAD, Kind.ERROR]
    assert json.loads(frames[0].data)["status"] == status
    meter = frames[1].meter
    assert meter is not None
    assert (meter.code, meter.input, meter.output) == (code, 0, 0)
    error = json.loads(frames[1].data)["error"]
    assert error["message"]
    if said is not None:
        assert error["code"] == said
    assert engine.bounds == []
    assert writer.is_finished
    await bench.aclose()


async def too_long(request: ChatRequest) -> AsyncGenerator[Event, None]:
    """Find, as engines do, that the prompt fills the context."""
    del request
    raise ContextTooLong(prompt_tokens=1024, context_tokens=1024)
    yield Delta("", 0)


@pytest.mark.parametrize(
    ("engine", "data"),
    [
        (ScriptedEngine(prompt_tokens=1024), body(stream=True, text="x" * (1 << 20))),
        (ScriptedEngine(too_long), body(stream=True)),
    ],
    ids=["counted beforehand", "found by the engine"],
)
async def test_a_prompt_that_fills_the_context_is_too_long_and_costs_nothing(
    engine: ScriptedEngine, data: bytes
) -> None:
    bench = await Bench.open(engine)
    sealed = bench.seal(data, **LONG)
    frames = opened(sealed, await bench.exchange(sealed))

    assert [frame.kind for frame in frames] == [Kind.HEAD, Kind.ERROR]
    assert json.loads(frames[0].data)["status"] == 400
    assert json.loads(frames[0].data)["content_type"] == "application/json"
    meter = frames[-1].meter
    assert meter is not None
    assert (meter.code, meter.input, meter.output) == (WireCode.CONTEXT_TOO_LONG, 0, 0)
    error = json.loads(frames[-1].data)["error"]
    assert (error["code"], error["param"], error["hint"]) == ("context_too_long", "messages", "Shorten the prompt.")
    await bench.aclose()


@pytest.mark.parametrize(
    ("error", "code", "status", "said"),
    [
        (RequestError("no", code="unsupported_schema"), WireCode.BAD_REQUEST, 400, "unsupported_schema"),
        (RequestError("no", code="engine_refused"), WireCode.BAD_REQUEST, 400, "engine_refused"),
        (EngineBusy("full"), WireCode.CAPACITY, 503, "capacity"),
        (EngineFailed("dead"), WireCode.ENGINE_FAILED, 502, "engine_failed"),
        (ValueError("odd"), WireCode.ENGINE_FAILED, 502, "engine_failed"),
    ],
)
async def test_what_fails_before_the_first_piece_has_its_own_status(
    error: Exception, code: WireCode, status: int, said: str
) -> None:
    async def fail(request: ChatRequest) -> AsyncGenerator[Event, None]:
        del request
        raise error
        yield Delta("", 0)

    bench = await Bench.open(ScriptedEngine(fail))
    sealed = bench.seal()
    head, end = opened(sealed, await bench.exchange(sealed))

    assert json.loads(head.data)["status"] == status
    assert json.loads(end.data)["error"]["code"] == said
    assert end.meter is not None
    assert (end.meter.code, end.meter.input, end.meter.output) == (code, 0, 0)
    await bench.aclose()


@pytest.mark.parametrize("fields", [{"model": "other"}, {"features": ("vision",)}])
async def test_a_model_or_feature_that_is_not_here_is_refused_and_may_be_tried_again(fields: dict[str, Any]) -> None:
    bench = await Bench.open(ScriptedEngine())
    sealed = bench.seal(**fields)
    refused = await bench.exchange(sealed.raw)
    assert refused.refusals == [WireCode.MODEL_UNAVAILABLE]

    loaded = bench.host.loaded
    assert loaded is not None
    able = replace(loaded.capabilities, features=frozenset({"vision"}))
    bench.host.loaded = replace(
        loaded, spec=replace(loaded.spec, model=fields.get("model", loaded.spec.model)), capabilities=able
    )
    assert (await bench.exchange(sealed.raw)).kinds[-1] is Kind.END
    await bench.aclose()
