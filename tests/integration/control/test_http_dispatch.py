"""Errors at the outermost application: every shape, no text of a failure, nothing of a request in logs or metrics."""

from __future__ import annotations

import asyncio
import logging

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hushnet.coordinator.api.bodies import json_response, read_json
from hushnet.coordinator.api.dispatch import route
from hushnet.coordinator.api.http import HttpListener
from hushnet.coordinator.settings import HttpSettings
from hushnet.coordinator.telemetry import Metrics
from hushnet.foundation.errors import AccessError, CapacityError, ConfigurationError
from support.raw_http import served

CANARY = "canary-prompt-text"


async def boom(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError(CANARY)


async def late_boom(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"partial", "more_body": True})
    raise ValueError(CANARY)


async def broke(scope: Scope, receive: Receive, send: Send) -> None:
    raise AccessError("not enough", code="insufficient_funds")


async def full(scope: Scope, receive: Receive, send: Send) -> None:
    raise CapacityError("full", retry_after_s=7.5)


HOT = {"/boom": {"GET": boom}, "/late": {"GET": late_boom}, "/broke": {"POST": broke}, "/full": {"GET": full}}


async def thing(request: Request) -> Response:
    return json_response({"id": request.path_params["id"]})


async def cold_boom(request: Request) -> Response:
    raise ValueError(CANARY)


async def taken(request: Request) -> Response:
    return json_response(await read_json(request, dict[str, int]))


ROUTES = [
    route("/v1/things/{id:path}", {"GET": thing, "DELETE": thing}),
    route("/v1/boom", {"GET": cold_boom}),
    route("/v1/take", {"POST": taken}),
]


async def ask(method: str, path: str, **options: object) -> httpx.Response:
    async with served(HOT, ROUTES) as server, httpx.AsyncClient(base_url=server.base_url) as client:
        return await client.request(method, path, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["/nope", "/v1/nope", "/boom/", "/v1/things", "//", "/v1/%2e%2e/x"])
async def test_an_unknown_address_gets_a_json_404(path: str) -> None:
    answer = await ask("GET", path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "allow"), [("PUT", "/broke", {"POST"}), ("POST", "/v1/things/1", {"GET", "HEAD", "DELETE"})]
)
async def test_a_wrong_method_gets_a_json_405_that_names_the_right_ones(
    method: str, path: str, allow: set[str]
) -> None:
    answer = await ask(method, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == allow


@pytest.mark.parametrize("path", ["/boom", "/v1/boom"])
async def test_any_other_exception_is_internal_without_its_text(path: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = await ask("GET", path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    assert CANARY not in answer.text + caplog.text
    failed = [record for record in caplog.records if record.message == "a request failed"]
    assert failed[0].__dict__["error"] == "ValueError"


async def test_an_exception_after_the_answer_began_cuts_it_and_stays_silent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(httpx.RemoteProtocolError):
        await ask("GET", "/late")
    assert CANARY not in caplog.text


async def test_an_error_of_ours_gets_its_row() -> None:
    answer = await ask("POST", "/broke")
    assert (answer.status_code, answer.json()["error"]["code"]) == (402, "insufficient_funds")
    assert answer.json()["error"]["message"] == "not enough"


async def test_a_capacity_error_says_when_to_come_back() -> None:
    assert (await ask("GET", "/full")).headers["retry-after"] == "8"


async def test_who_sent_an_envelope_gets_problem_json() -> None:
    answer = await ask("POST", "/broke", headers={"content-type": "application/vnd.hushnet.sealed-request; v=1"})
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "insufficient_funds"


async def test_head_is_answered_like_get_without_a_body() -> None:
    answer = await ask("HEAD", "/v1/things/7")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        (b'{"a":"x"}', "wrong_type"),
        (b"[1]", "wrong_type"),
        (b'{"a":1e400}', "wrong_type"),
        (b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "wrong_type"),
        (b'{"a":"' + b"x" * 70_000 + b'"}', "body_too_large"),
    ],
)
async def test_a_bad_body_of_a_control_request_gets_its_code(body: bytes, code: str) -> None:
    answer = await ask("POST", "/v1/take", content=body)
    assert answer.json()["error"]["code"] == code
    assert 400 <= answer.status_code < 500


async def test_nesting_beyond_the_stack_is_no_failure_here() -> None:
    async def anything(request: Request) -> Response:
        return json_response(await read_json(request, object))

    routes = [route("/v1/any", {"POST": anything})]
    async with served({}, routes) as server, httpx.AsyncClient(base_url=server.base_url) as client:
        answer = await client.post("/v1/any", content=b"[" * 30_000 + b"]" * 30_000)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "json_too_deep")


async def test_metrics_and_access_log_show_patterns_and_never_what_was_asked(caplog: pytest.LogCaptureFixture) -> None:
    async with served(HOT, ROUTES) as server, httpx.AsyncClient(base_url=server.base_url) as client:
        server.dispatcher._is_access_logged = True
        with caplog.at_level(logging.INFO):
            await client.get(f"/v1/things/{CANARY}?q={CANARY}")
            await client.get(f"/{CANARY}")
            await client.request(CANARY.upper()[:6], "/boom")
    ours = [record.__dict__ for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    text = server.metrics.render().decode() + repr(ours)
    assert CANARY not in text
    assert sum(record["name"] == "hushnet.access" for record in ours) == 2
    assert 'route="/v1/things/{id:path}",status="200"' in text
    assert 'route="unmatched",status="404"' in text


async def test_a_port_in_use_is_a_configuration_error_with_a_hint() -> None:
    async with served(HOT) as server:
        second = HttpListener(boom, settings=HttpSettings(port=server.listener.port), metrics=Metrics())
        with pytest.raises(ConfigurationError, match="in use") as caught:
            await second.start()
        assert caught.value.error_code == "port_in_use"
        assert "http.port" in caught.value.hint()


async def test_an_address_of_another_machine_is_a_configuration_error() -> None:
    listener = HttpListener(boom, settings=HttpSettings(host="203.0.113.1", port=0), metrics=Metrics())
    with pytest.raises(ConfigurationError, match="cannot be bound"):
        await listener.start()


async def test_running_requests_are_counted() -> None:
    inside = asyncio.Event()
    release = asyncio.Event()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        inside.set()
        await release.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async with served({"/wait": {"GET": wait}}) as server, httpx.AsyncClient(base_url=server.base_url) as client:
        asking = asyncio.create_task(client.get("/wait"))
        await inside.wait()
        assert server.dispatcher.running == 1
        release.set()
        assert (await asking).status_code == 204
        assert server.dispatcher.running == 0
