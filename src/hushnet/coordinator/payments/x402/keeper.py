"""What is done about payments when no request asks: the chain is looked at until each one's fate is known.

A settlement whose answer was lost, a payment that nobody came back for, one that a facilitator refused and may have settled all
the same, an `upto` request that is over. Money that is found becomes the wallet's credit; nothing is ever sent again from here
but what was served.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Final

from hushnet.coordinator.ledger.transaction import MoneyStore, Transaction
from hushnet.coordinator.payments.model import note_finding
from hushnet.coordinator.payments.x402 import book
from hushnet.coordinator.payments.x402.authorised import LOOK_MS, charge
from hushnet.coordinator.payments.x402.chain import (
    Chain,
    Paid,
    PermitSeen,
    Seen,
    SpentElsewhere,
    Transfers,
    Unpaid,
    Unseen,
)
from hushnet.coordinator.payments.x402.model import NEVER_MS, RequestFate, X402Payment
from hushnet.coordinator.payments.x402.payload import Scheme
from hushnet.coordinator.payments.x402.transitions import Event, State
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import CapacityError, HushnetError, StorageError

_LOG = logging.getLogger(__name__)

POLL_S: Final = 1.0
BATCH: Final = 20
LEASE_MS: Final = 60_000
PRUNE_S: Final = 3600.0
KEPT_MS: Final = 86_400_000
"""How long a payment is kept that was never sent to be settled."""
UNRESOLVED_MS: Final = 3_600_000
"""A payment whose time is over for an hour and whose fate the chain does not tell is a person's to look into."""
_LOOK_MS_MIN: Final = 2_000
_LOOK_MS_MAX: Final = 600_000


class PaymentKeeper:
    """The task that follows payments up. Any process may follow any payment; a lease says who does."""

    def __init__(self, store: MoneyStore, clock: Clock, chain: Chain) -> None:
        self._store = store
        self._clock = clock
        self._chain = chain
        self._woken = asyncio.Event()
        self._prune_s = 0.0

    def wake(self) -> None:
        """Look now, without waiting for the next poll."""
        self._woken.set()

    async def run(self) -> None:
        """Follow payments up until cancelled."""
        while True:
            self._woken.clear()
            try:
                while await self.step() == BATCH:
                    pass
                if self._clock.monotonic_s() >= self._prune_s:
                    while await self.prune() == BATCH:
                        pass
                    self._prune_s = self._clock.monotonic_s() + PRUNE_S
            except (StorageError, CapacityError) as error:
                _LOG.warning("the payments cannot be read", extra={"error": error.error_code})
            try:
                async with asyncio.timeout(POLL_S):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def step(self) -> int:
        """Look at every payment that is due, once; return how many there were."""
        now_ms = self._clock.now_ms()
        due = await self._store.read(
            lambda view: view.rows(X402Payment).find(
                state=[State.VERIFIED, State.SETTLING, State.FAILED],
                at_most=("next_ms", now_ms),
                order_by="next_ms",
                limit=BATCH,
            )
        )
        for row in due:
            try:
                await (self._charge(row) if row.scheme == Scheme.UPTO and row.request else self._look(row))
            except HushnetError as error:
                # One that the books will not have keeps nobody else's waiting; without a database this fails too.
                _LOG.error("a payment cannot be followed up", extra={"error": error.error_code})
                await self._store.transact(lambda tx, row=row: _later(tx, row, _LOOK_MS_MAX))  # type: ignore[misc]
        return len(due)

    async def prune(self) -> int:
        """Delete payments that are over and were never sent: anybody can sign any number. Return how many there were."""
        old_ms = self._clock.now_ms() - KEPT_MS
        over = await self._store.read(
            lambda view: view.rows(X402Payment).find(
                state=list(book.FORGETTABLE),
                tries=0,
                request=0,
                next_ms=NEVER_MS,
                at_most=("created_ms", old_ms),
                order_by="created_ms",
                limit=BATCH,
            )
        )
        for row in over:
            await self._store.transact(lambda tx, row=row: book.forgotten(tx, row))  # type: ignore[misc]
        return len(over)

    async def _look(self, row: X402Payment) -> None:
        ours = await self._store.transact(lambda tx: _claim(tx, row))
        if ours is None:
            return
        payment = ours.payment()
        seen: Seen | PermitSeen
        if payment.scheme is Scheme.UPTO:
            seen = await self._chain.look_up_permit(payment, payment.amount, ours.created_ms // 1000)
        else:
            seen = await self._chain.look_up(payment)
        await self._store.transact(lambda tx: _conclude(tx, ours, seen))

    async def _charge(self, row: X402Payment) -> None:
        fate = await self._store.read(lambda view: view.rows(RequestFate).get(row.request))
        if fate is None:
            await self._store.transact(lambda tx: _later(tx, row, LOOK_MS))
        else:
            await self._store.transact(lambda tx: charge(tx, row, fate.cost))


def _claim(tx: Transaction, row: X402Payment) -> X402Payment | None:
    found = tx.rows(X402Payment).get(*row.key)
    if found is None or found.next_ms != row.next_ms or found.state != row.state or found.lease_ms > tx.now_ms:
        return None
    ours = replace(found, lease_ms=tx.now_ms + LEASE_MS, next_ms=tx.now_ms + LEASE_MS)
    tx.rows(X402Payment).save(ours)
    return ours


def _conclude(tx: Transaction, row: X402Payment, seen: Seen | PermitSeen) -> None:
    match seen:
        case Paid(txid):
            book.paid(tx, row, txid, None)
        case SpentElsewhere() | Transfers():
            if isinstance(seen, Transfers) and seen.txids:
                # A permit that bought nothing was settled all the same; of which of them a person has to say.
                note_finding(tx, "x402_unexpected", row.payment().key, " ".join(seen.txids[:3]))
            book.refused(tx, row, "nonce_used")
        case Unpaid(is_final=True):
            book.refused(tx, row, row.reason or "payment_expired", event=Event.EXPIRED)
        case Unpaid() | Unseen():
            age_ms = tx.now_ms - row.created_ms
            if tx.now_ms > row.valid_before_s * 1000 + UNRESOLVED_MS:
                note_finding(tx, "x402_unresolved", row.payment().key)
            _later(tx, row, min(max(age_ms // 8, _LOOK_MS_MIN), _LOOK_MS_MAX))


def _later(tx: Transaction, row: X402Payment, wait_ms: int) -> None:
    found = tx.rows(X402Payment).get(*row.key)
    if found is not None and found.state == row.state and found.request == row.request:
        lease_ms = 0 if found.lease_ms == row.lease_ms else found.lease_ms
        tx.rows(X402Payment).save(replace(found, next_ms=tx.now_ms + wait_ms, lease_ms=lease_ms))
