"""What owners and operators ask about deposits by card. Nothing here waits for Stripe: calls are written down and made later."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hushnet.coordinator.ledger.model import Overdrawn
from hushnet.coordinator.ledger.transaction import MoneyStore, PostingRefusedError, Transaction
from hushnet.coordinator.payments.calls import enqueue
from hushnet.coordinator.payments.deposits import facts
from hushnet.coordinator.payments.deposits.callers import CHECKOUT, REFUND_CALL, checkout_request, refund_request
from hushnet.coordinator.payments.deposits.model import (
    MICRO_USD_A_CENT,
    RAIL,
    Deposit,
    DepositLimits,
    DepositState,
    Reversal,
    ReversalKind,
    ReversalState,
    StripeCustomer,
)
from hushnet.foundation.errors import AccessError, RequestError
from hushnet.foundation.ids import AccountId
from hushnet.foundation.money import MicroUsd

PAGE_MAX: Final = 100
OPEN_MAX: Final = 20
"""Checkouts of one owner that wait to be paid; they end by themselves after a day."""


@dataclass(frozen=True, slots=True)
class DepositWish:
    """What an owner asks for; URLs empty take the operator's."""

    cents: int
    client_key: str
    success_url: str = ""
    cancel_url: str = ""
    saves_card: bool = False

    @property
    def digest(self) -> str:
        text = f"{self.cents}\n{self.success_url}\n{self.cancel_url}\n{int(self.saves_card)}"
        return hashlib.sha256(text.encode()).hexdigest()


def cents_of(amount: MicroUsd, limits: DepositLimits) -> int:
    """Return a whole number of cents inside the operator's limits; raises `RequestError` `out_of_range`."""
    cents, rest = divmod(amount, MICRO_USD_A_CENT)
    if rest or not limits.cents_min <= cents <= limits.cents_max:
        least, most = (f"{limit // 100}.{limit % 100:02d}" for limit in (limits.cents_min, limits.cents_max))
        raise RequestError(f"a deposit is {least} to {most} USD", code="out_of_range")
    return cents


