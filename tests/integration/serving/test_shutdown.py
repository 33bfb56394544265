"""The coordinator stops: no new requests, running ones finish or end honestly, and every hold is closed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hushnet.coordinator.serving import assembly
from support.fleet import Network, says, until


async def test_requests_that_run_may_finish_and_new_ones_are_refused(network: Network) -> None:
    provider = await network.provider()
    key = await network.consumer()
    exchange = network.chat(key=key)
    attempt = await provider.attempt()
    draining = asyncio.create_task(network.serving.service.drain(10.0))
    await asyncio.sleep(0)

    refused = await network.chat(key=key).finished()
    says("done")(attempt)
    await draining

    assert (refused.status, refused.json["error"]["code"]) == (503, "shutting_down")
    assert (await exchange.finished()).text == "done"


async def test_a_request_that_does_not_finish_is_cut_with_an_error_and_settled(database_path: Path) -> None:
    async with Network.open(database_path) as network:
        provider = await network.provider(slots=1)
        key = await network.consumer()
        streaming, waiting = network.chat(key=key), network.chat(key=key)
        attempt = await provider.attempt()
        attempt.head()
        attempt.say("one")
        attempt.usage()
        await streaming.said("one")

        await network.serving.aclose()
        await streaming.finished()
        await waiting.finished()

        assert streaming.events[-1]["error"]["code"] == "shutting_down"
        assert waiting.status == 503
        assert attempt.cancelled is not None
        assert {record.cost for record in await network.usage(key)} == {0, 7 + 4}


async def test_a_bug_in_a_stage_still_ends_in_the_finaliser(network: Network, caplog) -> None:
    await network.provider(part=says("hi"))
    key = await network.consumer()

    def broken(*args, **kwargs):
        raise RuntimeError("a canary in a coal mine")

    network.serving.service._placement.begin = broken
    exchange = await network.chat(key=key).finished()

    assert (exchange.status, exchange.json["error"]["code"]) == (500, "internal")
    assert (await network.usage(key))[0].cost == 0
    assert "canary" not in caplog.text
    assert "a request failed inside" in caplog.text


async def test_a_bug_in_one_pass_does_not_stop_the_pulse(
    network: Network, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    passes: list[int] = []

    def tick() -> None:
        passes.append(len(passes))
        if len(passes) == 1:
            raise RuntimeError("a canary in a coal mine")

    monkeypatch.setattr(network.serving.service, "tick", tick)
    monkeypatch.setattr(assembly, "PERIOD_S", 0.001)
    network.serving.start()
    await until(lambda: len(passes) > 1)

    assert "a pass of the pulse failed" in caplog.text
    assert "canary" not in caplog.text
