"""Nobody who waits pays for another's wish: turns, kept providers, early refusals, and what a report sets off."""

from __future__ import annotations

from typing import Any

from hushnet.coordinator.serving.route import STARVED_S
from hushnet.wire.frames import Capacity
from support.fleet import MODEL, Exchange, Network, ScriptedProvider, says, until

RICH = 100_000_000


def budget(network: Network, provider: ScriptedProvider, *, used: int, most: int) -> None:
    """Report a token budget of which others use a part."""
    report = Capacity(slots=8, active=0, tokens_active=used, tokens_max=most, decode_tokens_s=40.0)
    network.gate.heartbeat(provider.provider_id, report)


async def waiting(network: Network, count: int) -> None:
    await until(lambda: network.serving.service.waiting == count)


async def ended(exchange: Exchange) -> Any:
    return await exchange.finished()


async def test_an_account_is_served_in_its_own_order_however_long_it_waits(network: Network) -> None:
    provider = await network.provider(slots=1)
    key = await network.consumer(RICH)
    exchanges = []
    for number in range(12):
        exchanges.append(network.chat(key=key, messages=[{"role": "user", "content": f"m{number:02d}"}]))
        await waiting(network, max(number, 0)) if number else await provider.attempt(1)

    for number in range(1, 13):
        attempt = await provider.attempt(number)
        network.advance(STARVED_S / 3)
        assert f'"m{number - 1:02d}"'.encode() in attempt.opened.data.replace(b": ", b":")
        says("x")(attempt)
    for exchange in exchanges:
        assert (await ended(exchange)).text == "x"


async def test_a_provider_that_is_kept_for_one_request_stops_nobody_else(network: Network) -> None:
    kept = await network.provider(slots=8, decode_tokens_s=160.0, part=says("kept"))
    other = await network.provider(slots=8, part=says("other"))
    budget(network, kept, used=4000, most=8000)
    large, small = await network.consumer(RICH), await network.consumer(RICH)
    starved = network.chat(key=large, max_tokens=6000, route={"only": [kept.provider_id]})
    await waiting(network, 1)
    network.advance(STARVED_S + 1)

    answer = await ended(network.chat(key=small, max_tokens=100))

    assert answer.headers["hushnet-provider"] == other.provider_id
    budget(network, kept, used=0, most=8000)
    assert (await ended(starved)).text == "kept"


async def test_one_request_that_waits_for_long_keeps_one_provider(network: Network) -> None:
    providers = [await network.provider(slots=8, part=says("x")) for _ in range(3)]
    for provider in providers:
        budget(network, provider, used=4000, most=8000)
    large, small = await network.consumer(RICH), await network.consumer(RICH)
    starved = network.chat(key=large, max_tokens=6000)
    await waiting(network, 1)
    network.advance(STARVED_S + 1)

    answers = [await ended(network.chat(key=small, max_tokens=100)) for _ in range(12)]

    assert len({answer.headers["hushnet-provider"] for answer in answers}) == 2
    for provider in providers:
        budget(network, provider, used=0, most=8000)
    assert (await ended(starved)).text == "x"


async def test_when_the_request_that_a_provider_was_kept_for_leaves_the_others_are_looked_at(network: Network) -> None:
    provider = await network.provider(slots=8, part=says("x"))
    budget(network, provider, used=4000, most=8000)
    large, small = await network.consumer(RICH), await network.consumer(RICH)
    starved = network.chat(key=large, max_tokens=6000)
    await waiting(network, 1)
    network.advance(STARVED_S + 1)
    blocked = network.chat(key=small, max_tokens=100)
    await waiting(network, 2)

    starved.hang_up()

    assert (await ended(blocked)).text == "x"
    await ended(starved)


async def test_when_the_request_that_a_provider_was_kept_for_is_served_elsewhere_the_others_are_looked_at(
    network: Network,
) -> None:
    kept = await network.provider(slots=8, part=says("kept"))
    other = await network.provider(slots=8, part=says("other"))
    budget(network, kept, used=4000, most=8000)
    budget(network, other, used=7000, most=8000)
    large, small = await network.consumer(RICH), await network.consumer(RICH)
    starved = network.chat(key=large, max_tokens=6000)
    await waiting(network, 1)
    network.advance(STARVED_S + 1)
    blocked = network.chat(key=small, max_tokens=100, route={"only": [kept.provider_id]})
    await waiting(network, 2)

    budget(network, other, used=0, most=8000)

    assert (await ended(starved)).text == "other"
    assert (await ended(blocked)).text == "kept"


async def test_those_who_wait_for_a_slow_machine_of_their_own_choice_say_nothing_of_the_queues_pace(
    network: Network,
) -> None:
    slow, good = await network.provider(slots=1), await network.provider(slots=1)
    fans = [await network.consumer(RICH) for _ in range(8)]
    named = [network.chat(key=key, route={"only": [slow.provider_id]}) for key in fans]
    for number in range(1, 6):
        attempt = await slow.attempt(number)
        network.advance(20.0)
        says("slow")(attempt)
    running = network.chat(key=await network.consumer(RICH), route={"only": [good.provider_id]})
    busy = await good.attempt()
    await slow.attempt(6)

    patient = network.chat(key=await network.consumer(RICH))
    await until(lambda: network.serving.service.waiting == 3)
    says("good")(busy)
    says("good")(await good.attempt(2))

    assert (await ended(patient)).text == "good"
    await ended(running)
    slow.close("closing")
    for exchange in named:
        await ended(exchange)


async def test_a_report_of_no_more_room_sets_nothing_off(network: Network) -> None:
    provider = await network.provider(slots=8)
    budget(network, provider, used=4000, most=8000)
    key = await network.consumer(RICH)
    large = network.chat(key=key, max_tokens=6000)
    await waiting(network, 1)
    budget(network, provider, used=4000, most=8000)

    def decisions() -> bytes:
        return b"\n".join(line for line in network.metrics.render().splitlines() if b"hush_route_decisions" in line)

    before = decisions()
    for used in (4000, 4500, 4500):
        budget(network, provider, used=used, most=8000)

    assert decisions() == before
    provider.part = says("room")
    budget(network, provider, used=0, most=8000)
    for attempt in provider.served:
        says("room")(attempt) if not attempt.is_over else None
    assert (await ended(large)).text == "room"


async def test_waiting_for_ones_own_machine_loads_nothing_on_anybody_elses(network: Network) -> None:
    mine = network.new_account()
    key = await network.consumer()
    own = await network.provider(account=network.account_of(key), slots=1)
    offer = own.offers[0]
    stranger = await network.provider(
        account=mine, models=[type(offer)(model=MODEL, context_tokens=8192, slots=4, is_loaded=False, load_s=30.0)]
    )
    first = network.chat(key=key, route={"own": "only"})
    attempt = await own.attempt()
    second = network.chat(key=key, route={"own": "only"})
    await waiting(network, 1)

    for _ in range(5):
        network.advance(1.0)

    assert stranger.wishes == []
    says("x")(attempt)
    says("x")(await own.attempt(2))
    for exchange in (first, second):
        await ended(exchange)


async def test_a_long_queue_of_one_account_never_stops(network: Network) -> None:
    provider = await network.provider(slots=1)
    key = await network.consumer(RICH)
    exchanges = [network.chat(key=key) for _ in range(90)]
    await waiting(network, 89)
    network.advance(STARVED_S + 1)

    for number in range(1, 91):
        says("x")(await provider.attempt(number))
        network.advance(0.2)

    for exchange in exchanges:
        assert (await ended(exchange)).text == "x"
