"""HTTP for the Stripe SDK: its httpx client, with bodies passed as bytes and a bound on silence.

The SDK of version 16 hands its form to httpx as `data`, which httpx deprecates for text; here it goes as `content`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import stripe


class StripeTransport(stripe.HTTPXClient):
    """The SDK's asynchronous client; close it with `close_async`."""

    def __init__(self, *, timeout_s: float) -> None:
        super().__init__(timeout=timeout_s)

    def _get_request_args_kwargs(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any
    ) -> tuple[list[str], dict[str, Any]]:
        body = post_data.encode() if isinstance(post_data, str) else post_data
        return [method, url], {"headers": headers, "content": body or b"", "timeout": self._timeout}
