"""The outermost ASGI application: an exact map for the hot routes, Starlette for the rest, and the last word on errors.

Every exception becomes an answer here: errors of ours through the problem table, anything else `internal` without its
text. Nothing of a request is logged or counted but method, route pattern, status and time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hushnet.coordinator.api import problems
from hushnet.coordinator.api.bodies import CallerGoneError, media_type_of
from hushnet.coordinator.telemetry import Metrics, error_fields
from hushnet.coordinator.telemetry.timing import STOPWATCH, X_TIMING
from hushnet.foundation.clock import Clock

_LOG = logging.getLogger(__name__)
_ACCESS_LOG = logging.getLogger("hushnet.access")

SEALED_REQUEST: Final = "application/vnd.hushnet.sealed-request"
UNMATCHED: Final = "unmatched"
_HTTP_CODES: Final = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
_LOGGED: Final = frozenset({500, 502})

Endpoint = Callable[[Request], Awaitable[Response]]


def route(path: str, endpoints: Mapping[str, Endpoint]) -> Route:
    """Make one route of a path with all its methods, so that a 405 names them all; HEAD comes with GET."""

    async def chosen(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await endpoints[method](request)

    return Route(path, chosen, methods=list(endpoints))


class Dispatcher:
    """The application that the listener runs. `hot` maps path → method → application."""

    def __init__(
        self,
        *,
        hot: Mapping[str, Mapping[str, ASGIApp]],
        routes: Sequence[Route],
        metrics: Metrics,
        clock: Clock,
        is_access_logged: bool = False,
    ) -> None:
        self._hot = hot
        self._cold = Router(routes=list(routes), redirect_slashes=False)
        self._patterns = {route.endpoint: route.path for route in routes}
        self._metrics = metrics
        self._clock = clock
        self._is_access_logged = is_access_logged
        self._running = 0

    @property
    def routes(self) -> Sequence[Route]:
        """Every route but the hot ones."""
        return [each for each in self._cold.routes if isinstance(each, Route)]

    def add_routes(self, routes: Sequence[Route]) -> None:
        """Add routes that are known only after the dispatcher, before the first request."""
        self._cold.routes.extend(routes)
        self._patterns.update({route.endpoint: route.path for route in routes})

    @property
    def running(self) -> int:
        """How many requests are being answered."""
        return self._running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        answer = _Answer(send)
        started_s = self._clock.monotonic_s()
        self._running += 1
        try:
            await self._run(scope, receive, answer)
        finally:
            self._running -= 1
            self._record(scope, answer.status, self._clock.monotonic_s() - started_s)

    async def _run(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            methods = self._hot.get(scope["path"])
            if methods is None:
                scope["app"] = self  # with an application in the scope Starlette raises its 404 and 405 as exceptions
                await self._cold(scope, receive, answer.send)
                return
            application = methods.get(scope["method"])
            if application is None:
                raise HTTPException(405, headers={"Allow": ", ".join(sorted(methods))})
            await application(scope, receive, answer.send)
        except CallerGoneError:
            answer.status = answer.status or 499
        except asyncio.CancelledError:
            # Only the end of the drain time cancels a request from outside; its finaliser has run when this arrives.
            await self._fail(scope, answer, problems.problem_of("shutting_down"))
        except HTTPException as error:
            code = _HTTP_CODES.get(error.status_code, "invalid_request")
            allow = (error.headers or {}).get("Allow", "").encode("ascii")
            await self._fail(scope, answer, problems.problem_of(code), [(b"allow", allow)] if allow else [])
        except Exception as error:
            problem = problems.problem_of(error)
            if problem.status in _LOGGED:
                fields = {"route": self._pattern(scope), "code": problem.code, **error_fields(error)}
                _LOG.error("a request failed", extra=fields)
            await self._fail(scope, answer, problem)

    async def _fail(
        self, scope: Scope, answer: _Answer, problem: problems.Problem, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        """Answer with the problem; where an answer had begun, returning without its end makes uvicorn cut it."""
        self._metrics.refusals.add(problem.code)
        if answer.status == 0:
            is_sealed = media_type_of(scope) == SEALED_REQUEST
            watch = scope.get(STOPWATCH)
            headers = headers if watch is None else [*headers, (X_TIMING, watch.render())]
            await send_problem(answer.send, problem, is_sealed=is_sealed, headers=headers)

    def _pattern(self, scope: Scope) -> str:
        if scope["path"] in self._hot:
            return str(scope["path"])
        endpoint = scope.get("endpoint")
        return UNMATCHED if endpoint is None else self._patterns.get(endpoint, UNMATCHED)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        pattern, method = self._pattern(scope), _method_label(scope["method"])
        self._metrics.http_requests.add(method, pattern, str(status))
        self._metrics.http_seconds.observe(seconds, pattern)
        if self._is_access_logged:
            fields = {"method": method, "route": pattern, "status": status, "duration_ms": round(seconds * 1000, 1)}
            _ACCESS_LOG.info("request", extra=fields)


class _Answer:
    """Remembers the status that went out; 0 until then."""

    __slots__ = ("_send", "status")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


async def send_problem(
    send: Send,
    problem: problems.Problem,
    *,
    is_sealed: bool = False,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """Send an error answer: problem+json to who sent an envelope, OpenAI's shape to everybody else."""
    body = problems.problem_json(problem) if is_sealed else problems.openai_body(problem)
    content_type = problems.PROBLEM_JSON if is_sealed else problems.OPENAI_JSON
    own = problems.problem_headers(problem, content_type=content_type, length=len(body))
    await send({"type": "http.response.start", "status": problem.status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body})


def _method_label(method: str) -> str:
    return method if method in {"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"} else "other"
