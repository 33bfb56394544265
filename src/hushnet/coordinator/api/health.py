"""Public routes about the process: alive, ready, metrics, and how to reach its parts."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hushnet.coordinator.api.bodies import json_response
from hushnet.coordinator.api.dispatch import route
from hushnet.coordinator.telemetry import error_fields
from hushnet.foundation.clock import Clock

_LOG = logging.getLogger(__name__)

CHECK_S_MAX: Final = 2.0
CHECKED_FOR_S: Final = 1.0
"""A verdict is repeated this long: anybody may ask, and each check costs a transaction."""
WORKER_HEADER: Final = "hushnet-worker"
"""Which worker answered, on the routes about the process."""
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,255})(:[0-9]{1,5})?", re.ASCII)

Check = Callable[[], Awaitable[bool]]


class HealthApi:
    """`metrics` returns the page, of all workers where there are several; `worker` is this one's number, 0 without others.

    `checks` are what readiness means; `link_url` gets the host that the client used, "" when it names none.
    """

    def __init__(
        self,
        *,
        checks: Mapping[str, Check],
        metrics: Callable[[], Awaitable[bytes]],
        clock: Clock,
        network: str,
        version: str,
        link_url: Callable[[str], str],
        worker: int = 0,
    ) -> None:
        self._checks = checks
        self._metrics = metrics
        self._worker = {WORKER_HEADER: str(worker)} if worker else {}
        self._clock = clock
        self._network = network
        self._version = version
        self._link_url = link_url
        self._verdict: dict[str, bool] = {}
        self._verdict_s = float("-inf")
        self._checking = asyncio.Lock()

    def routes(self) -> list[Route]:
        return [
            route("/healthz", {"GET": self.healthz}),
            route("/readyz", {"GET": self.readyz}),
            route("/metrics", {"GET": self.metrics}),
            route("/v1/network", {"GET": self.network}),
        ]

    async def healthz(self, request: Request) -> Response:
        """The process runs its loop; nothing more is claimed."""
        return json_response({"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        """Every part that a request needs answers now; 503 and which one does not, otherwise."""
        async with self._checking:
            if self._clock.monotonic_s() - self._verdict_s > CHECKED_FOR_S:
                results = await asyncio.gather(*(_passes(name, check) for name, check in self._checks.items()))
                self._verdict = dict(zip(self._checks, results, strict=True))
                self._verdict_s = self._clock.monotonic_s()
        is_ready = all(self._verdict.values())
        shown = {"status": "ready" if is_ready else "not_ready", "checks": self._verdict}
        return json_response(
            shown, status=200 if is_ready else 503, headers={"cache-control": "no-store", **self._worker}
        )

    async def metrics(self, request: Request) -> Response:
        """Write the metrics as Prometheus text."""
        page = await self._metrics()
        return Response(page, media_type="text/plain; version=0.0.4; charset=utf-8", headers=self._worker)

    async def network(self, request: Request) -> Response:
        """Tell a provider where to dial, and everybody which network this is."""
        match = _HOST.fullmatch(request.headers.get("host", ""))
        host = match.group(1) if match else ""
        return json_response({"network": self._network, "link_url": self._link_url(host), "version": self._version})


async def _passes(name: str, check: Check) -> bool:
    try:
        async with asyncio.timeout(CHECK_S_MAX):
            return await check()
    except Exception as error:
        _LOG.warning("a readiness check failed", extra={"stage": name, **error_fields(error)})
        return False
