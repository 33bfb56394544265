"""What Stripe tells of refunds and disputes, in any order and any number of times."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from hushnet.coordinator.ledger.transaction import MoneyStore, Transaction, View
from hushnet.coordinator.payments.deposits.crediting import credit, deposit_id_of, payment_of
from hushnet.coordinator.payments.deposits.model import MICRO_USD_A_CENT, Deposit, DepositState, ReversalKind
from hushnet.coordinator.payments.deposits.payment_events import fetch_intent, landed_of
from hushnet.coordinator.payments.deposits.reversing import Taking, apply_refund, known_dispute, step
from hushnet.coordinator.payments.deposits.transitions import ReversalEvent
from hushnet.coordinator.payments.inbox import FETCH_AFTER, Applied, Ignored, Verdict, Waiting
from hushnet.coordinator.payments.model import InboxEvent, note_finding
from hushnet.coordinator.payments.stripe.gateway import StripeGateway
from hushnet.coordinator.payments.stripe.objects import USD, Charge, Dispute, Intent, Page, Refund, object_of
from hushnet.foundation.errors import CapacityError

REFUND_KINDS: Final = ("refund.created", "refund.updated", "refund.failed", "charge.refund.updated", "charge.refunded")
DISPUTE_KINDS: Final = (
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "charge.dispute.closed",
)
_AT_ONCE: Final = 16
"""Refunds that are applied in one transaction: each may need three ids (a row, two facts) of the 64 that there are."""
_PAGES_MAX: Final = 50
_MOVING_NOTHING: Final = frozenset({"warning_closed", "prevented"})


@dataclass(frozen=True, slots=True)
class Told:
    """What an event is about: refunds of one payment, or a dispute; `intent` where we have not seen its payment."""

    intent_id: str | None
    refunds: tuple[Refund, ...] = ()
    dispute: Dispute | None = None
    intent: Intent | None = None
    is_fetched: bool = False
    landed_cents: int | None = None
    """What that payment came to, where it says no amount in USD itself."""
    waits: Waiting | None = None
    """Why a part that was to be applied before has to be tried again, and so the whole event."""


class ReversalEvents:
    """`EventHandler` of `REFUND_KINDS` and `DISPUTE_KINDS`."""

    def __init__(self, store: MoneyStore, gateway: StripeGateway, *, takes_earnings: bool = False) -> None:
        self._store = store
        self._gateway = gateway
        self._takes_earnings = takes_earnings

    async def prepare(self, event: InboxEvent) -> Told:
        """Fetch what the event needs. Of very many refunds all but the last are applied here, in parts of their own."""
        told = await self._told(event)
        while len(told.refunds) > _AT_ONCE:
            part = replace(told, refunds=told.refunds[:_AT_ONCE])
            # Each has its key: what a crash leaves half done is done again.
            verdict = await self._store.transact(partial(self.apply, event=event, prepared=part))
            if isinstance(verdict, Waiting):
                return replace(part, waits=verdict)
            told = replace(told, refunds=told.refunds[_AT_ONCE:])
        return told

    async def _told(self, event: InboxEvent) -> Told:
        told = await (self._dispute(event) if event.kind in DISPUTE_KINDS else self._refunds(event))
        if told.intent_id is None or event.attempts == 0:
            return told  # its payment is usually here already, or comes in a moment
        id_ = told.intent_id
        if await self._store.read(lambda view: _deposit_of(view, id_)) is not None:
            return told
        intent = await fetch_intent(self._gateway, id_)
        is_ours = deposit_id_of(intent.metadata) is not None
        landed = await landed_of(self._gateway, intent) if is_ours else None
        return replace(told, intent=intent, landed_cents=landed)

    def apply(self, tx: Transaction, event: InboxEvent, prepared: object) -> Verdict:
        assert isinstance(prepared, Told), "what prepare returned"
        if prepared.waits is not None:
            return prepared.waits
        if prepared.intent_id is None:
            return Ignored("not_ours")
        deposit = self._deposit(tx, event, prepared)
        if not isinstance(deposit, Deposit):
            return deposit
        if prepared.dispute is not None:
            return self._apply_dispute(tx, event, deposit, prepared.dispute, is_fetched=prepared.is_fetched)
        verdicts: list[Verdict] = []
        for refund in prepared.refunds:
            verdicts.append(apply_refund(tx, deposit, refund, takes_earnings=self._takes_earnings))
            deposit = tx.rows(Deposit).get(deposit.id) or deposit
        return next((verdict for verdict in verdicts if not isinstance(verdict, Applied)), Applied())

    def _deposit(self, tx: Transaction, event: InboxEvent, told: Told) -> Deposit | Verdict:
        """Return the deposit, paid and locked; from some tries on its payment is taken from Stripe's own record."""
        found = _deposit_of(tx, told.intent_id or "")
        id_ = found.id if found is not None else deposit_id_of(told.intent.metadata) if told.intent else None
        if id_ is None:
            return Ignored("not_ours") if told.intent is not None else Waiting("payment_not_here_yet")
        deposit = tx.rows(Deposit).get(id_)
        if deposit is None:
            return Ignored("unknown_deposit")
        if deposit.state not in {DepositState.PAID, DepositState.HELD}:
            if told.intent is None or told.intent.status != "succeeded" or event.attempts < FETCH_AFTER:
                return Waiting("payment_not_here_yet")
            credited = credit(tx, deposit, payment_of(told.intent, landed_cents=told.landed_cents))
            if isinstance(credited, Waiting):
                return credited
            deposit = tx.rows(Deposit).get(id_) or deposit
        return deposit

    def _apply_dispute(
        self, tx: Transaction, event: InboxEvent, deposit: Deposit, dispute: Dispute, *, is_fetched: bool
    ) -> Verdict:
        steps = _as_it_stands(dispute) if is_fetched else _as_told(event.kind, dispute)
        if isinstance(steps, Waiting):
            return steps
        if steps is None or dispute.currency != USD:
            kind = "unknown_status" if steps is None else "reversal_mismatch"
            note_finding(tx, kind, f"stripe:{dispute.id}", f"deposit {deposit.id}: {dispute.status[:40]}")
            return Ignored(kind)
        fee = max(dispute.withdrawal.fee, 0) * MICRO_USD_A_CENT if dispute.withdrawal else 0
        amount = dispute.amount * MICRO_USD_A_CENT
        taking = Taking(ReversalKind.DISPUTE, dispute.id, amount, fee, dispute.payment_intent)
        verdict: Verdict = Applied()
        for happened in steps:
            known = known_dispute(tx, dispute.id)
            verdict = step(tx, deposit, known, taking, happened, takes_earnings=self._takes_earnings)
            deposit = tx.rows(Deposit).get(deposit.id) or deposit
        return verdict

    async def _refunds(self, event: InboxEvent) -> Told:
        if event.kind != "charge.refunded":
            refund = object_of(event.body, Refund)
            if event.attempts >= FETCH_AFTER:
                id_ = refund.id
                refund = await self._gateway.read(lambda v1: v1.refunds.retrieve_async(id_), Refund)
            return Told(refund.payment_intent, (refund,))
        charge = object_of(event.body, Charge)
        return Told(charge.payment_intent, tuple(reversed(await self._refunds_of(charge.id))))

    async def _refunds_of(self, charge: str) -> list[Refund]:
        """Return all refunds of a charge, newest first."""
        found: list[Refund] = []
        wanted: dict[str, Any] = {"charge": charge, "limit": 100}
        for _ in range(_PAGES_MAX):
            page = await self._gateway.read(lambda v1: v1.refunds.list_async(wanted), Page[Refund])
            found += page.data
            if not page.has_more:
                return found
            wanted["starting_after"] = page.data[-1].id
        raise CapacityError("this charge has too many refunds to look through", code="payments_unavailable")

    async def _dispute(self, event: InboxEvent) -> Told:
        dispute = object_of(event.body, Dispute)
        is_fetched = event.attempts >= FETCH_AFTER
        if is_fetched:
            id_ = dispute.id
            dispute = await self._gateway.read(lambda v1: v1.disputes.retrieve_async(id_), Dispute)
        return Told(dispute.payment_intent, dispute=dispute, is_fetched=is_fetched)


