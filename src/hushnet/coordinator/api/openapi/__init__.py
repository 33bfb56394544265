"""`GET /openapi.json`: the interface in OpenAPI's words, rendered from the handlers by `make docs`."""

from __future__ import annotations

from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hushnet.coordinator.api.dispatch import route


def routes() -> list[Route]:
    """Return the one route."""
    text = resources.files(__package__).joinpath("openapi.json").read_bytes()

    async def document(_request: Request) -> Response:
        """Describe every route in OpenAPI 3.1."""
        return Response(text, media_type="application/json", headers={"cache-control": "public, max-age=300"})

    return [route("/openapi.json", {"GET": document})]
