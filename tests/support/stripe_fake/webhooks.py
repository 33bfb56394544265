"""Signed deliveries of events to our endpoints, as Stripe makes them: `Stripe-Signature: t=...,v1=...` over `t.body`."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field

import httpx

from support.stripe_fake.world import Thing


@dataclass
class Endpoint:
    """Where events go: the account's own, or those of connected accounts; each endpoint has its secret."""

    url: str
    secret: str
    is_connect: bool = False
    delivered: list[str] = field(default_factory=list)
    """Ids of events answered with 2xx."""


@dataclass(frozen=True)
class Delivered:
    """One POST: the event, and the status that came back (0: no answer)."""

    event: str
    kind: str
    status: int


def signed(body: bytes, secret: str, at_s: int) -> str:
    """Return the header for a body."""
    mac = hmac.new(secret.encode(), b"%d." % at_s + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={mac}"


def body_of(event: Thing) -> bytes:
    return json.dumps(event, indent=2).encode()


def send(endpoint: Endpoint, event: Thing, at_s: int, *, client: httpx.Client) -> Delivered:
    """POST one event once."""
    body = body_of(event)
    signature = signed(body, endpoint.secret, at_s)
    wanted = {
        "content-type": "application/json; charset=utf-8",
        "stripe-signature": signature,
        "user-agent": "Stripe/1.0",
    }
    try:
        status = client.post(endpoint.url, content=body, headers=wanted).status_code
    except httpx.HTTPError:
        status = 0
    if 200 <= status < 300:
        endpoint.delivered.append(event["id"])
    return Delivered(event["id"], event["type"], status)
