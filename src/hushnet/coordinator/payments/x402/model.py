"""The rows of payments and wallets; amounts are micro-USD, times as their names say."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import ClassVar, Final

from hushnet.coordinator.payments.x402.payload import Payment, payment_of
from hushnet.coordinator.payments.x402.payload import Scheme as PaymentScheme
from hushnet.coordinator.payments.x402.transitions import State

NEVER_MS: Final = 1 << 62
WALLET_ID_FIRST: Final = 1 << 49
"""Owner ids of wallets begin above every account's (below 2**48 + 2**16) and are exact in a JSON number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class X402Payment:
    """One signed authorisation, from before anything was asked about it. `request` is what it bought, 0 until then.

    `signed` is the payload's own part as JSON, to be sent again; `tries` counts settlements that were sent, `next_ms` says
    when the chain is looked at next, `lease_ms` until when one process alone works on it.
    """

    TABLE: ClassVar[str] = "x402_payments"
    KEY: ClassVar[tuple[str, ...]] = ("network", "asset", "payer", "nonce")

    network: str
    asset: str
    payer: str
    nonce: str
    scheme: str
    version: int
    signed: bytes = field(repr=False)
    amount: int
    owner: int
    request: int = 0
    digest: bytes
    state: State = State.VERIFIED
    valid_before_s: int
    settled: int = 0
    txid: str = ""
    reason: str = ""
    tries: int = 0
    next_ms: int
    lease_ms: int
    created_ms: int

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.network, self.asset, self.payer, self.nonce

    def payment(self) -> Payment:
        """Read back what was signed."""
        return payment_of(self.version, self.network, PaymentScheme(self.scheme), self.signed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wallet:
    """The account of a payer, on every network the same: a key is a key. `unsettled` counts its open `upto` payments."""

    TABLE: ClassVar[str] = "x402_wallets"
    KEY: ClassVar[tuple[str, ...]] = ("payer",)

    payer: str
    owner: int
    unsettled: int = 0
    barred_ms: int | None = None
    created_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFate:
    """What the books say of a finished request; there is no row while it runs."""

    TABLE: ClassVar[str] = "usage_records"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: int
    owner: int
    cost: int


def new_wallet_id() -> int:
    """Make an owner id for a wallet: random, so that nobody can choose a key whose account is another's."""
    return WALLET_ID_FIRST + secrets.randbelow(WALLET_ID_FIRST)
