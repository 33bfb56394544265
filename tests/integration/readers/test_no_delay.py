"""No hop waits to fill a segment: TCP_NODELAY is set on every connection that a request crosses, at both ends.

One process plays everybody: consumers (standard, sealed, through the sealing proxy, and without asyncio), the coordinator,
a provider and the server of its engine. So both ends of every hop are sockets of this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from hushnet.foundation.ids import ModelId
from hushnet.provider.engines.base import Capabilities, ModelSpec
from hushnet.provider.engines.openai_server import OpenAiServerEngine
from hushnet.sdk.async_client import AsyncClient
from hushnet.sdk.client import Client
from hushnet.sdk.proxy import ProxyApp
from support.control import MODEL, network
from support.paced_server import PacedServer, paced_server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sockets are found in /proc")

ASKED: dict[str, Any] = {
    "model": str(MODEL),
    "messages": [{"role": "user", "content": "tokens=1000 gap=0.05"}],
    "stream": True,
    "max_tokens": 1000,
}


class AttachedEngine(OpenAiServerEngine):
    """The engine for servers that run already, attached to the one of this test."""

    def __init__(self, server: PacedServer) -> None:
        super().__init__()
        self._url = f"http://127.0.0.1:{server.port}/v1"

    async def load(self, spec: ModelSpec) -> Capabilities:
        return await super().load(replace(spec, url=self._url, name_at_server=ModelId("paced")))


class Hops:
    """The ends of the connections to `ports` that are sockets of this process; other tests may have left others."""

    def __init__(self, ports: Mapping[str, int]) -> None:
        self.delayed: list[str] = []
        self.ends = dict.fromkeys(ports, 0)
        names = {port: name for name, port in ports.items()}
        for connection in _sockets():
            with contextlib.suppress(OSError), connection:
                ours, theirs = connection.getsockname()[1], connection.getpeername()[1]
                name = names.get(ours) or names.get(theirs)
                if name is not None:
                    self.ends[name] += 1
                    if not connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY):
                        self.delayed.append(f"{name}: {ours} to {theirs}")


def _sockets() -> Iterator[socket.socket]:
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if not entry.is_socket():
                continue
            found = socket.socket(fileno=os.dup(int(entry.name)))
            if found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM:
                yield found
            else:
                found.close()


async def test_every_connection_of_a_streamed_request_sends_at_once(tmp_path: Path) -> None:
    with paced_server() as engine_server:
        async with network(tmp_path) as net, contextlib.AsyncExitStack() as stack:
            consumer = await net.account("consumer", credit_usd="50")
            earner = await net.account("earner", scope="provider")
            make = lambda: AttachedEngine(engine_server)  # noqa: E731
            await stack.enter_async_context(net.provider(tmp_path, earner.key, make_engine=make))
            await net.until(f"/v1/models/{MODEL}")
            base_url, key = net.coordinator.base_url, consumer.key
            sealing = await stack.enter_async_context(AsyncClient(base_url=base_url, api_key=key))
            proxy_port = await stack.enter_async_context(proxied(sealing))
            await stack.enter_async_context(streaming(base_url, key))
            await stack.enter_async_context(streaming(f"http://127.0.0.1:{proxy_port}", "any"))
            plain = await asyncio.to_thread(lambda: Client(base_url=base_url, api_key=key, sealed=False))
            answer = await asyncio.to_thread(lambda: plain.chat.completions.create(**ASKED))
            await asyncio.to_thread(lambda: next(iter(answer)))
            await asyncio.to_thread(engine_server.wait_for, 3)

            listening = {"http": net.coordinator.http.port, "link": net.coordinator.link_port}
            hops = Hops(listening | {"engine": engine_server.port, "proxy": proxy_port})
            answer.close()
            plain.close()

    assert all(ends >= 2 for ends in hops.ends.values()), hops.ends
    assert hops.delayed == []


@contextlib.asynccontextmanager
async def streaming(base_url: str, key: str) -> AsyncIterator[None]:
    """Hold a standard answer open after its first chunk."""
    async with (
        httpx.AsyncClient(base_url=base_url, headers={"authorization": f"Bearer {key}"}) as http,
        http.stream("POST", "/v1/chat/completions", json=ASKED) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        pieces = answer.aiter_raw()  # kept: the answer is closed with it
        await anext(pieces)
        yield


@contextlib.asynccontextmanager
async def proxied(client: AsyncClient) -> AsyncIterator[int]:
    """Run the sealing proxy as `hush proxy` does; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(ProxyApp(client), log_config=None, lifespan="off", loop="none"))
    serving = asyncio.create_task(server._serve(sockets=[listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        await serving
        listener.close()
