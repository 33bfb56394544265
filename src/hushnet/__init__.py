"""Hushnet: a decentralised, private inference network.

`hushnet.Client` and `hushnet.AsyncClient` are the consumer's SDK; they are imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hushnet.foundation.errors import HushnetError
    from hushnet.sdk.async_client import AsyncClient
    from hushnet.sdk.client import Client
    from hushnet.sdk.policy import VerificationPolicy

__all__ = ["AsyncClient", "Client", "HushnetError", "VerificationPolicy"]

_HOMES = {
    "AsyncClient": "hushnet.sdk.async_client",
    "Client": "hushnet.sdk.client",
    "HushnetError": "hushnet.foundation.errors",
    "VerificationPolicy": "hushnet.sdk.policy",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hushnet' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
