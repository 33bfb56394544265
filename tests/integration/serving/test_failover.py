"""Attempts that fail before content: another provider, invisibly; and what the consumer is told when nobody is left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hushnet.coordinator.fleet.health import COOL_DOWN_MS
from hushnet.coordinator.ledger.model import UsageOutcome
from hushnet.sealing.errors import WireCode
from hushnet.sealing.records import Kind, relay_error_record
from support.fleet import LIMITS, MODEL, Network, ServedAttempt, body_of, open_answer, refuses, says, until

FAST = 400.0
"""Tokens a second of the provider that is tried first."""


def fails_before_content(attempt: ServedAttempt) -> None:
    attempt.head()
    attempt.role()
    attempt.error(WireCode.ENGINE_FAILED)


def loses_its_link(attempt: ServedAttempt) -> None:
    attempt.head()
    attempt.provider.close("connection_lost")


def frees_the_slot_without_an_end(attempt: ServedAttempt) -> None:
    attempt.head()
    attempt.finish()


def answers_garbage(attempt: ServedAttempt) -> None:
    attempt.head()
    raw = bytearray(attempt.sealer.content(b"data: {}\n\n"))
    raw[-1] ^= 1
    attempt.send(bytes(raw))


def skips_a_record(attempt: ServedAttempt) -> None:
    attempt.head()
    attempt.sealer.boilerplate(b"never sent")
    attempt.role()


def speaks_for_the_relay(attempt: ServedAttempt) -> None:
    attempt.head()
    attempt.send(relay_error_record("made_up"))


@pytest.mark.parametrize(
    "part",
    [
        refuses(WireCode.CAPACITY),
        refuses(WireCode.MODEL_UNAVAILABLE),
        refuses(WireCode.DRAINING),
        refuses(WireCode.INTERNAL),
        refuses(WireCode.OPEN_FAILED),
        refuses(WireCode.UNKNOWN_KEY),
        refuses(WireCode.BAD_ENVELOPE),
        refuses(WireCode.EXPIRED),
        refuses(WireCode.BACKPRESSURE),
        fails_before_content,
        loses_its_link,
        frees_the_slot_without_an_end,
        answers_garbage,
        skips_a_record,
        speaks_for_the_relay,
    ],
)
async def test_a_failure_before_content_is_retried_elsewhere_unseen(network: Network, part) -> None:
    failing = await network.provider(decode_tokens_s=FAST, part=part)
    serving = await network.provider(part=says("Hel", "lo"))
    key = await network.consumer()

    exchange = await network.chat(key=key).finished()

    assert (exchange.status, exchange.text) == (200, "Hello")
    assert exchange.is_done
    assert len(failing.served) == 1
    record = await network.usage_of(exchange)
    assert record.usage.machine == serving.provider_id
    assert record.cost == 15
    assert await network.earned(failing) == 0


@pytest.mark.parametrize(
    "part",
    [
        refuses(WireCode.CAPACITY),
        refuses(WireCode.INTERNAL),
        refuses(WireCode.OPEN_FAILED),
        refuses(WireCode.UNKNOWN_KEY),
        refuses(WireCode.NOT_FOR_ME),
        refuses(WireCode.REPLAYED),
        fails_before_content,
        loses_its_link,
        frees_the_slot_without_an_end,
        skips_a_record,
    ],
)
async def test_a_sealed_request_fails_over_to_its_next_entry(network: Network, part) -> None:
    failing = await network.provider(decode_tokens_s=FAST, part=part)
    serving = await network.provider(part=says("Hel", "lo"))
    bystander = await network.provider(decode_tokens_s=FAST, part=says("not asked"))
    key = await network.consumer()
    sealed = network.seal(failing, serving)

    exchange = await network.send_sealed(sealed, key=key).finished()

    frames = open_answer(sealed, exchange.body)
    assert b"Hel" in body_of(frames)
    assert len(failing.served) == 1
    assert bystander.served == []
    assert (await network.usage_of(exchange)).usage.machine == serving.provider_id


async def test_a_provider_that_shows_nothing_in_time_is_given_up_for_another(network: Network) -> None:
    silent = await network.provider(decode_tokens_s=FAST)
    serving = await network.provider(part=says("hi"))
    key = await network.consumer()
    exchange = network.chat(key=key)
    attempt = await silent.attempt()
    attempt.head()

    network.advance(LIMITS.first_content_s_max + 1)
    await exchange.finished()

    assert exchange.text == "hi"
    assert attempt.cancelled is WireCode.TIMED_OUT
    assert (await network.usage_of(exchange)).usage.machine == serving.provider_id


async def test_a_provider_that_reports_tokens_is_alive_though_it_shows_no_content(network: Network) -> None:
    provider = await network.provider()
    key = await network.consumer()
    exchange = network.chat(key=key, stream=False)
    attempt = await provider.attempt()
    attempt.head()

    for _ in range(10):
        attempt.say("x")
        attempt.usage()
        network.advance(20)
    attempt.end()
    await exchange.finished()

    assert exchange.status == 200
    assert (await network.usage_of(exchange)).usage.tokens_out == 10


@pytest.mark.parametrize(
    ("part", "status", "code"),
    [
        (refuses(WireCode.MODEL_UNAVAILABLE), 503, "model_unavailable"),
        (refuses(WireCode.INTERNAL), 502, "provider_failed"),
        (refuses(WireCode.OPEN_FAILED), 502, "provider_failed"),
        (refuses(99), 502, "provider_failed"),
        (fails_before_content, 502, "engine_failed"),
        (loses_its_link, 502, "link_lost"),
        (frees_the_slot_without_an_end, 502, "provider_failed"),
        (answers_garbage, 502, "provider_failed"),
    ],
)
async def test_when_nobody_is_left_the_consumer_gets_an_error_and_pays_nothing(
    network: Network, part, status: int, code: str
) -> None:
    for _ in range(2):
        await network.provider(part=part)
    key = await network.consumer()

    exchange = network.chat(key=key)
    await until(lambda: exchange.task.done() or network.serving.service.waiting)
    for provider in network.serving.fleet.providers():
        provider.link.report()
    await exchange.finished()

    assert (exchange.status, exchange.json["error"]["code"]) == (status, code)
    record = await network.usage_of(exchange)
    assert (record.cost, record.usage.outcome) == (0, UsageOutcome.NOT_DELIVERED)


async def test_a_request_that_nobody_has_room_for_waits_and_is_told_so_in_the_end(network: Network) -> None:
    providers = [await network.provider(part=refuses(WireCode.CAPACITY)) for _ in range(2)]
    exchange = network.chat(key=await network.consumer())

    while not exchange.task.done():
        await until(lambda: exchange.task.done() or network.serving.service.waiting)
        network.advance(10.0)
        for provider in providers:
            provider.report()
    await exchange.finished()

    assert (exchange.status, exchange.json["error"]["code"]) == (429, "capacity")
    assert int(exchange.headers["retry-after"]) >= 1
    assert (await network.usage_of(exchange)).cost == 0


async def test_a_request_that_was_refused_for_want_of_room_is_served_when_there_is_some(network: Network) -> None:
    provider = await network.provider(part=refuses(WireCode.CAPACITY))
    exchange = network.chat(key=await network.consumer())
    await until(lambda: network.serving.service.waiting)

    provider.part = says("room")
    provider.report()

    assert (await exchange.finished()).text == "room"


@pytest.mark.parametrize(
    ("code", "status", "name"),
    [
        (WireCode.UNKNOWN_KEY, 422, "keys_stale"),
        (WireCode.NOT_FOR_ME, 503, "recipients_unavailable"),
        (WireCode.CAPACITY, 503, "recipients_unavailable"),
        (WireCode.REPLAYED, 409, "replayed"),
        (WireCode.OPEN_FAILED, 422, "open_failed"),
        (WireCode.BAD_ENVELOPE, 400, "bad_envelope"),
        (WireCode.UNSUPPORTED_SUITE, 400, "unsupported_suite"),
        (WireCode.EXPIRED, 400, "clock_skew"),
        (WireCode.NOT_YET_VALID, 400, "clock_skew"),
        (WireCode.INTERNAL, 502, "provider_failed"),
    ],
)
async def test_a_sealed_request_that_every_recipient_refuses_gets_the_sealing_protocols_answer(
    network: Network, code: WireCode, status: int, name: str
) -> None:
    providers = [await network.provider(part=refuses(code)) for _ in range(2)]
    key = await network.consumer()

    exchange = await network.send_sealed(network.seal(*providers), key=key).finished()

    assert (exchange.status, exchange.json["code"]) == (status, name)
    assert (await network.usage_of(exchange)).cost == 0


@pytest.mark.parametrize("is_sealed", [False, True])
async def test_an_envelope_at_the_wrong_provider_is_an_alarm(network: Network, caplog, is_sealed: bool) -> None:
    provider = await network.provider(part=refuses(WireCode.NOT_FOR_ME))
    key = await network.consumer()

    await (network.send_sealed(network.seal(provider), key=key) if is_sealed else network.chat(key=key)).finished()

    assert "an envelope went to another provider than it was made for" in caplog.text


async def test_open_failed_is_tried_once_more_and_then_believed(network: Network) -> None:
    providers = [await network.provider(part=refuses(WireCode.OPEN_FAILED)) for _ in range(3)]
    key = await network.consumer()

    exchange = await network.send_sealed(network.seal(*providers), key=key).finished()

    assert exchange.status == 422
    assert sum(len(provider.served) for provider in providers) == 2
    assert all(not provider.findings for provider in network.serving.fleet.providers())


async def test_a_broken_envelope_is_not_shown_to_a_second_provider(network: Network) -> None:
    providers = [await network.provider(part=refuses(WireCode.BAD_ENVELOPE)) for _ in range(3)]
    key = await network.consumer()

    await network.send_sealed(network.seal(*providers), key=key).finished()

    assert sum(len(provider.served) for provider in providers) == 1


async def test_an_error_that_the_request_caused_is_forwarded_and_not_retried(network: Network) -> None:
    detail = (
        b'{"error":{"message":"the prompt has 9000 tokens","type":"invalid_request_error","code":"context_too_long"}}'
    )

    def part(attempt: ServedAttempt) -> None:
        attempt.head(status=400, content_type="application/json")
        attempt.error(WireCode.CONTEXT_TOO_LONG, detail)

    first, second = await network.provider(part=part), await network.provider(part=part)
    key = await network.consumer()
    sealed = network.seal(first, second)

    standard = await network.chat(key=key).finished()
    private = await network.send_sealed(sealed, key=key).finished()

    assert standard.status == 400
    assert standard.body == detail
    frames = open_answer(sealed, private.body)
    assert (frames[-1].kind, frames[-1].data) == (Kind.ERROR, detail)
    assert len(first.served) + len(second.served) == 2
    assert [record.cost for record in await network.usage(key)] == [0, 0]
    assert all(not provider.health for provider in network.serving.fleet.providers())


async def test_the_last_sealed_error_is_forwarded_not_replaced(network: Network) -> None:
    providers = [await network.provider(part=fails_before_content) for _ in range(2)]
    key = await network.consumer()
    sealed = network.seal(*providers)

    exchange = await network.send_sealed(sealed, key=key).finished()

    assert exchange.status == 200
    frames = open_answer(sealed, exchange.body)
    assert frames[-1].meter is not None
    assert frames[-1].meter.code == WireCode.ENGINE_FAILED
    assert (await network.usage_of(exchange)).cost == 0


async def test_hold_back_ends_after_sixteen_records(network: Network) -> None:
    first, second = await network.provider(decode_tokens_s=FAST), await network.provider(part=says("x"))
    key = await network.consumer()
    exchange = network.chat(key=key)
    attempt = await first.attempt()
    attempt.head()
    for _ in range(15):
        attempt.role()
    assert exchange.status == 0

    attempt.role()
    await exchange.opened()
    attempt.error(WireCode.ENGINE_FAILED)
    await exchange.finished()

    assert exchange.status == 200
    assert exchange.events[-1]["error"]["code"] == "engine_failed"
    assert second.served == []
    assert (await network.usage_of(exchange)).cost == 0


async def test_hold_back_ends_after_64_kib(network: Network) -> None:
    first, second = await network.provider(decode_tokens_s=FAST), await network.provider(part=says("x"))
    key = await network.consumer()
    exchange = network.chat(key=key)
    attempt = await first.attempt()
    attempt.head()
    attempt.send(attempt.sealer.boilerplate(b": " + b"x" * 40_000 + b"\n\n"))
    assert exchange.status == 0

    attempt.send(attempt.sealer.boilerplate(b": " + b"x" * 40_000 + b"\n\n"))
    await exchange.opened()
    attempt.end()
    await exchange.finished()

    assert second.served == []


async def test_every_attempt_is_an_envelope_of_its_own(network: Network) -> None:
    first = await network.provider(decode_tokens_s=FAST, part=fails_before_content)
    second = await network.provider(part=says("x"))
    key = await network.consumer()

    await network.chat(key=key).finished()

    headers = [provider.served[0].opened.header for provider in (first, second)]
    assert headers[0].id != headers[1].id


async def test_one_provider_alone_is_tried_twice_but_not_for_ever(network: Network) -> None:
    provider = await network.provider(part=fails_before_content)
    key = await network.consumer()

    exchange = await network.chat(key=key).finished()

    assert exchange.status == 502
    assert len(provider.served) == LIMITS.attempts_at_one_max


async def test_a_provider_that_refused_for_want_of_room_is_left_alone_until_it_reports(network: Network) -> None:
    provider = await network.provider(part=refuses(WireCode.CAPACITY))
    key = await network.consumer()
    exchange = network.chat(key=key)
    await until(lambda: network.serving.service.waiting == 1)
    assert len(provider.served) == 1

    provider.part = says("room")
    provider.report(active=0)

    assert (await exchange.finished()).text == "room"


async def test_attempts_are_bounded(database_path: Path) -> None:
    async with Network.open(database_path, limits=replace(LIMITS, attempts_max=3)) as network:
        providers = [await network.provider(part=fails_before_content) for _ in range(6)]
        key = await network.consumer()

        await network.chat(key=key).finished()

        assert sum(len(provider.served) for provider in providers) == 3


async def test_a_provider_that_failed_twice_rests_while_others_serve(network: Network) -> None:
    failing = await network.provider(decode_tokens_s=FAST, part=fails_before_content)
    await network.provider(part=says("hi"))
    key = await network.consumer()
    for _ in range(6):
        await network.chat(key=key).finished()

    assert len(failing.served) == 2
    network.clock.advance(301)
    failing.report(active=0)
    await network.chat(key=key).finished()
    assert len(failing.served) == 3


async def test_a_provider_that_reconnects_takes_its_failures_along(network: Network) -> None:
    provider = await network.provider(part=lambda attempt: attempt.provider.close("connection_lost"))
    key = await network.consumer()
    for _ in range(2):
        await network.chat(key=key).finished()
        provider.closed = None
        await provider.join()

    live = network.serving.fleet.get(provider.provider_id)
    assert live is not None
    assert live.health_of(MODEL).penalty_ms(network.clock.monotonic_s()) == COOL_DOWN_MS


async def test_a_link_that_refuses_dispatch_is_passed_over(network: Network) -> None:
    broken = await network.provider(decode_tokens_s=FAST)
    broken.can_dispatch = False
    await network.provider(part=says("hi"))
    key = await network.consumer()

    assert (await network.chat(key=key).finished()).text == "hi"


async def test_keys_that_were_rotated_away_send_the_request_to_the_next_entry(network: Network) -> None:
    first = await network.provider(decode_tokens_s=FAST, part=says("first"))
    second = await network.provider(part=says("second"))
    key = await network.consumer()
    sealed = network.seal(first, second)
    first.keyring.destroy()
    first.part = refuses(WireCode.UNKNOWN_KEY)

    exchange = await network.send_sealed(sealed, key=key).finished()

    assert b"second" in body_of(open_answer(sealed, exchange.body))


async def test_a_rotation_in_the_middle_of_a_request_changes_nothing(network: Network) -> None:
    provider = await network.provider()
    key = await network.consumer()
    sealed = network.seal(provider)
    network.clock.advance(1)
    provider.rotate()

    exchange = network.send_sealed(sealed, key=key)
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("old key")
    network.clock.advance(1)
    provider.rotate()
    attempt.end()
    await exchange.finished()

    assert b"old key" in body_of(open_answer(sealed, exchange.body))
    assert (await network.usage_of(exchange)).usage.outcome is UsageOutcome.COMPLETED
