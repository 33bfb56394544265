"""Whatever arrives, in whatever order: every attempt ends once, every slot comes back, the next request is served."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from hushnet.foundation.ids import AttemptId
from hushnet.provider.answers import packed
from hushnet.provider.attempt import ServingLimits
from hushnet.provider.engines.base import ChatRequest, Delta, EngineFailed, Event, Finished, Usage
from hushnet.sealing.limits import DATA_MAX
from hushnet.sealing.records import Kind
from support.provider_bench import Bench, RecordingWriter, answer_bytes, opened, text_of
from support.scripted_engine import ScriptedEngine


def on_a_bench(work: Callable[[Bench], Awaitable[None]], engine: ScriptedEngine | None = None) -> None:
    """Run one example on a bench of its own."""

    async def run() -> None:
        bench = await Bench.open(engine or ScriptedEngine(), limits=ServingLimits(queue=1))
        await work(bench)
        await bench.aclose()

    asyncio.run(run())


def mutated(raw: bytes, edits: list[tuple[str, int, bytes]]) -> bytes:
    """Apply edits to bytes; places wrap around."""
    for what, place, piece in edits:
        at = place % max(len(raw), 1)
        if what == "put":
            raw = raw[:at] + piece + raw[at + len(piece) :]
        elif what == "insert":
            raw = raw[:at] + piece + raw[at:]
        else:
            raw = raw[:at]
    return raw


EDIT = st.tuples(
    st.sampled_from(["put", "put", "insert", "cut"]), st.integers(0, 2**16), st.binary(min_size=1, max_size=8)
)


@settings(max_examples=60, deadline=None)
@given(
    edits=st.lists(st.lists(EDIT, min_size=1, max_size=3), max_size=6),
    noise=st.lists(st.binary(max_size=300), max_size=3),
)
def test_spoiled_envelopes_are_refused_and_the_next_request_is_served(
    edits: list[list[tuple[str, int, bytes]]], noise: list[bytes]
) -> None:
    async def work(bench: Bench) -> None:
        good = bench.seal().raw
        for raw in [mutated(good, each) for each in edits] + noise:
            writer = await bench.exchange(raw)
            assert len(writer.refusals) == 1 or raw == good
        sealed = bench.seal()
        assert text_of(answer_bytes(opened(sealed, await bench.exchange(sealed)))) == "hello"

    on_a_bench(work)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.dictionaries(
    st.sampled_from(
        [
            "model",
            "messages",
            "stream",
            "max_tokens",
            "stop",
            "response_format",
            "tools",
            "logprobs",
            "temperature",
            "n",
        ]
    ),
    JSON,
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(members=MEMBERS)
def test_any_json_body_is_served_or_answered_with_a_sealed_error(members: dict[str, Any]) -> None:
    whole = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "stream": True} | members

    async def work(bench: Bench) -> None:
        sealed = bench.seal(json.dumps(whole).encode())
        frames = opened(sealed, await bench.exchange(sealed))
        status = json.loads(frames[0].data)["status"]
        assert (frames[-1].kind, status) in {(Kind.END, 200), (Kind.ERROR, 400)}
        if frames[-1].kind is Kind.ERROR:
            assert json.loads(frames[-1].data)["error"]["message"]

    on_a_bench(work)


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(0, 3 * DATA_MAX) | st.sampled_from([0, DATA_MAX, DATA_MAX + 1]), max_size=6))
@example(sizes=[0, DATA_MAX + 1])
def test_packing_loses_nothing_and_cuts_only_what_is_longer_than_a_record(sizes: list[int]) -> None:
    parts = [bytes([65 + index]) * size for index, size in enumerate(sizes)]
    records = list(packed(parts))

    assert b"".join(records) == b"".join(parts)
    assert all(0 < len(record) <= DATA_MAX for record in records)
    for part in parts:
        if 0 < len(part) <= DATA_MAX:
            assert sum(part[:1] in record for record in records) == 1


async def steps(request: ChatRequest) -> AsyncGenerator[Event, None]:
    """Answer in as many steps as the prompt says; an odd number ends in a failure."""
    count = int(request.messages[0]["content"])
    for _ in range(count):
        yield Delta("x" * 50, 1)
        await asyncio.sleep(0)
    if count % 2:
        raise EngineFailed("odd")
    yield Finished("stop", Usage(5, 0, count))


ACTION = st.one_of(
    st.tuples(st.just("send"), st.integers(0, 40), st.sampled_from([1, 400, 3000, 1 << 20])),
    st.tuples(st.just("cancel"), st.integers(0, 9), st.just(0)),
    st.tuples(st.just("grant"), st.integers(0, 9), st.sampled_from([1, 500, 1 << 20])),
    st.tuples(st.just("pass"), st.integers(1, 12), st.just(0)),
    st.tuples(st.just("lose"), st.just(0), st.just(0)),
    st.tuples(st.just("replay"), st.integers(0, 9), st.just(0)),
)


@settings(max_examples=80, deadline=None)
@given(actions=st.lists(ACTION, max_size=25))
def test_any_order_of_events_leaves_every_attempt_ended_once(actions: list[tuple[str, int, int]]) -> None:
    async def work(bench: Bench) -> None:
        sent: list[tuple[AttemptId, RecordingWriter, bytes]] = []
        for what, number, amount in actions:
            if what == "send":
                data = json.dumps(
                    {"model": "tiny", "stream": True, "messages": [{"role": "user", "content": str(number)}]}
                ).encode()
                raw = bench.seal(data, max_output_tokens=64).raw
                sent.append((*bench.send(raw, credit=amount), raw))
            elif what == "pass":
                for _ in range(number):
                    await asyncio.sleep(0)
            elif what == "lose":
                for _, writer, _ in sent:
                    if not writer.over.is_set():
                        writer.lose()
                bench.serving.link_lost()
            elif sent:
                attempt, writer, raw = sent[number % len(sent)]
                if what == "cancel":
                    bench.cancel(attempt, writer)
                elif what == "grant":
                    writer.grant(amount)
                else:
                    sent.append((*bench.send(raw), raw))
        for _, writer, _ in sent:
            writer.grant(1 << 20)
        await asyncio.wait_for(bench.serving.idle(), 60)
        for _ in range(3):
            await asyncio.sleep(0)
        loaded = bench.host.loaded
        assert loaded is not None
        assert loaded.slots.active == loaded.slots.waiting == 0
        assert isinstance(bench.engine, ScriptedEngine)
        assert bench.engine.running == 0
        assert bench.engine.running_most <= loaded.slots.total
        for _, writer, _ in sent:
            assert [record.seq for record in writer.records] == list(range(len(writer.records)))

    on_a_bench(work, ScriptedEngine(steps))
