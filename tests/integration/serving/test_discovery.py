"""What anybody may see: statements that verify, cacheable and the same for everybody."""

from __future__ import annotations

import pytest

from hushnet.foundation.ids import ModelId
from hushnet.sealing.statements import KeyPolicy, SerialMemory, verify_keys
from hushnet.wire.frames import ModelOffer
from support.fleet import NETWORK, Network, says


async def test_every_listed_provider_verifies(network: Network) -> None:
    providers = [await network.provider() for _ in range(3)]

    exchange = await network.get("/v1/sealing/providers?model=tiny")

    assert exchange.status == 200
    document = exchange.json
    assert (document["v"], document["network"], document["time"]) == (1, NETWORK, network.now)
    assert document["header_versions"] == [1]
    found = [verify_keys(each, KeyPolicy(NETWORK), network.now, SerialMemory()) for each in document["providers"]]
    assert {recipient.provider_id for recipient in found} == {provider.id_bytes for provider in providers}
    assert all(each["trust"] == "self_signed" and each["models"] == ["tiny"] for each in document["providers"])


async def test_a_listing_is_public_cacheable_and_answers_304_while_nothing_changes(network: Network) -> None:
    await network.provider()
    first = await network.get("/v1/sealing/providers")
    network.clock.advance(10)

    again = await network.get("/v1/sealing/providers", **{"if-none-match": first.headers["etag"]})
    await network.provider()
    changed = await network.get("/v1/sealing/providers", **{"if-none-match": first.headers["etag"]})

    assert first.headers["cache-control"] == "public, max-age=60"
    assert (again.status, again.body) == (304, b"")
    assert changed.status == 200


async def test_a_listing_holds_the_model_asked_for_and_those_with_room_first(network: Network) -> None:
    other = ModelOffer(model=ModelId("other"), context_tokens=4096, slots=1)
    await network.provider(models=[other])
    full, free = await network.provider(slots=2), await network.provider(slots=2)
    full.report(active=2)

    listed = (await network.get("/v1/sealing/providers?model=tiny&limit=5")).json["providers"]
    single = (await network.get("/v1/sealing/providers?model=tiny&limit=1")).json["providers"]

    assert [each["provider"] for each in listed] == [free.provider_id, full.provider_id]
    assert [each["load"] for each in listed] == [0, 3]
    assert [each["provider"] for each in single] == [free.provider_id]
    assert (await network.get("/v1/sealing/providers?model=nobody")).json["providers"] == []


@pytest.mark.parametrize("limit", ["0", "-1", "257", "x", "1e9", "99999999999999999999"])
async def test_a_wrong_limit_is_400(network: Network, limit: str) -> None:
    assert (await network.get(f"/v1/sealing/providers?limit={limit}")).status == 400


async def test_one_provider_can_be_looked_at(network: Network) -> None:
    provider = await network.provider()

    exchange = await network.get(f"/v1/sealing/providers/{provider.provider_id}")
    missing = await network.get(f"/v1/sealing/providers/{'0' * 64}")

    assert verify_keys(exchange.json["providers"][0], KeyPolicy(NETWORK), network.now, SerialMemory())
    assert (missing.status, missing.json["error"]["code"]) == (404, "provider_not_found")


async def test_an_untrusted_provider_is_not_listed_but_its_verdict_is_shown(network: Network) -> None:
    provider = await network.provider()
    provider.ignores_challenges = True
    for seconds in (300, 30, 30, 30):
        network.advance(seconds)

    listed = (await network.get("/v1/sealing/providers")).json["providers"]
    shown = (await network.get("/v1/providers/attestation")).json["providers"]

    assert listed == []
    assert shown[0]["verdict"]["tier"] == "none"
    assert "challenges_missed" in {finding["code"] for finding in shown[0]["verdict"]["findings"]}
    assert shown[0]["last_challenge"]["missed"] == 3
    assert not shown[0]["is_routable"]


async def test_the_attestation_page_shows_statement_verdict_and_last_challenge(network: Network) -> None:
    provider = await network.provider(part=says("hi"))
    joined_at = network.now
    network.advance(300)

    exchange = await network.get("/v1/providers/attestation")

    (shown,) = exchange.json["providers"]
    assert verify_keys(shown, KeyPolicy(NETWORK), network.now, SerialMemory()).provider_id == provider.id_bytes
    assert shown["verdict"]["tier"] == "self_signed"
    assert shown["last_challenge"] == {"answered_at": joined_at + 300, "missed": 0}
    assert shown["connected_at"] == joined_at


async def test_nothing_of_a_consumer_or_an_account_is_shown(network: Network) -> None:
    provider = await network.provider(part=says("hi"))
    key = await network.consumer()
    await network.chat(key=key).finished()

    pages = [await network.get("/v1/sealing/providers"), await network.get("/v1/providers/attestation")]

    for page in pages:
        assert str(provider.account).encode() not in page.body
        assert str(network.account_of(key)).encode() not in page.body
