"""What the ledger is asked (operations), what it answers (outcomes, which are values), and what it tells.

Amounts are micro-USD, times are milliseconds since 1970 UTC. Operator accounts are named with lane 0 here
(`chart.operator_account(Kind.REVENUE)`); the planner points them at the lane that writes. What every request makes is a
`msgspec.Struct`: a frozen dataclass costs ten times as much to make.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

import msgspec

from hushnet.coordinator.ledger.closure import CloseOut, NotClosable
from hushnet.foundation.ids import AccountId, ApiKeyId, ModelId, RequestId

HOLD_LIFE_MS_MAX: Final = 24 * 3600 * 1000
"""A hold expires at most this long after it was opened, and an id older than this opens nothing."""
NOBODY: Final = AccountId(0)
"""In a usage record: no provider served."""


class Phase(IntEnum):
    """What a row of transfers does: moves money, reserves it, or finalises a hold without moving any."""

    POSTED = 0
    PENDING = 1
    VOIDED = 2
    EXPIRED = 3


class CloseKind(IntEnum):
    """How a hold ends; the value is the phase of the finaliser's rows."""

    POST = 0
    VOID = 2
    EXPIRE = 3


class Code(IntEnum):
    """What kind of event a transfer belongs to."""

    HOLD = 1
    SETTLE = 2
    VOID = 3
    EXPIRE = 4
    PROMO_GRANT = 16
    PROMO_EXPIRED = 17
    DEPOSIT = 18
    ADJUSTMENT = 19
    REFUND = 20
    DISPUTE = 21
    DEBT_REPAID = 22
    PROCESSOR_FEE = 23
    SUSPENSE = 24
    COIN_DEPOSIT = 25
    COIN_REVERSED = 26
    GATEWAY_FEE = 27
    FX = 28
    INVITE = 29
    REFERRAL = 30
    REWARD = 31
    SERVICE_CREDIT = 32
    CLAWBACK = 33
    PAYOUT = 34
    X402 = 35
    CLOSURE = 36
    FREEZE = 37


class UsageOutcome(IntEnum):
    """How a request ended, as its usage record tells it."""

    COMPLETED = 0
    """Everything was relayed."""
    FAILED_AFTER_CONTENT = 1
    """The provider failed after content; what was relayed is charged."""
    CANCELLED = 2
    """The consumer hung up; what was relayed is charged."""
    NOT_DELIVERED = 3
    """Nothing was relayed; nothing is charged."""
    ORPHANED = 4
    """The coordinator died; the sweeper finalised."""


class Mode(IntEnum):
    """Who could read the request."""

    STANDARD = 0
    SEALED = 1


class Tier(IntEnum):
    """The trust tier of the provider that served, weakest first."""

    NONE = 0
    SELF_SIGNED = 1
    MEASURED = 2
    HARDWARE = 3


class CapUse(NamedTuple):
    """One budget window that a request counts against: the cap's id and the start of its window."""

    cap: int
    start_ms: int


class Usage(msgspec.Struct, frozen=True, gc=False):
    """What a request was, for its usage record; the planner adds owner, amounts and time.

    `provider` is the provider's account (0 when none served), `machine` its provider id, `price` the id of the price
    row that applied (0 is the default price).
    """

    api_key: ApiKeyId
    model: ModelId
    outcome: UsageOutcome
    provider: AccountId = NOBODY
    machine: str = ""
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_out: int = 0
    tier: Tier = Tier.NONE
    mode: Mode = Mode.STANDARD
    price: int = 0
    referrer: AccountId | None = None


class Hold(msgspec.Struct, frozen=True, gc=False):
    """Reserve `amount` of `owner`'s money for the request `id`, until `expires_ms` at least."""

    id: RequestId
    owner: AccountId
    amount: int
    expires_ms: int
    caps: tuple[CapUse, ...] = ()


class Credit(msgspec.Struct, frozen=True, gc=False):
    """One receiver of a settlement: a user's earnings, or an operator account (lane 0)."""

    account: int
    amount: int


class Held(msgspec.Struct, frozen=True, gc=False):
    """The hold stands; its three parts say which buckets it took from."""

    promo: int
    paid: int
    earnings: int

    @property
    def total(self) -> int:
        return self.promo + self.paid + self.earnings


class Close(msgspec.Struct, frozen=True, gc=False):
    """Finalise a hold: post the credits and release the rest, or release everything.

    `parts` and `caps` are what the hold was given; a close that disagrees with the stored hold is invalid.
    """

    id: RequestId
    owner: AccountId
    parts: Held
    kind: CloseKind
    usage: Usage
    credits: tuple[Credit, ...] = ()
    caps: tuple[CapUse, ...] = ()


class FreeUse(msgspec.Struct, frozen=True, gc=False):
    """Record a request that needed no hold: a free model, or the owner's own machine."""

    id: RequestId
    owner: AccountId
    usage: Usage


@dataclass(frozen=True, slots=True)
class Leg:
    """Money leaves `debit` and arrives in `credit`."""

    debit: int
    credit: int
    amount: int


