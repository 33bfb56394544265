"""`hush coordinator serve --workers 2` on a real Postgres: real processes, sockets, providers, signals and kills."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from hushnet.sealing.envelope import RequestFields, SealedRequest, seal_request
from hushnet.sealing.opening import FrameOpener
from hushnet.sealing.statements import KeyPolicy, SerialMemory, verify_keys
from hushnet.sealing.streaming import MEDIA_REQUEST, MEDIA_STREAM, BinaryRecordReader
from support.network import HUSH, Network, environment, hush
from support.paced_server import PacedServer, paced_server
from support.postgres import fresh_database
from support.waiting import eventually
from support.workers import both_serve, connected_to, kill, metric, other, pids, worker_of_provider, workers

PATH = "/v1/chat/completions"
STREAM = "tokens=100000 gap=0.01"


@pytest.fixture
def engine() -> Iterator[PacedServer]:
    with paced_server() as server:
        yield server


@pytest.fixture
def running(tmp_path: Path, engine: PacedServer) -> Iterator[Network]:
    """Two workers and a provider, for a test to break."""
    with fresh_database() as url, workers(tmp_path, url) as made:
        made.start_provider(engine.model_source)
        yield made


@pytest.fixture(scope="module")
def shared_engine() -> Iterator[PacedServer]:
    with paced_server() as server:
        yield server


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, shared_engine: PacedServer) -> Iterator[Network]:
    """Two workers and a provider for all tests that leave them as they were: starting them takes seconds."""
    with fresh_database() as url, workers(tmp_path_factory.mktemp("shared"), url) as made:
        made.start_provider(shared_engine.model_source, slots=2)
        yield made


def body(words: str, **more: Any) -> dict[str, Any]:
    return {"model": "paced", "messages": [{"role": "user", "content": words}], "max_tokens": 4096, **more}


def settled_balance(running: Network) -> dict[str, int]:
    def released() -> dict[str, int] | None:
        balance = running.balance()
        return balance if balance["held_micro_usd"] == 0 else None

    return eventually(released, what="the release of every hold")


def sealed(client: httpx.Client, words: str, *, is_stream: bool) -> SealedRequest:
    """Seal to the one provider that the worker of `client` knows."""
    [listing] = client.get("/v1/sealing/providers").json()["providers"]
    document = client.get("/v1/sealing/providers").json()
    recipient = verify_keys(listing, KeyPolicy(network=document["network"]), document["time"], SerialMemory())
    fields = RequestFields(
        endpoint=PATH, model="paced", stream=is_stream, max_output_tokens=4096, max_prompt_tokens=4096
    )
    data = json.dumps(body(words, stream=is_stream)).encode()
    return seal_request(fields, meta={"frame_pad": 64}, data=data, recipients=[recipient], now=document["time"])


def opened(request: SealedRequest, raw: bytes) -> bytes:
    """Open a sealed answer to its proper end."""
    reader, opener = BinaryRecordReader(), FrameOpener(request)
    frames = [frame for record in reader.feed(raw) if (frame := opener.open(record)) is not None]
    opener.finish()
    return b"".join(frame.data for frame in frames if frame.kind.name in ("BOILERPLATE", "CONTENT"))


SEALED = {"content-type": MEDIA_REQUEST, "accept": MEDIA_STREAM}


def completed(running: Network, worker: int, mode: str) -> float:
    """Return how many requests of a mode a worker has completed."""
    page = httpx.get(f"{running.base_url}/metrics").text
    line = rf'^hush_requests_total{{worker="{worker}",mode="{mode}",outcome="completed"}} (\S+)$'
    found = re.search(line, page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_a_request_on_one_worker_is_served_by_a_provider_of_the_other(shared: Network) -> None:
    holder = worker_of_provider(shared)
    had = settled_balance(shared)["spendable_micro_usd"]
    before = [completed(shared, other(holder), mode) for mode in ("standard", "sealed")]
    with connected_to(shared, other(holder)) as client:
        streamed = client.post(PATH, json=body("tokens=3", stream=True))
        assert streamed.text.rstrip().endswith("data: [DONE]")
        assert "t2 " in streamed.text
        whole = client.post(PATH, json=body("tokens=3"))
        assert whole.json()["choices"][0]["message"]["content"] == "t0 t1 t2 "
        for is_stream in (True, False):
            request = sealed(client, "tokens=3", is_stream=is_stream)
            answer = client.post(PATH, content=request.raw, headers=SEALED)
            assert answer.status_code == 200, answer.text
            assert b"t2 " in opened(request, answer.content)
    after = [completed(shared, other(holder), mode) for mode in ("standard", "sealed")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [2, 2]
    cost = -(-(7 * 100_000 + 3 * 400_000) // 1_000_000)
    assert settled_balance(shared)["spendable_micro_usd"] == had - 4 * cost
    assert shared.check_books() == []


def test_a_hang_up_on_one_worker_stops_the_engine_behind_the_other(shared: Network, shared_engine: PacedServer) -> None:
    holder = worker_of_provider(shared)
    had, before = settled_balance(shared)["spendable_micro_usd"], len(shared_engine.requests)
    with connected_to(shared, other(holder)) as client:
        with client.stream("POST", PATH, json=body(STREAM, stream=True)) as response:
            next(line for line in response.iter_lines() if "t1 " in line)
        seen = shared_engine.wait_for(before + 1)
        assert seen.has_ended.wait(60)
        assert seen.was_cut
    assert 0 < had - settled_balance(shared)["spendable_micro_usd"] < 5_000
    eventually(lambda: not any(metric(shared, "hush_attempts_hosted").values()), what="the end of the attempt")
    assert shared.check_books() == []


def relayed_until_cut(client: httpx.Client, began: threading.Event) -> tuple[str, bool]:
    """Stream until the answer ends or its connection breaks; return what came, and whether it broke."""
    text = ""
    try:
        with client.stream("POST", PATH, json=body(STREAM, stream=True)) as response:
            for line in response.iter_lines():
                text += line
                if "t1 " in line:
                    began.set()
    except httpx.HTTPError:
        return text, True
    return text, False


def test_the_worker_of_a_consumer_killed_mid_stream_is_settled_for_and_started_again(
    running: Network, engine: PacedServer
) -> None:
    holder = worker_of_provider(running)
    began = threading.Event()
    with connected_to(running, other(holder)) as client, ThreadPoolExecutor(1) as thread:
        consuming = thread.submit(relayed_until_cut, client, began)
        assert began.wait(30)
        dead = pids(running)[other(holder)]
        kill(running, other(holder))
        text, is_broken = consuming.result(30)
    assert is_broken
    assert "[DONE]" not in text
    seen = engine.wait_for(1)
    assert seen.has_ended.wait(60)
    assert seen.was_cut
    eventually(lambda: both_serve(running, but=dead), what="the return of the worker")
    spent = 5_000_000 - settled_balance(running)["spendable_micro_usd"]
    assert 0 <= spent <= -(-(7 * 100_000 + (seen.sent + 64) * 400_000) // 1_000_000)
    assert running.check_books() == []
    assert worker_of_provider(running) == holder
    with connected_to(running, other(holder)) as client:
        assert client.post(PATH, json=body("tokens=2")).status_code == 200


def test_the_worker_of_a_provider_killed_mid_stream_ends_the_answer_with_an_error(
    running: Network, engine: PacedServer
) -> None:
    holder = worker_of_provider(running)
    began = threading.Event()
    with connected_to(running, other(holder)) as client, ThreadPoolExecutor(1) as thread:
        consuming = thread.submit(relayed_until_cut, client, began)
        assert began.wait(30)
        dead = pids(running)[holder]
        kill(running, holder)
        text, is_broken = consuming.result(30)
        assert not is_broken
        assert '"error"' in text
        assert "link_lost" in text
        assert "[DONE]" not in text
    assert engine.requests[0].has_ended.wait(60)
    spent = 5_000_000 - settled_balance(running)["spendable_micro_usd"]
    assert 0 < spent <= -(-(7 * 100_000 + (engine.requests[0].sent + 64) * 400_000) // 1_000_000)
    eventually(lambda: both_serve(running, but=dead), what="the return of the worker")
    worker_of_provider(running)
    with running.client() as client:
        assert client.post(PATH, json=body("tokens=2")).status_code == 200
    assert running.check_books() == []


def test_a_revoked_token_ends_the_link_and_a_revoked_key_works_nowhere_at_once(running: Network) -> None:
    holder = worker_of_provider(running)
    admin = running.operator_key
    spare = running.make_key(running.account_id, "user")
    with connected_to(running, holder) as here, connected_to(running, other(holder), key=admin) as there:
        keys = there.get(f"/v1/admin/accounts/{running.account_id}/keys").json()["data"]
        headers = {"authorization": f"Bearer {spare}"}
        assert here.get("/v1/balance", headers=headers).status_code == 200
        newest = keys[-1]["id"]
        assert there.delete(f"/v1/admin/accounts/{running.account_id}/keys/{newest}").status_code == 200
        assert here.get("/v1/balance", headers=headers).status_code == 401
        [token] = there.get(f"/v1/admin/accounts/{running.provider_account_id}/keys").json()["data"]
        there.delete(f"/v1/admin/accounts/{running.provider_account_id}/keys/{token['id']}")
        assert there.get("/v1/sealing/providers").json()["providers"] == []
        eventually(lambda: not any(metric(running, "hush_providers_connected").values()), what="the end of the link")
    assert running.providers[0].wait(30) != 0  # the token will never do again


def test_a_suspended_provider_serves_on_no_worker_until_it_is_restored(running: Network) -> None:
    holder = worker_of_provider(running)
    with (
        connected_to(running, holder) as here,
        connected_to(running, other(holder), key=running.operator_key) as there,
    ):
        [record] = there.get("/v1/admin/providers").json()["data"]
        suspended = there.post(f"/v1/admin/providers/{record['provider_id']}/suspend", json={"reason": "test"})
        assert suspended.json()["was_connected"]
        assert here.get("/v1/sealing/providers").json()["providers"] == []
        assert here.post(PATH, json=body("tokens=1")).status_code in {404, 503}


def test_an_envelope_posted_to_both_workers_runs_once(shared: Network, shared_engine: PacedServer) -> None:
    holder = worker_of_provider(shared)
    before = len(shared_engine.requests)
    with connected_to(shared, holder) as here, connected_to(shared, other(holder)) as there:
        for _ in range(4):
            request = sealed(here, "tokens=2", is_stream=False)
            with ThreadPoolExecutor(2) as threads:
                asked = [threads.submit(each.post, PATH, content=request.raw, headers=SEALED) for each in (here, there)]
                answers = [each.result(30) for each in asked]
            assert sorted(answer.status_code for answer in answers) == [200, 409]
            assert there.post(PATH, content=request.raw, headers=SEALED).status_code == 409
    assert len(shared_engine.requests) == before + 4


def test_both_workers_dispatch_to_one_provider_without_overcommitting_it(
    shared: Network, shared_engine: PacedServer
) -> None:
    holder = worker_of_provider(shared)
    before = len(shared_engine.requests)
    with ExitStack() as stack:
        clients = [
            stack.enter_context(connected_to(shared, worker)) for _ in range(6) for worker in (holder, other(holder))
        ]
        threads = stack.enter_context(ThreadPoolExecutor(len(clients)))
        asked = [threads.submit(each.post, PATH, json=body("tokens=4 gap=0.02")) for each in clients]
        answers = [each.result(60) for each in asked]
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert sum(answer.status_code == 200 for answer in answers) >= 6
    spans = [(seen.started_s, seen.ended_s) for seen in shared_engine.requests[before:]]
    most = max(sum(start <= at < end for start, end in spans) for at, _ in spans)
    assert most <= 2
    settled_balance(shared)
    assert shared.check_books() == []


def test_metrics_of_both_workers_are_on_any_page_and_log_lines_carry_the_number(shared: Network) -> None:
    for worker in (1, 2):
        with connected_to(shared, worker) as client:
            page = client.get("/metrics").text
            assert 'hush_workers_connected{worker="1"} 1.0' in page
            assert 'hush_workers_connected{worker="2"} 1.0' in page
            assert page.count("# TYPE hush_workers_connected gauge") == 1
            assert 'process_resident_memory_bytes{worker="2"}' in page
    assert shared.coordinator
    log = shared.coordinator.log.read_text()
    for worker in (1, 2):
        assert f"worker={worker}" in next(
            line for line in log.splitlines() if "coordinator started" in line and f"worker={worker}" in line
        )


def test_sigterm_lets_a_crossing_request_finish_and_a_second_one_cuts(running: Network, engine: PacedServer) -> None:
    holder = worker_of_provider(running)
    assert running.coordinator
    with connected_to(running, other(holder)) as client, ThreadPoolExecutor(1) as thread:
        asked = thread.submit(client.post, PATH, json=body("tokens=40 gap=0.05", stream=True))
        assert engine.wait_for(1).has_sent.wait(30)
        running.coordinator._process.send_signal(signal.SIGTERM)
        answer = asked.result(30)
        assert answer.text.rstrip().endswith("data: [DONE]")
    assert running.coordinator.wait() == 0
    assert "Traceback" not in running.coordinator.log.read_text()


def test_a_second_signal_cuts_every_worker_and_says_so_in_the_exit_status(
    running: Network, engine: PacedServer
) -> None:
    holder = worker_of_provider(running)
    assert running.coordinator
    workers_were = pids(running)
    began = threading.Event()
    with connected_to(running, other(holder)) as client, ThreadPoolExecutor(1) as thread:
        consuming = thread.submit(relayed_until_cut, client, began)
        assert began.wait(30)
        running.coordinator._process.send_signal(signal.SIGTERM)
        eventually(lambda: not _listens(running), what="the end of listening")
        running.coordinator._process.send_signal(signal.SIGTERM)
        assert running.coordinator.wait(60) == 1
        assert "[DONE]" not in consuming.result(30)[0]
    for pid in workers_were.values():
        assert not Path(f"/proc/{pid}").exists()


def _listens(running: Network) -> bool:
    try:
        httpx.get(f"{running.base_url}/healthz")
    except httpx.HTTPError:
        return False
    return True


def test_workers_stop_by_themselves_when_their_supervisor_was_killed(running: Network) -> None:
    assert running.coordinator
    workers_were = pids(running)
    running.coordinator.kill()
    for pid in workers_were.values():
        eventually(lambda pid=pid: not Path(f"/proc/{pid}").exists(), what="the end of a worker")


def serve(home: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    ports = ("--port", "0", "--link-port", "0") if "--port" not in arguments else ()
    return hush(home, "coordinator", "serve", *ports, "--workers", "2", *arguments, env=env)


def test_several_workers_on_sqlite_are_refused_with_what_to_do(tmp_path: Path) -> None:
    refused = serve(tmp_path)
    assert refused.returncode == 2
    assert "workers can't share a SQLite database" in refused.stderr
    assert "postgresql://" in refused.stderr


def test_a_worker_that_cannot_start_ends_the_command_with_its_error_once(tmp_path: Path) -> None:
    ended = serve(tmp_path, HUSH_DATABASE="postgresql://nobody@127.0.0.1:1/none")
    assert ended.returncode == 1
    assert ended.stderr.count("the postgresql database cannot be opened") == 1
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_a_port_of_another_coordinator_of_several_workers_is_refused(shared: Network, tmp_path: Path) -> None:
    url = httpx.URL(shared.base_url)
    database = shared.env["HUSH_DATABASE"]
    ended = serve(tmp_path, "--port", str(url.port), "--link-port", "0", HUSH_DATABASE=database)
    assert ended.returncode == 2
    assert f"port {url.port} on 127.0.0.1 is in use" in ended.stderr


def test_a_worker_is_not_started_by_hand(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*HUSH, "coordinator", "worker"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment(tmp_path),
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "started by its supervisor" in ended.stderr
    assert sys.executable not in ended.stderr
