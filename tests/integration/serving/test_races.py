"""Two attempts at once: the end of one is that one's alone, a stop reaches both, and a backup may never leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hushnet.coordinator.ledger.model import UsageOutcome
from hushnet.coordinator.serving.life import Life
from hushnet.coordinator.serving.rules.stops import Stop
from hushnet.sealing.errors import WireCode
from support.fleet import LIMITS, Network, ServedAttempt, open_answer, says, until
from support.races import (
    FAST,
    HALF_S,
    MODES,
    Slow,
    breaks,
    frees_its_slot,
    hedges,
    is_full,
    life_of,
    loses_its_link,
    open_slots,
    passes,
    racing,
    refuses_it,
    skips_a_record,
    slow,
    strikes,
)

# One of the two fails.


FAILURES = pytest.mark.parametrize(
    "fails", [breaks, refuses_it, is_full, loses_its_link, frees_its_slot, skips_a_record]
)


@MODES
@FAILURES
@pytest.mark.parametrize("is_backup_failing", [False, True])
async def test_a_failure_of_one_ends_that_one_only(
    network: Network, mode: str, fails: Callable[[ServedAttempt], None], is_backup_failing: bool
) -> None:
    it, backup = await racing(network, mode)
    failing, other = (backup, it.first) if is_backup_failing else (it.first, backup)

    fails(failing)
    await passes()
    assert other.cancelled is None
    assert it.exchange.status == 0
    says("from the other")(other)

    assert "from the other" in await it.asked.answer()
    assert (await network.usage_of(it.exchange)).usage.machine == other.provider.provider_id
    assert hedges(network) == {"sent": 1, "lost" if is_backup_failing else "won": 1}


@pytest.mark.parametrize("mode", ["stream", "sealed"])
@pytest.mark.parametrize("is_failure_first", [False, True])
async def test_an_error_that_is_heard_with_the_others_content_does_not_end_the_request(
    network: Network, mode: str, is_failure_first: bool
) -> None:
    """Both in one step of the loop: the request's task sees neither before both have happened."""
    it, backup = await racing(network, mode)
    backup.head()
    if is_failure_first:
        breaks(it.first)
        backup.say("alive")
    else:
        backup.say("alive")
        breaks(it.first)
    backup.end()

    assert "alive" in await it.asked.answer()
    assert strikes(network, it.first.provider) == is_failure_first


async def test_a_call_for_a_backup_is_not_heard_by_the_attempt_after(network: Network) -> None:
    it = await slow(network)
    third = await network.provider(decode_tokens_s=1.0)

    network.advance(HALF_S)
    breaks(it.first)  # before the request's task has run
    again = await it.standby.attempt()
    await passes()

    assert third.served == []
    says("again")(again)
    assert "again" in await it.asked.answer()


@MODES
async def test_when_both_fail_a_third_is_tried_unseen(network: Network, mode: str) -> None:
    it, backup = await racing(network, "stream" if mode == "sealed" else mode)
    third = await network.provider(part=says("third"))

    breaks(it.first)
    breaks(backup)

    assert "third" in await it.asked.answer()
    assert len(third.served) == 1


async def test_a_sealed_request_uses_each_entry_once(network: Network) -> None:
    providers = [await network.provider(decode_tokens_s=FAST / (1 + number)) for number in range(3)]
    bystander = await network.provider(decode_tokens_s=10 * FAST)
    sealed = network.seal(*providers)
    exchange = network.send_sealed(sealed, key=await network.consumer())
    first = await providers[0].attempt()
    network.advance(HALF_S)
    backup = await providers[1].attempt()
    breaks(backup)
    breaks(first)
    last = await providers[2].attempt()
    network.advance(HALF_S)
    await passes()
    breaks(last)
    await exchange.finished()

    frames = open_answer(sealed, exchange.body)
    assert frames[-1].meter is not None
    assert frames[-1].meter.code == WireCode.ENGINE_FAILED
    assert [len(provider.served) for provider in (*providers, bystander)] == [1, 1, 1, 0]
    assert (await network.usage_of(exchange)).cost == 0


async def test_a_sealed_request_races_only_among_those_it_was_wrapped_for(network: Network) -> None:
    silent = await network.provider(decode_tokens_s=FAST)
    bystander = await network.provider(decode_tokens_s=FAST, part=says("not asked"))
    exchange = network.send_sealed(network.seal(silent), key=await network.consumer())
    first = await silent.attempt()

    network.advance(HALF_S + 1)
    await passes()

    assert (len(silent.served), bystander.served) == (1, [])
    says("alone")(first)
    await exchange.finished()
    assert hedges(network) == {}


async def test_when_both_fail_and_nobody_is_left_the_consumer_gets_one_error_and_pays_nothing(
    database_path: Path,
) -> None:
    async with Network.open(database_path, limits=replace(LIMITS, attempts_max=2)) as network:
        it, backup = await racing(network)
        third = await network.provider(part=says("never asked"))

        breaks(it.first)
        loses_its_link(backup)
        await it.exchange.finished()

        assert (it.exchange.status, it.exchange.json["error"]["code"]) == (502, "link_lost")
        assert third.served == []
        assert strikes(network, it.first.provider) == 1
        record = await network.usage_of(it.exchange)
        assert (record.cost, record.usage.outcome) == (0, UsageOutcome.NOT_DELIVERED)
        assert not record.usage.machine, "nobody has served it"


