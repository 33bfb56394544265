"""The OpenAPI document: served, sound, and about exactly the routes that a running coordinator has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from support.control import Network, network

CHAT = "/v1/chat/completions"
NOWHERE = "http://127.0.0.1:9"
EVERY_RAIL = {
    "stripe__secret_key": "sk_test_0123456789",
    "stripe__webhook_secrets": "whsec_0123456789",
    "stripe__api_base": NOWHERE,
    "x402__facilitator": NOWHERE,
    "x402__node": NOWHERE,
    "x402__pay_to": "0x" + "1" * 40,
}
"""Rails whose routes are there only where they are on."""


def served(net: Network) -> set[tuple[str, str]]:
    found = {(CHAT, "post")}
    for route in net.coordinator.dispatcher.routes:
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)
        found |= {(path, method.lower()) for method in (route.methods or ()) if method != "HEAD"}
    return found


async def test_every_route_is_described_and_nothing_else(tmp_path: Path) -> None:
    async with network(tmp_path, **EVERY_RAIL) as net:
        answer = await net.public.get("/openapi.json")
        described = {(path, method) for path, methods in answer.json()["paths"].items() for method in methods}
        assert described == served(net)


async def test_bodies_are_sound_schemas_that_exist(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        document: dict[str, Any] = (await net.public.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    named = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert named <= set(schemas)
    assert "AdminGrantWish" in named


async def test_who_needs_a_key_is_said(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        paths = (await net.public.get("/openapi.json")).json()["paths"]
        for path, methods in paths.items():
            for method, operation in methods.items():
                if path == CHAT or "{" in path or method != "get":
                    continue
                status = (await net.public.get(path)).status_code
                assert (status == 401) == ("security" in operation), path
