"""The sealed client against a peer that follows, breaks and bends the protocol."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from hushnet.foundation.errors import (
    AccessError,
    CapacityError,
    HushnetError,
    RemoteProtocolError,
    RequestError,
    TrustError,
)
from hushnet.foundation.redaction import Secret
from hushnet.sdk.async_client import AsyncClient
from hushnet.sdk.client import Client
from hushnet.sdk.errors import BrokenAnswerError, http_status_of
from hushnet.sdk.policy import VerificationPolicy
from hushnet.sdk.settings import ConsumerSettings
from hushnet.sealing.envelope import parse_envelope
from hushnet.sealing.errors import SealingError, WireCode
from hushnet.sealing.meters import Meter
from hushnet.sealing.opening import OpenedRequest
from hushnet.sealing.records import FrameSealer, relay_error_record
from support.sealing_peer import Peer, Provider, good_body, good_stream, manual_clock, sse, streamed

MESSAGES = [{"role": "user", "content": "the canary prompt"}]


def settings_for(tmp_path: Any, url: str = "http://127.0.0.1:8470") -> ConsumerSettings:
    return ConsumerSettings(url, Secret("hk_user_1_secret"), "hushnet-local", tmp_path)


def client_for(peer: Peer, tmp_path: Any, *, url: str = "http://127.0.0.1:8470", **options: Any) -> Client:
    client = Client(
        settings=settings_for(tmp_path, url), http_client=httpx.Client(transport=httpx.MockTransport(peer)), **options
    )
    client.session.clock = manual_clock()
    return client


def ask(client: Client) -> str:
    stream = client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
    return "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)


def test_a_streamed_answer_is_opened_and_its_facts_are_told(tmp_path: Any) -> None:
    peer = Peer()
    client = client_for(peer, tmp_path)
    stream = client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
    text = "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)
    assert text == "hello"
    assert stream.usage is not None
    assert (stream.usage.prompt_tokens, stream.usage.completion_tokens) == (5, 2)
    assert stream.trust == "self_signed"
    assert stream.facts.provider_id == peer.providers[0].identity.provider_id
    assert stream.readable_by == ("you", f"provider {peer.providers[0].identity.provider_id[:16]}")
    assert stream.cost_micro_usd == 7


def test_a_whole_answer_is_released_after_its_end(tmp_path: Any) -> None:
    answer = client_for(Peer(answer=good_body), tmp_path).chat.completions.create(model="tiny", messages=MESSAGES)
    assert answer.choices[0].message.content == "hello"
    assert answer.facts.sealed
    assert answer.cost_micro_usd == 7


async def test_the_asynchronous_client_behaves_alike(tmp_path: Any) -> None:
    peer = Peer()
    http = httpx.AsyncClient(transport=httpx.MockTransport(peer))
    async with AsyncClient(settings=settings_for(tmp_path), http_client=http) as client:
        client.session.clock = manual_clock()
        stream = await client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
        text = "".join([choice.delta.content or "" async for chunk in stream for choice in chunk.choices])
        peer.answer = good_body
        whole = await client.chat.completions.create(model="tiny", messages=MESSAGES)
    assert text == whole.choices[0].message.content == "hello"
    assert stream.cost_micro_usd == 7


def test_nothing_that_leaves_the_machine_holds_the_prompt(tmp_path: Any) -> None:
    peer = Peer()
    ask(client_for(peer, tmp_path))
    assert peer.opened[0].data
    assert b"canary" in peer.opened[0].data
    for request in peer.requests:
        assert b"canary" not in request.content
        assert "canary" not in str(request.headers)


def test_the_public_listing_is_fetched_without_credentials(tmp_path: Any) -> None:
    peer = Peer()
    ask(client_for(peer, tmp_path))
    listing = next(request for request in peer.requests if "sealing" in request.url.path)
    assert "authorization" not in listing.headers
    assert peer.posts()[0].headers["authorization"] == "Bearer hk_user_1_secret"


def test_the_request_is_sealed_to_as_many_providers_as_the_policy_says(tmp_path: Any) -> None:
    peer = Peer(providers=[Provider() for _ in range(5)])
    ask(client_for(peer, tmp_path, policy=VerificationPolicy(recipients=2)))
    assert len(parse_envelope(peer.envelopes[0]).entries) == 2


def test_the_clear_header_tells_size_classes_only(tmp_path: Any) -> None:
    peer = Peer()
    client = client_for(peer, tmp_path)
    list(client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True, max_tokens=100))
    header = parse_envelope(peer.envelopes[0]).header
    assert header.max_output_tokens == 128
    assert header.max_prompt_tokens & (header.max_prompt_tokens - 1) == 0


def test_json_2xx(tmp_path: Any) -> None:
    peer = Peer(on_post=[lambda _: httpx.Response(200, json={"choices": [{"message": {"content": "forged"}}]})])
    with pytest.raises(RemoteProtocolError) as raised:
        ask(client_for(peer, tmp_path))
    assert raised.value.error_code == "not_sealed"


def test_a_remote_coordinator_needs_measured_providers_unless_the_floor_is_lowered(tmp_path: Any) -> None:
    peer = Peer()
    with pytest.raises(TrustError) as raised:
        ask(client_for(peer, tmp_path, url="https://hush.example"))
    assert raised.value.error_code == "evidence_missing"
    assert "lower" in raised.value.hint()
    assert peer.posts() == []
    lowered = client_for(peer, tmp_path, url="https://hush.example", policy=VerificationPolicy(floor="self_signed"))
    assert ask(lowered) == "hello"


def test_a_provider_of_another_network_is_refused(tmp_path: Any) -> None:
    peer = Peer(providers=[Provider(network="other-net")])
    with pytest.raises(TrustError) as raised:
        ask(client_for(peer, tmp_path))
    assert raised.value.error_code == "statement_wrong_network"
    assert peer.posts() == []


def test_only_pinned_providers_are_sealed_to(tmp_path: Any) -> None:
    peer = Peer(providers=[Provider(), Provider()])
    pinned = peer.providers[1].identity.provider_id
    ask(client_for(peer, tmp_path, policy=VerificationPolicy(pins=frozenset({pinned}))))
    assert [entry.provider_id.hex() for entry in parse_envelope(peer.envelopes[0]).entries] == [pinned]


def test_an_empty_listing_is_a_lack_of_capacity(tmp_path: Any) -> None:
    with pytest.raises(CapacityError) as raised:
        ask(client_for(Peer(providers=[]), tmp_path))
    assert raised.value.error_code == "model_unavailable"


def problem(status: int, code: str) -> Any:
    return lambda _: httpx.Response(status, json={"code": code, "detail": "said the relay"})


def test_rotated_keys_are_fetched_again_and_the_request_resealed_under_a_new_id(tmp_path: Any) -> None:
    peer = Peer(on_post=[problem(422, "keys_stale")])
    client = client_for(peer, tmp_path)
    assert ask(client) == "hello"
    listings = [request for request in peer.requests if "sealing" in request.url.path]
    assert len(listings) == 2
    first, second = (parse_envelope(post.content).header.id for post in peer.posts())
    assert first != second


def test_resealing_has_an_end(tmp_path: Any) -> None:
    peer = Peer(on_post=[problem(422, "keys_stale")] * 9)
    with pytest.raises(HushnetError) as raised:
        ask(client_for(peer, tmp_path))
    assert raised.value.error_code == "keys_stale"
    assert len(peer.posts()) == 3


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "invalid_api_key", "AccessError"),
        (402, "insufficient_funds", "AccessError"),
        (429, "capacity", "CapacityError"),
        (400, "bad_request", "RequestError"),
    ],
)
def test_a_refusal_keeps_its_code_and_is_not_repeated(tmp_path: Any, status: int, code: str, kind: str) -> None:
    peer = Peer(on_post=[problem(status, code)])
    with pytest.raises(HushnetError) as raised:
        ask(client_for(peer, tmp_path))
    assert (type(raised.value).__name__, raised.value.error_code) == (kind, code)
    assert len(peer.posts()) == 1


def test_a_redirect_is_not_followed(tmp_path: Any) -> None:
    peer = Peer(on_post=[lambda _: httpx.Response(307, headers={"location": "http://elsewhere.example/"})])
    with pytest.raises(HushnetError):
        ask(client_for(peer, tmp_path))
    assert {request.url.host for request in peer.requests} == {"127.0.0.1"}


def cut_after_content(opened: OpenedRequest, sealer: FrameSealer) -> Iterable[bytes]:
    return list(good_stream(opened, sealer))[:-1]


def test_truncation_is_never_reported_as_success(tmp_path: Any) -> None:
    for answer, code in ((cut_after_content, "stream_truncated"), (lambda *_: [], "no_response")):
        with pytest.raises(BrokenAnswerError) as raised:
            ask(client_for(Peer(answer=answer), tmp_path))
        assert raised.value.error_code == code


def test_a_whole_answer_without_its_end_is_not_released(tmp_path: Any) -> None:
    peer = Peer(answer=lambda opened, sealer: list(good_body(opened, sealer))[:-1])
    with pytest.raises(BrokenAnswerError):
        client_for(peer, tmp_path).chat.completions.create(model="tiny", messages=MESSAGES)


def test_a_forged_end_of_the_relay_is_a_failure(tmp_path: Any) -> None:
    def forged(opened: OpenedRequest, sealer: FrameSealer) -> Iterable[bytes]:
        return [*list(good_stream(opened, sealer))[:-1], relay_error_record("provider_lost")]

    with pytest.raises(BrokenAnswerError) as raised:
        ask(client_for(Peer(answer=forged), tmp_path))
    assert raised.value.error_code == "provider_lost"


def test_what_follows_the_signed_end_changes_nothing(tmp_path: Any) -> None:
    peer = Peer(
        answer=lambda opened, sealer: [*good_stream(opened, sealer), relay_error_record("provider_lost"), b"junk"]
    )
    assert ask(client_for(peer, tmp_path)) == "hello"


def test_an_edited_record_is_noticed(tmp_path: Any) -> None:
    peer = Peer(mangle=lambda body: body[:-30] + bytes([body[-30] ^ 1]) + body[-29:])
    with pytest.raises(SealingError):
        ask(client_for(peer, tmp_path))


def test_a_sealed_error_reaches_the_consumer_with_its_code(tmp_path: Any) -> None:
    def fail(opened: OpenedRequest, sealer: FrameSealer) -> Iterable[bytes]:
        body = json.dumps({"error": {"message": "too long", "code": "context_too_long"}}).encode()
        yield sealer.head(b'{"status":400,"content_type":"application/json","build":""}')
        yield sealer.error(Meter(0, 0, 0, 0, int(WireCode.CONTEXT_TOO_LONG)), body)

    with pytest.raises(HushnetError) as raised:
        ask(client_for(Peer(answer=fail), tmp_path))
    assert raised.value.error_code == "context_too_long"


def test_an_error_after_content_marks_the_answer_as_broken_off(tmp_path: Any) -> None:
    def fail(opened: OpenedRequest, sealer: FrameSealer) -> Iterable[bytes]:
        yield sealer.head(b'{"status":200,"content_type":"text/event-stream","build":""}')
        yield sealer.content(sse({"choices": [{"delta": {"content": "he"}}]}))
        yield sealer.error(
            Meter(5, 0, 1, 0, int(WireCode.ENGINE_FAILED)), b'{"error":{"code":"engine_failed","message":"gone"}}'
        )

    with pytest.raises(BrokenAnswerError) as raised:
        ask(client_for(Peer(answer=fail), tmp_path))
    assert raised.value.error_code == "engine_failed"


def standard(body: bytes) -> Any:
    return lambda _: streamed(body, {"content-type": "text/event-stream"})


def test_a_standard_stream_without_its_end_mark_is_a_failure(tmp_path: Any) -> None:
    whole = sse({"choices": [{"delta": {"content": "hi"}}]})
    with pytest.raises(BrokenAnswerError):
        ask(client_for(Peer(on_post=[standard(whole)]), tmp_path, sealed=False))
    assert ask(client_for(Peer(on_post=[standard(whole + b"data: [DONE]\n\n")]), tmp_path, sealed=False)) == "hi"


def test_an_error_event_inside_a_standard_stream_is_raised(tmp_path: Any) -> None:
    body = sse({"choices": [{"delta": {"content": "hi"}}]}) + sse(
        {"error": {"code": "provider_lost", "message": "gone"}}
    )
    with pytest.raises(BrokenAnswerError) as raised:
        ask(client_for(Peer(on_post=[standard(body)]), tmp_path, sealed=False))
    assert raised.value.error_code == "provider_lost"


def test_standard_mode_says_that_the_coordinator_can_read(tmp_path: Any) -> None:
    peer = Peer(on_post=[standard(sse({"choices": [{"delta": {"content": "hi"}}]}) + b"data: [DONE]\n\n")])
    client = client_for(peer, tmp_path, sealed=False)
    stream = client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
    list(stream)
    assert "the coordinator's memory" in stream.readable_by
    assert not stream.facts.sealed


def test_no_coordinator_at_the_address_is_said_plainly(tmp_path: Any) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    client = Client(settings=settings_for(tmp_path), http_client=httpx.Client(transport=httpx.MockTransport(refuse)))
    with pytest.raises(CapacityError) as raised:
        ask(client)
    assert raised.value.error_code == "unreachable"
    assert "hush up" in raised.value.hint()


@pytest.mark.parametrize("floor", ["none", "self_signed"])
def test_the_trust_told_is_what_was_verified_and_not_the_floor(tmp_path: Any, floor: str) -> None:
    peer = Peer()
    client = client_for(peer, tmp_path, policy=VerificationPolicy(floor=floor))
    stream = client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
    list(stream)
    assert stream.trust == "self_signed"
    assert parse_envelope(peer.envelopes[0]).header.trust == floor


def test_evidence_that_was_verified_here_decides_the_trust_told(tmp_path: Any) -> None:
    peer = Peer(providers=[Measured()])
    policy = VerificationPolicy(floor="measured", verify_evidence=lambda statement, items: "hardware")
    stream = client_for(peer, tmp_path, policy=policy).chat.completions.create(
        model="tiny", messages=MESSAGES, stream=True
    )
    list(stream)
    assert stream.trust == "hardware"


class Measured(Provider):
    """A provider that shows evidence."""

    def listing(self) -> dict[str, Any]:
        return {**super().listing(), "evidence": [{"kind": "scripted", "binds": "statement"}]}


def test_a_standard_stream_is_asked_for_its_counts_without_showing_the_chunk(tmp_path: Any) -> None:
    counts = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}
    body = sse({"choices": [{"delta": {"content": "hi"}}]}, counts) + b"data: [DONE]\n\n"
    peer = Peer(on_post=[standard(body), standard(body)])
    client = client_for(peer, tmp_path, sealed=False)
    stream = client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
    assert len(list(stream)) == 1
    assert stream.usage is not None
    assert stream.usage.completion_tokens == 2
    own = client.chat.completions.create(
        model="tiny", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    assert len(list(own)) == 2
    assert [json.loads(post.content)["stream_options"] for post in peer.posts()] == [{"include_usage": True}] * 2


def talking_to(handler: Any, tmp_path: Any, **settings: Any) -> Client:
    base = settings_for(tmp_path)
    client = Client(
        settings=replace(base, **settings), http_client=httpx.Client(transport=httpx.MockTransport(handler))
    )
    client.session.clock = manual_clock()
    return client


def test_a_model_that_nobody_knows_is_not_found(tmp_path: Any) -> None:
    with pytest.raises(RequestError) as raised:
        ask(client_for(Peer(providers=[], models=()), tmp_path))
    assert raised.value.error_code == "model_not_found"
    assert http_status_of(raised.value) == 404


@pytest.mark.parametrize("response", [(404, b"Not Found"), (426, b""), (200, b"<html>"), (302, b"")])
def test_what_is_no_coordinator_is_called_so(tmp_path: Any, response: tuple[int, bytes]) -> None:
    client = talking_to(lambda _: httpx.Response(response[0], content=response[1]), tmp_path)
    for call in (lambda: ask(client), client.models.list):
        with pytest.raises(RemoteProtocolError, match="not a Hushnet coordinator") as raised:
            call()
        assert "8470" in raised.value.hint()


def test_a_refused_key_is_named_by_where_it_came_from(tmp_path: Any) -> None:
    refused = httpx.Response(401, json={"error": {"code": "invalid_api_key", "message": "no", "hint": "send it"}})
    client = talking_to(lambda _: refused, tmp_path, key_source="HUSH_API_KEY")
    with pytest.raises(AccessError) as raised:
        client.balance()
    assert "the key came from HUSH_API_KEY" in raised.value.hint()


def test_the_number_of_readers_is_known_before_anything_is_sealed(tmp_path: Any) -> None:
    peer = Peer(providers=[Provider(), Provider()])
    assert client_for(peer, tmp_path).readers("tiny") == 2
    assert peer.posts() == []
