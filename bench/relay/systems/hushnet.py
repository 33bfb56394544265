"""Hushnet's coordinator: authentication, holds, routing, sealing, settlement on; providers behind links of their own."""

from __future__ import annotations

from typing import ClassVar

from bench.relay.consumers import Target
from bench.relay.network import HushnetNetwork
from bench.relay.systems.base import System


class HushnetStandard(System):
    """Stock clients: the coordinator seals what it sends to providers and opens what comes back."""

    name = "hushnet_standard"
    is_sealed: ClassVar[bool] = False
    links: ClassVar[int] = 16
    slots: ClassVar[int] = 128

    def __init__(self) -> None:
        super().__init__()
        self._network: HushnetNetwork | None = None

    def start(self, upstream_url: str) -> None:
        """Start coordinator and providers; the upstream is not used, its answers come from behind the links."""
        self._network = network = HushnetNetwork(links=self.links, slots=self.slots)
        network.start()
        self.roots = [network.coordinator_pid]
        self.target = Target(
            network.base_url, network.api_key, sealed=self.is_sealed, network=network.network if self.is_sealed else ""
        )

    def stop(self) -> None:
        if self._network is not None:
            self._network.stop()


class HushnetSealed(HushnetStandard):
    """Sealing clients: the coordinator relays ciphertext."""

    name = "hushnet_sealed"
    is_sealed = True
