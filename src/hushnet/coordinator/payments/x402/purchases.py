"""Buying one request with one payment: take it in, verify, settle, look at the chain, credit and hold, in this order.

The client is asked to pay again only when nothing of this payment can have been paid: it was refused and is not on the chain, or
its time is over there. Whatever is not known is `Pending`: the same request with the same signature takes it up again. One
payment buys exactly one request; if that came to nothing and cost nothing, it buys the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeAlias

from hushnet.coordinator.ledger.faults import CALL_AFTER_SEND, CALL_BEFORE_SEND, FaultHook, no_faults
from hushnet.coordinator.ledger.model import Balance, Capped, CapUse, Insufficient, Refused
from hushnet.coordinator.ledger.transaction import MoneyStore, PostingRefusedError
from hushnet.coordinator.payments.x402 import book
from hushnet.coordinator.payments.x402.book import Bought, Known, NotTaken, Ours, Wanted
from hushnet.coordinator.payments.x402.chain import Chain, Paid, Seen, SpentElsewhere, Unpaid, Unseen
from hushnet.coordinator.payments.x402.facilitator import Rejected, Settled, Settlement, Unanswered, Valid, Verified
from hushnet.coordinator.payments.x402.model import RequestFate, Wallet, X402Payment
from hushnet.coordinator.payments.x402.payload import Payment, Scheme
from hushnet.coordinator.payments.x402.terms import Offer
from hushnet.coordinator.payments.x402.transitions import Event, State
from hushnet.foundation.clock import Clock
from hushnet.foundation.ids import AccountId


@dataclass(frozen=True, slots=True)
class PurchaseLimits:
    """The tuning of purchases."""

    open_max: int = 4
    """Payments of one payer whose outcome is not known: more are somebody's mistake or attack."""
    margin_s: int = 10
    """What must be left of a payment's time when it comes: a settlement takes seconds."""
    lease_ms: int = 60_000
    """How long one request may work on a payment alone: above what verifying, settling and confirming take together."""
    confirm_tries: int = 10
    """How often more the chain is asked for a transfer that the facilitator says is there."""
    confirm_every_s: float = 0.5
    retry_after_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Pending:
    """Not known yet: come again with the same signature."""

    retry_after_s: float


@dataclass(frozen=True, slots=True)
class Due:
    """Nothing was paid: these terms again. `reason` is a word for the client."""

    reason: str


@dataclass(frozen=True, slots=True)
class Denied:
    """Not with this payment, or not for this payer; `code` is of the error table."""

    code: str


Purchase: TypeAlias = Bought | Pending | Due | Denied


class PaymentsOut(Protocol):
    """The facilitator, as far as a purchase needs it."""

    async def verify(self, payment: Payment) -> Verified: ...

    async def settle(self, payment: Payment, amount: int) -> Settlement: ...


class Balances(Protocol):
    """What an owner has (`ledger.service.Ledger`)."""

    async def balance(self, owner: AccountId) -> Balance: ...


class Allowed(Protocol):
    """What a request counts against."""

    @property
    def caps(self) -> tuple[CapUse, ...]: ...


class Budgets(Protocol):
    """The budgets of an owner without keys (`budgets.service.BudgetBook`)."""

    async def room(self, account_id: AccountId, amount: int) -> Allowed | None:
        """Return what a request over `amount` counts against; None when a budget leaves less. Raises `StorageError`."""
        ...


class Authoriser(Protocol):
    """Who serves first and settles after (`authorised.Authorised`)."""

    async def buy(self, row: X402Payment, wanted: Wanted) -> Purchase: ...


QUOTA: Final = "insufficient_quota"
_DENIED: Final = {
    "payment_conflict": "payment_conflict",
    "payer_barred": "payer_barred",
    "too_many_payments": "too_many_payments",
}


_WHY: Final[Mapping[type, str]] = {Refused: "account_frozen", Capped: QUOTA}
"""Why the ledger took no hold that the money was there for."""


