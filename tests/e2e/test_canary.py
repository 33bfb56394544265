"""A canary prompt is looked for everywhere it must not be: memory, logs, database, metrics, error bodies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import hushnet
from hushnet.foundation.errors import HushnetError
from support.network import Network, hush, network
from support.paced_server import PacedServer, paced_server

SEALED_CANARY = "xylophone-marmalade-sealed-7731"
STANDARD_CANARY = "xylophone-marmalade-standard-9948"
ANSWER_CANARY = "t41 t42 t43"


@pytest.fixture(scope="module")
def engine() -> Iterator[PacedServer]:
    with paced_server() as server:
        yield server


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, engine: PacedServer) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("canary"), env={"HUSH_LOG_LEVEL": "debug"}) as made:
        made.start_provider(engine.model_source)
        yield made


def ask(running: Network, canary: str, *, sealed: bool, words: str = "tokens=60") -> str:
    with hushnet.Client(base_url=running.base_url, api_key=running.api_key, sealed=sealed) as client:
        stream = client.chat.completions.create(
            model="paced", messages=[{"role": "user", "content": f"{canary} {words}"}], stream=True
        )
        return "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)


def memory_of(pid: int) -> Iterator[bytes]:
    """Yield every readable mapping of a process (the kernel lets its parent and root read it)."""
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
            if not match or "[vvar" in line or "[vsyscall]" in line:
                continue
            start, end = (int(text, 16) for text in match.groups())
            try:
                memory.seek(start)
                yield memory.read(end - start)
            except (OSError, ValueError, OverflowError):
                continue


def is_in_memory(pid: int, needle: str) -> bool:
    wanted = needle.encode()
    return any(wanted in part for part in memory_of(pid))


def test_in_sealed_mode_the_coordinators_memory_never_holds_prompt_or_answer(
    tmp_path: Path, engine: PacedServer
) -> None:
    with network(tmp_path) as fresh:  # one that never served a standard request
        fresh.start_provider(engine.model_source)
        assert fresh.coordinator
        for _ in range(3):
            assert ANSWER_CANARY in ask(fresh, SEALED_CANARY, sealed=True)
        assert not is_in_memory(fresh.coordinator.pid, SEALED_CANARY)
        assert not is_in_memory(fresh.coordinator.pid, ANSWER_CANARY)


def test_the_memory_search_finds_what_is_there(running: Network, engine: PacedServer) -> None:
    """The check above can fail: while a standard request runs, the same search finds its prompt."""
    assert running.coordinator
    before = len(engine.requests)
    with running.client() as http:
        content = f"{STANDARD_CANARY} tokens=5000 gap=0.02"
        body = {"model": "paced", "stream": True, "messages": [{"role": "user", "content": content}]}
        with http.stream("POST", "/v1/chat/completions", json=body):
            engine.wait_for(before + 1).has_sent.wait(60)
            assert is_in_memory(running.coordinator.pid, STANDARD_CANARY)


def everything_written(running: Network) -> Iterator[tuple[str, bytes]]:
    for path in running.home.rglob("*"):
        if path.is_file():
            yield path.name, path.read_bytes()
    yield "/metrics", httpx.get(f"{running.base_url}/metrics").content
    for path in ("/v1/models", "/v1/sealing/providers", "/v1/providers/attestation", "/readyz"):
        yield path, httpx.get(running.base_url + path).content


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "standard"])
def test_nothing_that_is_written_or_published_holds_prompt_or_answer(running: Network, sealed: bool) -> None:
    canary = SEALED_CANARY if sealed else STANDARD_CANARY
    ask(running, canary, sealed=sealed)
    with pytest.raises(HushnetError):
        ask(running, canary, sealed=sealed, words="tokens=9 fail_after=3")
    with pytest.raises(HushnetError):
        ask(running, canary, sealed=sealed, words="status=500")
    for name, content in everything_written(running):
        assert canary.encode() not in content, name
        assert ANSWER_CANARY.encode() not in content, name
        assert running.api_key.encode() not in content or name == "consumer.toml", name
        assert running.provider_token.encode() not in content, name


def test_error_bodies_do_not_repeat_what_was_sent(running: Network) -> None:
    with running.client() as http:
        bodies = [
            {"model": "paced", "messages": [{"role": STANDARD_CANARY, "content": STANDARD_CANARY}]},
            {"model": "paced", "messages": STANDARD_CANARY},
            {
                "model": "paced",
                "messages": [{"role": "user", "content": STANDARD_CANARY}],
                "temperature": STANDARD_CANARY,
            },
            {"model": "paced", "messages": [{"role": "user", "content": STANDARD_CANARY}], "n": 7},
        ]
        for body in bodies:
            response = http.post("/v1/chat/completions", json=body)
            assert response.status_code == 400
            assert STANDARD_CANARY not in response.text
        cut = http.post(
            "/v1/chat/completions", content=b'{"model": "paced", "messages": [{"content": "' + STANDARD_CANARY.encode()
        )
        assert cut.status_code == 400
        assert STANDARD_CANARY not in cut.text


def test_the_command_line_shows_no_key(running: Network) -> None:
    shown = hush(running.home, "doctor", "--base-url", running.base_url, env={"HUSH_API_KEY": running.api_key})
    assert running.api_key not in shown.stdout + shown.stderr
