"""A serving side whose door is open to who pays: the network of `support.fleet`, a facilitator and a chain over HTTP."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from hushnet.coordinator.api.chat import ChatEndpoint
from hushnet.coordinator.api.dispatch import Dispatcher
from hushnet.coordinator.app.x402 import PayPerUseParts, build_pay_per_use
from hushnet.coordinator.payments.calls import Calls
from hushnet.coordinator.payments.x402.model import X402Payment
from hushnet.coordinator.settings import HttpSettings, X402Settings
from hushnet.coordinator.storage.money import SqlMoneyStore
from hushnet.foundation.ids import AccountId
from hushnet.foundation.money import Price
from hushnet.foundation.redaction import Secret
from support.exchange import Exchange
from support.fleet import PATH, PRICE, Network
from support.x402_chain import FACILITATOR, FakeChain
from support.x402_facilitator import FacilitatorServer
from support.x402_peer import (
    Account,
    PaymentRequired,
    PaymentRequiredV1,
    client_of,
    encode_payment_signature_header,
    x402AsyncTransport,
)
from support.x402_shop import LIMITS

PAY_TO = "0x" + "a1" * 20
BASE = "http://here.test"


@dataclass
class PayingNetwork:
    """A network whose chat endpoint takes walk-ins, and a wallet that has money."""

    network: Network
    parts: PayPerUseParts
    facilitator: FacilitatorServer
    store: SqlMoneyStore
    account: Any

    @property
    def earned(self) -> int:
        return self.facilitator.chain.balance(PAY_TO)

    def send(
        self,
        body: bytes,
        *,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        client: str = "",
    ) -> Exchange:
        """Send a request without a key, from the address `client`."""
        shown = {"content-type": content_type, **(headers or {})}
        return self.network._exchange("POST", PATH, body, shown, client=client)

    async def terms(self, body: bytes, **how: Any) -> Exchange:
        """Send a request without payment, and be told what it costs."""
        exchange = await self.send(body, **how).finished()
        assert exchange.status == 402, exchange.body
        return exchange

    async def pay(self, told: Exchange, *, version: int = 2, scheme: str = "exact") -> dict[str, str]:
        """Have the official client sign the terms that an answer told; return the header that pays."""
        if version == 1:
            required: Any = PaymentRequiredV1.model_validate(told.json)
        else:
            required = PaymentRequired.model_validate_json(_decoded(told.headers["payment-required"]))
            required.accepts = [terms for terms in required.accepts if terms.scheme == scheme]
        payload = await client_of(self.account, scheme=scheme).create_payment_payload(required)
        name = "x-payment" if version == 1 else "payment-signature"
        return {name: encode_payment_signature_header(payload)}

    def official(self, *, version: int = 2) -> httpx.AsyncClient:
        """Return the official package's client for httpx, which pays by itself."""
        client = client_of(self.account)
        inner: httpx.AsyncBaseTransport = httpx.ASGITransport(self.network.application)
        if version == 1:
            inner = _VersionOne(inner)
        return httpx.AsyncClient(transport=x402AsyncTransport(client, inner), base_url=BASE, timeout=30)

    async def rows(self) -> list[X402Payment]:
        return await self.store.read(lambda view: view.rows(X402Payment).find(limit=1000))

    async def credit(self) -> int:
        row = (await self.rows())[0]
        return (await self.network.ledger.balance(AccountId(row.owner))).spendable

    def calls(self) -> Calls:
        return Calls(self.store, self.network.clock, self.parts.callers, jitter=lambda: 0.0)


class _VersionOne(httpx.AsyncBaseTransport):
    """A server that tells its terms in version 1 only: the other header is taken off."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        if "payment-required" in answer.headers:
            del answer.headers["payment-required"]
        return answer


def chat_body(*, stream: bool = False, **members: Any) -> bytes:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "stream": stream, "max_tokens": 100}
    return json.dumps({**body, **members}).encode()


@asynccontextmanager
async def open_paying(path: Path, *, price: Price = PRICE, **settings: Any) -> AsyncIterator[PayingNetwork]:
    """Open on a database file; `settings` are of `X402Settings`."""
    async with Network.open(path, price=price) as network:
        network.clock.advance(time.time() - network.clock.now_ms() / 1000)  # the official client signs by the real time
        await network.ledger.renew()
        account = Account.from_key(b"\x01" * 32)
        chain = FakeChain(lambda: network.clock.now_ms() // 1000)
        chain.mint(account.address, 1_000_000)
        with FacilitatorServer(chain).running() as facilitator:
            chosen = {
                "facilitator": facilitator.url,
                "node": Secret(f"{facilitator.url}/rpc"),
                "pay_to": PAY_TO,
                "network": "eip155:84532",
                "upto_facilitator": FACILITATOR,
                **settings,
            }
            store = SqlMoneyStore(network.store._database, network.store, network.ledger, network.clock)
            service, tariffs = network.serving.service, network.tariffs
            parts = build_pay_per_use(
                X402Settings(**chosen),
                HttpSettings(),
                store=store,
                ledger=network.ledger,
                service=service,
                tariffs=tariffs,
                clock=network.clock,
                base_url=BASE,
                limits=LIMITS,
            )
            network.application = Dispatcher(
                hot={PATH: {"POST": ChatEndpoint(service, network.desk, walk_ins=parts.door)}},  # type: ignore[arg-type]
                routes=parts.door.routes(),
                metrics=network.metrics,
                clock=network.clock,
            )
            try:
                yield PayingNetwork(network, parts, facilitator, store, account)
            finally:
                await parts.aclose()


def _decoded(header: str) -> bytes:
    return base64.b64decode(header)
