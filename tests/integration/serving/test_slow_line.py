"""A consumer on a real socket that pauses: the provider waits for it, and nothing of a long answer is lost."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from hushnet.provider.engines.base import ChatRequest, Delta, Event, Finished, Usage
from support.control import MODEL, network
from support.scripted_engine import ScriptedEngine

TOKENS = 6000
"""Six megabytes of answer: more than kernels buffer on a loopback connection."""
PAUSE_S = 1.0


async def talk(_: ChatRequest) -> AsyncGenerator[Event, None]:
    for _number in range(TOKENS):
        yield Delta("x" * 1000, 1)
    yield Finished("stop", Usage(input=5, cached=0, output=TOKENS))


def talker() -> ScriptedEngine:
    engine = ScriptedEngine(script=talk)
    engine.capabilities = replace(engine.capabilities, context_tokens=2 * TOKENS)
    return engine


async def test_a_consumer_that_pauses_for_a_second_gets_the_whole_answer(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        consumer = await net.account("consumer", credit_usd="50")
        earner = await net.account("earner", scope="provider")
        async with net.provider(tmp_path, earner.key, make_engine=talker):
            await net.until(f"/v1/models/{MODEL}")

            answer = await _read_after_a_pause(net.coordinator.base_url, consumer.key)

    assert answer.count(b"x" * 1000) == TOKENS
    assert b"data: [DONE]" in answer


async def _read_after_a_pause(base_url: str, key: str) -> bytes:
    messages = [{"role": "user", "content": "hi"}]
    body = json.dumps({"model": MODEL, "stream": True, "max_tokens": TOKENS, "messages": messages}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    address = urlsplit(base_url)
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    line.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_connect(line, (address.hostname, address.port))
        await loop.sock_sendall(line, head.encode() + body)
        pieces = [await loop.sock_recv(line, 1024)]
        await asyncio.sleep(PAUSE_S)  # the pause is what is tested
        while pieces[-1]:
            pieces.append(await loop.sock_recv(line, 256 * 1024))
    finally:
        line.close()
    return b"".join(pieces)
