"""Providers that claim free slots and refuse all work for want of room."""

from __future__ import annotations

from hushnet.coordinator.fleet.health import COOL_DOWN_MS, FAILURE_MS
from hushnet.sealing.errors import WireCode
from support.fleet import LIMITS, MODEL, Network, ScriptedProvider, refuses, says, until

FAST = 400.0


def failures_ms(network: Network, provider: ScriptedProvider) -> int:
    """Return what the router is shown of `provider`."""
    return network.serving.fleet.view(MODEL).index[provider.provider_id].failures_ms


async def test_providers_that_refuse_everything_take_no_model_down(network: Network) -> None:
    serving = await network.provider(part=says("hello"))
    liars = [
        await network.provider(decode_tokens_s=FAST, part=refuses(WireCode.CAPACITY))
        for _ in range(LIMITS.attempts_max)
    ]

    exchange = await network.chat(key=await network.consumer()).finished()

    assert exchange.text == "hello"
    assert len(serving.served) == 1
    assert [len(liar.served) for liar in liars] == [1] * len(liars)


async def test_a_provider_that_refuses_at_every_report_is_asked_no_more(network: Network) -> None:
    await network.provider(part=says("hello"))
    liar = await network.provider(decode_tokens_s=FAST, part=refuses(WireCode.CAPACITY))
    key = await network.consumer()
    penalties = []
    for _ in range(3):
        await network.chat(key=key).finished()
        network.clock.advance(5.0)
        liar.report(active=0)
        penalties.append(failures_ms(network, liar))

    assert penalties[0] == FAILURE_MS
    asked = len(liar.served)
    for _ in range(3):
        await network.chat(key=key).finished()
        liar.report(active=0)
    assert len(liar.served) == asked


async def test_a_provider_alone_that_refuses_at_every_report_comes_to_rest(network: Network) -> None:
    liar = await network.provider(part=refuses(WireCode.CAPACITY))
    key = await network.consumer()
    for asked in range(1, 4):
        exchange = network.chat(key=key)
        await until(lambda: network.serving.service.waiting == 1)
        assert len(liar.served) == asked
        exchange.hang_up()
        await exchange.finished()
        await network.settled()
        network.clock.advance(5.0)
        liar.report(active=0)

    assert failures_ms(network, liar) == COOL_DOWN_MS


async def test_a_refusal_that_a_report_explains_costs_nothing(network: Network) -> None:
    provider = await network.provider()
    exchange = network.chat(key=await network.consumer())
    attempt = await provider.attempt()
    provider.report(active=4)

    attempt.refuse(WireCode.CAPACITY)
    await until(lambda: network.serving.service.waiting == 1)

    assert failures_ms(network, provider) == 0
    exchange.hang_up()
    await exchange.finished()