class Purchases:
    """Purchases of one coordinator process; any process may go on with what another began."""

    def __init__(
        self,
        store: MoneyStore,
        clock: Clock,
        *,
        offer: Offer,
        facilitator: PaymentsOut,
        chain: Chain,
        balances: Balances,
        authoriser: Authoriser | None = None,
        budgets: Budgets | None = None,
        limits: PurchaseLimits | None = None,
        reach: FaultHook = no_faults,
    ) -> None:
        """`authoriser` takes `upto` payments; without it there are none. Without `budgets` no wallet has any."""
        self._store = store
        self._clock = clock
        self._offer = offer
        self._facilitator = facilitator
        self._chain = chain
        self._balances = balances
        self._authoriser = authoriser
        self._budgets = budgets
        self._limits = limits or PurchaseLimits()
        self._reach = reach

    async def buy(self, payment: Payment, *, digest: bytes, wanted: Wanted) -> Purchase:
        """Buy the request whose content is `digest` with `payment`; raises `StorageError` and `CapacityError`."""
        if not payment.is_signed_by_payer():
            return Due("invalid_signature")
        refusal = self._unlike_terms(payment, wanted)
        limits = self._limits
        admission = await self._store.transact(
            lambda tx: book.admit(
                tx, payment, digest, refusal=refusal, lease_ms=limits.lease_ms, open_max=limits.open_max
            )
        )
        match admission:
            case NotTaken(code):
                return Denied(_DENIED[code]) if code in _DENIED else Due(code)
            case Known(row):
                return await self._resume(row, wanted)
            case Ours(row):
                bounded = await self._within_budgets(row, wanted)
                purchase = await (
                    self._denied(row, bounded) if isinstance(bounded, Denied) else self._go_on(row, bounded)
                )
                if isinstance(purchase, Pending | Denied):
                    await self._store.transact(lambda tx: book.released(tx, row))
                return purchase

    async def _within_budgets(self, row: X402Payment, wanted: Wanted) -> Wanted | Denied:
        """Name the budgets that the wallet's hold counts in; nothing is taken for what they would refuse."""
        if self._budgets is None:
            return wanted
        allowed = await self._budgets.room(AccountId(row.owner), wanted.amount)
        return Denied(QUOTA) if allowed is None else replace(wanted, caps=allowed.caps)

    async def _denied(self, row: X402Payment, denied: Denied) -> Purchase:
        """Refuse what budgets leave no room for; of a payment that was sent it is found out first what became of it."""
        if row.state is not State.SETTLING:
            return denied
        return await self._concluded(row, None, await self._chain.look_up(row.payment()), None)

    def _unlike_terms(self, payment: Payment, wanted: Wanted) -> str:
        """Say why a payment that was not seen before is not what was asked for; empty when it is."""
        now_s, offer = self._clock.now_ms() // 1000, self._offer
        if payment.network is not offer.network or payment.pay_to != offer.pay_to:
            return "payment_mismatch"
        if payment.scheme is Scheme.UPTO and (self._authoriser is None or payment.facilitator != offer.facilitator):
            return "unsupported_scheme"
        if payment.amount != wanted.amount:
            return "amount_mismatch"
        if payment.valid_after_s > now_s:
            return "payment_not_yet_valid"
        if payment.valid_before_s < now_s + self._limits.margin_s:
            return "payment_expired"
        # Until its time is over nobody can say that it will never be paid.
        return "payment_valid_too_long" if payment.valid_before_s > now_s + 2 * offer.window_s else ""

    async def _go_on(self, row: X402Payment, wanted: Wanted) -> Purchase:
        if row.state is State.SETTLED:
            return await self._paid(row, row.txid, wanted)
        if row.state is State.VERIFIED:
            bought = await self._from_new_credit(row, wanted)
            # Signed at an earlier price and not sent yet: nothing is taken for what it would not buy.
            is_short = wanted.amount > row.amount
            return bought or (Due("price_changed") if is_short else await self._verified(row, wanted))
        seen = await self._chain.look_up(row.payment())
        if isinstance(seen, Unpaid) and not seen.is_final:
            return await self._settle(row, wanted)
        return await self._concluded(row, None, seen, wanted)

    async def _verified(self, row: X402Payment, wanted: Wanted) -> Purchase:
        answer = await self._facilitator.verify(row.payment())
        match answer:
            case Unanswered():
                return self._pending()
            case Rejected(reason):
                return await self._refused(row, reason)
            case Valid() if row.scheme == Scheme.UPTO:
                return self._pending() if self._authoriser is None else await self._authoriser.buy(row, wanted)
            case Valid():
                return await self._settle(row, wanted)

    async def _settle(self, row: X402Payment, wanted: Wanted) -> Purchase:
        soon_ms = self._clock.now_ms() + self._limits.lease_ms
        ours = await self._store.transact(lambda tx: book.sent(tx, row, next_ms=soon_ms))
        if ours is None:
            return self._pending()
        payment = ours.payment()
        self._reach(CALL_BEFORE_SEND)
        answer = await self._facilitator.settle(payment, payment.amount)
        self._reach(CALL_AFTER_SEND)
        seen = await self._confirmed(payment) if isinstance(answer, Settled) else await self._chain.look_up(payment)
        return await self._concluded(ours, answer, seen, wanted)

    async def _confirmed(self, payment: Payment) -> Seen:
        """Ask the chain for a transfer that is said to be there; nodes may be a block behind one another."""
        seen = await self._chain.look_up(payment)
        for _ in range(self._limits.confirm_tries):
            if not isinstance(seen, Unpaid | Unseen):
                break
            await asyncio.sleep(self._limits.confirm_every_s)
            seen = await self._chain.look_up(payment)
        return seen

    async def _concluded(
        self, row: X402Payment, answer: Settlement | None, seen: Seen, wanted: Wanted | None
    ) -> Purchase:
        """Decide from what the chain shows; the facilitator's word counts only for a refusal of the only try there was."""
        match seen:
            case Paid(txid):
                return await self._paid(row, txid, wanted)
            case SpentElsewhere():
                return await self._refused(row, "nonce_used")
            case Unpaid(is_final=True):
                return await self._refused(row, "payment_expired", event=Event.EXPIRED)
            case Unpaid() if isinstance(answer, Rejected) and row.tries == 1:
                return await self._refused(row, answer.reason)
            case Unpaid() | Unseen():
                return self._pending()

    async def _refused(self, row: X402Payment, reason: str, *, event: Event = Event.REFUSED) -> Purchase:
        after = await self._store.transact(lambda tx: book.refused(tx, row, reason, event=event))
        return Due(reason) if after.state in (State.FAILED, State.LAPSED) else self._pending()

    async def _paid(self, row: X402Payment, txid: str, wanted: Wanted | None) -> Purchase:
        """Credit and hold in one; where the hold is refused, or would cost more than was paid, credit alone.

        Without `wanted` no budget has room for a hold.
        """
        code = QUOTA if wanted is None else "price_changed"
        if wanted is not None and wanted.amount <= row.amount:
            try:
                bought = await self._store.transact(lambda tx: book.paid(tx, row, txid, wanted))
            except PostingRefusedError as error:
                if not isinstance(error.outcome, Insufficient | Refused | Capped):
                    raise
                code = _WHY.get(type(error.outcome), code)
            else:
                return bought if isinstance(bought, Bought) else self._pending()
        await self._store.transact(lambda tx: book.paid(tx, row, txid, None))
        return Denied(code) if code in _WHY.values() else Due(code)

    async def _from_new_credit(self, row: X402Payment, wanted: Wanted) -> Purchase | None:
        """Let the wallet's credit pay where it suffices: then nothing is settled, and the authorisation lapses unused."""
        if row.scheme == Scheme.UPTO:
            return None
        balance = await self._balances.balance(AccountId(row.owner))
        if balance.spendable < wanted.amount:
            return None
        purchase = await self._from_credit(row, wanted)
        return None if isinstance(purchase, Due | Wallet) else purchase

    async def _from_credit(self, row: X402Payment, wanted: Wanted) -> Purchase | Wallet:
        try:
            spent = await self._store.transact(lambda tx: book.spent_credit(tx, row, wanted))
        except PostingRefusedError as error:
            if type(error.outcome) in _WHY:
                return Denied(_WHY[type(error.outcome)])
            if isinstance(error.outcome, Insufficient):
                return Due("credit_used")
            raise
        return self._pending() if isinstance(spent, X402Payment) else spent

    async def _resume(self, row: X402Payment, wanted: Wanted) -> Purchase:
        """Answer for a payment that somebody works on, that has bought a request, or that is over."""
        if row.state is State.LOST:
            return Denied("payer_barred")
        if not row.request:
            is_over = row.state in (State.FAILED, State.LAPSED)
            return Due(row.reason or "payment_expired") if is_over else self._pending()
        fate = await self._fate(row.request)
        if fate is None:
            return self._pending()
        if fate.cost:
            return Denied("payment_used")
        if row.scheme == Scheme.UPTO or row.state not in (State.VERIFIED, State.SETTLED):
            return Due("payment_expired")
        bounded = await self._within_budgets(row, wanted)
        again = bounded if isinstance(bounded, Denied) else await self._from_credit(row, bounded)
        return self._pending() if isinstance(again, Wallet) else again

    def _fate(self, request: int) -> Awaitable[RequestFate | None]:
        return self._store.read(lambda view: view.rows(RequestFate).get(request))

    def _pending(self) -> Pending:
        return Pending(self._limits.retry_after_s)
