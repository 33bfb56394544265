"""Waiting for a provider: served when there is room, fair, bounded, and over at the deadline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hushnet.coordinator.ledger.model import UsageOutcome
from hushnet.coordinator.serving.rules.stops import Stop
from hushnet.foundation.ids import ModelId
from hushnet.wire.frames import ModelOffer
from support.fleet import LIMITS, Network, says, until


async def test_a_request_waits_for_a_slot_and_is_served_when_one_is_freed(network: Network) -> None:
    provider = await network.provider(slots=1)
    key = await network.consumer()
    first = network.chat(key=key)
    attempt = await provider.attempt()

    second = network.chat(key=key)
    await until(lambda: network.serving.service.waiting == 1)
    assert len(provider.served) == 1
    says("one")(attempt)
    says("two")(await provider.attempt(2))

    assert (await first.finished()).text == "one"
    assert (await second.finished()).text == "two"


async def test_waiting_ends_after_its_time_with_429_and_retry_after(network: Network) -> None:
    provider = await network.provider(slots=1)
    key = await network.consumer()
    first = network.chat(key=key)
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("still")
    second = network.chat(key=key)
    await until(lambda: network.serving.service.waiting == 1)

    for _ in range(13):
        attempt.say("-talking")
        network.advance(10)
    await second.finished()

    assert (second.status, second.json["error"]["code"]) == (429, "capacity")
    assert 1 <= int(second.headers["retry-after"]) <= 60
    attempt.end()
    await first.finished()
    assert (await network.usage_of(second)).usage.outcome is UsageOutcome.NOT_DELIVERED


async def test_accounts_take_turns(network: Network) -> None:
    provider = await network.provider(slots=1)
    busy, quiet = await network.consumer(), await network.consumer()
    running = network.chat(key=busy)
    attempt = await provider.attempt()
    flood = [network.chat(key=busy) for _ in range(5)]
    await until(lambda: network.serving.service.waiting == 5)
    single = network.chat(key=quiet)
    await until(lambda: network.serving.service.waiting == 6)

    says("x")(attempt)
    says("y")(await provider.attempt(2))
    says("z")(await provider.attempt(3))
    await single.finished()

    assert sum(exchange.task.done() for exchange in flood) <= 2
    for number in range(4, 8):
        says("x")(await provider.attempt(number))
    for exchange in (running, *flood):
        await exchange.finished()


async def test_a_full_queue_refuses_at_once(database_path: Path) -> None:
    async with Network.open(database_path, waiting_max=2) as network:
        provider = await network.provider(slots=1)
        key = await network.consumer()
        exchanges = [network.chat(key=key) for _ in range(3)]
        await until(lambda: network.serving.service.waiting == 2)

        refused = await network.chat(key=key).finished()

        assert refused.status == 429
        assert "retry-after" in refused.headers
        for number in range(1, 4):
            says("x")(await provider.attempt(number))
        for exchange in exchanges:
            await exchange.finished()


async def test_a_provider_that_joins_serves_who_waits(network: Network) -> None:
    provider = await network.provider(slots=1)
    key = await network.consumer()
    first = network.chat(key=key)
    attempt = await provider.attempt()
    second = network.chat(key=key)
    await until(lambda: network.serving.service.waiting == 1)

    await network.provider(slots=1, part=says("newcomer"))

    assert (await second.finished()).text == "newcomer"
    says("x")(attempt)
    await first.finished()


async def test_waiting_ends_at_once_when_nobody_is_left_to_wait_for(network: Network) -> None:
    provider = await network.provider(slots=1)
    key = await network.consumer()
    first = network.chat(key=key)
    await provider.attempt()
    second = network.chat(key=key)
    await until(lambda: network.serving.service.waiting == 1)

    provider.close("closing")
    await second.finished()
    await first.finished()

    assert (second.status, second.json["error"]["code"]) == (503, "model_unavailable")
    assert (first.status, first.json["error"]["code"]) == (502, "link_lost")
    assert [record.cost for record in await network.usage(key)] == [0, 0]


async def test_a_sealed_request_waits_for_its_own_recipient_and_holds_up_nobody(network: Network) -> None:
    busy = await network.provider(slots=1)
    key = await network.consumer()
    sealed = network.seal(busy)
    first = network.send_sealed(network.seal(busy), key=key)
    attempt = await busy.attempt()
    second = network.send_sealed(sealed, key=key)
    await until(lambda: network.serving.service.waiting == 1)

    await network.provider(slots=1, part=says("free"))
    standard = await network.chat(key=key).finished()

    assert standard.text == "free"
    assert not second.task.done()
    says("x")(attempt)
    says("y")(await busy.attempt(2))
    await first.finished()
    assert (await second.finished()).status == 200


async def test_what_was_dispatched_counts_before_the_provider_reports_it(network: Network) -> None:
    provider = await network.provider(slots=2)
    key = await network.consumer()

    exchanges = [network.chat(key=key) for _ in range(3)]
    await until(lambda: network.serving.service.waiting == 1)

    assert len(provider.served) == 2
    provider.report(active=0)
    assert network.serving.service.waiting == 1
    for number in (1, 2, 3):
        says("x")(await provider.attempt(number))
    for exchange in exchanges:
        await exchange.finished()


async def test_work_of_others_that_the_provider_reports_takes_slots_too(network: Network) -> None:
    provider = await network.provider(slots=2, part=says("x"))
    key = await network.consumer()
    provider.report(active=2)

    exchange = network.chat(key=key)
    await until(lambda: network.serving.service.waiting == 1)
    provider.report(active=1)

    assert (await exchange.finished()).status == 200


async def test_a_request_without_waiting_time_left_is_refused_when_all_are_busy(database_path: Path) -> None:
    async with Network.open(database_path, limits=replace(LIMITS, queue_s_max=0)) as network:
        provider = await network.provider(slots=1)
        key = await network.consumer()
        first = network.chat(key=key)
        attempt = await provider.attempt()

        second = await network.chat(key=key).finished()

        assert second.status == 429
        says("x")(attempt)
        await first.finished()


async def test_a_model_queue_does_not_hold_up_another_model(network: Network) -> None:
    provider = await network.provider(slots=1)
    other = ModelId("other")
    await network.provider(models=[ModelOffer(model=other, context_tokens=8192, slots=1)], part=says("other"))
    key = await network.consumer()
    first, second = network.chat(key=key), network.chat(key=key)
    attempt = await provider.attempt()
    await until(lambda: network.serving.service.waiting == 1)

    assert (await network.chat(key=key, model=other).finished()).text == "other"

    says("x")(attempt)
    says("x")(await provider.attempt(2))
    await first.finished()
    await second.finished()


async def test_a_slot_that_is_given_to_somebody_who_leaves_in_the_same_step_comes_back(network: Network) -> None:
    provider = await network.provider(slots=1)
    key = await network.consumer()
    first, second = network.chat(key=key), network.chat(key=key)
    attempt = await provider.attempt()
    await until(lambda: network.serving.service.waiting == 1)
    (leaving,) = [life for life in network.serving.service._lives if life.attempt is None]

    says("x")(attempt)
    assert network.serving.service.waiting == 0
    leaving.stop(Stop.HUNG_UP)

    await first.finished()
    second.hang_up()
    await second.finished()
    await network.settled()
    live = network.serving.fleet.get(provider.provider_id)
    assert live is not None
    assert live.load.open_total == 0
    assert len(provider.served) == 1
