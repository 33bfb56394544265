"""Whom the SDK seals to and what it says beside the envelope: wishes, tags, and whoever read the conversation before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from hushnet.dialects.affinity import decode_tags
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.errors import CapacityError, RequestError
from hushnet.foundation.redaction import Secret
from hushnet.sdk.async_client import AsyncClient
from hushnet.sdk.client import Client
from hushnet.sdk.policy import VerificationPolicy
from hushnet.sdk.proxy import ProxyApp
from hushnet.sdk.routing import NO_ROUTE, PREFIXES_REMEMBERED_MAX, Conversations, Turn, route_of
from hushnet.sdk.settings import ConsumerSettings
from hushnet.sealing.envelope import parse_envelope
from support.sealing_peer import Peer, Provider, good_body, manual_clock, streamed

SETTINGS = ConsumerSettings("http://127.0.0.1:8470", Secret("hk_user_1_secret"), "hushnet-local", Path())
FIRST = [{"role": "user", "content": "the canary prompt"}]
SECOND = [*FIRST, {"role": "assistant", "content": "hello"}, {"role": "user", "content": "more"}]


def client_for(peer: Peer, **options: Any) -> Client:
    peer.answer = good_body
    http = httpx.Client(transport=httpx.MockTransport(peer))
    client = Client(settings=SETTINGS, http_client=http, **options)
    client.session.clock = manual_clock()
    return client


def ask(client: Client, messages: list[dict[str, str]] = FIRST, **members: Any) -> str:
    return client.chat.completions.create(model="tiny", messages=messages, **members).facts.provider_id


def readers(peer: Peer, number: int = -1) -> set[str]:
    return {entry.provider_id.hex() for entry in parse_envelope(peer.envelopes[number]).entries}


def test_a_follow_up_is_sealed_to_whoever_read_the_conversation_first_of_all() -> None:
    peer = Peer(providers=[Provider() for _ in range(12)])
    client = client_for(peer, policy=VerificationPolicy(recipients=1))
    first = ask(client)

    assert {ask(client, SECOND) for _ in range(6)} == {first}


def test_a_follow_up_finds_its_provider_although_the_next_listing_leaves_it_out() -> None:
    peer = Peer(providers=[Provider() for _ in range(8)])
    client = client_for(peer, policy=VerificationPolicy(recipients=1))
    first = ask(client)
    everybody = peer.listing()
    everybody["providers"] = [entry for entry in everybody["providers"] if entry["provider"] != first]
    peer.listing = lambda: everybody  # type: ignore[method-assign]
    assert isinstance(client.session.clock, ManualClock)
    client.session.clock.advance(61)

    assert {ask(client, SECOND) for _ in range(6)} == {first}
    others = [{"role": "user", "content": "another conversation"}]
    assert ask(client, others) != first


def test_a_provider_that_no_longer_verifies_is_not_kept() -> None:
    peer = Peer(providers=[Provider(), Provider()])
    client = client_for(peer, policy=VerificationPolicy(recipients=1))
    first = ask(client)
    document = peer.listing()
    for entry in document["providers"]:
        if entry["provider"] == first:
            entry["statement"] = {**entry["statement"], "signatures": []}
    document["providers"].append({"provider": [first]})
    peer.listing = lambda: document  # type: ignore[method-assign]
    assert isinstance(client.session.clock, ManualClock)
    client.session.clock.advance(61)

    assert first not in {ask(client, SECOND) for _ in range(4)}


def test_a_provider_that_is_gone_is_given_up_with_the_first_refusal() -> None:
    peer = Peer(providers=[Provider(), Provider()])
    client = client_for(peer, policy=VerificationPolicy(recipients=1))
    gone = ask(client)
    peer.providers = [provider for provider in peer.providers if provider.identity.provider_id != gone]
    peer.on_post = [lambda _: httpx.Response(503, json={"code": "recipients_unavailable"})]
    assert isinstance(client.session.clock, ManualClock)
    client.session.clock.advance(61)

    assert ask(client, SECOND) == peer.providers[0].identity.provider_id


def test_the_tags_and_the_salt_of_a_conversation_go_on_and_are_none_of_another_client_s() -> None:
    peer = Peer()
    mine, other = client_for(peer), client_for(peer)
    ask(mine)
    ask(mine, SECOND)
    ask(other)

    tags = [{tag.tag for tag in decode_tags(post.headers["hushnet-affinity"].encode())} for post in peer.posts()]
    salts = [opened.meta["cache_salt"] for opened in peer.opened]
    assert tags[0] < tags[1]
    assert not tags[2] & tags[1]
    assert salts[0] == salts[1] != salts[2]


def test_without_affinity_nothing_of_the_conversation_is_said() -> None:
    peer = Peer()
    ask(client_for(peer, affinity=False))

    assert "hushnet-affinity" not in peer.posts()[0].headers
    assert peer.opened[0].meta == {"frame_pad": 64}


def test_in_standard_mode_the_coordinator_makes_the_tags() -> None:
    body = {"choices": [{"message": {"role": "assistant", "content": "hello"}}]}
    seen: list[httpx.Request] = []

    def peer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return streamed(json.dumps(body).encode(), {"content-type": "application/json"})

    http = httpx.Client(transport=httpx.MockTransport(peer))
    client = Client(settings=SETTINGS, http_client=http, sealed=False, route={"own": "prefer"})
    ask(client)

    assert seen[0].headers["hushnet-route"] == '{"own":"prefer"}'
    assert "hushnet-affinity" not in seen[0].headers
    assert "route" not in json.loads(seen[0].content)


def test_a_request_is_sealed_to_nobody_that_it_does_not_allow() -> None:
    peer = Peer(providers=[Provider() for _ in range(6)])
    wanted, unwanted, *_ = [provider.identity.provider_id for provider in peer.providers]
    client = client_for(peer, route={"only": [wanted[:12]]})

    assert ask(client) == wanted
    assert readers(peer) == {wanted}
    ask(client, route={"ignore": [unwanted]})
    assert unwanted not in readers(peer)
    assert json.loads(peer.posts()[-1].headers["hushnet-route"]) == {"ignore": [unwanted]}


def test_when_nobody_is_allowed_nothing_is_sent_and_the_next_request_looks_again() -> None:
    peer, late = Peer(), Provider()
    client, route = client_for(peer), {"only": [late.identity.provider_id]}
    with pytest.raises(CapacityError) as refused:
        ask(client, route=route)
    assert refused.value.error_code == "no_listed_provider"
    assert peer.posts() == []

    peer.providers.append(late)
    assert ask(client, route=route) == late.identity.provider_id


@pytest.mark.parametrize("wanted", ["[]", "{", {"only": {1, 2}}, "1"])
def test_a_wish_that_is_no_json_object_is_refused_here(wanted: Any) -> None:
    with pytest.raises(RequestError) as refused:
        route_of(wanted)
    assert refused.value.error_code == "bad_route"


@pytest.mark.parametrize("wanted", [{"only": []}, {"only": "abc"}, {"ignore": [1]}, {"only": [""]}])
def test_a_list_of_providers_that_is_none_is_refused_here_and_never_means_everybody(wanted: Any) -> None:
    with pytest.raises(RequestError) as refused:
        route_of(wanted)

    assert refused.value.error_code == "bad_route"


def test_a_sealed_request_for_ones_own_machines_has_to_name_them() -> None:
    peer = Peer()
    client = client_for(peer, route={"own": "only"})

    with pytest.raises(RequestError) as refused:
        ask(client)

    assert refused.value.error_code == "bad_route"
    assert peer.posts() == []


def test_a_header_is_one_line_of_ascii_whatever_was_wished() -> None:
    route = route_of({"regions": ["é\r\nx: y"]})

    assert route.header.isascii()
    assert not {"\r", "\n"} & set(route.header)
    assert route_of(None) is route_of({}) is route_of("") is NO_ROUTE


async def test_the_local_proxy_passes_on_how_a_tool_wants_it_routed(tmp_path: Path) -> None:
    peer = Peer(providers=[Provider() for _ in range(4)], answer=good_body)
    wanted = peer.providers[2].identity.provider_id
    upstream = httpx.AsyncClient(transport=httpx.MockTransport(peer))
    async with AsyncClient(settings=SETTINGS, http_client=upstream) as client:
        client.session.clock = manual_clock()
        transport = httpx.ASGITransport(ProxyApp(client))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8472") as tool:
            body = {"model": "tiny", "messages": FIRST}
            header = {"hushnet-route": json.dumps({"only": [wanted]})}
            good = await tool.post("/v1/chat/completions", json=body, headers=header)
            bad = await tool.post("/v1/chat/completions", json=body, headers={"hushnet-route": "only me"})

    assert good.headers["hushnet-provider"] == wanted
    assert readers(peer) == {wanted}
    assert (bad.status_code, bad.json()["error"]["code"]) == (400, "bad_route")


def test_what_is_remembered_of_conversations_is_bounded() -> None:
    conversations = Conversations()
    for number in range(PREFIXES_REMEMBERED_MAX + 10):
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": str(number)}]}).encode()
        Turn(body, conversations).served_by(b"p" * 32)

    assert len(conversations._served) == PREFIXES_REMEMBERED_MAX
    assert "key" not in repr(conversations)
