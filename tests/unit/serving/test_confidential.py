"""Standard mode's sealing client keeps what it sees to itself."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hushnet.coordinator.confidential import AFFINITY_BYTES_MAX, AffinityKeys, StandardAttempt, StandardRequest
from hushnet.coordinator.serving.seal import StandardBody
from hushnet.foundation.errors import RequestError
from hushnet.foundation.ids import AccountId
from hushnet.sdk.routing import Conversations
from hushnet.sdk.sealed import OUTPUT_TOKENS_DEFAULT, SealedExchange
from hushnet.sealing.errors import SealingError
from hushnet.sealing.meters import Meter
from hushnet.sealing.records import parse_record
from support.sealing import NOW, BenchProvider

CANARY = "the canary sings at dawn"
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": CANARY}], "stream": True}).encode()
DONE = b"data: [DONE]\n\n"


async def attempt_at(provider: BenchProvider, body: bytes = BODY) -> StandardAttempt:
    request = StandardRequest(body, output_tokens_default=16)
    return await request.seal(provider.recipient(), trust="none", now=NOW)


async def test_the_provider_opens_exactly_what_was_sent() -> None:
    provider = BenchProvider()
    attempt = await attempt_at(provider)

    opened = provider.open(attempt.take_envelope())

    assert opened.data == BODY
    assert opened.header.max_output_tokens == 16


@pytest.mark.parametrize("members", [{}, {"max_tokens": 100}, {"max_completion_tokens": 1, "stream": True}])
async def test_a_provider_cannot_tell_the_modes_apart(members: dict[str, object]) -> None:
    provider = BenchProvider()
    recipient = provider.recipient()
    messages = [{"role": "user", "content": "x" * 3000}]
    body = json.dumps({"model": "m", "messages": messages, **members}).encode()
    body_of_mode = StandardBody(StandardRequest(body, output_tokens_default=OUTPUT_TOKENS_DEFAULT))
    attempt = await body_of_mode._request.seal(recipient, trust=body_of_mode._floor, now=NOW)
    exchange = SealedExchange(body, [recipient], trust="self_signed", now_s=NOW)

    envelope = attempt.take_envelope()
    standard, sealed = provider.open(envelope), provider.open(exchange.envelope)

    drawn = {"id": b"", "commit": b""}
    assert replace(standard.header, **drawn) == replace(sealed.header, **drawn)
    assert standard.meta == sealed.meta
    assert standard.data == sealed.data
    assert len(envelope) == len(exchange.envelope)


async def test_a_provider_cannot_tell_the_modes_apart_by_the_salt_of_a_conversation() -> None:
    provider = BenchProvider()
    recipient = provider.recipient()
    request = StandardRequest(BODY, output_tokens_default=OUTPUT_TOKENS_DEFAULT, affinity_key=bytes(32))
    attempt = await request.seal(recipient, trust="self_signed", now=NOW)
    salt = Conversations().affinity_of(BODY).salt
    exchange = SealedExchange(BODY, [recipient], trust="self_signed", now_s=NOW, cache_salt=salt)

    envelope = attempt.take_envelope()
    standard, sealed = provider.open(envelope), provider.open(exchange.envelope)

    assert len(envelope) == len(exchange.envelope)
    assert [*standard.meta] == [*sealed.meta] == ["frame_pad", "cache_salt"]
    assert len(standard.meta["cache_salt"]) == len(sealed.meta["cache_salt"])


def test_tags_are_the_accounts_and_the_processs_own() -> None:
    keys, others = AffinityKeys(), AffinityKeys()

    def tags(key: bytes) -> set[bytes]:
        return {tag.tag for tag in StandardRequest(BODY, output_tokens_default=16, affinity_key=key).tags}

    assert tags(keys.key_of(AccountId(7))) == tags(keys.key_of(AccountId(7))) != set()
    assert not tags(keys.key_of(AccountId(7))) & tags(keys.key_of(AccountId(8)))
    assert not tags(keys.key_of(AccountId(7))) & tags(others.key_of(AccountId(7)))


def test_a_body_that_would_take_long_to_hash_carries_no_tags() -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * AFFINITY_BYTES_MAX}]}).encode()

    assert StandardRequest(body, output_tokens_default=16, affinity_key=bytes(32)).tags == ()


async def test_the_bound_of_a_request_that_names_none_may_be_used_whole() -> None:
    provider = BenchProvider()
    request = StandardRequest(BODY, output_tokens_default=1000)
    attempt = await request.seal(provider.recipient(), trust="none", now=NOW)

    assert request.output_tokens_max == provider.open(attempt.take_envelope()).header.max_output_tokens == 1024


async def test_a_large_body_is_sealed_too() -> None:
    provider = BenchProvider()
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 400_000}]}).encode()

    attempt = await attempt_at(provider, body)

    assert provider.open(attempt.take_envelope()).data == body


async def test_nothing_is_shown_by_repr_or_errors() -> None:
    request = StandardRequest(BODY, output_tokens_default=16)
    attempt = await request.seal(BenchProvider().recipient(), trust="none", now=NOW)

    assert CANARY not in repr(request) + repr(attempt)
    with pytest.raises(RequestError) as raised:
        StandardRequest(BODY[:-1], output_tokens_default=16)
    assert CANARY not in str(raised.value) + repr(raised.value)


async def test_after_it_was_dropped_a_request_is_sealed_no_more() -> None:
    request = StandardRequest(BODY, output_tokens_default=16)
    request.drop()

    with pytest.raises(SealingError):
        await request.seal(BenchProvider().recipient(), trust="none", now=NOW)


async def test_done_and_what_follows_the_content_wait_for_the_end() -> None:
    provider = BenchProvider()
    attempt = await attempt_at(provider)
    sealer = provider.open(attempt.take_envelope()).frame_sealer()

    def read(*raws: bytes) -> bytes:
        for raw in raws:
            attempt.read(parse_record(raw))
        return attempt.take()

    head = sealer.head(b'{"status":200,"content_type":"text/event-stream","build":""}')
    assert read(head, sealer.boilerplate(b"role")) == b"role"
    assert read(sealer.content(b"one" + DONE)) == b"one"
    assert read(sealer.boilerplate(b"usage")) == b""
    assert read(sealer.end(Meter(1, 0, 1, 0))) == DONE + b"usage"


@pytest.mark.parametrize(
    "head",
    [
        b"not json",
        b"{}",
        b'{"status":99,"content_type":"application/json"}',
        b'{"status":204,"content_type":"application/json"}',
        b'{"status":304,"content_type":"application/json"}',
        b'{"status":200,"content_type":"text/html"}',
        b'{"status":200,"content_type":"application/json\\r\\nset-cookie: x"}',
        b'{"status":"200","content_type":"application/json"}',
    ],
)
async def test_a_head_that_would_break_the_response_is_refused(head: bytes) -> None:
    provider = BenchProvider()
    attempt = await attempt_at(provider)
    sealer = provider.open(attempt.take_envelope()).frame_sealer()

    with pytest.raises(SealingError):
        attempt.read(parse_record(sealer.head(head)))
