"""A provider behind the link's protocols whose part a test plays, record by record, truly or not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from hushnet.coordinator.fleet.link import Admitted, AttemptSink, FleetGate, Rejected
from hushnet.dialects.openai_chat import ChatStream, Delta, Usage, render_completion
from hushnet.foundation.ids import AccountId, AttemptId, ModelId, ProviderId
from hushnet.foundation.redaction import Secret
from hushnet.sealing.errors import SealingError, WireCode
from hushnet.sealing.identities import provider_id_of
from hushnet.sealing.keyring import Keyring
from hushnet.sealing.meters import Meter
from hushnet.sealing.opening import OpenedRequest, open_request
from hushnet.sealing.records import FrameSealer, Kind, parse_record
from hushnet.sealing.replay import ReplayCache
from hushnet.wire.challenge import challenge_message
from hushnet.wire.errors import LinkLost
from hushnet.wire.frames import Capacity, ModelOffer, Register, StatementDocument, StatementSignature
from support.exchange import until
from support.sealing import Ed25519Signer

NETWORK = "hushnet-test"
MODEL = ModelId("tiny")
Part = Callable[["ServedAttempt"], None]


class Coordinator(Protocol):
    """What a scripted provider needs of the coordinator that it joins."""

    @property
    def gate(self) -> FleetGate: ...

    @property
    def now(self) -> int: ...


class ServedAttempt:
    """One attempt as its provider sees it; every method plays one step."""

    def __init__(self, provider: ScriptedProvider, number: AttemptId, envelope: bytes, sink: AttemptSink) -> None:
        self.provider = provider
        self.number = number
        self.envelope = envelope
        self.cancelled: WireCode | None = None
        self.granted = 0
        self.sent_bytes = 0
        self.on_credit: Callable[[], None] = lambda: None
        self.is_over = False
        self.input = 7
        self.output = 0
        self._sink = sink
        self._opened: OpenedRequest | None = None
        self._sealer: FrameSealer | None = None
        self._stream: ChatStream | None = None
        self._text: list[str] = []

    @property
    def opened(self) -> OpenedRequest:
        if self._opened is None:
            self._opened = self.provider.open(self.envelope)
        return self._opened

    @property
    def sealer(self) -> FrameSealer:
        if self._sealer is None:
            self._sealer = self.opened.frame_sealer()
        return self._sealer

    @property
    def is_stream(self) -> bool:
        return self.opened.header.stream

    def head(self, *, status: int = 200, content_type: str | None = None) -> None:
        kind = content_type or ("text/event-stream" if self.is_stream else "application/json")
        self.send(self.sealer.head(json.dumps({"status": status, "content_type": kind, "build": ""}).encode()))

    def role(self) -> None:
        self.send(self.sealer.boilerplate(self.stream.role()))

    def say(self, *texts: str) -> None:
        """Stream one record a text, one token each; an answer that is not streamed only counts."""
        for text in texts:
            self.output += 1
            self._text.append(text)
            if self.is_stream:
                self.send(self.sealer.content(self.stream.delta(Delta(text, 1))))

    def usage(self, **counts: int) -> None:
        self.send(self.sealer.usage(self.meter(**counts)))

    def end(self, **counts: int) -> None:
        """Close the answer as an honest provider does, then free the slot."""
        usage = Usage(self.input, 0, self.output)
        if self.is_stream:
            closing = self.stream.finish("stop") + self.stream.usage(usage) + self.stream.done()
        else:
            text = "".join(self._text)
            closing = render_completion(
                completion_id="c", model=self.opened.header.model, created_s=0, text=text, reason="stop", usage=usage
            )
        self.send(self.sealer.content(closing), self.sealer.end(self.meter(**counts)))
        self.finish()

    def error(self, code: WireCode, body: bytes = b"{}") -> None:
        self.send(self.sealer.error(self.meter(code=code), body))
        self.finish()

    def meter(self, **counts: int) -> Meter:
        said = {"input": self.input, "cached": 0, "output": self.output, "reasoning": 0, **counts}
        return Meter(**said)

    def send(self, *raws: bytes) -> None:
        """Deliver records as one message of the link would."""
        if not self.is_over:
            self.sent_bytes += sum(map(len, raws))
            records = [parse_record(raw) for raw in raws]
            while records and records[0].kind is Kind.CONTENT:
                self._sink.content_arrived(records.pop(0))
            if records:
                self._sink.records_arrived(records)

    def refuse(self, code: WireCode) -> None:
        if not self.is_over:
            self._end()
            self._sink.attempt_refused(code)

    def finish(self) -> None:
        if not self.is_over:
            self._end()
            self._sink.attempt_finished()

    def lose(self) -> None:
        if not self.is_over:
            self._end()
            self._sink.link_lost()

    @property
    def stream(self) -> ChatStream:
        if self._stream is None:
            body = json.loads(self.opened.data)
            include = bool((body.get("stream_options") or {}).get("include_usage"))
            self._stream = ChatStream("c", self.opened.header.model, 0, include)
        return self._stream

    def _end(self) -> None:
        self.is_over = True
        self.provider.attempts_open.pop(self.number, None)


def says(*texts: str) -> Part:
    """Play an honest provider that answers with `texts`, one token each."""

    def part(attempt: ServedAttempt) -> None:
        attempt.head()
        if attempt.is_stream:
            attempt.role()
        attempt.say(*texts)
        attempt.end()

    return part


def refuses(code: WireCode) -> Part:
    """Play a provider that refuses."""
    return lambda attempt: attempt.refuse(code)


class ScriptedProvider:
    """A provider whose part a test plays. `part` is played for every attempt; without one the test plays itself.

    It honours cancels as a good provider does (error `cancelled` with a receipt, then the slot is free) unless
    `ignores_cancel` is set.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        *,
        account: AccountId,
        models: Sequence[ModelOffer] | None = None,
        slots: int = 4,
        part: Part | None = None,
        decode_tokens_s: float = 40.0,
        agent_version: str = "0.0.test",
        region: str = "",
    ) -> None:
        self.coordinator = coordinator
        self.account = account
        self.part = part
        self.agent_version = agent_version
        self.region = region
        self.offers = tuple(models or (ModelOffer(model=MODEL, context_tokens=8192, features=("tools",), slots=slots),))
        self.capacity = Capacity(slots=slots, active=0, decode_tokens_s=decode_tokens_s, prefill_tokens_s=400.0)
        self.signer = Ed25519Signer()
        self.keyring = Keyring(self.signer, network=NETWORK)
        self.statement = self.keyring.rotate(coordinator.now)
        self.cache = ReplayCache(1000)
        self.ignores_cancel = False
        self.ignores_challenges = False
        self.served: list[ServedAttempt] = []
        self.attempts_open: dict[AttemptId, ServedAttempt] = {}
        self.closed: str | None = None
        self.challenges: list[bytes] = []
        self.wishes: list[tuple[str, ModelId]] = []
        """What the coordinator asked to load and unload."""
        self.can_dispatch = True
        self._attempts = 0

    @property
    def id_bytes(self) -> bytes:
        return provider_id_of(self.signer.alg, self.signer.public_key)

    @property
    def provider_id(self) -> ProviderId:
        return ProviderId(self.id_bytes.hex())

    # The link's side: `ProviderLink`.

    def dispatch(self, envelope: bytes, *, deadline_ms: int, credit_bytes: int, sink: AttemptSink) -> AttemptId:
        if self.closed is not None or not self.can_dispatch:
            raise LinkLost("the link is gone")
        self._attempts += 1
        attempt = ServedAttempt(self, AttemptId(self._attempts), envelope, sink)
        self.served.append(attempt)
        self.attempts_open[attempt.number] = attempt
        if self.part is not None:
            asyncio.get_running_loop().call_soon(self.part, attempt)
        return attempt.number

    def cancel(self, attempt: AttemptId, code: int) -> None:
        served = self.attempts_open.get(attempt)
        if served is not None and served.cancelled is None:
            served.cancelled = WireCode(code)
            if not self.ignores_cancel:
                asyncio.get_running_loop().call_soon(self._stop, served)

    def grant(self, attempt: AttemptId, bytes_: int) -> None:
        if attempt in self.attempts_open:
            self.attempts_open[attempt].granted += bytes_
            self.attempts_open[attempt].on_credit()

    def challenge(self, nonce: bytes) -> None:
        self.challenges.append(nonce)
        if not self.ignores_challenges:
            self.coordinator.gate.challenge_replied(self.provider_id, nonce, self.sign(nonce))

    def load_model(self, model: ModelId) -> None:
        self.wishes.append(("load", model))

    def unload_model(self, model: ModelId) -> None:
        self.wishes.append(("unload", model))

    def close(self, code: str) -> None:
        if self.closed is None:
            self.closed = code
            for attempt in list(self.attempts_open.values()):
                attempt.lose()
            self.coordinator.gate.link_lost(self.provider_id, self)

    # The provider's side.

    def register(self, nonce: bytes, *, token: str | None = None, signature: bytes | None = None) -> Register:
        return Register(
            version=1,
            versions=(1,),
            token=Secret(token or f"provider-{self.account}"),
            agent_version=self.agent_version,
            statement=document_of(self.statement.to_json_object()),
            models=self.offers,
            capacity=self.capacity,
            challenge_signature=self.sign(nonce) if signature is None else signature,
            region=self.region,
        )

    async def join(self, **changes: Any) -> Admitted | Rejected:
        nonce = b"n" * 32
        return await self.coordinator.gate.admit(
            self.register(nonce, **changes), nonce=nonce, link=self, peer="127.0.0.1"
        )

    def sign(self, nonce: bytes) -> bytes:
        message = challenge_message(
            NETWORK, provider_id=self.id_bytes, nonce=nonce, statement_digest=self.statement.digest()
        )
        return self.signer.sign(message)

    def open(self, envelope: bytes) -> OpenedRequest:
        return open_request(
            envelope,
            provider_id=self.id_bytes,
            keyring=self.keyring,
            cache=self.cache,
            now=self.coordinator.now,
        )

    def rotate(self) -> None:
        self.statement = self.keyring.rotate(self.coordinator.now)
        document = document_of(self.statement.to_json_object())
        self.coordinator.gate.statement_changed(self.provider_id, document)

    def report(self, **changes: Any) -> None:
        """Send a heartbeat."""
        self.capacity = msgspec.structs.replace(self.capacity, **changes)
        self.coordinator.gate.heartbeat(self.provider_id, self.capacity)

    async def attempt(self, number: int = 1) -> ServedAttempt:
        """Wait for the provider's attempt of that number, from 1."""
        await until(lambda: len(self.served) >= number)
        return self.served[number - 1]

    def _stop(self, attempt: ServedAttempt) -> None:
        if attempt.is_over:
            return
        try:
            if attempt.sealer.is_open and attempt.output:
                attempt.error(WireCode.CANCELLED)
            else:
                attempt.refuse(WireCode.CANCELLED)
        except SealingError:
            attempt.finish()


def document_of(statement: dict[str, Any]) -> StatementDocument:
    return StatementDocument(
        payload_type=statement["payloadType"],
        payload=statement["payload"],
        signatures=tuple(StatementSignature(keyid=each["keyid"], sig=each["sig"]) for each in statement["signatures"]),
    )
