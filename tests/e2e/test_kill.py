"""kill -9 of provider, consumer or coordinator at every stage: the books balance and nobody pays for what did not arrive."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.network import Network, environment, network
from support.paced_server import PacedServer, paced_server
from support.waiting import eventually

STREAM = "tokens=100000 gap=0.01"


@pytest.fixture
def engine() -> Iterator[PacedServer]:
    with paced_server() as server:
        yield server


@pytest.fixture
def running(tmp_path: Path, engine: PacedServer) -> Iterator[Network]:
    with network(tmp_path) as made:
        made.start_provider(engine.model_source)
        yield made


def body(words: str, **more: Any) -> dict[str, Any]:
    return {"model": "paced", "messages": [{"role": "user", "content": words}], "max_tokens": 4096, **more}


def settled_balance(running: Network) -> dict[str, int]:
    """Return the balance once nothing is held any more."""

    def released() -> dict[str, int] | None:
        balance = running.balance()
        return balance if balance["held_micro_usd"] == 0 else None

    return eventually(released, what="the release of every hold")


CONSUMER = """
import sys, httpx
with httpx.stream("POST", sys.argv[1] + "/v1/chat/completions", timeout=60,
                  headers={"Authorization": "Bearer " + sys.argv[2]},
                  json={"model": "paced", "stream": True, "max_tokens": 4096,
                        "messages": [{"role": "user", "content": sys.argv[3]}]}) as response:
    for line in response.iter_lines():
        print(line, flush=True)
"""


def start_consumer(running: Network, words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CONSUMER, running.base_url, running.api_key, words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(running.home),
    )


def wait_for_content(consumer: subprocess.Popen[str]) -> None:
    assert consumer.stdout
    for line in consumer.stdout:
        if '"content":"t' in line.replace(": ", ":"):
            return
    raise AssertionError("no content reached the consumer")


def end(consumer: subprocess.Popen[str]) -> None:
    consumer.kill()
    consumer.wait()
    if consumer.stdout:
        consumer.stdout.close()


def test_a_consumer_killed_before_content_pays_nothing(running: Network, engine: PacedServer) -> None:
    consumer = start_consumer(running, "first=60 tokens=2")
    engine.wait_for(1)
    end(consumer)
    assert engine.requests[0].has_ended.wait(60)
    assert engine.requests[0].was_cut
    assert settled_balance(running)["spendable_micro_usd"] == 5_000_000
    assert running.check_books() == []


def test_a_consumer_killed_mid_stream_pays_for_what_was_relayed(running: Network, engine: PacedServer) -> None:
    consumer = start_consumer(running, STREAM)
    wait_for_content(consumer)
    end(consumer)
    seen = engine.wait_for(1)
    assert seen.has_ended.wait(60)
    spent = 5_000_000 - settled_balance(running)["spendable_micro_usd"]
    most = -(-(7 * 100_000 + (seen.sent + 64) * 400_000) // 1_000_000)
    assert 0 < spent <= most
    assert running.check_books() == []


def test_a_provider_killed_before_content_is_replaced_without_the_consumer_noticing(
    running: Network, engine: PacedServer
) -> None:
    with paced_server(is_prompt=True) as second_engine:
        consumer = start_consumer(running, "first=60 tokens=3")
        engine.wait_for(1)
        running.start_provider(second_engine.model_source, name="two")
        running.providers[0].kill()
        output, _ = consumer.communicate(timeout=60)
        assert "t2 " in output
        assert output.rstrip().endswith("data: [DONE]")
        assert len(second_engine.requests) == 1
    assert running.check_books() == []


def test_a_provider_killed_mid_stream_ends_the_answer_with_an_error(running: Network, engine: PacedServer) -> None:
    consumer = start_consumer(running, STREAM)
    wait_for_content(consumer)
    running.providers[0].kill()
    output, _ = consumer.communicate(timeout=60)
    assert '"error"' in output
    assert "[DONE]" not in output
    spent = 5_000_000 - settled_balance(running)["spendable_micro_usd"]
    assert 0 < spent <= -(-(7 * 100_000 + (engine.requests[0].sent + 64) * 400_000) // 1_000_000)
    assert running.check_books() == []


def restarted(running: Network) -> dict[str, int]:
    """Start the coordinator again on the same database and return the settled balance."""
    assert running.coordinator
    running.coordinator.kill()
    running.start_coordinator()
    return settled_balance(running)


def test_a_coordinator_killed_before_content_charges_nothing(running: Network, engine: PacedServer) -> None:
    consumer = start_consumer(running, "first=60 tokens=2")
    engine.wait_for(1)
    assert restarted(running)["spendable_micro_usd"] == 5_000_000
    end(consumer)
    assert running.check_books() == []


def test_a_coordinator_killed_mid_stream_charges_at_most_what_was_relayed(
    running: Network, engine: PacedServer
) -> None:
    consumer = start_consumer(running, STREAM)
    wait_for_content(consumer)
    spent = 5_000_000 - restarted(running)["spendable_micro_usd"]
    end(consumer)
    assert 0 <= spent <= -(-(7 * 100_000 + (engine.requests[0].sent + 64) * 400_000) // 1_000_000)
    assert running.check_books() == []


def ask_until_it_dies(running: Network) -> None:
    for _ in range(3):
        with running.client() as http:
            http.post("/v1/chat/completions", json=body("tokens=3")).raise_for_status()


@pytest.mark.parametrize("hook", ["ledger.before_commit", "ledger.after_commit"])
@pytest.mark.parametrize("nth", [1, 2], ids=["hold", "settle"])
def test_a_coordinator_killed_around_a_commit_charges_once_or_not_at_all(
    tmp_path: Path, engine: PacedServer, hook: str, nth: int
) -> None:
    with network(tmp_path) as running:
        assert running.coordinator
        running.coordinator.stop()
        process = running.start_coordinator(env={"HUSH_FAULT": f"{hook}:kill:{nth}"})
        running.start_provider(engine.model_source)
        with pytest.raises(httpx.HTTPError):
            ask_until_it_dies(running)
        assert process.wait() == -signal.SIGKILL
        spent = 5_000_000 - restarted(running)["spendable_micro_usd"]
        one = -(-(7 * 100_000 + 3 * 400_000) // 1_000_000)
        assert spent in (0, one)
        assert running.check_books() == []


def test_a_provider_comes_back_by_itself_after_the_coordinator_was_killed(
    running: Network, engine: PacedServer
) -> None:
    restarted(running)
    with running.client() as http:
        eventually(
            lambda: http.post("/v1/chat/completions", json=body("tokens=2")).status_code == 200,
            what="the provider's return",
        )
    assert engine.requests
