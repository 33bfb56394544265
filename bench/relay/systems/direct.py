"""No relay: the load goes to the provider itself, which shows what the load generator can do and what latencies start from."""

from __future__ import annotations

from bench.relay.consumers import Target
from bench.relay.systems.base import System


class Direct(System):
    """The synthetic provider."""

    name = "direct"

    def start(self, upstream_url: str) -> None:
        self.target = Target(upstream_url)
