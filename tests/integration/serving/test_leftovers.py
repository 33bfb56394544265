"""A request or connection that is over goes by reference counts: nothing waits for the collector, which is seldom and slow."""

from __future__ import annotations

import asyncio
import gc

import uvloop
from starlette.types import Receive, Scope, Send

from hushnet.coordinator.api.http.protocol import GuardedHttpProtocol
from hushnet.coordinator.serving.life import Life
from support.fleet import Network, says, until
from support.races import racing
from support.raw_http import served


def leftovers(kind: type = Life) -> list[str]:
    return [type(each).__name__ for each in gc.get_objects() if isinstance(each, kind)]


async def test_a_request_that_is_over_leaves_nothing_to_the_collector(network: Network) -> None:
    await network.provider(part=says("Hel", "lo"))
    key = await network.consumer()
    gc.collect()
    gc.disable()
    try:
        for stream in (True, False):
            exchange = await network.chat(key=key, stream=stream).finished()
            assert exchange.status == 200
            await network.usage_of(exchange)
            del exchange
        await until(lambda: not leftovers())
    finally:
        gc.enable()


async def test_a_race_that_is_over_leaves_nothing_to_the_collector(network: Network) -> None:
    it, backup = await racing(network)
    it.first.provider.ignores_cancel = True
    gc.collect()
    gc.disable()
    try:
        says("Hel", "lo")(backup)
        await network.usage_of(await it.exchange.finished())
        del it
        await until(lambda: not leftovers())
    finally:
        gc.enable()


def test_a_connection_that_is_over_leaves_nothing_to_the_collector() -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"tail", "more_body": False})

    async def connect_and_go() -> None:
        async with served({"/": {"POST": answer}}) as server:
            gc.collect()
            gc.disable()
            try:
                for _ in range(3):
                    client = await server.connect()
                    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
                    assert (await client.answer()).body == b"tail"
                    await client.aclose()
                await until(lambda: server.listener.connections == 0 and not leftovers(GuardedHttpProtocol))
            finally:
                gc.enable()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(connect_and_go())
