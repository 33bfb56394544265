"""What Stripe's own books say beside ours, once an hour: nothing that moved there may be missing here.

Deposits that hang are fetched and applied as if Stripe had just told. Every balance transaction since the last pass is
compared with the facts of its object, and Stripe's fees are posted. The passes overlap by some hours, and each fact has a
key, so that nothing depends on a pass being whole. What does not fit is a finding; money is only ever moved by a fact.
What is of a type that we do not know is booked against suspense, so that the account at Stripe stays right.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

from hushnet.coordinator.ledger.chart import Kind
from hushnet.coordinator.ledger.model import Fact
from hushnet.coordinator.ledger.transaction import MoneyStore, Transaction, View
from hushnet.coordinator.payments.deposits import facts
from hushnet.coordinator.payments.deposits.crediting import deposit_id_of
from hushnet.coordinator.payments.deposits.model import (
    MICRO_USD_A_CENT,
    UNFINISHED,
    Deposit,
    Reversal,
)
from hushnet.coordinator.payments.deposits.payment_events import (
    ASYNC_FAILED,
    CANCELED,
    COMPLETED,
    DECLINED,
    EXPIRED,
    SUCCEEDED,
    apply_intent,
    apply_session,
    fetch_intent,
    fetch_session,
    landed_of,
)
from hushnet.coordinator.payments.model import Cursor, note_finding
from hushnet.coordinator.payments.one_by_one import OneByOne
from hushnet.coordinator.payments.stripe.gateway import StripeGateway
from hushnet.coordinator.payments.stripe.objects import USD, Balance, Charge, Page
from hushnet.coordinator.payments.stripe.objects import Transaction as Moved
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import HushnetError, RequestError

_LOG = logging.getLogger(__name__)

PERIOD_S: Final = 3600.0
OLD_MS: Final = 3_600_000
"""Webhooks are given this long before something that is missing is a finding."""
DIFFERS_MS: Final = 1_800_000
OVERLAP_S: Final = 6 * 3600
CURSOR: Final = "stripe:transactions"
DIFFERENCE: Final = "stripe:difference"
_BATCH: Final = 100

_PAYMENTS: Final = frozenset({"charge", "payment"})
_BACK: Final = frozenset({"refund", "payment_refund", "refund_failure", "payment_failure_refund"})
_TRANSFERS: Final = frozenset({"transfer", "transfer_refund", "transfer_cancel", "transfer_failure"})
"""Left alone where nobody says that it books them."""
_OWN: Final = frozenset({"payout", "payout_cancel", "payout_failure", "topup", "topup_reversal"})
_UNDERSTOOD: Final = _PAYMENTS | _BACK | _TRANSFERS | _OWN | facts.FEE_TYPES
_ENDED: Final = {"canceled": CANCELED, "requires_payment_method": DECLINED}

_Work = Callable[[Transaction, Deposit], object]
Matcher = Callable[[View, Moved], bool]
"""Say whether our books have what a balance transaction of some type says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _FactKey:
    """A fact, as far as its being there goes; read only."""

    TABLE: ClassVar[str] = "ledger_facts"
    KEY: ClassVar[tuple[str, ...]] = ("key",)

    key: str
    id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Books:
    """One lane of an operator account; read only."""

    TABLE: ClassVar[str] = "ledger_accounts"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: int
    owner: int
    kind: int
    credits: int
    debits: int


