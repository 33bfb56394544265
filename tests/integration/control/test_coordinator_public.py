"""What anybody may ask, and how the coordinator starts and stops: over real sockets, with a real provider."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest

from hushnet.coordinator.app import build, initialise
from hushnet.coordinator.app.addresses import link_url
from hushnet.coordinator.settings import CoordinatorSettings, HttpSettings, LinkSettings, load_settings
from hushnet.foundation.clock import SystemClock
from hushnet.foundation.errors import ConfigurationError, StorageError
from support.control import MODEL, Network, network, secret_of
from support.postgres import fresh_database
from support.scripted_engine import ScriptedEngine, say_hello

CANARY = "xyzzy-canary-prompt"


async def test_a_fresh_coordinator_is_alive_ready_and_says_where_to_dial(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        assert (await net.public.get("/healthz")).json() == {"status": "ok"}
        ready = await net.public.get("/readyz")
        assert ready.status_code == 200
        assert set(ready.json()["checks"]) == {"database", "ledger", "link", "serving"}
        found = (await net.public.get("/v1/network")).json()
        assert found["network"] == "hushnet-local"
        assert found["link_url"] == net.coordinator.link_url
        assert (await net.public.get("/v1/models")).json() == {"object": "list", "data": []}


async def test_readiness_falls_when_a_part_fails(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        await net.coordinator.links.aclose()
        answer = await net.until("/readyz", 503)
        assert answer.json()["checks"] == {"database": True, "ledger": True, "link": False, "serving": True}


async def test_readiness_falls_while_the_database_takes_no_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hushnet.coordinator.api.health.CHECK_S_MAX", 0.1)
    monkeypatch.setattr("hushnet.coordinator.api.health.CHECKED_FOR_S", 0.0)
    async with network(tmp_path) as net:
        rival = sqlite3.connect(tmp_path / "coordinator.db", isolation_level=None)
        rival.execute("BEGIN IMMEDIATE")
        answer = await net.until("/readyz", 503)
        assert answer.json()["checks"]["database"] is False
        rival.close()
        await net.until("/readyz", 200)


async def test_a_provider_appears_among_the_models_and_disappears_when_suspended(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        owner = await net.account("owner", scope="provider")
        async with net.provider(tmp_path / "p", owner.key) as provider_id:
            shown = (await net.until(f"/v1/models/{MODEL}")).json()
            assert shown["object"] == "model"
            assert shown["id"] == MODEL
            assert shown["owned_by"] == "hushnet"
            assert (shown["providers"], shown["trust"], shown["context_tokens"]) == (1, "self_signed", 1024)
            assert shown["price"] == {"input": 100_000, "cached": 50_000, "output": 400_000, "minimum": 1}
            listed = (await net.public.get("/v1/models")).json()
            assert listed["data"] == [shown]

            (record,) = await _noted_providers(net)
            assert (record["provider_id"], record["account_id"]) == (provider_id, owner.id)
            answer = await net.operator.post(f"/v1/admin/providers/{provider_id}/suspend", json={"reason": "test"})
            assert answer.json()["was_connected"] is True
            assert (await net.until(f"/v1/models/{MODEL}", 404)).json()["error"]["code"] == "model_not_found"


async def test_metrics_have_no_names_of_people_and_nothing_that_was_said(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        owner = await net.account("owner", scope="provider")
        ann = await net.account("ann", credit_usd="1")
        async with net.provider(tmp_path / "p", owner.key):
            await net.until(f"/v1/models/{MODEL}")
            chat = {"model": MODEL, "messages": [{"role": "user", "content": CANARY}]}
            answer = await ann.http.post("/v1/chat/completions", json=chat)
            assert answer.status_code == 200, answer.text
        text = await _metrics_with(net, "hush_requests_total{")
        for secret in (CANARY, str(ann.id), ann.key_id, ann.key, "ann", answer.headers["hushnet-request-id"]):
            assert secret not in text
        assert 'hush_http_requests_total{method="POST",route="/v1/chat/completions",status="200"} 1.0' in text
        assert 'hush_requests_total{mode="standard",outcome="completed"} 1.0' in text
        assert "hush_providers_connected" in text


async def test_a_request_is_charged_and_shown_to_its_owner_alone(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        owner = await net.account("owner", scope="provider")
        ann, bob = await net.account("ann", credit_usd="1"), await net.account("bob")
        async with net.provider(tmp_path / "p", owner.key) as provider_id:
            await net.until(f"/v1/models/{MODEL}")
            chat = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 16}
            answer = await ann.http.post("/v1/chat/completions", json=chat)
            request_id = answer.headers["hushnet-request-id"]
            shown = (await ann.http.get(f"/v1/generations/{request_id}")).json()
            assert shown["id"] == request_id
            assert shown["provider_id"] == provider_id
            assert (shown["mode"], shown["outcome"], shown["trust"]) == ("standard", "completed", "self_signed")
            assert (shown["input_tokens"], shown["output_tokens"]) == (5, 2)
            assert 1 <= shown["cost_micro_usd"] <= shown["held_micro_usd"]
            balance = (await ann.http.get("/v1/balance")).json()
            assert balance["spendable_micro_usd"] == 1_000_000 - shown["cost_micro_usd"]
            assert balance["held_micro_usd"] == 0
            listed = (await ann.http.get("/v1/generations")).json()["data"]
            assert [row["id"] for row in listed] == [request_id]
            assert (await bob.http.get("/v1/generations")).json()["data"] == []
        other = await bob.http.get(f"/v1/generations/{request_id}")
        assert (other.status_code, other.json()["error"]["code"]) == (404, "not_settled_yet")


async def test_a_paid_job_can_be_created_and_settled(tmp_path: Path) -> None:
    """An ordinary account's request is held for while it runs, paid once it is over, and its provider earns that."""
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def gated(request: object):  # type: ignore[no-untyped-def]
        asked.set()
        await go_on.wait()
        async for event in say_hello(request):  # type: ignore[arg-type]
            yield event

    async with network(tmp_path, price__input=100_000_000, price__output=100_000_000) as net:
        ann, earner = await net.account("ann", credit_usd="1"), await net.account("earner")
        token = await net.operator.post(f"/v1/admin/accounts/{earner.id}/keys", json={"scope": "provider", "name": "m"})
        key = token.json()["key"]
        async with net.provider(tmp_path / "p", key, make_engine=lambda: ScriptedEngine(script=gated)):
            await net.until(f"/v1/models/{MODEL}")
            chat = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 16}
            job = asyncio.create_task(ann.http.post("/v1/chat/completions", json=chat))
            async with asyncio.timeout(60):
                await asked.wait()
            running = (await ann.http.get("/v1/balance")).json()
            go_on.set()
            answer = await job
            request_id = answer.headers["hushnet-request-id"]
            shown = (await ann.http.get(f"/v1/generations/{request_id}")).json()

        assert (answer.status_code, shown["outcome"]) == (200, "completed")
        cost = shown["cost_micro_usd"]
        assert cost == (5 + 2) * 100
        assert running["held_micro_usd"] == shown["held_micro_usd"] > cost
        over = (await ann.http.get("/v1/balance")).json()
        assert (over["held_micro_usd"], over["spendable_micro_usd"]) == (0, 1_000_000 - cost)
        earned = (await earner.http.get("/v1/earnings")).json()
        assert earned["totals"]["earned_micro_usd"] == cost
        assert (await earner.http.get("/v1/balance")).json()["earnings_micro_usd"] == cost


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "invalid_json"),
        (b"[]", "application/json", 400, "wrong_type"),
        (b'{"model":"m","messages":' + b"[" * 50_000, "application/json", 400, None),
        (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "application/json", 400, "json_too_deep"),
        (b"x" * 2**26, "application/json", 413, "body_too_large"),
        (b"x" * 2**26, "application/vnd.hushnet.sealed-request", 413, "body_too_large"),
        (b"HSE1", "application/vnd.hushnet.sealed-request", 400, "bad_envelope"),
        (b"a=1", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    ],
)
async def test_bad_input_gets_its_code(
    tmp_path: Path, content: bytes, content_type: str, status: int, code: str | None
) -> None:
    async with network(tmp_path) as net:
        ann = await net.account("ann", credit_usd="1")
        answer = await ann.http.post("/v1/chat/completions", content=content, headers={"content-type": content_type})
        body = answer.json()
        assert answer.status_code == status, body
        is_sealed = "sealed" in content_type
        assert answer.headers["content-type"] == ("application/problem+json" if is_sealed else "application/json")
        if code is not None:
            assert (body["code"] if is_sealed else body["error"]["code"]) == code


