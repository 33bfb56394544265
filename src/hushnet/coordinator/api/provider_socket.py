"""The listener that providers dial: accepts WebSockets on one path and bounds what strangers may hold open.

It stands on picows' protocol class instead of its `ws_create_server`, because connections that have not sent a request yet
must be counted too, by address, and that hook exists only below the WebSocket handshake. `tests/integration/link` holds
picows to what is assumed here.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Final

from picows import WSAutoPingStrategy, WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # the stubs leave it out

from hushnet.coordinator.api.provider_connection import ProviderConnection, peer_address
from hushnet.coordinator.fleet.link import FleetGate
from hushnet.foundation.clock import Clock
from hushnet.foundation.ids import ProviderId
from hushnet.foundation.tasks import TaskSet
from hushnet.wire.challenge import NONCE_BYTES
from hushnet.wire.coordinator_session import CoordinatorSession
from hushnet.wire.errors import LinkFault
from hushnet.wire.limits import LINK_PATH, MESSAGE_BYTES_MAX, LinkLimits, Pace

_LOG = logging.getLogger(__name__)

# picows logs peer addresses and what it could not parse; a closed link is logged here, by code.
_PICOWS_LOG: Final = logging.getLogger(f"{__name__}.picows")
_PICOWS_LOG.setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """What one coordinator's provider listener is told and what it allows."""

    network: str
    limits: LinkLimits = field(default_factory=LinkLimits)
    handshake_s: float = 5.0
    """Accepted to upgraded: time for the request's header, 16 KiB at most."""

    unregistered_max: int = 256
    """Connections that are not registered yet, all together; each may hold one message of 128 KiB."""

    unregistered_per_address_max: int = 16
    """The same from one address (IPv6: one /64). Providers behind one NAT that dial together try again with jitter."""

    links_max: int = 10_000
    """Registered links of this process."""

    ssl: SSLContext | None = None
    is_port_shared: bool = False
    """Other processes listen at the same port; the kernel spreads what dials it (SO_REUSEPORT)."""


class ProviderListener:
    """All provider links of one coordinator process."""

    def __init__(
        self,
        gate: FleetGate,
        settings: ListenerSettings,
        clock: Clock,
        *,
        on_fault: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`on_fault` hears the `LinkFault` of every rule that a provider broke, to count it."""
        self._gate = gate
        self._on_fault = on_fault
        self._settings = settings
        self._clock = clock
        self._tasks = TaskSet()
        self._server: asyncio.Server | None = None
        self._strangers: Counter[str] = Counter()
        self._refusals = Pace(1.0, burst=10, now_s=clock.monotonic_s())
        """How often a refusal is logged: whoever floods the door does not flood the log."""
        self._knocking: set[_LinkProtocol] = set()
        self._connections: dict[ProviderConnection, None] = {}
        self._links: dict[ProviderId, ProviderConnection] = {}

    def __repr__(self) -> str:
        return f"<ProviderListener {len(self._links)} links, {self.strangers} strangers>"

    @property
    def strangers(self) -> int:
        """Connections that are not registered."""
        return self._strangers.total()

    @property
    def links(self) -> int:
        """Registered links."""
        return len(self._links)

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, which is a free one when `port` is 0. Raises `OSError` when it is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _LinkProtocol(self),
            host,
            port,
            ssl=self._settings.ssl,
            backlog=1024,
            reuse_port=self._settings.is_port_shared or None,
        )
        return int(self._server.sockets[0].getsockname()[1])

    def drain(self, reason: str) -> None:
        """Tell every provider that no more attempts come."""
        for connection in list(self._links.values()):
            connection.drain(reason)

    async def aclose(self) -> None:
        """Stop listening, end every link, and wait until the sockets are closed."""
        if self._server is not None:
            self._server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.close(LinkFault.CLOSING)
        for protocol in list(self._knocking):
            protocol.abort()
        await asyncio.gather(*(connection.gone.wait() for connection in connections))
        await self._tasks.aclose()
        if self._server is not None:
            await self._server.wait_closed()

    # What the protocol below asks.

    def admit_stranger(self, protocol: _LinkProtocol, address: str) -> bool:
        """Count a new connection; False when it is one too many."""
        settings = self._settings
        if (
            self.strangers >= settings.unregistered_max
            or self._strangers[address] >= settings.unregistered_per_address_max
            or len(self._links) >= settings.links_max
        ):
            if self._refusals.take(self._clock.monotonic_s()):
                _LOG.warning("connection refused: too many are not registered", extra={"count": self.strangers})
            return False
        self._strangers[address] += 1
        self._knocking.add(protocol)
        return True

    def end_knocking(self, protocol: _LinkProtocol) -> None:
        """Note that a connection was upgraded or is gone."""
        self._knocking.discard(protocol)

    def forget_stranger(self, address: str) -> None:
        """Stop counting a connection, because it registered or is gone."""
        self._strangers[address] -= 1
        if self._strangers[address] <= 0:
            del self._strangers[address]

    def open(self, protocol: _LinkProtocol) -> ProviderConnection:
        """Make the connection of an upgraded socket."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        session = CoordinatorSession(
            network=self._settings.network,
            nonce=nonce,
            limits=self._settings.limits,
            now_s=self._clock.monotonic_s(),
        )
        return ProviderConnection(
            gate=self._gate,
            session=session,
            nonce=nonce,
            clock=self._clock,
            limits=self._settings.limits,
            tasks=self._tasks,
            on_connected=lambda connection: self._keep(connection, protocol),
            on_registered=lambda connection: self._register(connection, protocol),
            on_ended=self._forget,
            on_fault=self._on_fault,
        )

    @property
    def handshake_s(self) -> float:
        return self._settings.handshake_s

    # Links.

    def _keep(self, connection: ProviderConnection, protocol: _LinkProtocol) -> None:
        protocol.end_handshake()
        self._connections[connection] = None

    def _register(self, connection: ProviderConnection, protocol: _LinkProtocol) -> None:
        protocol.leave_strangers()
        old = self._links.get(connection.provider_id)
        self._links[connection.provider_id] = connection
        if old is not None:
            old.close(LinkFault.REPLACED)

    def _forget(self, connection: ProviderConnection) -> None:
        self._connections.pop(connection, None)
        provider_id = connection.registered_as
        if provider_id is not None and self._links.get(provider_id) is connection:
            del self._links[provider_id]


