"""What counts against a provider with a model, what never does, and how long it rests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hushnet.coordinator.fleet.health import COOL_DOWN_MS, COOL_DOWN_S, Health
from hushnet.foundation.ids import ModelId
from hushnet.sealing.errors import WireCode
from hushnet.wire.frames import ModelOffer
from support.fleet import LIMITS, MODEL, Exchange, Network, ScriptedProvider, ServedAttempt, refuses, says, until

OTHER = ModelId("other")
Play = Callable[[Network, Exchange, ServedAttempt], None]


def health_of(network: Network, provider: ScriptedProvider, model: ModelId = MODEL) -> Health:
    """Return what is remembered of the provider, also when its link is gone."""
    remembered = network.serving.fleet._health.get(provider.provider_id)
    assert remembered is not None
    return remembered.get(model, Health())


def penalty_ms(network: Network, model: ModelId = MODEL) -> int:
    """Return what the router is shown of the only provider."""
    (candidate,) = network.serving.fleet.view(model).index.values()
    return candidate.failures_ms


async def begun(network: Network, *, is_content: bool) -> tuple[ScriptedProvider, Exchange, ServedAttempt]:
    """Ask a provider that is alone, and have it begin."""
    provider = await network.provider()
    exchange = network.chat(key=await network.consumer())
    attempt = await provider.attempt()
    attempt.head()
    if is_content:
        attempt.say("one")
        attempt.usage()
        await exchange.said("one")
    return provider, exchange, attempt


async def ended(network: Network, provider: ScriptedProvider, exchange: Exchange) -> None:
    """Let the retry that the failure may bring be refused for want of room, and its consumer leave."""
    provider.part = refuses(WireCode.CAPACITY)
    await until(lambda: exchange.task.done() or network.serving.service.waiting)
    exchange.hang_up()
    await exchange.finished()
    await network.settled()


def _errs(code: WireCode) -> Play:
    return lambda network, exchange, attempt: attempt.error(code)


def _refuses(code: WireCode) -> Play:
    return lambda network, exchange, attempt: attempt.refuse(code)


def _hangs_up(network: Network, exchange: Exchange, attempt: ServedAttempt) -> None:
    exchange.hang_up()


def _loses_its_link(network: Network, exchange: Exchange, attempt: ServedAttempt) -> None:
    attempt.provider.close("connection_lost")


def _frees_its_slot(network: Network, exchange: Exchange, attempt: ServedAttempt) -> None:
    attempt.finish()


def _is_silent(network: Network, exchange: Exchange, attempt: ServedAttempt) -> None:
    network.advance(LIMITS.first_content_s_max)


@pytest.mark.parametrize("is_content", [False, True], ids=["before content", "after content"])
@pytest.mark.parametrize(
    "play",
    [
        _errs(WireCode.ENGINE_FAILED),
        _errs(WireCode.INTERNAL),
        _errs(WireCode.TIMED_OUT),
        _refuses(WireCode.INTERNAL),
        _loses_its_link,
        _frees_its_slot,
        _is_silent,
    ],
)
async def test_what_a_provider_does_wrong_is_a_strike(network: Network, play: Play, is_content: bool) -> None:
    provider, exchange, attempt = await begun(network, is_content=is_content)

    play(network, exchange, attempt)
    await ended(network, provider, exchange)

    assert len(health_of(network, provider).failed_s) == 1


@pytest.mark.parametrize("is_content", [False, True], ids=["before content", "after content"])
@pytest.mark.parametrize(
    "play",
    [
        _errs(WireCode.BAD_REQUEST),
        _errs(WireCode.CONTEXT_TOO_LONG),
        _errs(WireCode.BOUND_EXCEEDED),
        _errs(WireCode.HEADER_BODY_MISMATCH),
        _hangs_up,
    ],
)
async def test_what_a_consumer_does_wrong_is_none(network: Network, play: Play, is_content: bool) -> None:
    provider, exchange, attempt = await begun(network, is_content=is_content)

    play(network, exchange, attempt)
    await ended(network, provider, exchange)

    assert not health_of(network, provider).failed_s


@pytest.mark.parametrize("code", [WireCode.CAPACITY, WireCode.MODEL_UNAVAILABLE, WireCode.DRAINING])
async def test_want_of_room_is_none(network: Network, code: WireCode) -> None:
    provider, exchange, attempt = await begun(network, is_content=False)

    attempt.refuse(code)
    await ended(network, provider, exchange)

    assert not health_of(network, provider).failed_s


async def test_a_consumer_too_slow_for_the_providers_patience_is_none(network: Network) -> None:
    provider, exchange, attempt = await begun(network, is_content=True)

    attempt.error(WireCode.BACKPRESSURE)
    await exchange.finished()
    await network.settled()

    assert not health_of(network, provider).failed_s


async def test_a_rest_ends_with_the_first_report_after_its_time(network: Network) -> None:
    provider = await network.provider(part=refuses(WireCode.INTERNAL))
    await network.chat(key=await network.consumer()).finished()
    assert penalty_ms(network) == COOL_DOWN_MS

    network.clock.advance(COOL_DOWN_S - 1)
    provider.report()
    assert penalty_ms(network) == COOL_DOWN_MS
    network.clock.advance(1)
    provider.report()

    assert penalty_ms(network) == 0


async def test_a_provider_at_rest_serves_where_nobody_else_can_and_is_forgiven(network: Network) -> None:
    provider = await network.provider(part=refuses(WireCode.INTERNAL))
    key = await network.consumer()
    await network.chat(key=key).finished()
    provider.part = says("well")

    assert (await network.chat(key=key).finished()).text == "well"
    await network.settled()
    assert penalty_ms(network) == 0


async def test_an_answer_that_began_before_the_failures_does_not_end_a_rest(network: Network) -> None:
    provider, exchange, attempt = await begun(network, is_content=True)
    network.clock.advance(1)
    provider.part = refuses(WireCode.INTERNAL)
    await network.chat(key=await network.consumer()).finished()

    attempt.end()
    await exchange.finished()
    await network.settled()

    assert exchange.is_done
    assert penalty_ms(network) == COOL_DOWN_MS


async def test_failures_with_one_model_say_nothing_of_another(network: Network) -> None:
    offers = [ModelOffer(model=model, context_tokens=8192, slots=4) for model in (MODEL, OTHER)]
    provider = await network.provider(models=offers, part=refuses(WireCode.INTERNAL))
    key = await network.consumer()
    await network.chat(key=key).finished()
    assert (penalty_ms(network), penalty_ms(network, OTHER)) == (COOL_DOWN_MS, 0)

    provider.part = says("fine")
    assert (await network.chat(key=key, model=OTHER).finished()).text == "fine"
    await network.settled()
    assert penalty_ms(network) == COOL_DOWN_MS, "a success with another model proves nothing"
