"""Bad input gets its documented error, and other requests on the same provider go on."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from support.network import Network, network
from support.paced_server import PacedServer, paced_server

MESSAGES = [{"role": "user", "content": "tokens=2"}]


@pytest.fixture(scope="module")
def engine() -> Iterator[PacedServer]:
    with paced_server() as server:
        yield server


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, engine: PacedServer) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("bad")) as made:
        made.start_provider(engine.model_source)
        yield made


@pytest.fixture(autouse=True)
def the_network_still_serves(running: Network) -> Iterator[None]:
    """After every hostile input, an ordinary request is answered and the books balance."""
    yield
    with running.client() as http:
        answer = http.post("/v1/chat/completions", json={"model": "paced", "messages": MESSAGES})
        assert answer.status_code == 200, answer.text
        assert http.get("/healthz").status_code == 200


def post(running: Network, content: bytes, **headers: str) -> httpx.Response:
    with running.client() as http:
        return http.post(
            "/v1/chat/completions", content=content, headers={"Content-Type": "application/json", **headers}
        )


def code_of(response: httpx.Response) -> str:
    body = response.json()
    code: str = body["error"]["code"] if "error" in body else body["code"]
    return code


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b'{"model": "paced"}',
        b'{"model": 7, "messages": []}',
        b'{"model": "paced", "messages": {}}',
        b'{"model": "paced", "messages": [1]}',
        b'{"model": "paced", "messages": [{"role": "user"}], "stream": "yes"}',
        b'{"model": "paced", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1e400}',
        b'{"model": "paced", "messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
        b"[" * 200_000,
        b'{"model": "paced", "messages": [{"role": "user", "content": "x"}], "metadata": '
        + b'{"a":' * 5000
        + b"1"
        + b"}" * 5000
        + b"}",
    ],
    ids=lambda content: repr(content[:24]),
)
def test_malformed_json_and_wrong_types_are_bad_requests(running: Network, content: bytes) -> None:
    response = post(running, content)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["code"]


@pytest.mark.parametrize("max_tokens", [-1, 0, 2**31, 2**63, 2**64, 10**40, "7", True, None, 1.5])
def test_output_bounds_neither_overflow_nor_shrink_a_hold(running: Network, max_tokens: Any) -> None:
    before = running.balance()["spendable_micro_usd"]
    response = post(running, json.dumps({"model": "paced", "messages": MESSAGES, "max_tokens": max_tokens}).encode())
    if max_tokens is None:
        assert response.status_code == 200
    else:
        assert response.status_code in {400, 402}, response.text
        assert running.balance()["spendable_micro_usd"] == before


def test_a_64_mib_body_is_refused_without_being_read(running: Network) -> None:
    parts = urlsplit(running.base_url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60) as raw:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {running.api_key}\r\nContent-Type: application/json\r\nContent-Length: {64 << 20}\r\n\r\n"
        raw.sendall(head.encode())
        answer = raw.recv(65536)
    assert b" 413 " in answer.split(b"\r\n", 1)[0]


def test_a_chunked_64_mib_body_is_cut_at_the_cap(running: Network) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * (1 << 20)

    with running.client() as http:
        try:
            response = http.post("/v1/chat/completions", content=parts(), headers={"Content-Type": "application/json"})
        except httpx.WriteError:
            return  # the coordinator answered and closed while we were still sending
    assert response.status_code == 413


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "multipart/form-data"])
def test_another_media_type_is_refused(running: Network, content_type: str) -> None:
    assert post(running, b"{}", **{"Content-Type": content_type}).status_code == 415


def test_a_compressed_body_is_refused(running: Network) -> None:
    response = post(
        running, b"{}", **{"Content-Encoding": "gzip", "Content-Type": "application/vnd.hushnet.sealed-request"}
    )
    assert response.status_code == 415


@pytest.mark.parametrize("content", [b"", b"HSE1", b"HSE2" + bytes(100), b"\x00" * 5000, b"HSE1" + b"\xff" * 5000])
def test_a_hostile_envelope_is_a_bad_request(running: Network, content: bytes) -> None:
    response = post(running, content, **{"Content-Type": "application/vnd.hushnet.sealed-request"})
    assert response.status_code == 400
    assert code_of(response) in {"bad_envelope", "unsupported_version", "bad_header"}


def test_an_unknown_model_is_said_to_be_unknown(running: Network) -> None:
    response = post(running, json.dumps({"model": "nobody-has-this", "messages": MESSAGES}).encode())
    assert response.status_code in {404, 503}
    assert response.json()["error"]["hint"]


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer x", "Basic abc", "Bearer hk_user_1_" + "A" * 43, "Bearer " + "A" * 5000]
)
def test_unknown_keys_are_refused_alike(running: Network, authorization: str) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    response = httpx.post(
        f"{running.base_url}/v1/chat/completions", json={"model": "paced", "messages": MESSAGES}, headers=headers
    )
    assert response.status_code == 401
    assert code_of(response) == "invalid_api_key"


def test_a_key_of_another_scope_is_refused(running: Network) -> None:
    headers = {"Authorization": f"Bearer {running.provider_token}"}
    response = httpx.post(
        f"{running.base_url}/v1/chat/completions", json={"model": "paced", "messages": MESSAGES}, headers=headers
    )
    assert response.status_code == 403
    assert httpx.post(f"{running.base_url}/v1/admin/accounts", json={"name": "x"}, headers=headers).status_code == 403


def test_an_empty_balance_is_refused_before_anything_is_sent(running: Network, engine: PacedServer) -> None:
    account = running.admin("POST", "/v1/admin/accounts", {"name": "poor"})["account_id"]
    headers = {"Authorization": f"Bearer {running.make_key(account, 'user')}"}
    before = len(engine.requests)
    response = httpx.post(
        f"{running.base_url}/v1/chat/completions", json={"model": "paced", "messages": MESSAGES}, headers=headers
    )
    assert response.status_code == 402
    assert code_of(response) == "insufficient_funds"
    assert len(engine.requests) == before


def test_one_account_cannot_read_anothers_request(running: Network) -> None:
    with running.client() as http:
        response = http.post("/v1/chat/completions", json={"model": "paced", "messages": MESSAGES})
        request_id = response.headers["hushnet-request-id"]
        assert http.get(f"/v1/generations/{request_id}").json()["cost_micro_usd"] > 0
    account = running.admin("POST", "/v1/admin/accounts", {"name": "curious"})["account_id"]
    headers = {"Authorization": f"Bearer {running.make_key(account, 'user')}"}
    assert httpx.get(f"{running.base_url}/v1/generations/{request_id}", headers=headers).status_code == 404


def test_a_provider_that_claims_more_tokens_than_it_sent_is_paid_for_what_arrived(running: Network) -> None:
    before = running.balance()["spendable_micro_usd"]
    body = {"model": "paced", "messages": [{"role": "user", "content": "tokens=2 claim=4000"}], "max_tokens": 4096}
    with running.client() as http:
        response = http.post("/v1/chat/completions", json=body)
        assert response.status_code == 200
        cost = http.get(f"/v1/generations/{response.headers['hushnet-request-id']}").json()["cost_micro_usd"]
    content_bytes = len(response.content)
    assert 0 < cost <= -(-(7 * 100_000 + content_bytes * 400_000) // 1_000_000)
    assert running.balance()["spendable_micro_usd"] == before - cost


def test_an_engine_that_fails_costs_nothing_and_hurts_nobody_else(running: Network, engine: PacedServer) -> None:
    before = len(engine.requests)
    answers: list[httpx.Response] = []

    def long() -> None:
        with running.client() as http:
            answers.append(
                http.post(
                    "/v1/chat/completions",
                    json={"model": "paced", "messages": [{"role": "user", "content": "tokens=40 gap=0.05"}]},
                )
            )

    thread = threading.Thread(target=long)
    thread.start()
    engine.wait_for(before + 1).has_sent.wait(60)
    failed = post(
        running, json.dumps({"model": "paced", "messages": [{"role": "user", "content": "status=500"}]}).encode()
    )
    assert failed.status_code in {500, 502, 503}
    thread.join(30)
    assert answers[0].status_code == 200
    assert "t39" in answers[0].json()["choices"][0]["message"]["content"]


def test_hostile_bytes_on_the_link_are_refused(running: Network) -> None:
    assert running.coordinator
    parts = urlsplit(running.coordinator.ready["link_url"])
    for hostile in (
        b"\x00" * 4096,
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /v1/provider/link HTTP/1.1\r\n" + b"X: y\r\n" * 20_000,
    ):
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60) as raw:
            try:
                raw.sendall(hostile)
                raw.shutdown(socket.SHUT_WR)
                while raw.recv(65536):
                    pass
            except OSError:
                continue