class _LinkProtocol(WSProtocol):  # type: ignore[misc]  # untyped base
    """picows' server protocol with a counted door, a time limit for the header, and nothing read after the close."""

    def __init__(self, listener: ProviderListener) -> None:
        super().__init__(
            None,  # host: a client's matter
            None,  # path: likewise
            False,  # is_client_side
            self._route,
            _PICOWS_LOG,
            True,  # disconnect_on_exception
            None,  # websocket_handshake_timeout: kept here, because picows leaves an unread exception behind
            False,  # enable_auto_ping: heartbeats do that
            20,
            20,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            False,  # enable_auto_pong: pings are counted first
            MESSAGE_BYTES_MAX,
            None,  # extra_headers
            16 * 1024,  # read_buffer_init_size
        )
        self._owner = listener
        self._address = ""
        self._is_counted = False
        self._handshake: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._address = network_of(peer_address(transport))
        if not self._owner.admit_stranger(self, self._address):
            transport.abort()
            return
        self._is_counted = True
        loop = asyncio.get_running_loop()
        self._handshake = loop.call_later(self._owner.handshake_s, transport.abort)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.transport is None:
            return
        self.end_handshake()
        self.leave_strangers()
        super().connection_lost(exc)

    def buffer_updated(self, nbytes: int) -> None:
        if self.transport is not None and not self.transport.is_close_frame_sent:
            super().buffer_updated(nbytes)

    def abort(self) -> None:
        """Drop the connection without a word."""
        self.transport.underlying_transport.abort()

    def leave_strangers(self) -> None:
        """Stop counting as a stranger; a second call does nothing."""
        if self._is_counted:
            self._is_counted = False
            self._owner.forget_stranger(self._address)

    def end_handshake(self) -> None:
        """Lift the time limit of the header; the session's own deadlines follow."""
        self._owner.end_knocking(self)
        if self._handshake is not None:
            self._handshake.cancel()

    def _route(self, request: WSUpgradeRequest) -> ProviderConnection | WSUpgradeResponseWithListener | None:
        if request.path != LINK_PATH.encode():
            return None
        if "Origin" in request.headers:
            return WSUpgradeResponseWithListener(
                WSUpgradeResponse.create_error_response(403, b"browsers do not serve models"), None
            )
        return self._owner.open(self)


def network_of(address: str) -> str:
    """Return what counts as one peer: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped is not None else str(ipaddress.ip_network((int(parsed), 64), strict=False))