class Deposits:
    """Deposits by card, as owners see them, and the operator's refunds."""

    def __init__(self, store: MoneyStore, *, limits: DepositLimits, wake: Callable[[], None]) -> None:
        """`wake` has the calls looked at now."""
        self._store = store
        self._wake = wake
        self.limits = limits

    async def create(self, owner: AccountId, wish: DepositWish, *, done_url: str) -> tuple[Deposit, bool]:
        """Write a deposit and its Checkout down; the same client key gives the same deposit, and False.

        `done_url` is where its customer goes when neither the wish nor the operator says where. Raises `RequestError`
        `conflict` when the key was used for another one, `too_many_deposits`.
        """
        made = await self._store.transact(lambda tx: self._create(tx, owner, wish, done_url))
        self._wake()
        return made

    def _create(self, tx: Transaction, owner: AccountId, wish: DepositWish, done_url: str) -> tuple[Deposit, bool]:
        success = wish.success_url or self.limits.success_url or done_url
        cancel = wish.cancel_url or self.limits.cancel_url
        deposit = Deposit(
            id=tx.next_id(),
            owner=owner,
            cents=wish.cents,
            created_ms=tx.now_ms,
            updated_ms=tx.now_ms,
            client_key=wish.client_key,
            digest=wish.digest,
        )
        if not tx.rows(Deposit).add(deposit):
            (known,) = tx.rows(Deposit).find(owner=owner, client_key=wish.client_key, limit=1)
            if known.digest != wish.digest:
                raise RequestError("this id was used for another deposit", code="conflict")
            return known, False
        waiting = [DepositState.CREATED, DepositState.OPEN]
        if len(tx.rows(Deposit).find(owner=owner, state=waiting, limit=OPEN_MAX + 1)) > OPEN_MAX:
            raise RequestError("this account has too many unpaid deposits", code="too_many_deposits")
        customer = tx.rows(StripeCustomer).get(owner)
        request = checkout_request(
            deposit,
            success_url=success,
            cancel_url=cancel,
            customer=customer.customer if customer else None,
            saves_card=wish.saves_card,
        )
        enqueue(tx, RAIL, CHECKOUT, deposit.id, request)
        return deposit, True

    async def deposit(self, owner: AccountId, id_: int) -> Deposit | None:
        """Return one of the owner's deposits; somebody else's looks like one that never was."""
        found = await self._store.read(lambda view: view.rows(Deposit).get(id_))
        return found if found is not None and found.owner == owner else None

    async def any_deposit(self, id_: int) -> Deposit | None:
        """Return a deposit, whoever's: for the operator."""
        return await self._store.read(lambda view: view.rows(Deposit).get(id_))

    async def deposits(self, owner: AccountId, *, before: int | None = None, limit: int = PAGE_MAX) -> list[Deposit]:
        """Return the owner's deposits, newest first."""
        below = None if before is None else ("id", before)
        return await self._store.read(
            lambda view: view.rows(Deposit).find(owner=owner, order_by="id", descending=True, below=below, limit=limit)
        )

    async def ask_refund(self, deposit_id: int, cents: int, *, client_key: str, actor: str) -> tuple[Reversal, bool]:
        """Set the money of a refund aside and ask Stripe for it; the same client key gives the same refund, and False.

        Raises `RequestError` `deposit_not_found`, `conflict`, `out_of_range`; `AccessError` `insufficient_funds` when the
        owner has spent it.
        """
        try:
            made = await self._store.transact(
                lambda tx: self._ask_refund(tx, deposit_id, cents, client_key=client_key, actor=actor)
            )
        except PostingRefusedError as error:
            if not isinstance(error.outcome, Overdrawn):
                raise
            raise AccessError("the owner has spent this money", code="insufficient_funds") from None
        self._wake()
        return made

    def _ask_refund(
        self, tx: Transaction, deposit_id: int, cents: int, *, client_key: str, actor: str
    ) -> tuple[Reversal, bool]:
        deposit = tx.rows(Deposit).get(deposit_id)
        if deposit is None:
            raise RequestError("there is no such deposit", code="deposit_not_found")
        amount = cents * MICRO_USD_A_CENT
        found = tx.rows(Reversal).find(client_key=client_key, limit=1)
        if found and (found[0].deposit, found[0].amount) == (deposit_id, amount):
            return found[0], False
        if found:
            raise RequestError("this refund id was used for another refund", code="conflict")
        open_amount = sum(
            one.amount
            for one in tx.rows(Reversal).find(deposit=deposit_id, kind=ReversalKind.REFUND, state=ReversalState.ASKED)
        )
        left = deposit.amount - deposit.refunded - deposit.disputed - open_amount
        if deposit.state is not DepositState.PAID or not 1 <= amount <= left:
            raise RequestError(f"of this deposit {left // MICRO_USD_A_CENT} cents can be refunded", code="out_of_range")
        reversal = Reversal(
            id=tx.next_id(),
            deposit=deposit_id,
            kind=ReversalKind.REFUND,
            amount=amount,
            state=ReversalState.ASKED,
            from_paid=amount,
            client_key=client_key,
            created_ms=tx.now_ms,
            updated_ms=tx.now_ms,
        )
        if not tx.rows(Reversal).add(reversal):  # a rival's refund of another deposit was first
            raise RequestError("this refund id was used for another refund", code="conflict")
        enqueue(tx, RAIL, REFUND_CALL, reversal.id, refund_request(deposit, reversal))
        tx.post(facts.refund_taken(deposit, reversal, actor=actor))
        return reversal, True

    async def reversals(self, deposit_id: int) -> list[Reversal]:
        """Return what took, or takes, money of a deposit back."""
        return await self._store.read(lambda view: view.rows(Reversal).find(deposit=deposit_id, limit=PAGE_MAX))
