"""Purchases for tests: wallets that sign, terms as the official client reads them, and a shop on each database."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from hushnet.coordinator.budgets.service import BudgetBook
from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.faults import FaultHook, no_faults
from hushnet.coordinator.ledger.model import Close, CloseKind, Credit, Usage, UsageOutcome
from hushnet.coordinator.payments.calls import Calls
from hushnet.coordinator.payments.x402.authorised import ACTION, RAIL, Authorised, SettleCall
from hushnet.coordinator.payments.x402.book import Bought, Wanted
from hushnet.coordinator.payments.x402.chain import RpcChain
from hushnet.coordinator.payments.x402.facilitator import Facilitator
from hushnet.coordinator.payments.x402.keeper import PaymentKeeper
from hushnet.coordinator.payments.x402.model import Wallet, X402Payment
from hushnet.coordinator.payments.x402.networks import NETWORKS
from hushnet.coordinator.payments.x402.payload import Payment, read_payment
from hushnet.coordinator.payments.x402.purchases import Purchase, PurchaseLimits, Purchases
from hushnet.coordinator.payments.x402.terms import Offer
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.ids import AccountId, ApiKeyId, ModelId
from hushnet.foundation.redaction import Secret
from support.ledger import PROVIDER
from support.money import OpenMoney, open_money
from support.x402_chain import FACILITATOR, FakeChain
from support.x402_facilitator import FacilitatorServer
from support.x402_peer import (
    Account,
    PaymentRequired,
    PaymentRequiredV1,
    client_of,
    encode_payment_signature_header,
)

PAY_TO = "0x" + "a1" * 20
AMOUNT = 5_000
DIGEST = bytes(32)
OFFER = Offer(NETWORKS["eip155:84532"], PAY_TO, 120, "http://here/v1/chat/completions", FACILITATOR.lower())
LIMITS = PurchaseLimits(confirm_tries=2, confirm_every_s=0.01)


def real_clock() -> ManualClock:
    """Return a clock that stands at the present: the official package reads the machine's."""
    return ManualClock(time.time_ns() // 1_000_000)


async def signed(
    account: Any, *, amount: int = AMOUNT, version: int = 2, scheme: str = "exact", offer: Offer = OFFER
) -> bytes:
    """Have the official client read the terms and sign; return the header's value."""
    if version == 1:
        required: Any = PaymentRequiredV1.model_validate(offer.payment_required_v1(amount, error=""))
    else:
        document = offer.payment_required(amount, error="", is_upto=True)
        document["accepts"] = [terms for terms in document["accepts"] if terms["scheme"] == scheme]
        required = PaymentRequired.model_validate(document)
    payload = await client_of(account, scheme=scheme).create_payment_payload(required)
    return encode_payment_signature_header(payload).encode()


async def payment_by(account: Any, **how: Any) -> Payment:
    """Return what the official client signs, as it is read here."""
    version = how.get("version", 2)
    return read_payment(await signed(account, **how), version=version)


@dataclass(frozen=True)
class Till:
    """Where a facilitator is, for a process that is not the one that serves it."""

    url: str


@dataclass
class Shop:
    """A till on one database, a facilitator and a chain that it asks over HTTP, and a wallet with money."""

    money: OpenMoney
    facilitator: FacilitatorServer | Till
    purchases: Purchases
    keeper: PaymentKeeper
    calls: Calls
    budgets: BudgetBook
    account: Any = field(default_factory=lambda: Account.from_key(b"\x01" * 32))

    @property
    def chain(self) -> FakeChain:
        assert isinstance(self.facilitator, FacilitatorServer)
        return self.facilitator.chain

    @property
    def payer(self) -> str:
        return str(self.account.address).lower()

    @property
    def earned(self) -> int:
        """What has come to us on the chain."""
        return self.chain.balance(PAY_TO)

    def wanted(self, amount: int = AMOUNT) -> Wanted:
        return Wanted(amount, self.money.clock.now_ms() + 60_000)

    async def buy(self, payment: Payment, *, digest: bytes = DIGEST, amount: int = AMOUNT) -> Purchase:
        return await self.purchases.buy(payment, digest=digest, wanted=self.wanted(amount))

    async def bought(self, payment: Payment, **how: Any) -> Bought:
        """Buy, and insist."""
        purchase = await self.buy(payment, **how)
        assert isinstance(purchase, Bought), purchase
        return purchase

    async def close(self, bought: Bought, cost: int) -> None:
        """End the request that was bought: it has cost `cost`."""
        outcome = UsageOutcome.COMPLETED if cost else UsageOutcome.NOT_DELIVERED
        usage = Usage(ApiKeyId(0), ModelId("m"), outcome, provider=PROVIDER, tokens_out=1)
        credited = (Credit(user_account(PROVIDER, Kind.EARNINGS), cost),) if cost else ()
        kind = CloseKind.POST if cost else CloseKind.VOID
        await self.money.ledger.close(
            Close(bought.request, bought.owner, bought.parts, kind, usage, credited, bought.caps)
        )

    async def rows(self) -> list[X402Payment]:
        return await self.money.all_of(X402Payment)

    async def row(self) -> X402Payment:
        (row,) = await self.rows()
        return row

    async def wallet(self) -> Wallet:
        (wallet,) = [row for row in await self.money.all_of(Wallet) if row.payer == self.payer]
        return wallet

    async def credit(self) -> int:
        """What the wallet could spend."""
        return (await self.money.ledger.balance(AccountId((await self.wallet()).owner))).spendable

    async def operator_balance(self, kind: Kind) -> int:
        """Return an operator account's debits above its credits, over all lanes."""
        owner_zero = await self.money.books.store.inspect(lambda books: list(books.accounts()))
        wanted = operator_account(kind) >> 8
        return sum(row.debits - row.credits for row in owner_zero if row.owner == 0 and row.id >> 8 == wanted)

    async def pass_time(self, seconds: float) -> None:
        await self.money.books.advance(seconds)


@asynccontextmanager
async def open_shop(
    url: str,
    facilitator: FacilitatorServer | Till,
    clock: ManualClock,
    *,
    reach: FaultHook = no_faults,
    settle_s: float = 60.0,
) -> AsyncIterator[Shop]:
    """Open a till on a database; another one may be open on the same."""
    async with open_money(url, clock=clock, reach=reach) as money:
        asked = Facilitator(facilitator.url, OFFER, verify_s=60.0, settle_s=settle_s)
        chain = RpcChain(Secret(f"{facilitator.url}/rpc"), timeout_s=60.0, blocks_back=10_000)
        budgets = BudgetBook(money.store, clock)
        authorised = Authorised(money.store, amount_max=AMOUNT)
        purchases = Purchases(
            money.store,
            clock,
            offer=OFFER,
            facilitator=asked,
            chain=chain,
            balances=money.ledger,
            authoriser=authorised,
            budgets=budgets,
            limits=LIMITS,
            reach=reach,
        )
        calls = Calls(
            money.store,
            clock,
            {(RAIL, ACTION): SettleCall(money.store, asked, chain)},
            reach=reach,
            jitter=lambda: 0.0,
        )
        shop = Shop(money, facilitator, purchases, PaymentKeeper(money.store, clock, chain), calls, budgets)
        try:
            yield shop
        finally:
            await asked.aclose()
            await chain.aclose()


@asynccontextmanager
async def open_facilitator(clock: ManualClock) -> AsyncIterator[FacilitatorServer]:
    """Serve a facilitator whose chain goes by `clock`, with money in the test's wallet."""
    chain = FakeChain(lambda: clock.now_ms() // 1000)
    chain.mint(Account.from_key(b"\x01" * 32).address, 1_000_000)
    with FacilitatorServer(chain).running() as server:
        yield server


def altered(header: bytes, **members: Any) -> bytes:
    """Return a header with members of the authorisation changed after it was signed."""
    document = msgspec.json.decode(base64.b64decode(header))
    document["payload"]["authorization"] |= members
    return base64.b64encode(msgspec.json.encode(document))
