"""What anybody may know of the fleet: statements to seal to, and what was verified about each provider.

`GET /v1/sealing/providers[?model=&limit=]`, `GET /v1/sealing/providers/{id}` (design/sealing.md section 3), and
`GET /v1/providers/attestation`. Public and cacheable, nothing per consumer: everybody can compare what they were shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hushnet.coordinator.api.dispatch import route
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.coordinator.serving.assembly import Serving
from hushnet.foundation.errors import RequestError
from hushnet.foundation.ids import ModelId, ProviderId
from hushnet.sealing.limits import LISTING_MAX, RECIPIENTS_MAX

LIMIT_DEFAULT: Final = 32
LIMIT_MAX: Final = 256
MAX_AGE_S: Final = 60
_LOAD_FULL: Final = 3


def routes(serving: Serving) -> list[Route]:
    """Return the routes of this audience."""
    documents = _Documents(serving)
    return [
        route("/v1/sealing/providers", {"GET": documents.listing}),
        route("/v1/sealing/providers/{provider_id}", {"GET": documents.one}),
        route("/v1/providers/attestation", {"GET": documents.attestation}),
    ]


class _Documents:
    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def listing(self, request: Request) -> Response:
        """List providers to seal to, those with room first."""
        model = request.query_params.get("model")
        limit = _limit_of(request.query_params.get("limit"))
        fleet = self._serving.fleet
        found: Iterable[LiveProvider] = (
            [provider for provider in fleet.providers() if provider.is_routable]
            if model is None
            else fleet.serving(ModelId(model))
        )
        ranked = sorted(found, key=lambda provider: (load_of(provider), provider.provider_id))
        return self._document(request, {"providers": _within([_entry(each) for each in ranked[:limit]])})

    async def one(self, request: Request) -> Response:
        """Show one provider."""
        provider = self._serving.fleet.get(ProviderId(request.path_params["provider_id"]))
        if provider is None or not provider.is_routable:
            raise RequestError("there is no such provider", code="provider_not_found")
        return self._document(request, {"providers": [_entry(provider)]})

    async def attestation(self, request: Request) -> Response:
        """Show what was verified about every live provider, those that failed included."""
        trust = self._serving.trust
        entries = []
        for provider in self._serving.fleet.providers():
            record = trust.record(provider.provider_id)
            entries.append(
                {
                    **_entry(provider),
                    "agent_version": provider.agent_version,
                    "connected_at": provider.connected_ms // 1000,
                    "is_routable": provider.is_routable,
                    "verdict": trust.verdict(provider.provider_id).to_json_object(),
                    "last_challenge": {"answered_at": record.answered_at, "missed": record.missed},
                    "findings": dict(sorted(provider.findings.items())),
                }
            )
        return self._document(request, {"providers": entries})

    def _document(self, request: Request, members: Mapping[str, Any]) -> Response:
        """Wrap `members`; the tag covers everything but the time, so that an unchanged fleet answers 304."""
        stable = {
            "v": 1,
            "network": self._serving.network,
            "max_recipients": RECIPIENTS_MAX,
            "header_versions": [1],
            **members,
        }
        tag = f'"{hashlib.sha256(msgspec.json.encode(stable)).hexdigest()[:32]}"'
        headers = {"Cache-Control": f"public, max-age={MAX_AGE_S}", "ETag": tag}
        if tag in {part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")}:
            return Response(status_code=304, headers=headers)
        body = msgspec.json.encode({**stable, "time": self._serving.clock.now_ms() // 1000})
        return Response(body, headers=headers, media_type="application/json")


def load_of(provider: LiveProvider) -> int:
    """Return how busy a provider is: 0 idle .. 3 full."""
    slots = provider.load.capacity.slots
    busy = provider.load.open_total + provider.load.others
    if slots == 0 or busy >= slots:
        return _LOAD_FULL
    return min(-(-busy * _LOAD_FULL // slots), _LOAD_FULL - 1)


def _entry(provider: LiveProvider) -> dict[str, Any]:
    return {
        "provider": provider.provider_id,
        "trust": provider.tier.label,
        "models": sorted(provider.offers),
        "load": load_of(provider),
        "statement": provider.statement.to_json_object(),
        "evidence": [],
    }


def _within(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep the document below what clients accept."""
    size, kept = 0, []
    for entry in entries:
        size += len(msgspec.json.encode(entry)) + 1
        if size > LISTING_MAX - 1024:
            break
        kept.append(entry)
    return kept


def _limit_of(text: str | None) -> int:
    if text is None:
        return LIMIT_DEFAULT
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= LIMIT_MAX:
        raise RequestError(f"limit is a number from 1 to {LIMIT_MAX}", code="out_of_range")
    return int(text)
