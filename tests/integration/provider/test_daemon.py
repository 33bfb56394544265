"""A whole provider on a real link: it registers truthfully, serves, rotates, survives its engine, and drains."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest

from hushnet.foundation.errors import AccessError, ConfigurationError
from hushnet.provider.engines.base import (
    Capabilities,
    ChatRequest,
    Delta,
    EngineFailed,
    Event,
    Finished,
    Health,
    Usage,
)
from hushnet.sealing.errors import WireCode
from hushnet.sealing.identities import verify_identity
from hushnet.sealing.records import Kind, meter_of
from hushnet.sealing.statements import Statement
from hushnet.wire.challenge import challenge_message
from hushnet.wire.frames import ModelOffer, Register, StatementDocument
from support.agents import opened, running
from support.links import NETWORK, QUICK
from support.provider_bench import MODEL, answer_bytes, text_of
from support.scripted_engine import ScriptedEngine


class Gatekept:
    """An engine script that says one token and finishes when it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        del request
        yield Delta("one ", 1)
        await self.go.wait()
        yield Delta("two", 1)
        yield Finished("stop", Usage(5, 0, 2))


def is_signed(key: bytes, *, nonce: bytes, signature: bytes, document: StatementDocument, provider_id: bytes) -> bool:
    statement = Statement.from_json_object(document.to_json_object())
    message = challenge_message(NETWORK, provider_id=provider_id, nonce=nonce, statement_digest=statement.digest())
    return verify_identity("ed25519", key, signature=signature, message=message)


async def test_it_registers_with_a_valid_statement_a_signed_challenge_and_its_true_capacity(tmp_path: Path) -> None:
    async with running(tmp_path) as agent:
        await agent.link()
        _, registration, nonce, _ = agent.gate.all("asked")[0]
        assert isinstance(registration, Register)
        verified = agent.verified()

        assert verified.provider_id == agent.identity.id_bytes
        assert verified.receipt_key is not None
        assert is_signed(
            agent.identity.public_key,
            nonce=nonce,
            signature=registration.challenge_signature,
            document=registration.statement,
            provider_id=agent.identity.id_bytes,
        )
        assert registration.models == (
            ModelOffer(model=MODEL, context_tokens=1024, features=("json_schema", "logprobs"), slots=2),
        )
        capacity = registration.capacity
        assert (capacity.slots, capacity.active, capacity.queued) == (2, 0, 0)
        assert 0 < capacity.memory_bytes_free <= capacity.memory_bytes_total


async def test_it_answers_an_attempt_over_the_link(tmp_path: Path) -> None:
    async with running(tmp_path) as agent:
        link = await agent.link()
        sealed = agent.seal()
        _, sink = agent.dispatch(link, sealed)
        await asyncio.wait_for(sink.saw("finished"), 60)

        assert text_of(answer_bytes(opened(sealed, sink))) == "hello"


async def test_it_answers_challenges_with_a_fresh_signature(tmp_path: Path) -> None:
    async with running(tmp_path) as agent:
        link = await agent.link()
        nonce = bytes(range(32))
        link.challenge(nonce)
        _, _, replied, signature = await asyncio.wait_for(agent.gate.saw("replied"), 60)

        assert replied == nonce
        assert is_signed(
            agent.identity.public_key,
            nonce=nonce,
            signature=signature,
            document=agent.gate.all("asked")[0][1].statement,
            provider_id=agent.identity.id_bytes,
        )


async def test_keys_rotate_at_half_life_and_old_envelopes_still_open(tmp_path: Path) -> None:
    async with running(tmp_path, statement_life_s=2) as agent:
        link = await agent.link()
        old = agent.seal()
        _, _, document = await asyncio.wait_for(agent.gate.saw("statement"), 60)
        fresh = agent.verified(document)
        assert fresh.serial > 0
        new = agent.seal(document=document)
        assert new.recipients[0].key_id == fresh.recipient().key_id != old.recipients[0].key_id
        for sealed in (old, new):
            _, sink = agent.dispatch(link, sealed)
            await asyncio.wait_for(sink.saw("finished"), 60)
            assert opened(sealed, sink)[-1].kind is Kind.END


