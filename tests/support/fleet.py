"""A whole serving side in one process: real ledger, real sealing, real HTTP application, and providers played by a script.

`Network` joins the parts of the coordinator as `app.py` does, on a clock that stands still until told to move.
`ScriptedProvider` (scripted_provider.py) is a provider behind the link's protocols; a test plays its part record by
record, truly or not, or gives it a `part` to play. `Exchange` (exchange.py) is one HTTP request on its way through the
ASGI application.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hushnet.coordinator.accounts.model import Caller, Scope
from hushnet.coordinator.admission.queue import QueueLimits
from hushnet.coordinator.api import discovery
from hushnet.coordinator.api.chat import ChatEndpoint
from hushnet.coordinator.api.dispatch import Dispatcher
from hushnet.coordinator.api.idempotency import KeyBooks, RequestOnce
from hushnet.coordinator.budgets import BudgetBook
from hushnet.coordinator.fleet.gate import Gate
from hushnet.coordinator.fleet.link import Admitted
from hushnet.coordinator.fleet.store import FULL_PRICE, Markups, Owner
from hushnet.coordinator.ledger.books.check import check
from hushnet.coordinator.ledger.model import UsageRecord
from hushnet.coordinator.ledger.service import Ledger
from hushnet.coordinator.ledger.writing.settings import LedgerSettings
from hushnet.coordinator.serving.assembly import Serving, build_serving
from hushnet.coordinator.serving.settings import ServingLimits
from hushnet.coordinator.storage import Database, open_ledger_store
from hushnet.coordinator.storage.ledger_store import SqlLedgerStore
from hushnet.coordinator.storage.money import SqlMoneyStore
from hushnet.coordinator.storage.money.request_keys import SqlRequestKeys
from hushnet.coordinator.telemetry import Metrics, ServingMetrics
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.errors import AccessError
from hushnet.foundation.ids import AccountId, ApiKeyId, ModelId, RequestId
from hushnet.foundation.money import Price
from hushnet.foundation.redaction import Secret
from hushnet.sealing.envelope import RequestFields, SealedRequest, seal_request
from hushnet.sealing.opening import FrameOpener, OpenedFrame
from hushnet.sealing.streaming import MEDIA_REQUEST, MEDIA_STREAM, BinaryRecordReader, SseRecordReader
from support.exchange import SECONDS_MAX, Exchange, until
from support.scripted_provider import MODEL, NETWORK, ScriptedProvider, ServedAttempt, document_of, refuses, says

__all__ = [
    "LIMITS",
    "MODEL",
    "NETWORK",
    "PRICE",
    "PROMPT",
    "Exchange",
    "FixedTariff",
    "Network",
    "ScriptedProvider",
    "ServedAttempt",
    "body_of",
    "document_of",
    "open_answer",
    "refuses",
    "says",
    "until",
]

PATH = "/v1/chat/completions"
PRICE = Price(input=1_000_000, cached=500_000, output=4_000_000, minimum=1)
"""One micro-USD an input token, four an output token: costs can be read off the counts."""
PROMPT = "a canary in a coal mine"


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


KEYS_MAX = 5
"""Requests that an account may give keys of its own."""
LIMITS = ServingLimits(last_word_s_max=0.3, close_retry_s=0.01)


class Network:
    """A coordinator's serving side on one SQLite file."""

    budgets: BudgetBook

    def __init__(
        self,
        serving: Serving,
        ledger: Ledger,
        store: Any,
        clock: ManualClock,
        metrics: Metrics,
        *,
        once: RequestOnce | None = None,
    ) -> None:
        self.serving = serving
        self.ledger = ledger
        self.store = store
        self.clock = clock
        self.metrics = metrics
        self.desk: Desk = serving.gate._tokens  # type: ignore[assignment]
        self.tariffs: FixedTariffs = serving.service._desk.tariffs  # type: ignore[assignment]
        self.application = Dispatcher(
            hot={PATH: {"POST": ChatEndpoint(serving.service, self.desk, once=once)}},  # type: ignore[arg-type]
            routes=discovery.routes(serving),
            metrics=metrics,
            clock=clock,
        )
        self._accounts = 1 << 16
        self._chats = 0

    @staticmethod
    @asynccontextmanager
    async def open(
        path: Path | str,
        *,
        limits: ServingLimits = LIMITS,
        price: Price = PRICE,
        waiting_max: int = 512,
        is_checked: bool = True,
        markups: Markups = FULL_PRICE,
        is_bounded: bool = False,
    ) -> AsyncIterator[Network]:
        """Open on a database, a file's path or a URL; when it closes, every request is settled and the books balance.

        `is_bounded`: keys have budgets, and clients may give their requests keys of their own.
        """
        clock = ManualClock()
        database = await Database.open(path if isinstance(path, str) else f"sqlite:///{path}")
        store = open_ledger_store(database)
        assert isinstance(store, SqlLedgerStore)
        ledger = await Ledger.open(
            store, clock, settings=LedgerSettings(clock_skew_ms_max=None, renew_s=3600, sweep_s=3600, draft_s=5)
        )
        metrics = Metrics()
        budgets = BudgetBook(SqlMoneyStore(database, store, ledger, clock), clock)
        serving = build_serving(
            network=NETWORK,
            clock=clock,
            ledger=ledger,
            tariffs=FixedTariffs(price),
            tokens=Desk(),
            limits=limits,
            queue_limits=QueueLimits(waiting_max=waiting_max),
            telemetry=ServingMetrics(metrics),
            markups=markups,
            budgets=budgets if is_bounded else None,
        )
        keys = SqlRequestKeys(database, clock, owner_max=KEYS_MAX)
        once = RequestOnce(serving.service, KeyBooks(keys, ledger, clock)) if is_bounded else None
        network = Network(serving, ledger, store, clock, metrics, once=once)
        network.budgets = budgets
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
    def gate(self) -> Gate:
        return self.serving.gate

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

    def chat(
        self,
        *,
        key: str,
        stream: bool = True,
        model: str = MODEL,
        headers: dict[str, str] | None = None,
        route: dict[str, Any] | None = None,
        **members: Any,
    ) -> Exchange:
        """Send a standard request, of a conversation of its own unless it brings messages; `route` goes into its header."""
        self._chats += 1
        body = {
            "model": model,
            "messages": [{"role": "user", "content": f"{PROMPT} {self._chats:04d}"}],
            "stream": stream,
            "max_tokens": 100,
            **members,
        }
        shown = {**(headers or {}), **({} if route is None else {"hushnet-route": json.dumps(route)})}
        return self.post(json.dumps(body).encode(), key=key, headers=shown)

    def seal(
        self,
        *providers: ScriptedProvider,
        stream: bool = True,
        model: str = MODEL,
        now: int | None = None,
        prompt: str = PROMPT,
        **fields: Any,
    ) -> SealedRequest:
        """Seal a request as a consumer does."""
        now = self.now if now is None else now
        body = {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": stream, "max_tokens": 100}
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

    def _exchange(
        self, method: str, path: str, body: bytes, headers: dict[str, str], *, query: str = "", client: str = ""
    ) -> Exchange:
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "client": (client, 1) if client else None,
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
    live = provider.coordinator.serving.fleet.get(provider.provider_id)
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