async def test_a_running_stream_ends_before_the_coordinator_does(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def slow(request: object):  # type: ignore[no-untyped-def]
        from hushnet.provider.engines.base import Delta, Finished, Usage

        yield Delta("first", 1)
        await go_on.wait()
        yield Delta("last", 1)
        yield Finished("stop", Usage(input=5, cached=0, output=2))

    async with network(tmp_path, http__drain_s_max=10) as net:
        owner, ann = await net.account("owner", scope="provider"), await net.account("ann", credit_usd="1")
        async with net.provider(tmp_path / "p", owner.key, make_engine=lambda: ScriptedEngine(script=slow)):
            await net.until(f"/v1/models/{MODEL}")
            chat = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "stream": True}
            async with ann.http.stream("POST", "/v1/chat/completions", json=chat) as answer:
                lines = answer.aiter_lines()
                seen = [line async for line in _until(lines, "first")]
                closing = asyncio.create_task(net.coordinator.aclose())
                await asyncio.sleep(0)
                with pytest.raises(httpx.TransportError):
                    await net.client(ann.key).get("/healthz")
                go_on.set()
                seen += [line async for line in lines]
            await asyncio.wait_for(closing, 60)
    assert any("last" in line for line in seen)
    assert seen[-2:] == ["data: [DONE]", ""] or "data: [DONE]" in seen


