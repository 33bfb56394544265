"""Both ends of the provider link for tests: scripted agent, handler, gate and sink, and a raw peer that obeys no rule.

Everything that happens is written to a `Chronicle`; tests wait for entries, never for time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect, ws_create_server

from hushnet.coordinator.api.provider_socket import ListenerSettings, ProviderListener
from hushnet.coordinator.fleet.link import Admitted, ProviderLink, Rejected
from hushnet.foundation.clock import Clock, SystemClock
from hushnet.foundation.ids import AttemptId, ModelId, ProviderId
from hushnet.foundation.redaction import Secret
from hushnet.provider.link import dialling as provider_link
from hushnet.provider.link.introduction import document_of
from hushnet.sealing.identities import provider_id_of
from hushnet.sealing.records import FINAL, Kind, Record
from hushnet.sealing.records.layout import record_header
from hushnet.sealing.statements import Statement, issue_statement
from hushnet.sealing.suites import Suite, generate_key_pair
from hushnet.wire.frames import Capacity, ModelOffer, Register, StatementDocument
from hushnet.wire.limits import LINK_PATH, LinkLimits

NETWORK = "hushnet-test"
ENVELOPE = b"an envelope, as far as the link can tell"
TOKEN = "hk_provider_1_" + "t" * 43
QUICK = LinkLimits(backoff_s_min=0.001, backoff_s_max=0.002, close_s=0.5)
"""Redials at once, so that a test never waits for a backoff."""


def record(kind: Kind = Kind.CONTENT, *, size: int = 32, seq: int = 0) -> bytes:
    """A record of the right shape whose ciphertext is noise; `size` counts the ciphertext."""
    clear = {Kind.HEAD: 84, Kind.USAGE: 20, Kind.ERROR: 20, Kind.END: 20}.get(kind, 0)
    flags = FINAL if kind in (Kind.ERROR, Kind.END) else 0
    return record_header(kind, flags, clear_size=clear, seq=seq, cipher_size=size) + bytes(clear) + b"\x5a" * size


HEAD = record(Kind.HEAD)
CONTENT = record(Kind.CONTENT, seq=1)
END = record(Kind.END, seq=2)


async def eventually(condition: Callable[[], bool]) -> None:
    """Let the loop run until something is true that nobody announces; the test's own time limit bounds it."""
    while not condition():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0)


class SlowClock(SystemClock):
    """A clock at half speed: every timer of the loop fires before this clock gets there."""

    def monotonic_s(self) -> float:
        return super().monotonic_s() / 2


class Chronicle:
    """What happened, in order; every entry is a tuple that starts with a word."""

    def __init__(self) -> None:
        self.entries: list[tuple[Any, ...]] = []
        self._changed = asyncio.Event()

    def note(self, *entry: Any) -> None:
        self.entries.append(entry)
        self._changed.set()

    def all(self, word: str) -> list[tuple[Any, ...]]:
        return [entry for entry in self.entries if entry[0] == word]

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def saw(self, word: str, *, times: int = 1) -> tuple[Any, ...]:
        """Wait until `word` was noted `times` times; returns that entry."""
        await self.until(lambda: len(self.all(word)) >= times)
        return self.all(word)[times - 1]


