"""The rows of incentives, and what they look at of other tables. Amounts are micro-USD, times ms since 1970 UTC.

A type with `IS_LOOK` has some of the columns of a table that is written elsewhere, and is never written.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Final

from hushnet.coordinator.ledger.chart import Kind

ROWS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """Whether an account is there, and open."""

    TABLE: ClassVar[str] = "accounts"
    KEY: ClassVar[tuple[str, ...]] = ("id",)
    IS_LOOK: ClassVar[bool] = True

    id: int
    closed_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A ledger account's three columns."""

    TABLE: ClassVar[str] = "ledger_accounts"
    KEY: ClassVar[tuple[str, ...]] = ("id",)
    IS_LOOK: ClassVar[bool] = True

    id: int
    credits: int = 0
    debits: int = 0
    held: int = 0

    @property
    def available(self) -> int:
        return self.credits - self.debits - self.held


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One transfer of a finished request: what it took from where."""

    TABLE: ClassVar[str] = "ledger_transfers"
    KEY: ClassVar[tuple[str, ...]] = ("fact", "leg")
    IS_LOOK: ClassVar[bool] = True

    fact: int
    leg: int
    phase: int
    debit: int
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRequest:
    """A finished request, as far as a correction of it needs."""

    TABLE: ClassVar[str] = "usage_records"
    KEY: ClassVar[tuple[str, ...]] = ("id",)
    IS_LOOK: ClassVar[bool] = True

    id: int
    owner: int
    provider: int
    cost: int
    to_provider: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How far something periodic has come."""

    TABLE: ClassVar[str] = "money_cursors"
    KEY: ClassVar[tuple[str, ...]] = ("name",)

    name: str
    value: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoGrant:
    """Promo credit that was given: under which key, until when, and what of it had expired when its time came."""

    TABLE: ClassVar[str] = "promo_grants"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: int
    grant_key: str
    owner: int
    amount: int
    expires_ms: int | None = None
    expired: int | None = None
    """None until its time has come; then what was taken back."""
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Invite:
    """A code that gives promo credit; only its digest is kept."""

    TABLE: ClassVar[str] = "invites"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: int
    code_hash: bytes
    amount: int
    uses_max: int
    uses: int = 0
    expires_ms: int
    credit_ms: int = 0
    """How long the credit lasts after it was given; 0: until it is spent."""
    note: str = ""
    created_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Redemption:
    """The one invite that an account has used."""

    TABLE: ClassVar[str] = "invite_redemptions"
    KEY: ClassVar[tuple[str, ...]] = ("owner",)

    owner: int
    invite: int
    amount: int
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferralCode:
    """The code by which an account brings others."""

    TABLE: ClassVar[str] = "referral_codes"
    KEY: ClassVar[tuple[str, ...]] = ("owner",)

    owner: int
    code: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Referral:
    """Who brought an account; said once, never changed."""

    TABLE: ClassVar[str] = "referrals"
    KEY: ClassVar[tuple[str, ...]] = ("owner",)

    owner: int
    referrer: int
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardDue:
    """A base reward that is worked out and not posted yet; the row goes with the fact."""

    TABLE: ClassVar[str] = "reward_dues"
    KEY: ClassVar[tuple[str, ...]] = ("machine", "epoch")

    machine: str
    epoch: int
    owner: int
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A row of budgets: what a programme of the operator's may spend in a period."""

    TABLE: ClassVar[str] = "ledger_caps"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: int
    scope: int
    subject: int
    period: int
    ceiling: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolWindow:
    """What a programme has spent since `start_ms`; the ledger alone writes it."""

    TABLE: ClassVar[str] = "ledger_cap_windows"
    KEY: ClassVar[tuple[str, ...]] = ("cap", "start_ms")
    IS_LOOK: ClassVar[bool] = True

    cap: int
    start_ms: int
    spent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceCredit:
    """What was given back of a request, bucket by bucket, and what its provider was asked to return."""

    TABLE: ClassVar[str] = "service_credits"
    KEY: ClassVar[tuple[str, ...]] = ("request", "nth")

    request: int
    nth: int
    owner: int
    promo: int
    paid: int
    earnings: int
    clawback: int
    """What was asked of the provider; what it no longer had, it did not return."""
    is_provider_at_fault: bool
    reason: str
    actor: str
    at_ms: int

    @property
    def amount(self) -> int:
        return self.promo + self.paid + self.earnings


class AdjustmentState(IntEnum):
    """Where an adjustment stands; 1 and 2 are final."""

    PENDING = 0
    POSTED = 1
    REFUSED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """What an operator puts right by hand: `amount` into a bucket, or out of it when negative.

    `source` is the kind of the operator's account at the other end: goodwill, or money in suspense that has found its owner.
    """

    TABLE: ClassVar[str] = "adjustments"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: str
    owner: int
    bucket: int
    amount: int
    source: int = Kind.GOODWILL_EXPENSE
    reason: str
    actor: str
    approver: str = ""
    state: AdjustmentState = AdjustmentState.PENDING
    at_ms: int
    decided_ms: int | None = None
