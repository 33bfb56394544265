"""How the listeners are reached: what is printed, what providers are told."""

from __future__ import annotations

import ipaddress
from typing import Final

from hushnet.coordinator.settings import CoordinatorSettings
from hushnet.coordinator.settings.model import LINK_PATH

_LOCAL: Final = {4: "127.0.0.1", 6: "::1"}


def reachable(host: str) -> str:
    """Return a host that this machine reaches a listener at, which is bound to `host`."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host
    return _LOCAL[address.version] if address.is_unspecified else str(address)


def bracketed(host: str) -> str:
    """Spell a host as it stands in a URL."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def base_url(settings: CoordinatorSettings, port: int) -> str:
    """Return the address of the HTTP listener on `port`, without a slash at the end."""
    public = settings.http.public_url.rstrip("/")
    return public or f"http://{bracketed(reachable(settings.http.host))}:{port}"


def link_url(settings: CoordinatorSettings, port: int, *, asked_host: str = "") -> str:
    """Return where a provider dials; `asked_host` is the host it has reached HTTP at, for a listener on every address."""
    if settings.link.public_url:
        return settings.link.public_url
    bound = settings.link.host
    is_everywhere = reachable(bound) != bound.strip("[]")
    host = asked_host if is_everywhere and asked_host else reachable(bound)
    return f"ws://{bracketed(host)}:{port}{LINK_PATH}"
