"""Cancel means stop: a hang-up reaches the engine from every phase, streaming and not, in both modes.

How fast is measured by bench/cancel.py; the bound here is the promise of 100 ms with room for a loaded machine.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

import hushnet
from support.network import Network, network
from support.paced_server import PacedServer, Seen, paced_server
from support.waiting import eventually

PHASES = {"before content": "first=60 tokens=2", "mid-stream": "tokens=100000 gap=0.01"}
STOP_S_MAX = 1.0


@pytest.fixture(scope="module")
def engine() -> Iterator[PacedServer]:
    with paced_server() as server:
        yield server


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, engine: PacedServer) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("hangup")) as made:
        made.start_provider(engine.model_source, slots=2)
        yield made


def body(words: str, *, stream: bool) -> dict[str, Any]:
    return {"model": "paced", "messages": [{"role": "user", "content": words}], "max_tokens": 4096, "stream": stream}


def hang_up_standard(running: Network, engine: PacedServer, words: str, *, stream: bool) -> tuple[float, Seen]:
    """Post in a thread, wait until the engine is in the phase, close the socket; return when that was."""
    before = len(engine.requests)
    http = running.client()
    ended = threading.Event()

    def post() -> None:
        try:
            with http.stream("POST", "/v1/chat/completions", json=body(words, stream=stream)) as response:
                for _ in response.iter_raw():
                    if ended.is_set():
                        return
        except (httpx.HTTPError, httpx.StreamError, RuntimeError, OSError, AttributeError):
            return

    thread = threading.Thread(target=post)
    thread.start()
    seen = engine.wait_for(before + 1)
    if "gap" in words:
        assert seen.has_sent.wait(60)
    at = time.monotonic()
    ended.set()
    close_sockets(http)
    thread.join(60)
    return at, seen


def close_sockets(http: httpx.Client) -> None:
    """Shut the connection as a killed process would: no goodbye on the HTTP level."""
    for connection in http._transport._pool.connections:  # type: ignore[attr-defined]
        stream = getattr(connection._connection, "_network_stream", None)
        if stream is not None:
            with contextlib.suppress(OSError):  # its reader was faster, and has closed it
                stream.get_extra_info("socket").shutdown(2)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_hang_up_in_standard_mode_stops_the_engine(
    running: Network, engine: PacedServer, phase: str, stream: bool
) -> None:
    at, seen = hang_up_standard(running, engine, PHASES[phase], stream=stream)
    assert seen.has_ended.wait(60)
    assert seen.was_cut
    assert seen.ended_s - at < STOP_S_MAX


@pytest.mark.parametrize("phase", PHASES)
def test_a_hang_up_in_sealed_mode_stops_the_engine(running: Network, engine: PacedServer, phase: str) -> None:
    before = len(engine.requests)
    closed_at: list[float] = []
    with hushnet.Client(base_url=running.base_url, api_key=running.api_key) as client:

        def watch() -> None:
            seen = engine.wait_for(before + 1)
            if "gap" in PHASES[phase]:
                seen.has_sent.wait(60)
            closed_at.append(time.monotonic())
            close_sockets(client.transport._client)

        watcher = threading.Thread(target=watch)
        watcher.start()
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever a torn socket raises here
            for _ in client.chat.completions.create(**body(PHASES[phase], stream=True)):
                pass
        watcher.join(60)
    seen = engine.requests[before]
    assert seen.has_ended.wait(60)
    assert seen.was_cut
    assert seen.ended_s - closed_at[0] < STOP_S_MAX


def test_a_hang_up_while_queued_leaves_the_queue(running: Network, engine: PacedServer) -> None:
    """With every slot taken a third request waits; its hang-up frees its place and it never reaches the engine."""
    before = len(engine.requests)
    threads = []
    clients = [running.client() for _ in range(3)]

    def post(http: httpx.Client) -> None:
        try:
            http.post("/v1/chat/completions", json=body("tokens=100000 gap=0.01", stream=False))
        except (httpx.HTTPError, RuntimeError, OSError):
            return

    for index, http in enumerate(clients):
        threads.append(threading.Thread(target=post, args=(http,)))
        threads[-1].start()
        if index < 2:
            engine.wait_for(before + index + 1)
    eventually(lambda: queued(httpx.get(f"{running.base_url}/metrics").text) == 1, what="the third request's wait")
    close_sockets(clients[2])
    for http in clients[:2]:
        close_sockets(http)
    for thread in threads:
        thread.join(60)
    assert len(engine.requests) == before + 2
    assert all(seen.has_ended.wait(60) for seen in engine.requests)
    assert running.check_books() == []


def queued(metrics: str) -> int:
    lines = [line for line in metrics.splitlines() if line.startswith("hush_queue_waiting")]
    return round(sum(float(line.rsplit(" ", 1)[1]) for line in lines))