async def test_a_second_coordinator_on_the_same_database_or_port_is_told_why(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        with pytest.raises(ConfigurationError, match="written by another process"):
            await build(net.coordinator.settings, SystemClock())
        other = tmp_path / "other"
        port = net.coordinator.http.port
        flags = {"home": other, "http.port": port, "link.port": 0}
        second = await build(load_settings(flags=flags), SystemClock())
        with pytest.raises(ConfigurationError, match=f"port {port} on 127.0.0.1 is in use"):
            await second.start()
        await second.aclose()
        flags = {"home": other, "http.port": 0, "link.port": net.coordinator.link_port}
        third = await build(load_settings(flags=flags), SystemClock())
        with pytest.raises(ConfigurationError, match="in use"):
            await third.start()
        await third.aclose()


async def test_a_whole_coordinator_runs_on_postgres(tmp_path: Path) -> None:
    with fresh_database() as url:
        await _serve_a_chat_on(tmp_path, url)


async def _serve_a_chat_on(tmp_path: Path, database_url: str) -> None:
    async with network(tmp_path, database=database_url) as net:
        assert (await net.public.get("/readyz")).status_code == 200
        owner = await net.account("owner", scope="provider")
        ann = await net.account("ann", credit_usd="1")
        async with net.provider(tmp_path / "p", owner.key):
            await net.until(f"/v1/models/{MODEL}")
            chat = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
            answer = await ann.http.post("/v1/chat/completions", json=chat)
            shown = (await ann.http.get(f"/v1/generations/{answer.headers['hushnet-request-id']}")).json()
        assert shown["outcome"] == "completed"
        spent = 1_000_000 - (await ann.http.get("/v1/balance")).json()["spendable_micro_usd"]
        assert spent == shown["cost_micro_usd"] > 0


async def test_the_files_are_their_owners_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    made = await initialise(load_settings(flags={"home": home}), SystemClock())
    assert made is not None
    coordinator = await build(load_settings(flags={"home": home, "http.port": 0, "link.port": 0}), SystemClock())
    try:
        await coordinator.start()
        await coordinator.accounts.create_account("ann")
        modes = _modes(home)
    finally:
        await coordinator.aclose()
    assert modes.pop("") == 0o700
    assert set(modes.values()) == {0o600}, modes
    assert "coordinator.db-wal" in modes


async def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("somebody else's\n" * 100)
    precious.chmod(0o644)
    before = precious.stat()
    settings = load_settings(flags={"home": tmp_path / "home", "database": f"sqlite:///{precious}"})
    for attempt in (build(settings, SystemClock()), initialise(settings, SystemClock())):
        with pytest.raises((ConfigurationError, StorageError)):
            await attempt
    after = precious.stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_size) == (before.st_mode, before.st_mtime_ns, before.st_size)
    assert sorted(os.listdir(tmp_path)) == ["home", "precious.txt"]  # noqa: PTH208 - nothing waits for it


