"""From a clean clone to the first token, and what the network adds to the engine.

Rounds interleave three paths to the same model with the same greedy request: the engine called directly in this process,
standard mode (stock HTTP stream) and sealed mode (the SDK). The ratio to direct is the figure. `HUSH_BENCH_ROUNDS` (20).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psutil

from bench.record import ROOT, Figure, write
from hushnet.dialects.openai_chat import Delta, decode_request
from hushnet.provider.engines.base import Engine
from hushnet.provider.engines.registry import load_engine
from hushnet.provider.models.source import resolve_model
from hushnet.sdk.client import Client

ROUNDS = int(os.environ.get("HUSH_BENCH_ROUNDS", "20"))
TOKENS = 96
QUESTION = "Tell me a story."
BODY = {
    "model": "hush-tiny",
    "messages": [{"role": "user", "content": QUESTION}],
    "stream": True,
    "max_tokens": TOKENS,
    "temperature": 0,
    "stream_options": {"include_usage": True},
}
LOAD_STREAMS = 16


def main() -> None:
    """Measure and write the result."""
    figures: dict[str, Figure] = {}
    figures["setup_warm_s"] = Figure(setup_warm_s(), "s")
    figures["hush_help_ms"] = Figure(hush_help_ms(), "ms")
    with tempfile.TemporaryDirectory() as home, running(Path(home)) as (ready, processes):
        figures |= memory(processes, "idle_rss_mib")
        rounds = asyncio.run(interleaved(ready, Path(home)))
        load(ready)
        figures |= memory(processes, "loaded_rss_mib")
    figures |= compare(rounds)
    print(json.dumps({key: [round(figure.value, 2), figure.ratio] for key, figure in figures.items()}, indent=1))
    write("first-minute", figures, rounds)


def setup_warm_s() -> float:
    """Clone the committed tree, run `make setup` and `hush up` until it is ready, with a warm package cache."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "hushnet"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        environment = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
        started = time.perf_counter()
        subprocess.run(["make", "setup"], cwd=clone, check=True, stdout=subprocess.DEVNULL, env=environment)
        command = [str(clone / ".venv/bin/hush"), "up", "--json", "--port", "0", "--home", str(Path(folder) / "home")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
        try:
            ready = json.loads(process.stdout.readline() if process.stdout else b"")
            with httpx.Client(timeout=60) as http:
                standard(http, ready)
            return time.perf_counter() - started
        finally:
            process.terminate()
            process.wait()


def hush_help_ms() -> float:
    """Return the median wall time of `hush --help`."""
    hush = shutil.which("hush", path=str(Path(sys.executable).parent)) or "hush"
    times = []
    for _ in range(10):
        started = time.perf_counter()
        subprocess.run([hush, "--help"], check=True, stdout=subprocess.DEVNULL)
        times.append((time.perf_counter() - started) * 1000)
    return median(times)


@contextmanager
def running(home: Path) -> Iterator[tuple[dict[str, Any], dict[str, psutil.Process]]]:
    """Run `hush up`; yield its ready line and its processes by name."""
    command = [
        sys.executable,
        "-m",
        "hushnet",
        "up",
        "--json",
        "--port",
        "0",
        "--home",
        str(home),
        "--slots",
        str(LOAD_STREAMS),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        ready = json.loads(process.stdout.readline() if process.stdout else b"")
        top = psutil.Process(process.pid)
        children = {child.cmdline()[3]: child for child in top.children() if len(child.cmdline()) > 3}
        yield ready, {"up": top, **children}
    finally:
        process.terminate()
        process.wait()


def memory(processes: dict[str, psutil.Process], key: str) -> dict[str, Figure]:
    """Return the resident memory of each process."""
    return {
        f"{key}_{name}": Figure(round(process.memory_info().rss / 2**20, 1), "MiB")
        for name, process in processes.items()
    }


async def interleaved(ready: dict[str, Any], home: Path) -> list[dict[str, Any]]:
    """Ask the same question by each path in turn; the first round of each warms it and is not counted."""
    engine = load_engine("llamacpp")
    await engine.load(await resolve_model("hush-tiny", home=home))
    rounds: list[dict[str, Any]] = []
    with httpx.Client(timeout=60) as http, Client(base_url=ready["base_url"], api_key=ready["api_key"]) as client:
        for number in range(ROUNDS + 1):
            taken = {
                "direct": await direct(engine),
                "standard": await asyncio.to_thread(standard, http, ready),
                "sealed": await asyncio.to_thread(sealed, client),
            }
            if number:
                rounds.append(taken)
    await engine.unload()
    return rounds


class Watch:
    """Times a stream: its first token and its end."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._first = 0.0
        self._ended = 0.0

    def content(self) -> None:
        self._first = self._first or time.perf_counter()

    def end(self) -> None:
        self._ended = time.perf_counter()

    def taken(self, tokens: int) -> dict[str, float]:
        """Return first token in ms, and tokens a second over the whole answer."""
        seconds = self._ended - self._started
        return {
            "first_token_ms": (self._first - self._started) * 1000,
            "tokens_per_s": tokens / seconds,
            "tokens": tokens,
        }


async def direct(engine: Engine) -> dict[str, float]:
    """Call the engine in this process."""
    watch = Watch()
    tokens = 0
    async for event in engine.generate(decode_request(json.dumps(BODY).encode()), max_output_tokens=TOKENS):
        if isinstance(event, Delta):
            watch.content()
        else:
            tokens = event.usage.output
    watch.end()
    return watch.taken(tokens)


def standard(http: httpx.Client, ready: dict[str, Any]) -> dict[str, float]:
    """Stream over plain HTTP, as a stock client does."""
    watch = Watch()
    headers = {"Authorization": f"Bearer {ready['api_key']}"}
    tokens = 0
    with http.stream("POST", f"{ready['base_url']}/v1/chat/completions", json=BODY, headers=headers) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if line.startswith("data: {"):
                chunk = json.loads(line[6:])
                if chunk.get("usage"):
                    tokens = chunk["usage"]["completion_tokens"]
                if any(choice["delta"].get("content") for choice in chunk["choices"]):
                    watch.content()
    watch.end()
    return watch.taken(tokens)


def sealed(client: Client) -> dict[str, float]:
    """Stream sealed through the SDK; the look-up of the cost after the end is not counted."""
    watch = Watch()
    stream = client.chat.completions.create(
        model=BODY["model"], messages=BODY["messages"], stream=True, max_tokens=TOKENS, temperature=0
    )
    for chunk in stream:
        for choice in chunk.choices:
            if choice.delta.content:
                watch.content()
            if choice.finish_reason:
                watch.end()
    return watch.taken(stream.usage.completion_tokens if stream.usage else 0)


def load(ready: dict[str, Any]) -> None:
    """Hold `LOAD_STREAMS` streams at once, a few times over."""

    async def run() -> None:
        async with httpx.AsyncClient(timeout=120) as http:
            headers = {"Authorization": f"Bearer {ready['api_key']}"}
            url = f"{ready['base_url']}/v1/chat/completions"
            for _ in range(4):
                posts = [http.post(url, json=BODY, headers=headers) for _ in range(LOAD_STREAMS)]
                for response in await asyncio.gather(*posts):
                    response.raise_for_status()

    asyncio.run(run())


def compare(rounds: list[dict[str, Any]]) -> dict[str, Figure]:
    """Turn rounds into medians, and ratios to direct taken round by round."""
    figures: dict[str, Figure] = {}
    pick: Callable[[str, str], list[float]] = lambda path, key: [taken[path][key] for taken in rounds]  # noqa: E731
    for key, unit in (("first_token_ms", "ms"), ("tokens_per_s", "tokens/s")):
        for path in ("direct", "standard", "sealed"):
            pairs = zip(pick(path, key), pick("direct", key), strict=True)
            ratio = None if path == "direct" else median(mine / theirs for mine, theirs in pairs)
            peer = None if path == "direct" else "direct"
            figures[f"{key}_{path}"] = Figure(median(pick(path, key)), unit, peer, ratio)
    return figures


if __name__ == "__main__":
    main()
