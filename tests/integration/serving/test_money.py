"""Money: holds, settlements, drafts, free use, and the books after every accident."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from hushnet.coordinator.ledger.model import Busy, UsageOutcome
from hushnet.dialects import openai_chat
from hushnet.foundation.errors import StorageError
from hushnet.foundation.money import Price
from support.fleet import LIMITS, Network, says, until


async def test_the_worst_case_is_held_before_anything_leaves_and_released_after(network: Network) -> None:
    provider = await network.provider()
    key = await network.consumer()
    exchange = network.chat(key=key, max_tokens=100)
    attempt = await provider.attempt()
    bound = openai_chat.prompt_bytes_bound(openai_chat.decode_request(attempt.opened.data))

    held = (await network.ledger.balance(network.account_of(key))).held
    says("hi")(attempt)
    await exchange.finished()
    await network.settled()

    assert held == bound * 1 + 100 * 4
    balance = await network.ledger.balance(network.account_of(key))
    assert (balance.held, balance.spendable) == (0, 1_000_000 - 11)


async def test_a_request_on_ones_own_machine_is_free(network: Network) -> None:
    key = await network.consumer()
    provider = await network.provider(account=network.account_of(key), part=says("mine"))

    exchange = await network.chat(key=key).finished()

    record = await network.usage_of(exchange)
    assert (record.cost, record.usage.tokens_out) == (0, 1)
    assert record.usage.machine == provider.provider_id
    assert await network.earned(provider) == 0


async def test_a_free_model_holds_nothing_and_leaves_a_record(database_path: Path) -> None:
    async with Network.open(database_path, price=Price(0, 0, 0, 0)) as network:
        await network.provider(part=says("hi"))
        key = await network.consumer(micro_usd=0)

        exchange = await network.chat(key=key).finished()

        record = await network.usage_of(exchange)
        assert (exchange.status, record.cost, record.usage.tokens_out) == (200, 0, 1)


async def test_the_response_does_not_wait_for_the_settlement(network: Network) -> None:
    await network.provider(part=says("hi"))
    key = await network.consumer()
    go_on = asyncio.Event()
    close = network.ledger.close

    async def slow_close(wanted):
        await go_on.wait()
        return await close(wanted)

    network.ledger.close = slow_close
    exchange = await network.chat(key=key).finished()

    assert exchange.is_done
    assert network.serving.service.running == 1
    go_on.set()
    assert (await network.usage_of(exchange)).cost == 11


async def test_a_busy_ledger_is_asked_again_until_the_hold_is_closed(network: Network) -> None:
    await network.provider(part=says("hi"))
    key = await network.consumer()
    close = network.ledger.close
    answers = [Busy(), StorageError("gone"), None]

    async def moody_close(wanted):
        mood = answers.pop(0)
        if isinstance(mood, Exception):
            raise mood
        return mood or await close(wanted)

    network.ledger.close = moody_close
    exchange = await network.chat(key=key).finished()

    assert (await network.usage_of(exchange)).cost == 11
    assert answers == []


async def test_a_ledger_that_takes_no_holds_is_503_and_nothing_runs(network: Network) -> None:
    provider = await network.provider(part=says("hi"))
    key = await network.consumer()

    async def no_hold(wanted):
        return Busy()

    network.ledger.hold = no_hold
    exchange = await network.chat(key=key).finished()

    assert (exchange.status, exchange.json["error"]["code"]) == (503, "busy")
    assert "retry-after" in exchange.headers
    assert provider.served == []


async def test_a_draft_is_noted_every_five_seconds_of_what_was_relayed(network: Network) -> None:
    provider = await network.provider()
    key = await network.consumer()
    drafts = []
    network.ledger.note_draft = drafts.append
    exchange = network.chat(key=key)
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("one", "two")
    attempt.usage()
    await exchange.said("two")

    network.advance(LIMITS.draft_s + 1)
    network.advance(1)

    assert [draft.usage.tokens_out for draft in drafts] == [2]
    assert sum(credit.amount for credit in drafts[0].credits) == 7 + 2 * 4
    attempt.end()
    await exchange.finished()


async def test_after_a_crash_in_mid_stream_the_sweeper_pays_what_was_known_to_be_relayed(
    database_path: Path, tmp_path: Path
) -> None:
    crashed = tmp_path / "crashed.db"
    async with Network.open(database_path) as network:
        provider = await network.provider()
        key = await network.consumer()
        exchange = network.chat(key=key)
        attempt = await provider.attempt()
        attempt.head()
        attempt.say("one", "two")
        attempt.usage()
        await exchange.said("two")
        network.advance(LIMITS.draft_s + 1)
        await network.ledger.save_drafts()
        attempt.say("three")
        _snapshot(database_path, crashed)
        attempt.end()
        await exchange.finished()
        request_id, account = exchange.headers["hushnet-request-id"], network.account_of(key)

    async with Network.open(crashed, is_checked=False) as restarted:
        record = await restarted.ledger.usage_record(int(request_id))
        assert record is not None
        assert (record.cost, record.usage.outcome) == (7 + 2 * 4, UsageOutcome.ORPHANED)
        assert (await restarted.ledger.balance(account)).held == 0
        await restarted.assert_balanced()


async def test_after_a_crash_before_content_nobody_pays(database_path: Path, tmp_path: Path) -> None:
    crashed = tmp_path / "crashed.db"
    async with Network.open(database_path) as network:
        provider = await network.provider()
        key = await network.consumer()
        exchange = network.chat(key=key)
        attempt = await provider.attempt()
        _snapshot(database_path, crashed)
        says("hi")(attempt)
        await exchange.finished()
        request_id, account = exchange.headers["hushnet-request-id"], network.account_of(key)

    async with Network.open(crashed, is_checked=False) as restarted:
        record = await restarted.ledger.usage_record(int(request_id))
        assert record is not None
        assert record.cost == 0
        assert (await restarted.ledger.balance(account)).held == 0
        await restarted.assert_balanced()


def _snapshot(source: Path, target: Path) -> None:
    """Copy the database as a crash would leave it: the file and its log, whatever has been committed."""
    for suffix in ("", "-wal"):
        if (found := source.with_name(source.name + suffix)).exists():
            shutil.copyfile(found, target.with_name(target.name + suffix))


async def test_a_loser_of_a_failover_is_not_paid(network: Network) -> None:
    loser = await network.provider(decode_tokens_s=400.0)
    winner = await network.provider(part=says("won"))
    key = await network.consumer()
    exchange = network.chat(key=key)
    attempt = await loser.attempt()
    attempt.head()
    attempt.send(attempt.sealer.usage(attempt.meter(output=50)))

    loser.close("connection_lost")
    await exchange.finished()

    assert (await network.usage_of(exchange)).cost == 11
    assert (await network.earned(loser), await network.earned(winner)) == (0, 11)


async def test_twenty_requests_of_every_fate_leave_balanced_books(network: Network) -> None:
    steady, flaky = await network.provider(slots=8, part=says("a", "b", "c")), await network.provider(slots=8)
    keys = [await network.consumer() for _ in range(3)]
    exchanges = [network.chat(key=keys[number % 3], stream=number % 2 == 0) for number in range(20)]
    await until(lambda: steady.served and flaky.served)
    while not all(exchange.task.done() for exchange in exchanges):
        for number, attempt in enumerate(list(flaky.attempts_open.values())):
            attempt.head()
            attempt.say("x")
            if number % 3 == 0:
                attempt.end()
            elif number % 3 == 1:
                attempt.finish()
            else:
                exchanges[number].hang_up()
                attempt.end()
        await asyncio.sleep(0)
    await network.settled()

    spent = 0
    for key in keys:
        spent += 1_000_000 - (await network.ledger.balance(network.account_of(key))).spendable
    assert spent == await network.earned(steady) + await network.earned(flaky)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("mode", ["standard", "sealed"])
async def test_no_ledger_work_runs_on_a_links_read_loop(network: Network, stream: bool, mode: str) -> None:
    """What a link delivers is taken in its own step; holds, drafts and settlements are made in the request's task."""
    provider = await network.provider()
    key = await network.consumer()
    is_reading, asked = False, []

    def watched(name: str) -> None:
        ask = getattr(network.ledger, name)

        def asking(*arguments: Any) -> Any:
            asked.append((name, is_reading))
            return ask(*arguments)

        setattr(network.ledger, name, asking)

    for name in ("hold", "close", "record_free", "note_draft"):
        watched(name)
    if mode == "sealed":
        exchange = network.send_sealed(network.seal(provider, stream=stream), key=key)
    else:
        exchange = network.chat(key=key, stream=stream)
    attempt = await provider.attempt()

    is_reading = True  # from here to the end of this step everything is called by the link
    attempt.head()
    attempt.say("one")
    attempt.usage()
    attempt.end()
    is_reading = False
    await exchange.finished()
    await network.settled()

    assert asked == [("hold", False), ("close", False)]
