"""A slow attempt gets a backup: when one is sent, who wins, and that the other is cancelled unseen and unpaid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hushnet.coordinator.fleet.health import FAILURE_MS
from hushnet.coordinator.ledger.model import UsageOutcome
from hushnet.sealing.errors import WireCode
from support.fleet import LIMITS, MODEL, Network, says, until
from support.races import FAST, HALF_S, MODES, Asked, breaks, hedges, open_slots, passes, racing, slow, strikes

# When a backup is sent.


@MODES
async def test_a_backup_is_sent_at_half_the_deadline_and_not_before(network: Network, mode: str) -> None:
    it = await slow(network, mode, part=says("from the backup"))

    network.advance(HALF_S - 0.1)
    await passes()
    assert it.standby.served == []
    network.advance(0.6)

    assert "from the backup" in await it.asked.answer()
    assert it.first.cancelled is WireCode.CANCELLED
    assert hedges(network) == {"sent": 1, "won": 1}


async def test_an_attempt_that_has_shown_content_gets_no_backup(network: Network) -> None:
    it = await slow(network)
    it.first.head()
    it.first.say("here")
    await it.exchange.said("here")

    network.advance(HALF_S - 1)
    it.first.say("there")
    network.advance(HALF_S - 1)
    await passes()
    assert it.standby.served == []
    it.first.end()
    await it.exchange.finished()


async def test_an_answer_in_one_piece_that_is_being_generated_gets_no_backup(network: Network) -> None:
    it = await slow(network, "whole")
    it.first.head()
    it.first.say("here")
    it.first.usage()

    network.advance(HALF_S - 1)
    it.first.usage()
    network.advance(HALF_S - 1)
    await passes()
    assert it.standby.served == []
    it.first.end()
    assert "here" in await it.asked.answer()


async def test_boilerplate_is_not_content(network: Network) -> None:
    it = await slow(network, part=says("content"))
    it.first.head()
    it.first.role()

    network.advance(HALF_S)

    assert "content" in await it.asked.answer()


@pytest.mark.parametrize("limits", [replace(LIMITS, hedge_share=0.0), replace(LIMITS, attempts_max=1)])
async def test_an_operator_may_do_without(database_path: Path, limits: Any) -> None:
    async with Network.open(database_path, limits=limits) as network:
        it = await slow(network)

        network.advance(HALF_S + 1)
        await passes()

        assert it.standby.served == []
        says("late")(it.first)
        assert "late" in await it.asked.answer()


async def test_a_backup_never_waits_for_room_but_is_sent_when_there_is_some(network: Network) -> None:
    it = await slow(network, slots=1)
    busy = network.send_sealed(network.seal(it.standby), key=it.key)
    running = await it.standby.attempt()

    network.advance(HALF_S)
    await passes()
    assert len(it.standby.served) == 1
    assert network.serving.service.waiting == 0

    says("done")(running)
    await busy.finished()
    network.advance(1)
    says("backup")(await it.standby.attempt(2))
    assert "backup" in await it.asked.answer()


async def test_a_backup_takes_no_room_from_those_who_wait(network: Network) -> None:
    silent = await network.provider(decode_tokens_s=FAST, slots=1)
    standby = await network.provider(part=says("backup"))
    key = await network.consumer()
    asked = Asked(network, key, "stream")
    first = await silent.attempt()
    waiting = network.send_sealed(network.seal(silent), key=key)
    await until(lambda: network.serving.service.waiting == 1)

    network.advance(HALF_S)
    await passes()
    assert standby.served == []

    waiting.hang_up()
    await waiting.finished()
    network.advance(1)
    assert "backup" in await asked.answer()
    assert first.cancelled is WireCode.CANCELLED


async def test_a_backup_prefers_another_version_of_the_agent(network: Network) -> None:
    silent = await network.provider(decode_tokens_s=FAST, agent_version="1.0")
    same = await network.provider(decode_tokens_s=FAST / 2, agent_version="1.0")
    other = await network.provider(decode_tokens_s=FAST / 2.5, agent_version="2.0", part=says("other"))
    exchange = network.chat(key=await network.consumer())
    await silent.attempt()

    network.advance(HALF_S)
    await exchange.finished()

    assert (same.served, len(other.served)) == ([], 1)


async def test_a_retry_prefers_another_version_of_the_agent_after_a_fault(network: Network) -> None:
    failing = await network.provider(decode_tokens_s=FAST, agent_version="1.0", part=breaks)
    same = await network.provider(decode_tokens_s=FAST / 2, agent_version="1.0")
    await network.provider(decode_tokens_s=FAST / 2.5, agent_version="2.0", part=says("other"))

    exchange = await network.chat(key=await network.consumer()).finished()

    assert (len(failing.served), same.served, exchange.text) == (1, [], "other")


# Who wins.


@MODES
@pytest.mark.parametrize("is_backup_first", [False, True])
async def test_the_first_content_wins_and_the_other_is_cancelled_in_the_same_step(
    network: Network, mode: str, is_backup_first: bool
) -> None:
    it, backup = await racing(network, mode)
    winner, loser = (backup, it.first) if is_backup_first else (it.first, backup)
    loser.head()
    winner.head()
    assert loser.cancelled is None

    winner.say("from the winner")
    if mode == "whole":
        winner.end()
    assert loser.cancelled is WireCode.CANCELLED

    if mode != "whole":
        winner.end()
    assert "from the winner" in await it.asked.answer()
    record = await network.usage_of(it.exchange)
    assert (record.usage.machine, record.usage.outcome) == (winner.provider.provider_id, UsageOutcome.COMPLETED)
    assert (record.usage.tokens_in, record.usage.tokens_out) == (7, 1)
    assert await network.earned(winner.provider) == record.cost
    assert await network.earned(loser.provider) == 0
    await until(lambda: open_slots(network) == 0)
    assert strikes(network, loser.provider) == 0
    assert hedges(network) == {"sent": 1, "won" if is_backup_first else "lost": 1}


async def test_what_the_loser_still_sends_is_neither_shown_nor_paid(network: Network) -> None:
    it, backup = await racing(network)
    it.first.provider.ignores_cancel = True
    backup.head()
    backup.say("one")
    it.first.head()
    it.first.say("never", "shown")
    it.first.usage()
    backup.say("two")
    it.first.end()
    backup.end()

    await it.exchange.finished()

    assert it.exchange.text == "onetwo"
    assert (await network.usage_of(it.exchange)).usage.tokens_out == 2
    assert await network.earned(it.first.provider) == 0
    assert open_slots(network) == 0


async def test_the_slot_of_a_loser_that_never_answers_is_taken_back(network: Network) -> None:
    it, backup = await racing(network)
    it.first.provider.ignores_cancel = True
    says("hi")(backup)
    await it.exchange.finished()
    await network.settled()
    assert open_slots(network) == 1

    network.advance(LIMITS.linger_s_max)

    assert open_slots(network) == 0


async def test_credit_goes_to_the_winner_alone(network: Network) -> None:
    it, backup = await racing(network)
    backup.head()
    while backup.sent_bytes < LIMITS.window_bytes // 2:
        backup.say("x" * 8000)
    await until(lambda: backup.granted)
    backup.end()
    await it.exchange.finished()

    assert it.first.granted == 0


async def test_the_time_of_a_race_is_the_providers(network: Network) -> None:
    it, backup = await racing(network)
    network.clock.advance(1.0)
    says("hi")(backup)
    await it.exchange.finished()

    parts = dict(part.split("=") for part in it.exchange.headers["x-timing"].split(", "))
    assert int(parts["provider"]) == sum(map(int, parts.values())) == (HALF_S + 1) * 1_000_000


async def test_a_provider_that_was_outrun_comes_later_for_a_minute_and_is_never_rested(network: Network) -> None:
    """One that hangs must not be the first choice for ever, though it never lives to time out."""
    it, backup = await racing(network, decode_tokens_s=FAST / 2)
    says("hi")(backup)
    await it.exchange.finished()
    hanging = network.serving.fleet.get(it.first.provider.provider_id)
    assert hanging is not None
    it.standby.part = says("again")

    assert (await network.chat(key=it.key).finished()).text == "again"
    for _ in range(3):
        network.serving.fleet.note_outrun(hanging, MODEL)
    assert hanging.health_of(MODEL).penalty_ms(network.clock.monotonic_s()) == FAILURE_MS
    network.clock.advance(61)
    it.first.provider.report(active=0)
    it.first.provider.part = says("well again")
    assert (await network.chat(key=it.key).finished()).text == "well again"