async def test_a_verdict_that_nothing_can_follow_waits_for_the_other_and_then_stands(network: Network) -> None:
    it, backup = await racing(network, "sealed")

    it.first.refuse(WireCode.BAD_ENVELOPE)
    await passes()
    assert backup.cancelled is None
    is_full(backup)
    await it.exchange.finished()

    assert (it.exchange.status, it.exchange.json["code"]) == (400, "bad_envelope")


async def test_an_error_that_the_request_caused_ends_the_race(network: Network) -> None:
    it, backup = await racing(network)

    backup.head(status=400, content_type="application/json")
    backup.error(WireCode.CONTEXT_TOO_LONG, b'{"error":{"message":"too long","code":"context_too_long"}}')
    assert it.first.cancelled is WireCode.CANCELLED
    await it.exchange.finished()

    assert (it.exchange.status, it.exchange.json["error"]["code"]) == (400, "context_too_long")
    assert (await network.usage_of(it.exchange)).cost == 0
    assert strikes(network, backup.provider) == strikes(network, it.first.provider) == 0


async def test_the_first_is_given_up_at_its_deadline_and_the_backup_has_its_own(network: Network) -> None:
    it, backup = await racing(network)

    network.advance(HALF_S)
    assert it.first.cancelled is WireCode.TIMED_OUT
    await passes()
    assert backup.cancelled is None
    network.advance(HALF_S - 1)
    says("in time")(backup)

    assert "in time" in await it.asked.answer()
    assert strikes(network, it.first.provider) == 1


async def test_a_backup_that_is_left_alone_may_get_one_of_its_own(network: Network) -> None:
    it, backup = await racing(network)
    third = await network.provider(part=says("third"))
    breaks(it.first)
    await passes()

    network.advance(HALF_S)

    assert "third" in await it.asked.answer()
    assert backup.cancelled is WireCode.CANCELLED
    assert len(third.served) == 1


# A race is stopped.


@pytest.mark.parametrize("reason", [Stop.HUNG_UP, Stop.TIMED_OUT, Stop.SHUTDOWN])
async def test_a_stop_cancels_both_in_the_same_step(network: Network, reason: Stop) -> None:
    it, backup = await racing(network)

    life_of(network).stop(reason)
    assert it.first.cancelled is not None
    assert backup.cancelled is it.first.cancelled

    await it.exchange.finished()
    (record,) = await network.usage(it.key)
    assert (record.cost, record.usage.outcome) == (0, UsageOutcome.NOT_DELIVERED)
    await until(lambda: open_slots(network) == 0)
    assert strikes(network, it.first.provider) == strikes(network, backup.provider) == 0


async def test_a_hang_up_reaches_both(network: Network) -> None:
    it, backup = await racing(network)

    it.exchange.hang_up()
    await until(lambda: it.first.cancelled or backup.cancelled)

    assert it.first.cancelled is backup.cancelled is WireCode.CANCELLED
    await it.exchange.finished()


async def test_the_last_deadline_ends_both(database_path: Path) -> None:
    limits = replace(LIMITS, queue_s_max=5.0, request_s_max=40.0)
    async with Network.open(database_path, limits=limits) as network:
        it, backup = await racing(network)

        network.advance(limits.total_s_max - HALF_S)

        assert it.first.cancelled is backup.cancelled is WireCode.TIMED_OUT
        await it.exchange.finished()
        assert it.exchange.json["error"]["code"] == "timed_out"


async def test_a_shutdown_ends_both(database_path: Path) -> None:
    async with Network.open(database_path) as network:
        it, backup = await racing(network)

        await network.serving.service.aclose()

        assert it.first.cancelled is backup.cancelled is WireCode.CANCELLED
        await it.exchange.finished()
        assert it.exchange.status == 503


# While the backup's envelope is being made.


class Sealing:
    """Holds the next envelope of a request back until it may go on, as a thread that seals a large body does."""

    def __init__(self, life: Life) -> None:
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()
        make = life.body.attempt

        async def attempt(*given: Any, **named: Any) -> Any:
            made = await make(*given, **named)
            self.asked.set()
            await self.go_on.wait()
            return made

        life.body.attempt = attempt  # type: ignore[method-assign]


async def sealing(network: Network) -> tuple[Slow, Sealing]:
    it = await slow(network)
    held = Sealing(life_of(network))
    network.advance(HALF_S)
    await held.asked.wait()
    network.advance(1)
    return it, held


async def test_content_of_the_first_keeps_a_backup_from_leaving(network: Network) -> None:
    it, held = await sealing(network)
    says("just in time")(it.first)
    held.go_on.set()

    assert "just in time" in await it.asked.answer()
    await network.settled()
    assert it.standby.served == []
    assert open_slots(network) == 0
    assert hedges(network) == {}


async def test_a_first_that_fails_meanwhile_leaves_the_request_to_its_backup(network: Network) -> None:
    it, held = await sealing(network)
    it.standby.part = says("backup")
    breaks(it.first)
    held.go_on.set()

    assert "backup" in await it.asked.answer()
    assert len(it.standby.served) == 1


async def test_a_stop_keeps_a_backup_from_leaving(network: Network) -> None:
    it, held = await sealing(network)
    it.exchange.hang_up()
    await until(lambda: it.first.cancelled)
    held.go_on.set()
    await it.exchange.finished()
    await network.settled()

    assert it.standby.served == []
    await until(lambda: open_slots(network) == 0)


async def test_a_backup_that_can_not_be_dispatched_leaves_the_first_alone(network: Network) -> None:
    it = await slow(network)
    it.standby.can_dispatch = False
    network.advance(HALF_S)
    await passes()

    says("alone")(it.first)

    assert "alone" in await it.asked.answer()
    assert open_slots(network) == 0
