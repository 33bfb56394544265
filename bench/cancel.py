"""From a consumer's hang-up to the engine's stop, in each phase and both modes: p50 and p99.

The engine is a paced local server attached to a provider (tests/support/paced_server.py); all clocks are the machine's
one monotonic clock. `HUSH_BENCH_ROUNDS` (40) hang-ups a phase, interleaved.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx

import hushnet
from bench.record import Figure, write
from support.network import Network, network
from support.paced_server import PacedServer, Seen, paced_server

ROUNDS = int(os.environ.get("HUSH_BENCH_ROUNDS", "40"))
PHASES = {"before_content": "first=60 tokens=2", "mid_stream": "tokens=100000 gap=0.01"}


def main() -> None:
    """Measure and write the result."""
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as home, paced_server() as engine, network(Path(home)) as running:
        running.start_provider(engine.model_source)
        for number in range(ROUNDS + 1):
            taken = {
                f"{mode}_{phase}": hang_up(running, engine, words, sealed=mode == "sealed")
                for mode in ("standard", "sealed")
                for phase, words in PHASES.items()
            }
            if number:
                rounds.append(taken)
    figures: dict[str, Figure] = {}
    for name in rounds[0]:
        values = sorted(taken[name] for taken in rounds)
        figures[f"cancel_p50_ms_{name}"] = Figure(round(values[len(values) // 2], 2), "ms", "promise of 100 ms", None)
        figures[f"cancel_p99_ms_{name}"] = Figure(
            round(quantiles(values, n=100)[-1], 2), "ms", "promise of 100 ms", None
        )
    figures = {key: Figure(f.value, f.unit, f.peer, round(f.value / 100, 4)) for key, f in figures.items()}
    for key, figure in figures.items():
        print(f"{key}: {figure.value} ms")
    write("cancel", figures, rounds)


def hang_up(running: Network, engine: PacedServer, words: str, *, sealed: bool) -> float:
    """Open a stream, wait for the phase, tear the socket; return milliseconds until the engine stopped."""
    before = len(engine.requests)
    moment: list[float] = []
    with hushnet.Client(base_url=running.base_url, api_key=running.api_key, sealed=sealed) as client:
        watcher = threading.Thread(target=cut, args=(client, engine, before, moment))
        watcher.start()
        try:
            for _ in client.chat.completions.create(
                model="paced", messages=[{"role": "user", "content": words}], max_tokens=4096, stream=True
            ):
                pass
        except (hushnet.HushnetError, httpx.HTTPError, httpx.StreamError, OSError):
            pass
        watcher.join()
    seen = engine.requests[before]
    if not seen.has_ended.wait(10) or not seen.was_cut:
        raise RuntimeError("the engine was not stopped")
    return (seen.ended_s - moment[0]) * 1000


def cut(client: hushnet.Client, engine: PacedServer, before: int, moment: list[float]) -> None:
    """Tear the client's connection as soon as the engine is in the phase."""
    seen: Seen = engine.wait_for(before + 1)
    if seen.settings.get("gap"):
        seen.has_sent.wait(10)
    moment.append(time.monotonic())
    for connection in client.transport._client._transport._pool.connections:  # type: ignore[attr-defined]
        stream = getattr(connection._connection, "_network_stream", None)
        if stream is not None:
            stream.get_extra_info("socket").shutdown(2)


if __name__ == "__main__":
    main()