class Reconciliation:
    """The hourly pass over Stripe's books."""

    def __init__(
        self, store: MoneyStore, gateway: StripeGateway, clock: Clock, *, matchers: Mapping[str, Matcher] | None = None
    ) -> None:
        """`matchers` by type of balance transaction: what other parts book (transfers)."""
        self._store = store
        self._gateway = gateway
        self._clock = clock
        self._matchers = matchers or {}

    async def run(self) -> None:
        """Compare until cancelled."""
        while True:
            try:
                await self.step()
            except HushnetError as error:
                _LOG.warning("reconciliation waits", extra={"error": error.error_code})
            await asyncio.sleep(PERIOD_S)

    async def step(self) -> None:
        """Make one pass. Raises when Stripe or the database does not answer; the next pass begins where this one did.

        One deposit or transaction that cannot be done is a finding and holds up nobody.
        """
        await self._fetch_unfinished()
        await self._compare_transactions()
        await self._compare_balance()

    async def _fetch_unfinished(self) -> None:
        old_ms, below = self._clock.now_ms() - OLD_MS, 1 << 63
        rows = OneByOne(self._store, self._clock, finding="deposit_not_applied")
        while True:
            page = await self._store.read(partial(_unfinished, below=min(below, (1 << 63) - 1)))
            for deposit in page:
                if deposit.created_ms <= old_ms:
                    fetch = partial(self._fetch, deposit)
                    await rows.do(fetch, subject=f"deposit:{deposit.id}", at_ms=deposit.created_ms)
            if len(page) < _BATCH:
                return
            below = page[-1].id

    async def _fetch(self, deposit: Deposit) -> None:
        """Apply what Stripe has of a deposit that hangs."""
        try:
            work = await (self._session(deposit.checkout) if deposit.checkout else self._intent(deposit.intent))
        except RequestError as error:
            await self._note("deposit_unknown_at_stripe", f"deposit:{deposit.id}", error.error_code)
            return
        if work is not None:
            await self._store.transact(lambda tx: _on(tx, deposit.id, work))

    async def _session(self, id_: str) -> _Work | None:
        session = await fetch_session(self._gateway, id_)
        if session.status == "open":
            return None
        kind = EXPIRED if session.status == "expired" else COMPLETED
        if session.payment_status == "unpaid" and session.payment_intent:
            intent = await fetch_intent(self._gateway, session.payment_intent)
            kind = ASYNC_FAILED if intent.status in _ENDED else kind
        landed = await landed_of(self._gateway, session)
        return partial(apply_session, session=session, kind=kind, landed=landed)

    async def _intent(self, id_: str | None) -> _Work | None:
        if id_ is None:
            return None  # its call is still to be made; the outbox sees to it
        intent = await fetch_intent(self._gateway, id_)
        landed = await landed_of(self._gateway, intent)
        return partial(apply_intent, intent=intent, kind=_ENDED.get(intent.status, SUCCEEDED), landed=landed)

    async def _compare_transactions(self) -> None:
        """Go through what moved at Stripe, newest first; the cursor moves only when all of it was seen."""
        cursor = await self._store.read(lambda view: view.rows(Cursor).get(CURSOR))
        # What an account moved before it was given to us is not ours to book.
        from_s = int(cursor.value) if cursor is not None else self._clock.now_ms() // 1000
        since_s = from_s - OVERLAP_S
        after: dict[str, Any] = {}
        newest_s = 0
        rows = OneByOne(self._store, self._clock, finding="stripe_not_applied")
        while True:
            wanted = {"limit": 100, "created": {"gte": max(since_s, 0)}, **after}
            page = await self._gateway.read(partial(_transactions, wanted=wanted), Page[Moved])
            for moved in page.data:
                newest_s = max(newest_s, moved.created)
                compare = partial(self._compare, moved)
                await rows.do(compare, subject=f"stripe:{moved.id}", at_ms=moved.created * 1000)
            if not page.has_more:
                break
            after = {"starting_after": page.data[-1].id}
        if rows.unanswered is not None:
            raise rows.unanswered
        if newest_s:
            now = Cursor(name=CURSOR, value=str(newest_s), at_ms=self._clock.now_ms())
            await self._store.transact(partial(_put_cursor, cursor=now))

    async def _compare(self, moved: Moved) -> None:
        if not self._is_understood(moved):
            detail = f"{moved.type[:40]} {moved.source or ''} {moved.net} {moved.currency[:3]}"
            await self._note("stripe_type_unknown", f"stripe:{moved.id}", detail)
            await self._post(facts.unexplained(moved) if moved.currency == USD else None)
            return
        is_payment = moved.type in _PAYMENTS
        if await self._is_known(moved) or (is_payment and await self._apply_payment(moved)):
            await self._post(_fact_of(moved))
        elif self._clock.now_ms() - moved.created * 1000 >= OLD_MS:
            await self._note("stripe_moved_unknown", f"stripe:{moved.id}", f"{moved.type[:40]} {moved.source or ''}")

    async def _post(self, fact: Fact | None) -> None:
        if fact is not None and not await self._has_fact(fact.key):
            await self._store.transact(lambda tx: tx.post(fact))

    def _is_understood(self, moved: Moved) -> bool:
        return moved.type in _UNDERSTOOD or moved.type in self._matchers or _is_dispute(moved)

    async def _is_known(self, moved: Moved) -> bool:
        source = moved.source or ""
        match moved.type:
            case "charge" | "payment":
                charge = await self._charge(source)
                return charge is None or await self._has_fact(facts.paid_key(charge.payment_intent or ""))
            case "refund" | "payment_refund":
                return await self._has_fact(facts.refund_key(source))
            case "refund_failure" | "payment_failure_refund":
                return await self._has_fact(f"{facts.refund_key(source)}:failed") or await self._is_put_back(source)
            case "adjustment":
                words = ("withdrawn",) if moved.amount < 0 else ("won", "reinstated")
                return any([await self._has_fact(facts.dispute_key(source, word)) for word in words])
            case _:
                matcher = self._matchers.get(moved.type)
                return matcher is None or await self._store.read(lambda view: matcher(view, moved))

    async def _apply_payment(self, moved: Moved) -> bool:
        """A payment that we never heard of: apply it, when it is one of ours."""
        charge = await self._charge(moved.source or "")
        if charge is None or charge.payment_intent is None:
            return False
        intent = await fetch_intent(self._gateway, charge.payment_intent)
        id_ = deposit_id_of(intent.metadata)
        if id_ is None or intent.status != "succeeded":
            return False
        landed = moved.amount if moved.currency == USD else 0
        work = partial(apply_intent, intent=intent, kind=SUCCEEDED, landed=landed)
        return await self._store.transact(lambda tx: _on(tx, id_, work))

    async def _is_put_back(self, refund: str) -> bool:
        found = await self._store.read(lambda view: view.rows(Reversal).find(object=refund, limit=1))
        return bool(found) and await self._has_fact(f"refund:{found[0].id}:back")

    async def _charge(self, id_: str) -> Charge | None:
        if not id_.startswith(("ch_", "py_")):
            return None
        return await self._gateway.read(lambda v1: v1.charges.retrieve_async(id_), Charge)

    async def _has_fact(self, key: str) -> bool:
        return await self._store.read(lambda view: view.rows(_FactKey).get(key)) is not None

    async def _compare_balance(self) -> None:
        """A difference that stays the same for half an hour is one; a passing one is something under way.

        Several workers pass at times of their own: two passes may be seconds apart.
        """
        balance = await self._gateway.read(lambda v1: v1.balance.retrieve_async(), Balance)
        lanes = await self._store.read(lambda view: view.rows(_Books).find(owner=0, kind=Kind.STRIPE, limit=1000))
        ours = sum(lane.debits - lane.credits for lane in lanes)
        difference = balance.usd_cents * MICRO_USD_A_CENT - ours
        before = await self._store.read(lambda view: view.rows(Cursor).get(DIFFERENCE))
        now_ms = self._clock.now_ms()
        if before is None or before.value != str(difference):
            now = Cursor(name=DIFFERENCE, value=str(difference), at_ms=now_ms)
            await self._store.transact(partial(_put_cursor, cursor=now))
        elif difference and now_ms - before.at_ms >= DIFFERS_MS:
            await self._note("stripe_balance_differs", "stripe:balance", f"{difference} micro-USD")

    async def _note(self, kind: str, subject: str, detail: str) -> None:
        await self._store.transact(lambda tx: note_finding(tx, kind, subject, detail))


def _fact_of(moved: Moved) -> Fact | None:
    """Return what is booked here and by nobody else: fees, also those that come back, and the operator's own money."""
    if moved.currency != USD or (_is_dispute(moved) and moved.amount < 0):
        return None  # what Stripe takes for a dispute is in the dispute's own fact
    return facts.own_money(moved) if moved.type in _OWN else facts.processor_fee(moved)


def _is_dispute(moved: Moved) -> bool:
    return moved.type == "adjustment" and (moved.source or "").startswith(("du_", "dp_"))


def _unfinished(view: View, *, below: int) -> list[Deposit]:
    return view.rows(Deposit).find(
        state=list(UNFINISHED), order_by="id", descending=True, below=("id", below), limit=_BATCH
    )


def _on(tx: Transaction, deposit: int, work: _Work) -> bool:
    row = tx.rows(Deposit).get(deposit)
    if row is None:
        return False
    work(tx, row)
    return True


def _transactions(v1: Any, *, wanted: dict[str, Any]) -> Any:
    return v1.balance_transactions.list_async(wanted)


def _put_cursor(tx: Transaction, *, cursor: Cursor) -> None:
    rows = tx.rows(Cursor)
    if not rows.add(cursor):
        rows.save(cursor)