async def test_the_operators_key_is_made_once_and_replaced_on_demand(tmp_path: Path) -> None:
    settings = load_settings(flags={"home": tmp_path, "http.port": 0, "link.port": 0})
    first = await initialise(settings, SystemClock())
    assert await initialise(settings, SystemClock()) is None
    second = await initialise(settings, SystemClock(), is_new_key_wanted=True)
    assert first is not None
    assert second is not None
    coordinator = await build(settings, SystemClock())
    try:
        await coordinator.start()
        async with httpx.AsyncClient(base_url=coordinator.base_url) as http:
            for made, status in ((first, 401), (second, 200)):
                headers = {"authorization": f"Bearer {made.text.reveal()}"}
                assert (await http.get("/v1/admin/providers", headers=headers)).status_code == status
    finally:
        await coordinator.aclose()


async def test_nothing_of_a_chat_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with network(tmp_path, log__access=True) as net:
            owner = await net.account("owner", scope="provider")
            ann = await net.account("ann", credit_usd="1")
            async with net.provider(tmp_path / "p", owner.key):
                await net.until(f"/v1/models/{MODEL}")
                chat = {"model": MODEL, "messages": [{"role": "user", "content": CANARY}]}
                await ann.http.post(f"/v1/chat/completions?q={CANARY}", json=chat)
    records = [record.__dict__ for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert any(record["name"] == "hushnet.access" for record in records)
    for record in records:
        text = repr({name: value for name, value in record.items() if name != "exc_info"}) + str(record["exc_info"])
        assert CANARY not in text
        assert secret_of(ann.key) not in text


def test_a_listener_on_every_address_sends_providers_to_the_host_that_they_asked() -> None:
    everywhere = CoordinatorSettings(http=HttpSettings(host="0.0.0.0"), link=LinkSettings(host="0.0.0.0"))
    assert link_url(everywhere, 8471, asked_host="gpu.example") == "ws://gpu.example:8471/v1/provider/link"
    assert link_url(everywhere, 8471) == "ws://127.0.0.1:8471/v1/provider/link"
    here = CoordinatorSettings(link=LinkSettings(host="::1"))
    assert link_url(here, 1, asked_host="evil.example") == "ws://[::1]:1/v1/provider/link"
    behind = CoordinatorSettings(link=LinkSettings(public_url="wss://link.example/v1/provider/link"))
    assert link_url(behind, 1, asked_host="x") == "wss://link.example/v1/provider/link"


async def _noted_providers(net: Network) -> list[dict[str, Any]]:
    """Read the providers until the registration, which is written down in the background, is among them."""
    for _ in range(4000):
        found: list[dict[str, Any]] = (await net.operator.get("/v1/admin/providers")).json()["data"]
        if found:
            return found
        await asyncio.sleep(0.01)
    raise AssertionError("no provider was written down")


async def _metrics_with(net: Network, word: str) -> str:
    """Read the metrics until the settlement, which follows the answer, has been counted."""
    for _ in range(4000):
        text = (await net.public.get("/metrics")).text
        if word in text:
            return text
        await asyncio.sleep(0.01)
    raise AssertionError(f"{word} never appeared")


def _modes(home: Path) -> dict[str, int]:
    return {str(path.relative_to(home)).strip("."): path.stat().st_mode & 0o777 for path in (home, *home.iterdir())}


async def _until(lines, word: str):  # type: ignore[no-untyped-def]
    async for line in lines:
        yield line
        if word in line:
            return
