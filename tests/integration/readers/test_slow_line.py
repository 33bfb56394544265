"""Consumers on a real socket that pause or read slowly: the provider waits for them, and nothing of a long answer is lost."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from hushnet.provider.engines.base import ChatRequest, Delta, Event, Finished, Usage
from support.control import MODEL, Network, network
from support.readers import bytes_held
from support.scripted_engine import ScriptedEngine

TOKENS = 6000
"""Six megabytes of answer: more than kernels buffer on a loopback connection."""
PAUSE_S = 0.9
"""Shorter than a reader of the slowest pace takes for one step of its kernel's buffer."""
WINDOW_BYTES = 256 * 1024
SEND_BUFFER_BYTES = 64 * 1024
RECORD_BYTES = 128 * 1024
SECONDS_MAX = 60.0


async def talk(_: ChatRequest) -> AsyncGenerator[Event, None]:
    for number in range(TOKENS):
        yield Delta(f"<{number}>" + "x" * 1000, 1)
    yield Finished("stop", Usage(input=5, cached=0, output=TOKENS))


def talker() -> ScriptedEngine:
    engine = ScriptedEngine(script=talk)
    engine.capabilities = replace(engine.capabilities, context_tokens=2 * TOKENS)
    return engine


@asynccontextmanager
async def asked(home: Path, engine: ScriptedEngine | None = None) -> AsyncIterator[tuple[Network, socket.socket]]:
    """A whole network, and a consumer's socket on which a long answer is about to come."""
    async with network(home) as net:
        consumer = await net.account("consumer", credit_usd="50")
        earner = await net.account("earner", scope="provider")
        async with net.provider(home, earner.key, make_engine=lambda: engine or talker()):
            await net.until(f"/v1/models/{MODEL}")
            line = await _ask(net.coordinator.base_url, consumer.key)
            try:
                yield net, line
            finally:
                line.close()


async def test_a_consumer_that_pauses_for_a_while_gets_the_whole_answer(tmp_path: Path) -> None:
    async with asked(tmp_path) as (_, line):
        answer = await _read(line, 1024)
        await asyncio.sleep(PAUSE_S)  # the pause is what is tested
        answer += await _read_to_end(line)

    _assert_whole(answer)


@pytest.mark.parametrize(("bytes_s", "seconds"), [(200_000, 4.0), (1_000_000, 2.0)])
async def test_a_steady_slow_reader_is_never_cut_and_holds_its_provider_back(
    tmp_path: Path, bytes_s: int, seconds: float
) -> None:
    beat_s = 0.02
    answer, held = b"", []
    async with asked(tmp_path) as (net, line):
        while len(held) * beat_s < seconds or (max(held) <= WINDOW_BYTES // 2 and len(answer) < TOKENS * 900):
            answer += await _read(line, int(bytes_s * beat_s))
            held.append(sum(bytes_held(life) for life in net.coordinator.serving.service._lives if life.outlet.reader))
            await asyncio.sleep(beat_s)  # the pace is what is tested
        assert max(held) > WINDOW_BYTES // 2
        answer += await _read_to_end(line)

    # One window waits here while the one before it, written when the send buffer had room again, is leaving.
    assert max(held) <= 2 * WINDOW_BYTES + SEND_BUFFER_BYTES + RECORD_BYTES
    _assert_whole(answer)


async def test_a_reader_that_stops_stops_the_engine_and_frees_its_slot(tmp_path: Path) -> None:
    engine = talker()
    async with asked(tmp_path, engine) as (net, line):
        async with asyncio.timeout(SECONDS_MAX):
            await engine.stopped.wait()
            await net.coordinator.serving.service.idle()
        assert engine.running == 0
        answer = await _read_to_end(line)

    received = [int(number) for number in re.findall(rb"<(\d+)>", answer)]
    assert received == list(range(len(received)))
    assert 0 < len(received) < TOKENS
    assert b'"backpressure"' in answer
    assert b"[DONE]" not in answer


def _assert_whole(answer: bytes) -> None:
    assert [int(number) for number in re.findall(rb"<(\d+)>", answer)] == list(range(TOKENS))
    assert b"data: [DONE]" in answer
    assert b"backpressure" not in answer


async def _ask(base_url: str, key: str) -> socket.socket:
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
    await loop.sock_connect(line, (address.hostname, address.port))
    await loop.sock_sendall(line, head.encode() + body)
    return line


async def _read(line: socket.socket, count: int) -> bytes:
    """Read exactly `count` bytes, or to the end."""
    loop, pieces = asyncio.get_running_loop(), []
    while count > 0 and (piece := await loop.sock_recv(line, count)):
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


async def _read_to_end(line: socket.socket) -> bytes:
    pieces = []
    while piece := await _read(line, 256 * 1024):
        pieces.append(piece)
    return b"".join(pieces)
