"""How often anybody may come without a key: all together, and each public address by itself.

Who shuts itself out takes nothing from the others. The address is that of the connection: what a header says of another one
anybody can write. An address that is not public is a proxy's or a neighbour's, and counts in the whole alone.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from starlette.types import Scope

from hushnet.coordinator.accounts.rules import RateLimit
from hushnet.coordinator.api.provider_socket import network_of
from hushnet.coordinator.settings import X402Settings

ADDRESSES_MAX: Final = 20_000
"""Addresses that are remembered; the one that was idle longest is forgotten first."""
_ALL: Final = ""


class VisitorRate:
    """The buckets of requests without a key, of one process."""

    def __init__(self, settings: X402Settings) -> None:
        self._all = RateLimit(rate=settings.requests_per_s, burst=settings.burst, keys_max=1)
        self._each = RateLimit(
            rate=settings.address_requests_per_s, burst=settings.address_burst, keys_max=ADDRESSES_MAX
        )

    def take(self, scope: Scope, now_s: float) -> float:
        """Count one request; return 0.0, or how many seconds until another one is taken."""
        address = (scope.get("client") or ("",))[0]
        wait_s = self._each.take(network_of(address), now_s) if _is_public(address) else 0.0
        return wait_s or self._all.take(_ALL, now_s)


def _is_public(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_global
