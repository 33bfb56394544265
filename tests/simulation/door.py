"""Where providers dial in: the coordinator's real listener behind a simulated accept, and the dial that reaches it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any
from urllib.parse import urlsplit

from picows import WSListener

from hushnet.coordinator.api.provider_socket import ProviderListener
from simulation.chance import spread
from simulation.network import End, Link, Weather


class _Door:
    """What the listener knows of a socket before its registration (`provider_socket._LinkProtocol`)."""

    def __init__(self, listener: ProviderListener, address: str) -> None:
        self._listener = listener
        self._address = address
        self._is_counted = listener.admit_stranger(self, address)  # type: ignore[arg-type]

    @property
    def is_open(self) -> bool:
        return self._is_counted

    def leave_strangers(self) -> None:
        if self._is_counted:
            self._is_counted = False
            self._listener.forget_stranger(self._address)

    def end_handshake(self) -> None:
        self._listener.end_knocking(self)  # type: ignore[arg-type]

    def abort(self) -> None:
        """A door that is open has no handshake to end."""

    def lost(self) -> None:
        self.end_handshake()
        self.leave_strangers()


class Doorway:
    """Joins dialling providers to the listener; keeps the link of each provider that is up."""

    def __init__(self, chance: Random, listener: ProviderListener) -> None:
        self.is_open = True
        self.links: dict[int, Link] = {}
        self.weather: dict[int, Weather] = {}
        self.dressed: Callable[[int, Link], None] = lambda number, link: None
        """Called with every new link before anything is said on it: where a hostile provider puts its hand in."""
        self._chance = chance
        self._listener = listener

    def address(self, number: int) -> str:
        """Return the URL that provider `number` dials."""
        return f"ws://127.0.0.1:{20_000 + number}/v1/provider/link"

    async def dial(self, factory: Callable[[], WSListener], url: str, **_: Any) -> tuple[End, WSListener]:
        """Take the place of `picows.ws_connect`; raises `OSError` when nobody answers."""
        number = (urlsplit(url).port or 0) - 20_000
        weather = self.weather.get(number, Weather())
        await asyncio.sleep(2 * spread(self._chance, weather.latency_s, factor=weather.jitter))
        if not self.is_open:
            raise ConnectionRefusedError("nobody listens")
        door = _Door(self._listener, f"10.0.{number >> 8}.{number & 255}")
        if not door.is_open:
            raise ConnectionResetError("too many strangers")
        provider = End("10.0.0.1", lambda: None)
        coordinator = End(f"10.0.{number >> 8}.{number & 255}", door.lost)
        self.links[number] = link = Link(self._chance, weather, provider, coordinator)
        self.dressed(number, link)
        coordinator.listener = self._listener.open(door)  # type: ignore[arg-type]
        provider.listener = factory()
        coordinator.listener.on_ws_connected(coordinator)
        provider.listener.on_ws_connected(provider)
        return provider, provider.listener
