"""A whole serving side in one process: real ledger, real sealing, real HTTP application, and providers played by a script.

`Network` joins the parts of the coordinator as `app.py` does, on a clock that stands still until told to move.
`ScriptedProvider` is a provider behind the link's protocols; a test plays its part record by record, truly or not, or
gives it a `part` to play. `Exchange` is one HTTP request on its way through the ASGI application.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from hushnet.coordinator.accounts.model import Caller, Scope
from hushnet.coordinator.admission.queue import QueueLimits
from hushnet.coordinator.api import discovery
from hushnet.coordinator.api.chat import ChatEndpoint
from hushnet.coordinator.api.dispatch import Dispatcher
from hushnet.coordinator.fleet.link import Admitted, AttemptSink, Rejected
from hushnet.coordinator.fleet.store import Owner
from hushnet.coordinator.ledger.check import check
from hushnet.coordinator.ledger.model import LedgerSettings, UsageRecord
from hushnet.coordinator.ledger.service import Ledger
from hushnet.coordinator.serving.assembly import Serving, build_serving
from hushnet.coordinator.serving.settings import ServingLimits
from hushnet.coordinator.storage import Database, open_ledger_store
from hushnet.coordinator.telemetry import Metrics
from hushnet.dialects.openai_chat import ChatStream, Delta, Usage, render_completion
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.errors import AccessError
from hushnet.foundation.ids import AccountId, ApiKeyId, AttemptId, ModelId, ProviderId, RequestId
from hushnet.foundation.money import Price
from hushnet.foundation.redaction import Secret
from hushnet.sealing.envelope import RequestFields, SealedRequest, seal_request
from hushnet.sealing.errors import SealingError, WireCode
from hushnet.sealing.identities import provider_id_of
from hushnet.sealing.keyring import Keyring
from hushnet.sealing.meters import Meter
from hushnet.sealing.opening import FrameOpener, OpenedFrame, OpenedRequest, open_request
from hushnet.sealing.records import FrameSealer, parse_record
from hushnet.sealing.replay import ReplayCache
from hushnet.sealing.streaming import MEDIA_REQUEST, MEDIA_STREAM, BinaryRecordReader, SseRecordReader
from hushnet.wire.challenge import challenge_message
from hushnet.wire.errors import LinkLost
from hushnet.wire.frames import Capacity, ModelOffer, Register, StatementDocument, StatementSignature
from support.sealing import Ed25519Signer

NETWORK = "hushnet-test"
MODEL = ModelId("tiny")
PATH = "/v1/chat/completions"
PRICE = Price(input=1_000_000, cached=500_000, output=4_000_000, minimum=1)
"""One micro-USD an input token, four an output token: costs can be read off the counts."""
PROMPT = "a canary in a coal mine"
SECONDS_MAX = 10.0
"""A condition that has not come true by then never will."""

Part = Callable[["ServedAttempt"], None]


async def until(condition: Callable[[], Any]) -> None:
    """Let the loop run until `condition` holds."""
    async with asyncio.timeout(SECONDS_MAX):
        while not condition():  # noqa: ASYNC110 - the condition is anything at all, no event stands for it
            await asyncio.sleep(0)


class ServedAttempt:
    """One attempt as its provider sees it; every method plays one step."""

    def __init__(self, provider: ScriptedProvider, number: AttemptId, envelope: bytes, sink: AttemptSink) -> None:
        self.provider = provider
        self.number = number
        self.envelope = envelope
        self.cancelled: WireCode | None = None
        self.granted = 0
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
            self._sink.records_arrived([parse_record(raw) for raw in raws])

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
        network: Network,
        *,
        account: AccountId,
        models: Sequence[ModelOffer] | None = None,
        slots: int = 4,
        part: Part | None = None,
        decode_tokens_s: float = 40.0,
    ) -> None:
        self.network = network
        self.account = account
        self.part = part
        self.offers = tuple(models or (ModelOffer(model=MODEL, context_tokens=8192, features=("tools",), slots=slots),))
        self.capacity = Capacity(slots=slots, active=0, decode_tokens_s=decode_tokens_s, prefill_tokens_s=400.0)
        self.signer = Ed25519Signer()
        self.keyring = Keyring(self.signer, network=NETWORK)
        self.statement = self.keyring.rotate(network.now)
        self.cache = ReplayCache(1000)
        self.ignores_cancel = False
        self.ignores_challenges = False
        self.served: list[ServedAttempt] = []
        self.attempts_open: dict[AttemptId, ServedAttempt] = {}
        self.closed: str | None = None
        self.challenges: list[bytes] = []
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

    def challenge(self, nonce: bytes) -> None:
        self.challenges.append(nonce)
        if not self.ignores_challenges:
            self.network.serving.gate.challenge_replied(self.provider_id, nonce, self.sign(nonce))

    def load_model(self, model: ModelId) -> None: ...

    def drain(self, reason: str) -> None: ...

    def close(self, code: str) -> None:
        if self.closed is None:
            self.closed = code
            for attempt in list(self.attempts_open.values()):
                attempt.lose()
            self.network.serving.gate.link_lost(self.provider_id, self)

    # The provider's side.

    def register(self, nonce: bytes, *, token: str | None = None, signature: bytes | None = None) -> Register:
        return Register(
            version=1,
            versions=(1,),
            token=Secret(token or f"provider-{self.account}"),
            agent_version="0.0.test",
            statement=document_of(self.statement.to_json_object()),
            models=self.offers,
            capacity=self.capacity,
            challenge_signature=self.sign(nonce) if signature is None else signature,
        )

    async def join(self, **changes: Any) -> Admitted | Rejected:
        nonce = b"n" * 32
        return await self.network.serving.gate.admit(
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
            now=self.network.now,
        )

    def rotate(self) -> None:
        self.statement = self.keyring.rotate(self.network.now)
        document = document_of(self.statement.to_json_object())
        self.network.serving.gate.statement_changed(self.provider_id, document)

    def report(self, **changes: Any) -> None:
        """Send a heartbeat."""
        self.capacity = msgspec.structs.replace(self.capacity, **changes)
        self.network.serving.gate.heartbeat(self.provider_id, self.capacity)

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


class Exchange:
    """One HTTP request in flight, with the consumer's hands on it: it can hang up, stop reading, read on."""

    def __init__(self, application: Any, scope: dict[str, Any], body: bytes) -> None:
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._incoming.put_nowait({"type": "http.request", "body": body, "more_body": False})
        self._reading = asyncio.Event()
        self._reading.set()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.chunks: list[bytes] = []
        self.is_ended = False
        self.task = asyncio.create_task(application(scope, self._incoming.get, self._send))

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The text of a streamed answer."""
        return "".join(
            choice["delta"].get("content") or "" for event in self.events for choice in event.get("choices", ())
        )

    @property
    def events(self) -> list[dict[str, Any]]:
        lines = [line[6:] for line in self.body.decode().split("\n\n") if line.startswith("data: ")]
        return [json.loads(line) for line in lines if line != "[DONE]"]

    @property
    def is_done(self) -> bool:
        return self.body.endswith(b"data: [DONE]\n\n")

    def hang_up(self) -> None:
        self._incoming.put_nowait({"type": "http.disconnect"})

    def stop_reading(self) -> None:
        self._reading.clear()

    def read_on(self) -> None:
        self._reading.set()

    async def finished(self) -> Exchange:
        async with asyncio.timeout(SECONDS_MAX):
            await self.task
        return self

    async def opened(self) -> Exchange:
        await until(lambda: self.status)
        return self

    async def said(self, text: str) -> Exchange:
        await until(lambda: text.encode() in self.body)
        return self

    async def _send(self, message: dict[str, Any]) -> None:
        await self._reading.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        elif message["type"] == "http.response.body":
            if message.get("body"):
                self.chunks.append(message["body"])
            self.is_ended = not message.get("more_body", False)


@dataclass
class Desk:
    """Who holds which key: the accounts of a test."""

    callers: dict[str, Caller] = field(default_factory=dict)

    async def authenticate(self, authorization_header: str | None, scope: Scope) -> Caller:
        caller = self.callers.get((authorization_header or "").removeprefix("Bearer "))
        if caller is None:
            raise AccessError("unknown key", code="invalid_api_key")
        return caller

    async def owner_of(self, token: Secret) -> Owner:
        word, _, account = token.reveal().partition("-")
        if word != "provider":
            raise AccessError("unknown token", code="invalid_api_key")
        return Owner(AccountId(int(account)), ApiKeyId(1))


@dataclass(frozen=True)
class FixedTariff:
    id: int = 0
    price: Price = PRICE


class FixedTariffs:
    """Every model at one price."""

    def __init__(self, price: Price = PRICE) -> None:
        self.tariff = FixedTariff(price=price)

    def tariff_of(self, model: ModelId) -> FixedTariff:
        return self.tariff


LIMITS = ServingLimits(last_word_s_max=0.3, close_retry_s=0.01)


class Network:
    """A coordinator's serving side on one SQLite file."""

    def __init__(self, serving: Serving, ledger: Ledger, store: Any, clock: ManualClock, metrics: Metrics) -> None:
        self.serving = serving
        self.ledger = ledger
        self.store = store
        self.clock = clock
        self.desk: Desk = serving.gate._tokens  # type: ignore[assignment]
        self.tariffs: FixedTariffs = serving.service._desk.tariffs  # type: ignore[assignment]
        self.application = Dispatcher(
            hot={PATH: {"POST": ChatEndpoint(serving.service, self.desk)}},  # type: ignore[arg-type]
            routes=discovery.routes(serving),
            metrics=metrics,
            clock=clock,
        )
        self._accounts = 1 << 16

    @staticmethod
    @asynccontextmanager
    async def open(
        path: Path,
        *,
        limits: ServingLimits = LIMITS,
        price: Price = PRICE,
        waiting_max: int = 512,
        is_checked: bool = True,
    ) -> AsyncIterator[Network]:
        """Open on a database file; when it closes, every request is settled and the books balance."""
        clock = ManualClock()
        database = await Database.open(f"sqlite:///{path}")
        store = open_ledger_store(database)
        ledger = await Ledger.open(
            store, clock, settings=LedgerSettings(clock_skew_ms_max=None, renew_s=3600, sweep_s=3600, draft_s=5)
        )
        serving = build_serving(
            network=NETWORK,
            clock=clock,
            ledger=ledger,
            tariffs=FixedTariffs(price),
            tokens=Desk(),
            limits=limits,
            queue_limits=QueueLimits(waiting_max=waiting_max),
        )
        network = Network(serving, ledger, store, clock, Metrics())
        try:
            yield network
            if is_checked:
                await network.settled()
                await network.assert_balanced()
        finally:
            await serving.aclose()
            await ledger.aclose()
            await database.aclose()

    @property
    def now(self) -> int:
        return self.clock.now_ms() // 1000

    # People.

    def new_account(self) -> AccountId:
        self._accounts += 1
        return AccountId(self._accounts)

    async def consumer(self, micro_usd: int = 1_000_000) -> str:
        """Make an account with that much credit and return its key."""
        account = self.new_account()
        key = f"key-{account}"
        self.desk.callers[key] = Caller(account, ApiKeyId(account), Scope.USER)
        if micro_usd:
            await self.ledger.grant_promo(account, micro_usd, grant_id=key, actor="test")
        return key

    def account_of(self, key: str) -> AccountId:
        return self.desk.callers[key].account_id

    async def provider(self, *, account: AccountId | None = None, **choices: Any) -> ScriptedProvider:
        """Let a provider join."""
        provider = ScriptedProvider(self, account=account or self.new_account(), **choices)
        outcome = await provider.join()
        assert isinstance(outcome, Admitted), outcome
        return provider

    # Requests.

    def post(
        self, body: bytes, *, key: str, content_type: str = "application/json", headers: dict[str, str] | None = None
    ) -> Exchange:
        shown = {"content-type": content_type, "authorization": f"Bearer {key}", **(headers or {})}
        return self._exchange("POST", PATH, body, shown)

    def chat(self, *, key: str, stream: bool = True, model: str = MODEL, **members: Any) -> Exchange:
        """Send a standard request."""
        body = {
            "model": model,
            "messages": [{"role": "user", "content": PROMPT}],
            "stream": stream,
            "max_tokens": 100,
            **members,
        }
        return self.post(json.dumps(body).encode(), key=key)

    def seal(
        self,
        *providers: ScriptedProvider,
        stream: bool = True,
        model: str = MODEL,
        now: int | None = None,
        **fields: Any,
    ) -> SealedRequest:
        """Seal a request as a consumer does."""
        now = self.now if now is None else now
        body = {"model": model, "messages": [{"role": "user", "content": PROMPT}], "stream": stream, "max_tokens": 100}
        return seal_request(
            RequestFields(
                **{
                    "endpoint": PATH,
                    "model": model,
                    "stream": stream,
                    "max_output_tokens": 128,
                    "max_prompt_tokens": 256,
                    **fields,
                }
            ),
            meta={"frame_pad": 64},
            data=json.dumps(body).encode(),
            recipients=[verified_of(provider).recipient() for provider in providers],
            now=now,
        )

    def send_sealed(self, sealed: SealedRequest, *, key: str, is_binary: bool = True, **headers: str) -> Exchange:
        accept = MEDIA_STREAM if is_binary else "text/event-stream"
        return self.post(sealed.raw, key=key, content_type=MEDIA_REQUEST, headers={"accept": accept, **headers})

    async def get(self, path: str, **headers: str) -> Exchange:
        path, _, query = path.partition("?")
        return await self._exchange("GET", path, b"", headers, query=query).finished()

    def _exchange(self, method: str, path: str, body: bytes, headers: dict[str, str], *, query: str = "") -> Exchange:
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        return Exchange(self.application, scope, body)

    # Time.

    def advance(self, seconds: float) -> None:
        """Let time pass, and the pulse beat once at its end."""
        self.clock.advance(seconds)
        self.serving.service.tick()
        self.serving.pulse.tick_fleet()

    # The books.

    async def settled(self) -> None:
        """Wait until every request has been settled."""
        async with asyncio.timeout(SECONDS_MAX):
            await self.serving.service.idle()

    async def usage(self, key: str) -> list[UsageRecord]:
        """Return an account's finished requests, newest first, once nothing runs any more."""
        await self.settled()
        return await self.ledger.usage(self.account_of(key))

    async def usage_of(self, exchange: Exchange) -> UsageRecord:
        """Return the record of one request."""
        await self.settled()
        record = await self.ledger.usage_record(RequestId(int(exchange.headers["hushnet-request-id"])))
        assert record is not None
        return record

    async def earned(self, provider: ScriptedProvider) -> int:
        await self.settled()
        return (await self.ledger.balance(provider.account)).earnings

    async def assert_balanced(self) -> None:
        """The books balance, and nothing is held for a request that is over."""
        assert await check(self.store) == []
        for caller in self.desk.callers.values():
            assert (await self.ledger.balance(caller.account_id)).held == 0


def verified_of(provider: ScriptedProvider) -> Any:
    live = provider.network.serving.fleet.get(provider.provider_id)
    assert live is not None
    return live.verified


def open_answer(sealed: SealedRequest, body: bytes, *, is_binary: bool = True) -> list[OpenedFrame]:
    """Open a sealed answer as its consumer does, to its proper end."""
    reader: Any = BinaryRecordReader() if is_binary else SseRecordReader()
    opener = FrameOpener(sealed)
    frames = [frame for raw in reader.feed(body) if (frame := opener.open(raw)) is not None]
    opener.finish()
    return frames


def body_of(frames: Sequence[OpenedFrame]) -> bytes:
    """Join the dialect's body out of opened frames."""
    return b"".join(frame.data for frame in frames if frame.kind.name in ("BOILERPLATE", "CONTENT"))