async def test_heartbeats_report_what_really_runs_and_waits(tmp_path: Path) -> None:
    script = Gatekept()
    one = Capabilities(frozenset(), 1024, 1)
    limits = replace(QUICK, heartbeat_s=0.02)
    async with running(tmp_path, make_engine=lambda: ScriptedEngine(script, capabilities=one), limits=limits) as agent:
        link = await agent.link()
        for _ in range(3):
            agent.dispatch(link, agent.seal())

        def busy() -> bool:
            beats = agent.gate.all("heartbeat")
            return bool(beats) and (beats[-1][2].active, beats[-1][2].queued) == (1, 2)

        await asyncio.wait_for(agent.gate.until(busy), 60)
        capacity = agent.gate.all("heartbeat")[-1][2]
        assert capacity.tokens_queued == 2 * (5 + 64)
        assert capacity.tokens_active == 5
        assert capacity.load >= 3
        assert capacity.per_model[0].queued == 2
        script.go.set()


async def test_a_cancel_over_the_link_stops_the_engine_and_ends_the_attempt(tmp_path: Path) -> None:
    engine = ScriptedEngine(Gatekept())
    async with running(tmp_path, make_engine=lambda: engine) as agent:
        link = await agent.link()
        number, sink = agent.dispatch(link, agent.seal())
        await asyncio.wait_for(sink.until(lambda: any(record.kind is Kind.CONTENT for record in sink.records)), 60)
        link.cancel(number, WireCode.CANCELLED)
        await asyncio.wait_for(sink.saw("finished"), 60)

        assert engine.stops == 1
        assert meter_of(sink.records[-1]).code == WireCode.CANCELLED


async def test_an_engine_that_dies_is_loaded_again_and_nothing_is_offered_meanwhile(tmp_path: Path) -> None:
    engines: list[ScriptedEngine] = []

    def make() -> ScriptedEngine:
        engine = ScriptedEngine(Gatekept(), load_errors=[EngineFailed("again")] if len(engines) in (1, 2) else [])
        engines.append(engine)
        return engine

    async with running(tmp_path, make_engine=make) as agent:
        link = await agent.link()
        _, sink = agent.dispatch(link, agent.seal())
        await asyncio.wait_for(engines[0].started.wait(), 60)
        engines[0].health_now = Health(is_healthy=False, reason="gone")
        await asyncio.wait_for(sink.saw("finished"), 60)
        assert meter_of(sink.records[-1]).code == WireCode.ENGINE_FAILED

        await asyncio.wait_for(agent.gate.saw("models", times=2), 60)
        offered = [[offer.model for offer in entry[2]] for entry in agent.gate.all("models")]
        assert offered == [[], [MODEL]]
        assert len(engines) == 4
        assert engines[0].unloads == 1
        _, again = agent.dispatch(link, agent.seal())
        await asyncio.wait_for(engines[3].started.wait(), 60)
        engines[3].script.go.set()  # type: ignore[attr-defined]
        await asyncio.wait_for(again.saw("finished"), 60)
        assert again.records[-1].kind is Kind.END


async def test_without_an_engine_attempts_are_refused(tmp_path: Path) -> None:
    may_load = asyncio.Event()

    class SlowToReturn(ScriptedEngine):
        async def load(self, spec: object) -> Capabilities:
            await may_load.wait()
            return self.capabilities

    first = ScriptedEngine()
    engines = [first, SlowToReturn()]
    async with running(tmp_path, make_engine=lambda: engines.pop(0)) as agent:
        link = await agent.link()
        first.health_now = Health(is_healthy=False)
        await asyncio.wait_for(agent.told.saw("EngineLost"), 60)
        _, sink = agent.dispatch(link, agent.seal())
        assert await asyncio.wait_for(sink.saw("refused"), 60) == ("refused", WireCode.MODEL_UNAVAILABLE)
        may_load.set()


async def test_a_lost_link_stops_its_attempts_and_the_provider_comes_back(tmp_path: Path) -> None:
    engine = ScriptedEngine(Gatekept())
    async with running(tmp_path, make_engine=lambda: engine) as agent:
        link = await agent.link()
        agent.dispatch(link, agent.seal())
        await asyncio.wait_for(engine.started.wait(), 60)
        link.close("closing")
        await asyncio.wait_for(engine.stopped.wait(), 60)
        again = await agent.link(times=2)
        assert len(agent.told.all("LinkDown")) == 1

        engine.script.go.set()  # type: ignore[attr-defined]
        sealed = agent.seal()
        _, sink = agent.dispatch(again, sealed)
        await asyncio.wait_for(sink.saw("finished"), 60)
        assert opened(sealed, sink)[-1].kind is Kind.END