@dataclass
class Identity:
    """An Ed25519 identity and the statement of its keys."""

    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    alg: str = "ed25519"

    @property
    def public_key(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    @property
    def provider_id(self) -> ProviderId:
        return ProviderId(provider_id_of(self.alg, self.public_key).hex())

    def sign(self, message: bytes) -> bytes:
        return self.private.sign(message)

    def statement(self, *, network: str = NETWORK, serial: int = 1) -> Statement:
        return issue_statement(
            self,
            network=network,
            keys=[generate_key_pair(Suite.NACL_BOX)],
            receipt_public_key=None,
            issued_at=1_763_690_000,
            expires_at=1_763_693_600,
            serial=serial,
        )


@cache
def identity(number: int = 0) -> Identity:
    """A few identities that all tests share."""
    return Identity(Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big")))


class ScriptedAgent:
    """An `AgentDescription` whose answers a test may change."""

    def __init__(self, who: Identity | None = None, *, network: str = NETWORK) -> None:
        self.who = who or identity()
        self.agent_version = "0.0.test"
        self.statement_changed = asyncio.Event()
        self.present = self.who.statement(network=network)
        self.offers = [ModelOffer(model=ModelId("hush-tiny"), context_tokens=2048, slots=4)]
        self.load = Capacity(slots=4, active=0)
        self.where = ""
        self._network = network

    def network(self) -> str:
        return self._network

    def region(self) -> str:
        return self.where

    def statement(self) -> Statement:
        return self.present

    def models(self) -> Sequence[ModelOffer]:
        return self.offers

    def capacity(self) -> Capacity:
        return self.load

    def sign(self, message: bytes) -> bytes:
        return self.who.sign(message)


class ScriptedHandler(Chronicle):
    """An `AttemptHandler` that writes down what it hears and keeps the writers."""

    def __init__(self) -> None:
        super().__init__()
        self.writers: dict[AttemptId, provider_link.AttemptWriter] = {}

    def attempt_arrived(
        self, attempt: AttemptId, envelope: bytes, deadline_ms: int, writer: provider_link.AttemptWriter
    ) -> None:
        self.writers[attempt] = writer
        self.note("arrived", attempt, envelope, deadline_ms)

    def attempt_cancelled(self, attempt: AttemptId, code: int) -> None:
        self.note("cancelled", attempt, code)

    def link_lost(self) -> None:
        self.writers.clear()
        self.note("lost")

    def load_model_requested(self, model: ModelId) -> None:
        self.note("load", model)

    def unload_model_requested(self, model: ModelId) -> None:
        self.note("unload", model)

    def drain_requested(self) -> None:
        self.note("drain")

    async def writer(self, attempt: AttemptId) -> provider_link.AttemptWriter:
        """Wait for an attempt and return its writer."""
        await self.until(lambda: attempt in self.writers)
        return self.writers[attempt]


class ScriptedSink(Chronicle):
    """An `AttemptSink` that writes down what it hears."""

    @property
    def records(self) -> list[Record]:
        return [each for entry in self.all("records") for each in entry[1]]

    def content_arrived(self, record: Record) -> None:
        self.records_arrived([record])

    def records_arrived(self, records: Sequence[Record]) -> None:
        self.note("records", list(records))

    def attempt_refused(self, code: int) -> None:
        self.note("refused", code)

    def link_lost(self) -> None:
        self.note("lost")

    def attempt_finished(self) -> None:
        self.note("finished")

    @property
    def endings(self) -> list[str]:
        return [entry[0] for entry in self.entries if entry[0] != "records"]


class ScriptedGate(Chronicle):
    """A `FleetGate` that admits whoever shows the right token, and writes down what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.links: dict[ProviderId, ProviderLink] = {}
        self.link_ms = 0
        self.decide: Callable[[Register], Admitted | Rejected] = self._decide
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def admit(
        self, registration: Register, *, nonce: bytes, link: ProviderLink, peer: str
    ) -> Admitted | Rejected:
        self.note("asked", registration, nonce, peer)
        await self.may_answer.wait()
        verdict = self.decide(registration)
        if isinstance(verdict, Admitted):
            self.links[verdict.provider_id] = link
            self.note("admitted", verdict.provider_id, link)
        return verdict

    def heartbeat(self, provider_id: ProviderId, capacity: Capacity, *, link_ms: int = 0) -> None:
        self.note("heartbeat", provider_id, capacity)
        self.link_ms = link_ms

    def challenge_replied(self, provider_id: ProviderId, nonce: bytes, signature: bytes) -> None:
        self.note("replied", provider_id, nonce, signature)

    def statement_changed(self, provider_id: ProviderId, statement: StatementDocument) -> None:
        self.note("statement", provider_id, statement)

    def models_changed(self, provider_id: ProviderId, models: Sequence[ModelOffer]) -> None:
        self.note("models", provider_id, list(models))

    def load_failed(self, provider_id: ProviderId, model: ModelId, code: str) -> None:
        self.note("load_failed", provider_id, model, code)

    def draining(self, provider_id: ProviderId) -> None:
        self.note("draining", provider_id)

    def link_lost(self, provider_id: ProviderId, link: ProviderLink) -> None:
        self.note("lost", provider_id, link)

    async def link(self, *, times: int = 1) -> ProviderLink:
        """Wait for the `times`-th admitted link and return it."""
        entry = await self.saw("admitted", times=times)
        await asyncio.sleep(0)  # the listener answers in the step that follows the verdict
        return entry[2]

    @staticmethod
    def _decide(registration: Register) -> Admitted | Rejected:
        if registration.token.reveal() != TOKEN:
            return Rejected("invalid_api_key", "make a provider token")
        payload = msgspec.json.decode(Statement.from_json_object(registration.statement.to_json_object()).payload)
        return Admitted(ProviderId(payload["provider"]))


@asynccontextmanager
async def listening(
    gate: ScriptedGate,
    *,
    limits: LinkLimits = QUICK,
    port: int = 0,
    clock: Clock | None = None,
    on_fault: Callable[[str], None] = lambda _: None,
    **settings: Any,
) -> AsyncIterator[tuple[ProviderListener, str]]:
    """A listener on loopback and its link address."""
    settings_ = ListenerSettings(network=NETWORK, limits=limits, **settings)
    listener = ProviderListener(gate, settings_, clock or SystemClock(), on_fault=on_fault)
    bound = await listener.start("127.0.0.1", port)
    try:
        yield listener, f"ws://127.0.0.1:{bound}{LINK_PATH}"
    finally:
        await listener.aclose()


@asynccontextmanager
async def linked(
    url: str,
    handler: ScriptedHandler,
    *,
    agent: ScriptedAgent | None = None,
    limits: LinkLimits = QUICK,
    token: str = TOKEN,
) -> AsyncIterator[tuple[provider_link.ProviderLink, asyncio.Task[None]]]:
    """A running provider link and its task; drained, or stopped when `run` already ended."""
    link = provider_link.ProviderLink(
        url=url,
        token=Secret(token),
        agent=agent or ScriptedAgent(),
        handler=handler,
        clock=SystemClock(),
        limits=replace(limits, drain_s=0.05),
    )
    task = asyncio.create_task(link.run())
    try:
        yield link, task
    finally:
        await link.drain()
        await asyncio.gather(task, return_exceptions=True)


@dataclass
class Pair:
    """A registered link, seen from both ends."""

    gate: ScriptedGate
    handler: ScriptedHandler
    agent: ScriptedAgent
    listener: ProviderListener
    url: str
    provider: provider_link.ProviderLink
    task: asyncio.Task[None]
    link: ProviderLink

    def dispatch(self, envelope: bytes = ENVELOPE, *, credit: int = 1 << 20) -> tuple[AttemptId, ScriptedSink]:
        sink = ScriptedSink()
        return self.link.dispatch(envelope, deadline_ms=60_000, credit_bytes=credit, sink=sink), sink


@asynccontextmanager
async def pair(*, limits: LinkLimits = QUICK, provider_limits: LinkLimits | None = None) -> AsyncIterator[Pair]:
    """A listener and a provider that is registered with it."""
    gate, handler, agent = ScriptedGate(), ScriptedHandler(), ScriptedAgent()
    async with (
        listening(gate, limits=limits) as (listener, url),
        linked(url, handler, agent=agent, limits=provider_limits or limits) as (provider, task),
    ):
        link = await gate.link()
        await provider.registered.wait()
        yield Pair(gate, handler, agent, listener, url, provider, task, link)


class RawPeer(WSListener, Chronicle):
    """A WebSocket client that sends what it is told and writes down what it gets: `("text", dict)`, `("binary", bytes)`,
    `("closed", close code, reason)`, `("gone",)`.
    """

    def __init__(self) -> None:
        Chronicle.__init__(self)
        self.transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            self.note("text", msgspec.json.decode(frame.get_payload_as_bytes()))
        elif frame.msg_type == WSMsgType.BINARY:
            self.note("binary", frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            self.note("closed", int(frame.get_close_code()), frame.get_close_reason())
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.note("gone")

    def send(self, message: dict[str, Any] | str | bytes) -> None:
        """A dict leaves as a JSON text message, a string as text, bytes as a binary message."""
        assert self.transport is not None
        if isinstance(message, bytes):
            self.transport.send(WSMsgType.BINARY, message)
        else:
            raw = message.encode() if isinstance(message, str) else msgspec.json.encode(message)
            self.transport.send(WSMsgType.TEXT, raw)

    async def said(self, kind: str, *, times: int = 1) -> dict[str, Any]:
        """Wait for the `times`-th control frame of a type."""
        await self.until(lambda: len(self._of(kind)) >= times)
        return self._of(kind)[times - 1]

    def _of(self, kind: str) -> list[dict[str, Any]]:
        return [entry[1] for entry in self.all("text") if entry[1].get("type") == kind]

    async def register(self, who: Identity | None = None, **changes: Any) -> dict[str, Any]:
        """Register as an honest provider would; returns the `registered` frame."""
        await self.said("hello")
        self.send(register_frame(who or identity(), **changes))
        return await self.said("registered")


def register_frame(who: Identity, **changes: Any) -> dict[str, Any]:
    """A register frame as JSON values; the signature is noise, which the scripted gate does not mind."""
    statement = msgspec.to_builtins(document_of(who.statement()))
    return {
        "type": "register",
        "version": 1,
        "versions": [1],
        "token": TOKEN,
        "agent_version": "raw",
        "statement": statement,
        "models": [],
        "capacity": {"slots": 1, "active": 0},
        "challenge_signature": "A" * 86 + "==",
        **changes,
    }


@asynccontextmanager
async def raw_coordinator() -> AsyncIterator[tuple[list[RawPeer], Chronicle, str]]:
    """A WebSocket server that says nothing by itself: its connections, a chronicle of `("connected", peer)`, its address."""
    peers: list[RawPeer] = []
    chronicle = Chronicle()

    class Accepted(RawPeer):
        def on_ws_connected(self, transport: WSTransport) -> None:
            super().on_ws_connected(transport)
            peers.append(self)
            chronicle.note("connected", self)

    server = await ws_create_server(lambda _: Accepted(), "127.0.0.1", 0)
    try:
        yield peers, chronicle, f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}{LINK_PATH}"
    finally:
        server.close()
        for peer in peers:
            assert peer.transport is not None
            peer.transport.disconnect(graceful=False)
            await peer.transport.wait_disconnected()
        await server.wait_closed()


def hello_frame(**changes: Any) -> dict[str, Any]:
    """A hello as JSON values."""
    nonce = "A" * 43 + "="
    return {"type": "hello", "versions": [1], "network": NETWORK, "nonce": nonce, "register_within_s": 30.0, **changes}


def registered_frame(who: Identity | None = None, **changes: Any) -> dict[str, Any]:
    """The acceptance of a registration as JSON values."""
    provider_id = (who or identity()).provider_id
    return {"type": "registered", "version": 1, "heartbeat_s": 5.0, "provider_id": provider_id, **changes}


@asynccontextmanager
async def raw_peer(url: str, **options: Any) -> AsyncIterator[RawPeer]:
    """A connected raw peer; it vanishes without a goodbye."""
    peer = RawPeer()
    transport, _ = await ws_connect(lambda: peer, url, **options)
    try:
        yield peer
    finally:
        transport.disconnect(graceful=False)
        await transport.wait_disconnected()
