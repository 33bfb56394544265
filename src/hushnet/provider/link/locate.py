"""From the coordinator's address to its link: asks `GET /v1/network` once, waiting for a coordinator that still starts."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx
import msgspec

from hushnet.foundation.errors import ConfigurationError
from hushnet.provider.notices import CoordinatorSought, Notify
from hushnet.wire.limits import LINK_PATH

NETWORK_LOOPBACK: Final = "hushnet-local"
NETWORK_PUBLIC: Final = "hushnet-main"
ANSWER_S_MAX: Final = 5.0
ANSWER_BYTES_MAX: Final = 16 * 1024
RETRY_S_MIN: Final = 0.2
RETRY_S_MAX: Final = 10.0
_NETWORK: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where to dial, and the network whose name the statements carry."""

    link_url: str
    network: str


class _Answer(msgspec.Struct):
    network: str
    link_url: str


async def locate(
    url: str, *, network: str | None, notify: Notify, transport: httpx.AsyncBaseTransport | None = None
) -> Place:
    """Return the link of the coordinator at `url`; a `ws://` or `wss://` address is taken as it is.

    Waits as long as it takes while nobody answers. Raises `ConfigurationError` for an answer that is none of a
    coordinator's, for another network than `network`, and for a plain link behind an encrypted address.
    """
    parts = urlsplit(url)
    if parts.scheme in ("ws", "wss"):
        return Place(
            url if parts.path not in ("", "/") else url.rstrip("/") + LINK_PATH, network or _network_of(parts.hostname)
        )
    answer = await _ask(url, notify, transport)
    if urlsplit(answer.link_url).scheme not in ("ws", "wss") or not _NETWORK.fullmatch(answer.network):
        raise _not_a_coordinator(url)
    if parts.scheme == "https" and urlsplit(answer.link_url).scheme != "wss":
        raise ConfigurationError(
            "the coordinator names a link without encryption", hint="its operator has to serve the link as wss://"
        )
    if network is not None and answer.network != network:
        raise ConfigurationError(
            "the coordinator belongs to another network than the one that is set",
            hint=f"it says {answer.network}; remove the setting or choose another coordinator",
        )
    return Place(answer.link_url, answer.network)


async def _ask(url: str, notify: Notify, transport: httpx.AsyncBaseTransport | None) -> _Answer:
    retry_s = RETRY_S_MIN
    async with httpx.AsyncClient(timeout=ANSWER_S_MAX, follow_redirects=False, transport=transport) as client:
        while True:
            try:
                async with client.stream("GET", f"{url}/v1/network") as response:
                    if response.status_code < 500:
                        return await _read(url, response)
            except httpx.TransportError:
                pass
            notify(CoordinatorSought(url, retry_s))
            await asyncio.sleep(retry_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load, guards nothing
            retry_s = min(retry_s * 2, RETRY_S_MAX)


async def _read(url: str, response: httpx.Response) -> _Answer:
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise _not_a_coordinator(url)
    try:
        if response.status_code == 200:
            return msgspec.json.decode(body, type=_Answer)
    except (ValueError, RecursionError):
        pass
    raise _not_a_coordinator(url)


def _not_a_coordinator(url: str) -> ConfigurationError:
    return ConfigurationError(
        f"what answers at {url} is not a coordinator", hint="give the address that the operator published"
    )


def _network_of(host: str | None) -> str:
    """Return the default network: a coordinator on this machine has one of its own."""
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        is_loopback = False
    return NETWORK_LOOPBACK if is_loopback else NETWORK_PUBLIC