async def test_stopping_finishes_what_runs_and_takes_nothing_new(tmp_path: Path) -> None:
    script = Gatekept()
    engine = ScriptedEngine(script)
    async with running(tmp_path, make_engine=lambda: engine) as agent:
        link = await agent.link()
        sealed = agent.seal()
        _, sink = agent.dispatch(link, sealed)
        await asyncio.wait_for(engine.started.wait(), 60)
        agent.provider.stop()
        await asyncio.wait_for(agent.gate.saw("draining"), 60)
        script.go.set()
        assert agent.task is not None
        await asyncio.wait_for(agent.task, 60)

        assert text_of(answer_bytes(opened(sealed, sink))) == "one two"
        assert engine.unloads == 1
        assert agent.told.all("Stopped")[0][1].served == 1
        assert not agent.told.all("LinkDown")


async def test_a_second_stop_ends_what_runs_under_seal(tmp_path: Path) -> None:
    engine = ScriptedEngine(Gatekept())
    async with running(tmp_path, make_engine=lambda: engine) as agent:
        link = await agent.link()
        sealed = agent.seal()
        _, sink = agent.dispatch(link, sealed)
        await asyncio.wait_for(engine.started.wait(), 60)
        agent.provider.stop()
        await asyncio.wait_for(agent.gate.saw("draining"), 60)
        await agent.stopped()

        frames = opened(sealed, sink)
        assert frames[-1].meter is not None
        assert frames[-1].meter.code == WireCode.DRAINING


async def test_draining_is_bounded(tmp_path: Path) -> None:
    engine = ScriptedEngine(Gatekept())
    async with running(tmp_path, make_engine=lambda: engine, drain_s=0.05) as agent:
        link = await agent.link()
        _, sink = agent.dispatch(link, agent.seal())
        await asyncio.wait_for(engine.started.wait(), 60)
        await agent.stopped()

        assert meter_of(sink.records[-1]).code == WireCode.DRAINING
        assert engine.stops == 1


async def test_a_provider_that_is_cancelled_while_it_drains_leaves_nothing_running(tmp_path: Path) -> None:
    engine = ScriptedEngine(Gatekept())
    async with running(tmp_path, make_engine=lambda: engine) as agent:
        link = await agent.link()
        agent.dispatch(link, agent.seal())
        await asyncio.wait_for(engine.started.wait(), 60)
        agent.provider.stop()
        await asyncio.wait_for(agent.gate.saw("draining"), 60)
        assert agent.task is not None
        agent.task.cancel()
        await asyncio.gather(agent.task, return_exceptions=True)

        left = [task for task in asyncio.all_tasks() if task.get_name() in {"drain", "hurry"}]
        await asyncio.wait_for(asyncio.gather(*left, return_exceptions=True), 60)


async def test_a_rejected_token_ends_the_provider_with_the_reason(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    async with running(tmp_path, make_engine=lambda: engine, token="hk_provider_1_wrong") as agent:
        assert agent.task is not None
        with pytest.raises(AccessError) as caught:
            await asyncio.wait_for(agent.task, 60)

        assert caught.value.error_code == "invalid_api_key"
        assert engine.unloads == 1


async def test_a_coordinator_of_another_network_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, network="hushnet-other") as agent:
        assert agent.task is not None
        with pytest.raises(ConfigurationError):
            await asyncio.wait_for(agent.task, 60)


async def test_a_model_that_does_not_load_ends_the_provider_before_it_dials(tmp_path: Path) -> None:
    engine = ScriptedEngine(load_errors=[ConfigurationError("the file is no model")])
    async with running(tmp_path, make_engine=lambda: engine) as agent:
        assert agent.task is not None
        with pytest.raises(ConfigurationError, match="no model"):
            await asyncio.wait_for(agent.task, 60)

        assert agent.gate.entries == []
        assert engine.unloads == 1


async def test_a_stop_while_the_model_loads_ends_at_once(tmp_path: Path) -> None:
    class LoadsForEver(ScriptedEngine):
        async def load(self, spec: object) -> Capabilities:
            self.started.set()
            await asyncio.Event().wait()
            return self.capabilities

    engine = LoadsForEver()
    async with running(tmp_path, make_engine=lambda: engine) as agent:
        await asyncio.wait_for(engine.started.wait(), 60)
        await agent.stopped()

        assert engine.unloads == 1
        assert agent.gate.entries == []


async def test_a_stop_while_nobody_answers_ends_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, url="ws://127.0.0.1:9/v1/provider/link") as agent:
        await asyncio.wait_for(agent.told.saw("EngineLoaded"), 60)
        await asyncio.wait_for(agent.stopped(), 60)
