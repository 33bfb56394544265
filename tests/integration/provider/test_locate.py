"""A provider finds the link from the coordinator's address, waits for a late coordinator, and believes no impostor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from hushnet.foundation.errors import ConfigurationError
from hushnet.provider.link import locate as locating
from hushnet.provider.link.locate import Place, locate
from hushnet.provider.notices import Notice

GOOD = {"network": "hushnet-local", "link_url": "ws://127.0.0.1:8471/v1/provider/link", "version": "0.1.0"}


async def find(
    url: str,
    answer: Callable[[httpx.Request], httpx.Response] | None = None,
    *,
    network: str | None = None,
    told: list[Notice] | None = None,
) -> Place:
    transport = None if answer is None else httpx.MockTransport(answer)
    notices = [] if told is None else told
    return await asyncio.wait_for(locate(url, network=network, notify=notices.append, transport=transport), 60)


async def test_the_coordinator_names_its_link_and_network() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "http://coordinator:8470/v1/network"
        assert "authorization" not in request.headers
        return httpx.Response(200, json=GOOD)

    assert await find("http://coordinator:8470", answer) == Place(GOOD["link_url"], "hushnet-local")


@pytest.mark.parametrize(
    ("url", "network", "place"),
    [
        ("ws://127.0.0.1:8471", None, Place("ws://127.0.0.1:8471/v1/provider/link", "hushnet-local")),
        ("ws://localhost:8471/", None, Place("ws://localhost:8471/v1/provider/link", "hushnet-local")),
        ("ws://[::1]:8471", None, Place("ws://[::1]:8471/v1/provider/link", "hushnet-local")),
        ("wss://hush.example/other/path", None, Place("wss://hush.example/other/path", "hushnet-main")),
        ("wss://hush.example", "hushnet-test", Place("wss://hush.example/v1/provider/link", "hushnet-test")),
    ],
)
async def test_a_link_address_is_taken_as_it_is(url: str, network: str | None, place: Place) -> None:
    assert await find(url, network=network) == place


async def test_a_coordinator_that_is_not_up_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locating, "RETRY_S_MIN", 0.001)
    told: list[Notice] = []
    answers = [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.Response(503),
        httpx.Response(200, json=GOOD),
    ]

    def answer(_: httpx.Request) -> httpx.Response:
        now = answers.pop(0)
        if isinstance(now, Exception):
            raise now
        return now

    assert (await find("http://coordinator:8470", answer, told=told)).network == "hushnet-local"
    assert len(told) == 3


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(404, json=GOOD),
        httpx.Response(302, headers={"location": "http://elsewhere/"}),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"network": "hushnet-local"}),
        httpx.Response(200, json=GOOD | {"network": 5}),
        httpx.Response(200, json=GOOD | {"network": "Two Words"}),
        httpx.Response(200, json=GOOD | {"link_url": "http://127.0.0.1:8471/"}),
        httpx.Response(200, content=b"[" * 5000),
        httpx.Response(200, content=httpx.Response(200, json=GOOD).content + b" " * 50_000),
    ],
)
async def test_what_is_no_coordinator_is_refused(response: httpx.Response) -> None:
    with pytest.raises(ConfigurationError, match="not a coordinator"):
        await find("http://coordinator:8470", lambda _: response)


async def test_an_encrypted_address_never_leads_to_a_plain_link() -> None:
    with pytest.raises(ConfigurationError, match="without encryption"):
        await find("https://coordinator", lambda _: httpx.Response(200, json=GOOD))


async def test_a_network_that_is_set_is_insisted_on() -> None:
    with pytest.raises(ConfigurationError, match="another network"):
        await find("http://coordinator:8470", lambda _: httpx.Response(200, json=GOOD), network="hushnet-main")
