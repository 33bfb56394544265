"""Payouts as the API calls them: every look-up is bound to its owner, every change is one transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from hushnet.coordinator.ledger.ids import ID_MAX
from hushnet.coordinator.ledger.transaction import MoneyStore, Transaction, View
from hushnet.coordinator.payments.model import Finding
from hushnet.coordinator.payments.payouts.asking import PayoutRefusedError, Terms, Wish, cancel_payout, request_payout
from hushnet.coordinator.payments.payouts.fees import CENT
from hushnet.coordinator.payments.payouts.methods import (
    AddressCheck,
    MethodRefusedError,
    Place,
    add_method,
    bank_place,
    methods_of,
    remove_method,
    set_default,
)
from hushnet.coordinator.payments.payouts.model import (
    COIN,
    STRIPE,
    ConnectAccount,
    OnboardingState,
    Payout,
    PayoutMethod,
    PayoutPlan,
    PayoutState,
    Period,
)
from hushnet.coordinator.payments.payouts.moves import (
    CONTRADICTION_FINDING,
    STUCK_FINDING,
    Happened,
    UnknownPayoutError,
    advance,
)
from hushnet.coordinator.payments.payouts.plans import set_plan
from hushnet.coordinator.payments.payouts.transitions import PayoutEvent, Step
from hushnet.foundation.errors import RequestError
from hushnet.foundation.ids import AccountId

PAGE_MAX: Final = 100


class Resolution(StrEnum):
    """What a person says of a payout that only a person can decide."""

    RETRY = "retry"
    """Fetch the money back once more."""
    RETURNED = "returned"
    """The money is with us, or never left: its owner gets it back."""
    PAID = "paid"
    """The coins have arrived."""


_EVENTS: Final = {
    (STRIPE, Resolution.RETRY): PayoutEvent.RETRIED,
    (STRIPE, Resolution.RETURNED): PayoutEvent.MONEY_BACK,
    (COIN, Resolution.RETURNED): PayoutEvent.COINS_LOST,
    (COIN, Resolution.PAID): PayoutEvent.COINS_CONFIRMED,
}
_FINDINGS: Final = (STUCK_FINDING, CONTRADICTION_FINDING)


@dataclass(frozen=True, slots=True)
class Puzzle:
    """A payout that a person has to look at, and what was found."""

    payout: Payout
    findings: tuple[Finding, ...]


class Payouts:
    """One operator's payouts."""

    def __init__(
        self,
        store: MoneyStore,
        *,
        terms: Terms,
        check: AddressCheck | None = None,
        called: Callable[[], None] = lambda: None,
    ) -> None:
        """`check` knows coin addresses (None: no coins are paid out); `called` is told when a call may have become due."""
        self._store = store
        self._terms = terms
        self._check = check
        self._called = called

    async def methods(self, owner: AccountId) -> list[PayoutMethod]:
        """Return where the owner's money may go, oldest first."""
        return await self._store.read(lambda view: methods_of(view, owner))

    async def add_coin_method(
        self, owner: AccountId, asset: str, network: str, address: str, tag: int | None
    ) -> PayoutMethod:
        """Add an address; raises `RequestError` when it is none of that coin on that network."""
        if self._check is None or COIN not in self._terms.rails:
            hint = "ask the operator which ways there are; `hush coins` lists the coins that are paid out"
            raise MethodRefusedError("the operator pays out no coins", code="unsupported_value", hint=hint)
        return await self._add(owner, self._check(asset, network, address, tag))

    async def add_bank_method(self, owner: AccountId) -> PayoutMethod:
        """Add the owner's account at Stripe again, once it was removed."""
        row = await self._store.read(lambda view: view.rows(ConnectAccount).get(owner))
        if row is None or row.account is None or row.state is not OnboardingState.READY:
            raise MethodRefusedError("Stripe does not know this account yet", hint="begin with `hush payout onboard`")
        return await self._add(owner, bank_place(row.account))

    async def set_default(self, owner: AccountId, method_id: int) -> PayoutMethod:
        return await self._store.transact(lambda tx: set_default(tx, owner, method_id))

    async def remove_method(self, owner: AccountId, method_id: int) -> PayoutMethod:
        return await self._store.transact(lambda tx: remove_method(tx, owner, method_id))

    async def request(self, wish: Wish) -> Payout:
        """Ask for a payout; see `asking.request_payout` for what it raises."""
        payout = await self._store.transact(lambda tx: request_payout(tx, wish, self._terms))
        self._called()
        return payout

    async def cancel(self, owner: AccountId, payout_id: int) -> Payout:
        """Take a payout back that was not sent."""
        return await self._store.transact(lambda tx: cancel_payout(tx, owner, payout_id))

    async def payout(self, owner: AccountId, payout_id: int) -> Payout:
        """Return one of the owner's payouts; somebody else's looks like one that never was."""
        row = await self._store.read(lambda view: view.rows(Payout).get(payout_id))
        if row is None or row.owner != owner:
            raise UnknownPayoutError("this account has no such payout")
        return row

    async def payouts(self, owner: AccountId, *, before: int = ID_MAX, limit: int = PAGE_MAX) -> list[Payout]:
        """Return the owner's payouts, newest first, a page at a time."""
        return await self._store.read(
            lambda view: view.rows(Payout).find(owner=owner, below=("id", before), descending=True, limit=limit)
        )

    async def plan(self, owner: AccountId) -> PayoutPlan | None:
        """Return how the owner is paid regularly; None: only on request."""
        return await self._store.read(lambda view: view.rows(PayoutPlan).get(owner))

    async def set_plan(self, owner: AccountId, period: Period, *, threshold: int, method: int | None) -> PayoutPlan:
        """Pay the owner regularly from now on; see `plans.set_plan` for what it raises."""
        least = self._terms.tariff.gross_cents_min * CENT
        return await self._store.transact(
            lambda tx: set_plan(tx, owner, period, threshold=threshold, method=method, least=least)
        )

    async def drop_plan(self, owner: AccountId) -> bool:
        """Pay the owner on request only; False: it was so."""
        return await self._store.transact(lambda tx: tx.rows(PayoutPlan).remove(owner))

    async def puzzles(self) -> list[Puzzle]:
        """Return the payouts that a person has to look at: the stuck ones, and those with an open finding."""
        return await self._store.read(_puzzles)

    async def resolve(self, payout_id: int, resolution: Resolution, *, actor: str, txid: str | None = None) -> Payout:
        """Apply what a person says; raises `RequestError` `payout_not_stuck` where nothing is to be said."""

        def work(tx: Transaction) -> Payout:
            row = tx.rows(Payout).get(payout_id)
            if row is None:
                raise UnknownPayoutError("there is no such payout")
            event = _EVENTS.get((row.rail, resolution))
            if event is None:
                raise RequestError("that can't be said of a payout of this rail", code="unsupported_value")
            moved = advance(tx, payout_id, Happened(event=event, txid=txid), actor=actor)
            if not isinstance(moved.last, Step):
                raise PayoutRefusedError("this payout waits for nobody's word", code="payout_not_stuck")
            _resolve_findings(tx, payout_id)
            return moved.payout

        payout = await self._store.transact(work)
        self._called()
        return payout

    async def _add(self, owner: AccountId, place: Place) -> PayoutMethod:
        cool_down_ms = self._terms.cool_down_ms
        return await self._store.transact(lambda tx: add_method(tx, owner, place, cool_down_ms=cool_down_ms))


def _puzzles(view: View) -> list[Puzzle]:
    open_findings = [
        finding
        for kind in _FINDINGS
        for finding in view.rows(Finding).find(kind=kind, resolved_ms=None, limit=PAGE_MAX)
    ]
    stuck = view.rows(Payout).find(state=PayoutState.STUCK, limit=PAGE_MAX)
    ids = sorted({payout.id for payout in stuck} | {int(finding.subject) for finding in open_findings})
    rows = view.rows(Payout).find(id=ids, limit=2 * PAGE_MAX) if ids else []
    return [Puzzle(row, tuple(one for one in open_findings if one.subject == str(row.id))) for row in rows]


def _resolve_findings(tx: Transaction, payout_id: int) -> None:
    rows = tx.rows(Finding)
    for kind in _FINDINGS:
        for finding in rows.find(kind=kind, subject=str(payout_id), resolved_ms=None):
            rows.save(replace(finding, resolved_ms=tx.now_ms))