def _deposit_of(view: View, intent: str) -> Deposit | None:
    found = view.rows(Deposit).find(intent=intent, limit=1)
    return found[0] if found else None


def _as_told(kind: str, dispute: Dispute) -> tuple[ReversalEvent, ...] | Waiting | None:
    """Return what an event says happened; None for a status that we don't know."""
    word = kind.rpartition(".")[2]
    if word == "funds_withdrawn":
        return (ReversalEvent.WITHDRAWN,) if dispute.withdrawal else Waiting("not_withdrawn_yet")
    if word == "funds_reinstated":
        return (ReversalEvent.BACK,)
    if word != "closed" or dispute.status in _MOVING_NOTHING:
        return ()  # warnings and updates move nothing
    if dispute.status == "lost":
        return (ReversalEvent.DONE,)
    if dispute.status == "won":
        return (ReversalEvent.BACK,) if dispute.is_reinstated else ()
    return None


def _as_it_stands(dispute: Dispute) -> tuple[ReversalEvent, ...]:
    """Return everything that has happened to a dispute, from its own record."""
    if dispute.withdrawal is None:
        return ()
    ends = {"lost": (ReversalEvent.DONE,), "won": (ReversalEvent.BACK,) if dispute.is_reinstated else ()}
    return (ReversalEvent.WITHDRAWN, *ends.get(dispute.status, ()))
