"""Answers that go wrong after content: an honest error in the stream, correct money, and no other request touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hushnet.coordinator.ledger.model import UsageOutcome
from hushnet.sealing.errors import SealingError, WireCode
from hushnet.sealing.meters import Meter
from hushnet.sealing.records import Kind, parse_record
from hushnet.sealing.records.layout import FINAL, SIGNED, record_header
from hushnet.sealing.streaming import BinaryRecordReader
from support.fleet import LIMITS, MODEL, Network, ServedAttempt, says, until
from support.sealing import Ed25519Signer


async def begun(network: Network, key: str, *, tokens: int = 3):
    """Start a standard stream that has relayed `tokens` tokens and their meter."""
    provider = await network.provider()
    exchange = network.chat(key=key)
    attempt = await provider.attempt()
    attempt.head()
    attempt.say(*[f"t{number}" for number in range(tokens)])
    attempt.usage()
    await exchange.said(f"t{tokens - 1}")
    return provider, exchange, attempt


def dies(attempt: ServedAttempt) -> None:
    attempt.provider.close("connection_lost")


def fails(attempt: ServedAttempt) -> None:
    attempt.error(WireCode.ENGINE_FAILED)


def frees_the_slot(attempt: ServedAttempt) -> None:
    attempt.finish()


@pytest.mark.parametrize(
    ("accident", "code"),
    [(dies, "link_lost"), (fails, "engine_failed"), (frees_the_slot, "provider_failed")],
)
async def test_a_failure_after_content_bills_only_what_was_relayed(network: Network, accident, code: str) -> None:
    key = await network.consumer()
    provider, exchange, attempt = await begun(network, key)

    accident(attempt)
    await exchange.finished()

    assert exchange.events[-1]["error"]["code"] == code
    assert not exchange.is_done
    record = await network.usage_of(exchange)
    assert record.cost == 7 + 3 * 4
    assert record.usage.outcome is UsageOutcome.FAILED_AFTER_CONTENT
    assert await network.earned(provider) == record.cost


async def test_nothing_is_retried_after_content(network: Network) -> None:
    key = await network.consumer()
    _, exchange, attempt = await begun(network, key)
    other = await network.provider(part=says("never"))

    fails(attempt)
    await exchange.finished()

    assert other.served == []


async def test_a_whole_answer_that_fails_is_an_http_error_and_free(network: Network) -> None:
    provider = await network.provider()
    key = await network.consumer()
    exchange = network.chat(key=key, stream=False)
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("one")
    attempt.send(attempt.sealer.content(b'{"half":'))
    attempt.error(WireCode.ENGINE_FAILED)
    await exchange.finished()

    assert (exchange.status, exchange.json["error"]["code"]) == (502, "engine_failed")
    assert (await network.usage_of(exchange)).cost == 0


async def test_a_whole_answer_is_bounded_whatever_its_records_are(database_path: Path) -> None:
    async with Network.open(database_path, limits=replace(LIMITS, whole_bytes_max=100_000)) as network:
        provider = await network.provider()
        exchange = network.chat(key=await network.consumer(), stream=False)
        attempt = await provider.attempt()
        attempt.head()
        attempt.send(attempt.sealer.content(b"{"))

        for _ in range(4):
            attempt.send(attempt.sealer.boilerplate(b" " * 30_000))
        await exchange.finished()

        assert (exchange.status, exchange.json["error"]["code"]) == (502, "provider_failed")
        assert attempt.cancelled is WireCode.BACKPRESSURE


async def test_a_provider_that_falls_silent_is_cut_off(network: Network) -> None:
    key = await network.consumer()
    _, exchange, attempt = await begun(network, key)

    network.advance(LIMITS.idle_s_max + 1)
    await exchange.finished()

    assert exchange.events[-1]["error"]["code"] == "timed_out"
    assert not exchange.is_done
    assert attempt.cancelled is WireCode.TIMED_OUT
    assert (await network.usage_of(exchange)).cost == 7 + 3 * 4


async def test_a_request_has_a_last_deadline(network: Network) -> None:
    key = await network.consumer()
    _, exchange, attempt = await begun(network, key)

    for number in range(80):
        network.advance(10)
        attempt.say(f"-{number}")
    await exchange.finished()

    assert exchange.events[-1]["error"]["code"] == "timed_out"
    assert attempt.cancelled is WireCode.TIMED_OUT


async def test_done_is_withheld_until_the_end_record(network: Network) -> None:
    key = await network.consumer()
    _, exchange, attempt = await begun(network, key)
    attempt.send(attempt.sealer.content(attempt.stream.finish("stop") + attempt.stream.done()))
    await exchange.said('"finish_reason":"stop"')

    dies(attempt)
    await exchange.finished()

    assert not exchange.is_done
    assert b"[DONE]" not in exchange.body


@pytest.mark.parametrize(
    ("is_binary", "ending"),
    [
        (True, b'{"code":"provider_failed"}'),
        (False, b'event: relay-error\ndata: {"code":"provider_failed"}\n\n'),
    ],
)
async def test_a_sealed_stream_that_breaks_ends_with_a_relay_error(
    network: Network, is_binary: bool, ending: bytes
) -> None:
    provider = await network.provider()
    key = await network.consumer()
    exchange = network.send_sealed(network.seal(provider), key=key, is_binary=is_binary)
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("one")
    await until(lambda: exchange.chunks)

    frees_the_slot(attempt)
    await exchange.finished()

    assert exchange.body.endswith(ending)


async def test_a_sealed_error_after_content_is_forwarded_verbatim(network: Network) -> None:
    provider = await network.provider()
    key = await network.consumer()
    sealed = network.seal(provider)
    exchange = network.send_sealed(sealed, key=key)
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("one")
    attempt.usage()
    attempt.error(WireCode.ENGINE_FAILED, b'{"error":{"message":"gone"}}')
    await exchange.finished()

    last = parse_record(BinaryRecordReader().feed(exchange.body)[-1])
    assert last.kind is Kind.ERROR
    assert (await network.usage_of(exchange)).cost == 7 + 4


def forged_end(attempt: ServedAttempt, meter: Meter, *, signature: bytes | None) -> bytes:
    """An end record under the attempt's own keys with a receipt of the test's choice."""
    sealer = attempt.sealer
    clear = meter.pack() + (signature or b"")
    flags = FINAL | (SIGNED if signature else 0)
    return sealer._seal(Kind.END, flags, clear, b"")


@pytest.mark.parametrize(
    "signature", [None, bytes(64), Ed25519Signer().sign(b"another")], ids=["none", "zeros", "of another message"]
)
@pytest.mark.parametrize("is_sealed", [True, False])
async def test_a_receipt_that_does_not_verify_earns_nothing(
    network: Network, signature: bytes | None, is_sealed: bool
) -> None:
    provider = await network.provider()
    key = await network.consumer()
    exchange = network.send_sealed(network.seal(provider), key=key) if is_sealed else network.chat(key=key)
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("one")
    attempt.usage()
    attempt.send(forged_end(attempt, attempt.meter(), signature=signature))
    attempt.finish()
    await exchange.finished()

    record = await network.usage_of(exchange)
    assert record.cost == 0
    assert await network.earned(provider) == 0
    live = network.serving.fleet.get(provider.provider_id)
    assert live is not None
    assert sum(live.findings.values()) == 1
    assert not exchange.is_done


async def test_a_meter_beyond_its_bounds_ends_the_answer_and_earns_nothing(network: Network) -> None:
    provider = await network.provider()
    key = await network.consumer()
    exchange = network.send_sealed(network.seal(provider), key=key)
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("one")
    await until(lambda: exchange.chunks)
    with pytest.raises(SealingError):
        attempt.usage(output=10_000)
    attempt.send(attempt.sealer._seal(Kind.USAGE, 0, Meter(7, 0, 10_000, 0).pack(), b""))
    await exchange.finished()

    assert exchange.body.endswith(b'{"code":"provider_failed"}')
    assert attempt.cancelled is WireCode.INTERNAL
    assert (await network.usage_of(exchange)).cost == 0
    live = network.serving.fleet.get(provider.provider_id)
    assert live is not None
    assert live.findings["meter_invalid"] == 1


async def test_a_meter_that_runs_backwards_earns_nothing(network: Network) -> None:
    provider = await network.provider()
    key = await network.consumer()
    exchange = network.chat(key=key)
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("one", "two")
    attempt.usage(output=2)
    await exchange.said("two")
    attempt.send(attempt.sealer._seal(Kind.USAGE, 0, Meter(7, 0, 1, 0).pack(), b""))
    await exchange.finished()

    assert exchange.events[-1]["error"]["code"] == "provider_failed"
    assert (await network.usage_of(exchange)).cost == 0
    live = network.serving.fleet.get(provider.provider_id)
    assert live is not None
    assert len(live.health_of(MODEL).failed_s) == 1, "one fault is one strike"


async def test_a_provider_cannot_bill_tokens_it_did_not_relay(network: Network) -> None:
    provider = await network.provider()
    key = await network.consumer()
    exchange = network.chat(key=key, max_tokens=10_000)
    attempt = await provider.attempt()
    attempt.head()
    attempt.send(attempt.sealer.content(b"data: {}\n\n"))
    attempt.send(attempt.sealer.end(Meter(7, 0, 9_000, 0)))
    attempt.finish()
    await exchange.finished()

    record = await network.usage_of(exchange)
    assert record.usage.tokens_out == len(b"data: {}\n\n")
    live = network.serving.fleet.get(provider.provider_id)
    assert live is not None
    assert live.findings["output_beyond_content"] == 1


async def test_input_above_the_bound_ends_the_answer(network: Network) -> None:
    provider = await network.provider()
    key = await network.consumer()
    exchange = network.send_sealed(network.seal(provider), key=key)
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("one")
    attempt.send(attempt.sealer._seal(Kind.USAGE, 0, Meter(100_000, 0, 1, 0).pack(), b""))
    await exchange.finished()

    assert (await network.usage_of(exchange)).cost == 0


async def test_records_after_the_end_change_nothing(network: Network) -> None:
    provider = await network.provider()
    key = await network.consumer()
    exchange = network.chat(key=key)
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("one")
    closing = attempt.sealer.content(attempt.stream.finish("stop") + attempt.stream.done())
    attempt.send(closing, attempt.sealer.end(attempt.meter()))
    attempt.send(closing)
    attempt.send(record_header(Kind.CONTENT, 0, clear_size=0, seq=9, cipher_size=20) + bytes(20))
    attempt.finish()
    await exchange.finished()

    assert exchange.is_done
    assert exchange.text == "one"
    assert (await network.usage_of(exchange)).cost == 7 + 4


async def test_other_requests_on_a_provider_that_lies_go_on(network: Network) -> None:
    provider = await network.provider()
    key = await network.consumer()
    lying, honest = network.chat(key=key), network.chat(key=key)
    liar, speaker = await provider.attempt(1), await provider.attempt(2)
    speaker.head()
    speaker.say("still ")
    liar.head()
    liar.say("x")
    liar.send(liar.sealer._seal(Kind.USAGE, 0, Meter(1, 5, 1, 0).pack(), b""))
    await lying.finished()
    speaker.say("here")
    speaker.end()

    assert (await honest.finished()).text == "still here"


async def test_a_sealed_answer_of_another_recipient_is_refused(network: Network) -> None:
    first, second = await network.provider(decode_tokens_s=400.0), await network.provider()
    key = await network.consumer()
    sealed = network.seal(first, second)
    exchange = network.send_sealed(sealed, key=key)
    attempt = await first.attempt()
    head = bytearray(attempt.sealer.head(b"{}"))
    head[16:48] = second.id_bytes
    attempt.send(bytes(head))
    says("mine")(await second.attempt())
    await exchange.finished()

    assert exchange.headers["hushnet-provider"] == second.provider_id
    live = network.serving.fleet.get(first.provider_id)
    assert live is not None
    assert live.findings["head_unknown_recipient"] == 1
