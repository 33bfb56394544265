"""Consumers of streams, one connection each: plain ones that read events, sealed ones that open records first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, cast
from urllib.parse import quote, urlsplit

import httpx
import msgspec

from bench.relay.answers import EventReader, ResponseReader, verdict
from bench.relay.instructions import MODEL, Instructions
from hushnet.foundation.errors import HushnetError
from hushnet.sdk.directory import Directory
from hushnet.sdk.policy import VerificationPolicy
from hushnet.sdk.sealed import BodyArrived, Ended, Failed, SealedExchange
from hushnet.sealing.statements import Recipient

CONNECT_S_MAX: Final = 30.0


class Target(msgspec.Struct, frozen=True):
    """Where the load goes. A sealed one verifies the providers of `network` and seals to one of them each time."""

    base_url: str
    api_key: str = ""
    model: str = MODEL
    sealed: bool = False
    network: str = ""

    def head(self, headers: dict[str, str], body: bytes) -> bytes:
        """Return the request that posts `body` as a chat."""
        parts = urlsplit(self.base_url)
        fields = {"Host": parts.netloc, "Content-Length": str(len(body)), **headers}
        if self.api_key:
            fields["Authorization"] = f"Bearer {self.api_key}"
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"POST {parts.path}/v1/chat/completions HTTP/1.1\r\n{lines}\r\n".encode() + body


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection to a target; `on_body` gets what arrives, `on_end` hears once a response is over or broken."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.reader = ResponseReader()
        self.is_lost = False
        self.on_body: Callable[[bytes], None] = _ignore
        self.on_end: Callable[[], None] = _nothing

    @classmethod
    async def open(cls, target: Target) -> Connection:
        """Connect."""
        parts = urlsplit(target.base_url)
        making = asyncio.get_running_loop().create_connection(cls, parts.hostname or "", parts.port or 80)
        _, connection = await asyncio.wait_for(making, CONNECT_S_MAX)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def send(self, request: bytes) -> None:
        """Send a request on a connection whose last response is over."""
        self.reader.reset()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        reader = self.reader
        if body := reader.feed(data):
            self.on_body(body)
        if reader.is_whole:
            self.on_end()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if not self.reader.is_whole:
            self.reader.end()
            self.on_end()

    def close(self) -> None:
        """Hang up."""
        self.transport.abort()


class Consumer:
    """One stream from its request to its end."""

    def __init__(self, instructions: Instructions) -> None:
        self.instructions = instructions
        self.events = EventReader()
        self.sent_ns = 0
        self.outcome = ""
        self.status = 0
        self.failure = ""
        self._connection: Connection | None = None
        self._exchange: SealedExchange | None = None
        self._is_opened_whole = True
        self._ended = asyncio.Event()

    def begin(self, connection: Connection, target: Target, sealer: Sealer | None = None) -> None:
        """Send the request; sealed when there is a sealer."""
        self._connection = connection
        body = self.instructions.chat(stream=True, model=target.model)
        headers = {"Content-Type": "application/json"}
        if sealer is not None:
            self._exchange = sealer.exchange(body)
            self._is_opened_whole = False
            headers, body = self._exchange.headers, self._exchange.envelope
        connection.on_body = self.events.feed if sealer is None else self._open
        connection.on_end = self._end
        request = target.head(headers, body)
        self.sent_ns = time.monotonic_ns()
        connection.send(request)

    async def ended(self) -> str:
        """Wait for the end; return the verdict."""
        await self._ended.wait()
        return self.outcome

    @property
    def first_ms(self) -> float:
        """Milliseconds from the request to the first chunk; 0 while there is none."""
        return max(0, self.events.first_ns - self.sent_ns) / 1e6

    def _open(self, body: bytes) -> None:
        assert self._exchange is not None
        if self._connection is None or self._connection.reader.status != 200:
            return
        try:
            for event in self._exchange.feed(body):
                if isinstance(event, BodyArrived):
                    self.events.feed(event.data)
                elif isinstance(event, Ended):
                    self._is_opened_whole = True
                elif isinstance(event, Failed):
                    self.failure = f"code {event.code}"
        except HushnetError as error:
            self.failure = error.error_code
            if self._connection is not None:
                self._connection.close()

    def _end(self) -> None:
        connection = self._connection
        if connection is None:
            return
        self._connection = None
        connection.on_body, connection.on_end = _ignore, _nothing
        self.status = connection.reader.status
        is_whole = connection.reader.is_whole and self._is_opened_whole and not self.failure
        self.outcome = verdict(self.events, chunks=self.instructions.chunks, is_whole=is_whole)
        if self.status != 200:
            self.outcome = f"refused {self.status}"
        self._ended.set()


class Sealer:
    """Seals requests, each to one verified provider, taking turns so that all get the same share."""

    def __init__(self, recipients: Sequence[Recipient], trust: str) -> None:
        self._recipients = recipients
        self._trust = trust
        self._turn = 0

    @classmethod
    async def of(cls, target: Target) -> Sealer | None:
        """Fetch and verify the providers of a sealed target; None for a plain one."""
        if not target.sealed:
            return None
        policy = VerificationPolicy().for_address(target.base_url, target.network or None)
        found: dict[bytes, Recipient] = {}
        async with httpx.AsyncClient() as client:
            url = f"{target.base_url}/v1/sealing/providers?model={quote(target.model, safe='')}&limit=64"
            reply = (await client.get(url)).raise_for_status()
        listing = Directory(policy).accept(
            target.model, reply.content, now_s=int(time.time()), monotonic_s=time.monotonic()
        )
        found |= {recipient.provider_id: recipient for recipient in listing.recipients}
        if not found:
            raise RuntimeError(f"no provider to seal to: {dict(listing.rejected)}")
        return cls(list(found.values()), policy.floor or "none")

    def exchange(self, body: bytes) -> SealedExchange:
        """Seal a request."""
        recipient = self._recipients[self._turn % len(self._recipients)]
        self._turn += 1
        return SealedExchange(body, (recipient,), trust=self._trust, now_s=int(time.time()))


def _ignore(_: bytes) -> None: ...


def _nothing() -> None: ...
