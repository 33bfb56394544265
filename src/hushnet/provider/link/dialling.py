"""The provider's end of the link: dials out, registers, serves attempts, reconnects.

The rules are in `wire.provider_session`; this file and `connection.py` are the I/O around it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from picows import WSError, ws_connect

from hushnet.foundation.errors import AccessError, ConfigurationError
from hushnet.foundation.tasks import TaskSet
from hushnet.provider.link.connection import WRONG_NETWORK, Ending, LinkConnection
from hushnet.provider.link.contract import AgentDescription, AttemptHandler, AttemptWriter
from hushnet.wire.errors import LinkFault
from hushnet.wire.limits import MESSAGE_BYTES_MAX, LinkLimits

if TYPE_CHECKING:
    from hushnet.foundation.clock import Clock
    from hushnet.foundation.ids import ModelId
    from hushnet.foundation.redaction import Secret

__all__ = ["REJECTED_FOR_GOOD", "AgentDescription", "AttemptHandler", "AttemptWriter", "ProviderLink"]

_LOG = logging.getLogger(__name__)

# picows logs addresses and foreign error text; an ended link is logged here, by code.
_PICOWS_LOG: Final = logging.getLogger(f"{__name__}.picows")
_PICOWS_LOG.setLevel(logging.CRITICAL)

_RANDOM: Final = random.SystemRandom()

REJECTED_FOR_GOOD: Final = frozenset(
    {
        "invalid_api_key",
        "wrong_scope",
        "account_closed",
        "unsupported_version",
        "statement_wrong_network",
        "statement_wrong_provider",
        "provider_banned",
    }
)
"""Rejections that dialling again cannot cure; every other code is tried again."""


class ProviderLink:
    """Keeps one link to one coordinator alive until drained."""

    def __init__(
        self,
        *,
        url: str,
        token: Secret,
        agent: AgentDescription,
        handler: AttemptHandler,
        clock: Clock,
        limits: LinkLimits | None = None,
        jitter: Callable[[], float] = _RANDOM.random,
    ) -> None:
        """Raises `ConfigurationError` when `url` is no `ws://` or `wss://` address. `jitter` returns 0.0..1.0."""
        self._url = _checked_url(url)
        self._token = token
        self._agent = agent
        self._handler = handler
        self._clock = clock
        self._limits = limits or LinkLimits()
        self._jitter = jitter
        self._connection: LinkConnection | None = None
        self._dialling: asyncio.Timeout | None = None
        self._tasks = TaskSet()
        self._is_leaving = asyncio.Event()
        self.registered = asyncio.Event()
        """Set while the coordinator has this provider registered."""

    def __repr__(self) -> str:
        return f"<ProviderLink {self._connection!r}>"

    @property
    def is_registered(self) -> bool:
        return self.registered.is_set()

    def announce(self) -> None:
        """Send capacity and changed models soon instead of at the next heartbeat; changes of one moment go together."""
        if self._connection is not None:
            self._connection.announce()

    def refuse_load(self, model: ModelId, code: str) -> None:
        """Say that a model which the coordinator asked for is not being loaded; without effect while no link is up."""
        if self._connection is not None:
            self._connection.refuse_load(model, code)

    async def run(self) -> None:
        """Dial, register, serve, and dial again until `drain`.

        Raises `AccessError` when the coordinator rejects this provider for good, `ConfigurationError` when it belongs to
        another network.
        """
        failures = 0
        self._tasks.spawn(self._watch_statement(), name="link-statement")
        try:
            while not self._is_leaving.is_set():
                ending = await self._run_once()
                _raise_if_final(ending)
                failures = 0 if ending.was_registered else failures + 1
                if ending.code == LinkFault.REPLACED:
                    _LOG.warning(
                        "another link of this provider took over; is a second agent running with its identity?"
                    )
                await self._wait_before_redial(self._backoff_s(failures, is_replaced=ending.code == LinkFault.REPLACED))
        finally:
            await self._tasks.aclose()

    async def drain(self) -> None:
        """Take no more attempts, let running ones finish within `drain_s`, say goodbye; `run` returns."""
        self._is_leaving.set()
        if self._dialling is not None:
            self._dialling.reschedule(asyncio.get_running_loop().time())
        connection = self._connection
        if connection is None:
            return
        if connection.is_registered:
            connection.start_draining()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.drain_s):
                    await connection.quiet.wait()
        connection.close(LinkFault.DRAINED)
        await connection.gone.wait()

    async def _run_once(self) -> Ending:
        connection = LinkConnection(
            agent=self._agent,
            token=self._token,
            handler=self._handler,
            clock=self._clock,
            limits=self._limits,
            on_registered=self._note_registered,
        )
        try:
            if not await self._dial(connection):
                return Ending("unreachable")
            self._connection = connection
            if self._is_leaving.is_set():
                connection.close(LinkFault.DRAINED)
            ending = await connection.ended
            self.registered.clear()
            _LOG.info("link ended", extra={"code": ending.code})
            await connection.gone.wait()
            return ending
        finally:
            connection.close(LinkFault.CLOSING)
            self._connection = None

    async def _dial(self, connection: LinkConnection) -> bool:
        limits = self._limits
        try:
            # Twice the handshake's own limit: that one closes the socket itself, this one bounds the look-up and connect.
            async with asyncio.timeout(2.0 * limits.register_s) as self._dialling:
                await ws_connect(
                    lambda: connection,
                    self._url,
                    websocket_handshake_timeout=limits.register_s,
                    logger_name=_PICOWS_LOG,
                    enable_auto_ping=True,
                    auto_ping_idle_timeout=limits.ping_idle_s,
                    auto_ping_reply_timeout=min(limits.ping_idle_s, limits.ping_reply_s),
                    max_frame_size=MESSAGE_BYTES_MAX,
                    max_redirects=0,
                )
        except (OSError, WSError, TimeoutError) as error:
            _LOG.warning("coordinator not reached", extra={"error": type(error).__name__})
            return False
        finally:
            self._dialling = None
        return True

    async def _wait_before_redial(self, wait_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._is_leaving.wait()

    def _backoff_s(self, failures: int, *, is_replaced: bool) -> float:
        """Return the wait before the next dial: doubling from the least to the most, and half of it left to chance."""
        limits = self._limits
        ceiling = limits.backoff_s_max if is_replaced else limits.backoff_s_min * 2.0 ** min(failures, 16)
        ceiling = min(ceiling, limits.backoff_s_max)
        return ceiling * (0.5 + 0.5 * self._jitter())

    def _note_registered(self) -> None:
        self.registered.set()
        _LOG.info("registered with the coordinator")

    async def _watch_statement(self) -> None:
        while True:
            await self._agent.statement_changed.wait()
            self._agent.statement_changed.clear()
            if self._connection is not None:
                self._connection.announce_statement()


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"ws", "wss"} or not parts.hostname or parts.username is not None or parts.fragment:
        raise ConfigurationError(
            "a link address looks like ws://host:port/path or wss://host/path", code="bad_link_address"
        )
    if parts.scheme == "ws" and not _is_loopback(parts.hostname):
        _LOG.warning("the link is not encrypted: the provider token travels in clear")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _raise_if_final(ending: Ending) -> None:
    rejection = ending.rejection
    if ending.code == WRONG_NETWORK:
        raise ConfigurationError(
            "the coordinator belongs to another network than this provider's identity", code=WRONG_NETWORK
        )
    if rejection is None:
        return
    hint = "".join(each for each in rejection.hint if each.isprintable())
    if rejection.code in REJECTED_FOR_GOOD:
        raise AccessError("the coordinator rejected this provider", code=rejection.code, hint=hint)
    _LOG.warning("registration rejected", extra={"code": rejection.code})