@dataclass(frozen=True, slots=True)
class Take:
    """Set `amount` of `owner`'s aside in frozen: from paid, then from earnings, and what is missing is owed and freezes."""

    owner: int
    amount: int
    has_earnings: bool = True
    """Whether earnings may be taken at all."""


@dataclass(frozen=True, slots=True)
class Repay:
    """Repay `owner`'s debt as far as paid is available, then from up to `earnings` of earnings; ending it unfreezes."""

    owner: int
    earnings: int = 0


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Undo a `Take` by its three parts: what is still owed is owed no longer, the rest goes to paid and earnings."""

    owner: int
    paid: int
    earnings: int
    owed: int


@dataclass(frozen=True, slots=True)
class UpTo:
    """Like a leg, but of no more than the user's account `debit` has available."""

    debit: int
    credit: int
    amount: int


@dataclass(frozen=True, slots=True)
class Freeze:
    """Let `owner` make no hold and ask for no payout, or again; who is in debt stays frozen. Moves nothing."""

    owner: int
    is_frozen: bool = True


AnyLeg: TypeAlias = Leg | Take | Repay | GiveBack | UpTo | Freeze | CloseOut


@dataclass(frozen=True, slots=True)
class Fact:
    """One business event under one key: all of its legs or none. `owner` is 0 when it concerns no single user.

    Key, code, owner and legs are its content: the same key with the same content is `AlreadyPosted`. Legs that depend on
    balances are evaluated in order, under the lock, and the ledger gives the fact an id when `id` is 0. Each of the
    `caps` must have room for what its plain legs come to together, which then counts as spent.
    """

    key: str
    code: Code
    legs: tuple[AnyLeg, ...]
    actor: str
    owner: int = 0
    note: str = ""
    id: int = 0
    caps: tuple[CapUse, ...] = ()


Operation: TypeAlias = Hold | Close | FreeUse | Fact


@dataclass(frozen=True, slots=True)
class Insufficient:
    """The owner's spendable money is below the hold."""

    available: int


@dataclass(frozen=True, slots=True)
class Capped:
    """A budget window has only `left` left."""

    cap: int
    left: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The account is closed or frozen: no new holds, no payout."""


@dataclass(frozen=True, slots=True)
class AlreadyClosed:
    """This very hold existed and has been finalised."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """The id or key exists with other content."""


@dataclass(frozen=True, slots=True)
class Invalid:
    """The operation breaks a rule; `reason` is a stable word for logs and tests. A bug of the caller."""

    reason: str


@dataclass(frozen=True, slots=True)
class Busy:
    """The ledger takes no operation now (queue full, database gone, lease lost): nothing was done, try later."""


class Closed(msgspec.Struct, frozen=True, gc=False):
    """The hold is finalised by this close."""

    posted: int


@dataclass(frozen=True, slots=True)
class Already:
    """The hold had been finalised just so before."""

    posted: int


@dataclass(frozen=True, slots=True)
class AlreadyOther:
    """The hold had been finalised in another way, which stands."""

    phase: Phase
    posted: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """There is no such hold."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The usage record is written."""


@dataclass(frozen=True, slots=True)
class Posted:
    """The fact and its legs are written; `legs` is what moved, operator accounts with lane 0, and no part of equality."""

    legs: tuple[Leg, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class AlreadyPosted:
    """The same fact had been written before."""


@dataclass(frozen=True, slots=True)
class Overdrawn:
    """A leg would take more than the account has available."""

    account: int


@dataclass(frozen=True, slots=True)
class Overpaid:
    """A leg would repay more than is owed."""

    account: int


@dataclass(frozen=True, slots=True)
class UnknownAccount:
    """A leg names an account that cannot exist."""

    account: int


HoldOutcome: TypeAlias = Held | Insufficient | Capped | Refused | AlreadyClosed | Conflict | Invalid | Busy
CloseOutcome: TypeAlias = Closed | Already | AlreadyOther | Unknown | Invalid | Busy
FreeUseOutcome: TypeAlias = Recorded | AlreadyPosted | Conflict | Invalid | Busy
_FactRefusal: TypeAlias = Overdrawn | Overpaid | NotClosable | Capped | Refused | UnknownAccount
FactOutcome: TypeAlias = Posted | AlreadyPosted | Conflict | Invalid | Busy | _FactRefusal
Outcome: TypeAlias = HoldOutcome | CloseOutcome | FreeUseOutcome | FactOutcome


@dataclass(frozen=True, slots=True)
class Balance:
    """An owner's money. The buckets include what is held; `spendable` = promo + paid + earnings - held."""

    promo: int
    paid: int
    earnings: int
    held: int
    spendable: int
    withdrawable: int


class UsageRecord(msgspec.Struct, frozen=True, gc=False):
    """One finished request as the books have it."""

    id: RequestId
    owner: AccountId
    usage: Usage
    held: int
    cost: int
    to_provider: int
    to_platform: int
    to_referrer: int
    at_ms: int
