"""What a request prefers is followed, in both modes alike, or refused by a code that says which wish nobody fulfils."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from hushnet.foundation.ids import ModelId
from hushnet.wire.frames import ModelOffer
from support.exchange import Exchange
from support.fleet import MODEL, Network, ScriptedProvider, says, until

BUILD, OTHER_BUILD = "ab" * 32, "cd" * 32
Mode = str
MODES = pytest.mark.parametrize("mode", ["standard", "sealed"])


@dataclass
class Asking:
    """One request in the mode that a test runs in, to all providers."""

    network: Network
    mode: Mode
    providers: list[ScriptedProvider]

    async def __call__(self, route: dict[str, Any], *, key: str | None = None) -> Exchange:
        return await self.begin(route, key=key or await self.network.consumer()).finished()

    def begin(self, route: dict[str, Any], *, key: str) -> Exchange:
        if self.mode == "standard":
            return self.network.chat(key=key, route=route)
        sealed = self.network.seal(*self.providers)
        return self.network.send_sealed(sealed, key=key, **{"hushnet-route": json.dumps(route)})

    async def refused(self, route: dict[str, Any], *, key: str | None = None) -> tuple[int, str]:
        exchange = await self(route, key=key)
        problem = exchange.json.get("error", exchange.json)
        assert problem["hint"]
        return exchange.status, problem["code"]

    async def answered_by(self, route: dict[str, Any], *, key: str | None = None) -> str:
        exchange = await self(route, key=key)
        assert exchange.status == 200, exchange.body
        return exchange.headers["hushnet-provider"]


def offering(build: str) -> dict[str, Any]:
    return {"models": [ModelOffer(model=MODEL, context_tokens=8192, slots=4, build=build)]}


async def three(network: Network, mode: Mode) -> Asking:
    """Let three providers join; the first is the slowest, so that nobody would choose it unasked."""
    rates = (5.0, 400.0, 400.0)
    return Asking(network, mode, [await network.provider(part=says("hi"), decode_tokens_s=rate) for rate in rates])


def place(network: Network, provider: ScriptedProvider, region: str) -> None:
    """Say where a provider is, as its operator would."""
    live = network.serving.fleet.get(provider.provider_id)
    assert live is not None
    offer = live.offers[MODEL]
    live._traits[MODEL] = (offer, msgspec.structs.replace(live._traits_of(offer), region=region))
    network.serving.fleet.refresh(live)


@MODES
async def test_only_the_providers_that_are_named_serve_by_whole_ids_or_beginnings(network: Network, mode: Mode) -> None:
    ask = await three(network, mode)
    slow = ask.providers[0].provider_id

    assert await ask.answered_by({"only": [slow]}) == slow
    assert await ask.answered_by({"only": [slow[:12]]}) == slow
    assert await ask.refused({"only": ["0" * 64]}) == (503, "no_listed_provider")
    assert await ask.refused({"only": ["0" * 12]}) == (503, "no_listed_provider")


@MODES
async def test_providers_that_are_to_be_ignored_never_serve(network: Network, mode: Mode) -> None:
    ask = await three(network, mode)
    slow, *fast = [provider.provider_id for provider in ask.providers]

    assert await ask.answered_by({"ignore": [fast[0][:16], fast[1]]}) == slow
    assert await ask.refused({"ignore": [slow, *fast]}) == (503, "no_listed_provider")
    assert await ask.refused({"only": [slow], "ignore": [slow]}) == (503, "no_listed_provider")


@MODES
async def test_a_request_stays_in_its_regions(network: Network, mode: Mode) -> None:
    ask = await three(network, mode)
    place(network, ask.providers[0], "eu-west")
    place(network, ask.providers[1], "us-east")

    assert await ask.answered_by({"regions": ["eu-west", "eu-north"]}) == ask.providers[0].provider_id
    assert await ask.refused({"regions": ["ap-south"]}) == (503, "no_provider_in_region")


@MODES
async def test_a_request_is_served_by_the_build_that_it_names(network: Network, mode: Mode) -> None:
    named = await network.provider(part=says("hi"), decode_tokens_s=5.0, **offering(BUILD))
    other = await network.provider(part=says("hi"), decode_tokens_s=400.0, **offering(OTHER_BUILD))
    ask = Asking(network, mode, [named, other])

    assert await ask.answered_by({"builds": [BUILD]}) == named.provider_id
    assert await ask.refused({"builds": ["ef" * 32]}) == (503, "no_provider_of_build")


@MODES
async def test_nothing_is_served_above_the_price_that_is_named(network: Network, mode: Mode) -> None:
    """The tariff is one dollar for a million input tokens, four for output."""
    ask = await three(network, mode)

    assert await ask.answered_by({"price_max": {"input": "1", "output": "4.00"}})
    assert await ask.answered_by({"price_max": {"output": "4"}, "sort": "price"})
    assert await ask.refused({"price_max": {"input": "0.999999"}}) == (422, "no_provider_at_price")
    assert await ask.refused({"price_max": {"input": "2", "output": "3.99"}}) == (422, "no_provider_at_price")


@MODES
async def test_own_machines_only_is_free_and_held_for_nothing(network: Network, mode: Mode) -> None:
    ask = await three(network, mode)
    key = await network.consumer(micro_usd=0)
    mine = await network.provider(part=says("mine"), decode_tokens_s=5.0, account=network.account_of(key))
    ask.providers.append(mine)

    assert await ask.answered_by({"own": "only"}, key=key) == mine.provider_id
    (record,) = await network.usage(key)
    assert (record.cost, record.held, record.usage.machine) == (0, 0, mine.provider_id)


@MODES
async def test_own_machines_come_first_and_others_serve_while_they_are_full(network: Network, mode: Mode) -> None:
    ask = await three(network, mode)
    key = await network.consumer()
    mine = await network.provider(part=says("mine"), decode_tokens_s=5.0, account=network.account_of(key))
    ask.providers.append(mine)

    assert await ask.answered_by({"own": "prefer"}, key=key) == mine.provider_id
    mine.report(active=4)
    assert await ask.answered_by({"own": "prefer"}, key=key) != mine.provider_id
    first, last = (await network.usage(key))[::-1]
    assert first.cost == 0 < last.cost


@MODES
async def test_who_has_no_machine_connected_is_told_so(network: Network, mode: Mode) -> None:
    ask = await three(network, mode)
    key = await network.consumer()

    assert await ask.refused({"own": "only"}, key=key) == (409, "no_own_provider")
    assert await ask.answered_by({"own": "prefer"}, key=key)


@MODES
async def test_who_has_a_machine_without_the_model_is_told_so(network: Network, mode: Mode) -> None:
    ask = await three(network, mode)
    key = await network.consumer()
    offer = ModelOffer(model=ModelId("another"), context_tokens=8192, slots=4)
    await network.provider(account=network.account_of(key), models=[offer])

    assert await ask.refused({"own": "only"}, key=key) == (503, "own_provider_lacks_model")


@MODES
async def test_an_own_machine_that_is_busy_is_waited_for(network: Network, mode: Mode) -> None:
    ask = await three(network, mode)
    key = await network.consumer()
    mine = await network.provider(part=says("mine"), account=network.account_of(key))
    mine.report(active=4)
    ask.providers.append(mine)
    waiting = ask.begin({"own": "only"}, key=key)
    await until(lambda: network.serving.service.waiting)

    mine.report(active=0)

    assert (await waiting.finished()).headers["hushnet-provider"] == mine.provider_id


async def test_an_envelope_without_a_recipient_of_ones_own_is_told_to_be_sealed_again(network: Network) -> None:
    ask = await three(network, "sealed")
    key = await network.consumer()
    await network.provider(part=says("mine"), account=network.account_of(key))

    assert await ask.refused({"own": "only"}, key=key) == (503, "recipients_unavailable")


@MODES
async def test_a_machine_that_leaves_while_its_owner_waits_ends_the_wait(network: Network, mode: Mode) -> None:
    ask = await three(network, mode)
    key = await network.consumer()
    mine = await network.provider(part=says("mine"), account=network.account_of(key))
    mine.report(active=4)
    ask.providers.append(mine)
    waiting = ask.begin({"own": "only"}, key=key)
    await until(lambda: network.serving.service.waiting)

    mine.close("gone")

    assert (await waiting.finished()).status == 503
    problem = waiting.json.get("error", waiting.json)
    assert problem["code"] == "own_provider_lacks_model"


@MODES
async def test_a_header_that_says_nothing_sensible_is_a_400_before_anything_is_held(
    network: Network, mode: Mode
) -> None:
    ask = await three(network, mode)
    key = await network.consumer()

    assert await ask.refused({"onyl": []}, key=key) == (400, "bad_route")
    assert await ask.refused({"only": ["short"]}, key=key) == (400, "bad_route")
    assert await network.usage(key) == []
    assert all(provider.served == [] for provider in ask.providers)
