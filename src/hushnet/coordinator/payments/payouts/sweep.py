"""Payouts in the background: send what was requested, ask about what takes too long, compare what must agree.

Whatever is found is repaired by an event like any other, never by an edit; what no event explains is a finding.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final, Protocol

from hushnet.coordinator.ledger.chart import Kind
from hushnet.coordinator.ledger.transaction import MoneyStore, Transaction, View
from hushnet.coordinator.payments.calls import Done
from hushnet.coordinator.payments.model import note_finding
from hushnet.coordinator.payments.one_by_one import OneByOne
from hushnet.coordinator.payments.payouts.asking import Terms
from hushnet.coordinator.payments.payouts.books import is_at_connect
from hushnet.coordinator.payments.payouts.coin_rail import CoinRail, order_for, told_by_gateway
from hushnet.coordinator.payments.payouts.connect import ConnectGateway, TransferSeen
from hushnet.coordinator.payments.payouts.model import OPEN_STATES, STRIPE, Payout, PayoutMethod, PayoutState
from hushnet.coordinator.payments.payouts.moves import Happened, advance, transfer_group
from hushnet.coordinator.payments.payouts.plans import ask_planned
from hushnet.coordinator.payments.payouts.stripe_rail import ACTOR, told_by
from hushnet.coordinator.payments.payouts.transitions import PayoutEvent
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import CapacityError, HushnetError

_LOG = logging.getLogger(__name__)

BALANCE_FINDING: Final = "payout_balance"
UNASKED_FINDING: Final = "payout_not_applied"
_OVERDUE_STATES: Final = (
    PayoutState.SENDING,
    PayoutState.LANDED,
    PayoutState.IN_TRANSIT,
    PayoutState.REVERSING,
)
_BATCH: Final = 50
_PAGE: Final = 500
_POLL_S: Final = 1.0
_RECONCILE_S: Final = 3600.0


class Witness(Protocol):
    """Who can say what became of a payout that takes too long: one a rail."""

    async def ask(self, payout: Payout, method: PayoutMethod) -> Sequence[Happened]:
        """Return what the rail says of it now; nothing where it says nothing new. Raises when the rail does not answer."""
        ...


class StripeWitness:
    """Stripe itself, asked about a payout."""

    def __init__(self, gateway: ConnectGateway) -> None:
        self._gateway = gateway

    async def ask(self, payout: Payout, method: PayoutMethod) -> Sequence[Happened]:
        match payout.state:
            case PayoutState.SENDING:
                found = await self._gateway.transfers_in(transfer_group(payout.id))
                return [Happened(event=PayoutEvent.TRANSFER_MADE, transfer=one.id) for one in found]
            case PayoutState.REVERSING if payout.transfer is not None:
                seen = await self._gateway.transfer_seen(payout.transfer)
                return [_reversed(seen)] if seen.is_reversed else []
            case PayoutState.LANDED | PayoutState.IN_TRANSIT:
                return await self._bank(payout, method.address)
            case _:
                return []

    async def _bank(self, payout: Payout, account: str) -> Sequence[Happened]:
        if payout.payout is not None:
            return told_by(await self._gateway.payout_seen(account, payout.payout))
        seen = await self._gateway.payout_for(account, payout.id, since_ms=payout.created_ms)
        return [] if seen is None else told_by(seen)


def _reversed(seen: TransferSeen) -> Happened:
    return Happened(event=PayoutEvent.TRANSFER_REVERSED, transfer=seen.id, reversal=seen.reversal)


class CoinWitness:
    """A coin's gateway, asked about a payout by its reference."""

    def __init__(self, rail: CoinRail) -> None:
        self._rail = rail

    async def ask(self, payout: Payout, method: PayoutMethod) -> Sequence[Happened]:
        seen = await self._rail.look_up(order_for(payout, method.address, method.tag))
        if not isinstance(seen, Done):
            return []  # absence is for the call to act on
        if payout.state is PayoutState.SENDING and seen.outcome["status"] == "lost":
            return []  # and so is what was given up while it goes on
        return told_by_gateway(seen.outcome["status"], seen.outcome.get("txid"))


class PayoutWorker:
    """The background work of payouts; several processes may do it at once."""

    def __init__(
        self,
        store: MoneyStore,
        clock: Clock,
        *,
        terms: Terms,
        witnesses: dict[str, Witness],
        sent: Callable[[], None] = lambda: None,
    ) -> None:
        """`witnesses` by rail; `sent` is called when calls have become due."""
        self._store = store
        self._clock = clock
        self._terms = terms
        self._witnesses = witnesses
        self._sent = sent

    async def run(self) -> None:
        """Work until cancelled: sending every second, comparing every hour."""
        compared_s = float("-inf")
        while True:
            try:
                await self.send_requested()
                if self._clock.monotonic_s() - compared_s >= _RECONCILE_S:
                    compared_s = self._clock.monotonic_s()
                    await self.ask_planned()
                    await self.ask_overdue()
                    await self.compare()
            except HushnetError as error:
                _LOG.warning("background work of payouts failed", extra={"error": error.error_code})
            await asyncio.sleep(_POLL_S)

    async def send_requested(self) -> int:
        """Claim payouts over Stripe whose time to be cancelled is over; return how many."""
        if STRIPE not in self._witnesses:
            return 0  # a rail that was configured once: its payouts wait until it is again
        before_ms = self._clock.now_ms() - self._terms.send_after_ms
        due = await self._store.read(
            lambda view: view.rows(Payout).find(
                state=PayoutState.REQUESTED, rail=STRIPE, at_most=("created_ms", before_ms), limit=_BATCH
            )
        )
        for payout in due:
            await self._apply(payout.id, Happened(event=PayoutEvent.CLAIMED))
        if due:
            self._sent()
        return len(due)

    async def ask_planned(self) -> int:
        """Ask for the payouts whose date has come (`plans.py`); return how many dates there were."""
        return await ask_planned(self._store, self._terms, now_ms=self._clock.now_ms())

    async def ask_overdue(self) -> int:
        """Ask the rails about every payout that takes too long, and apply what they say; return how many were asked about."""
        before_ms = self._clock.now_ms() - self._terms.overdue_ms
        return sum([await self._ask_rail(rail, witness, before_ms) for rail, witness in self._witnesses.items()])

    async def _ask_rail(self, rail: str, witness: Witness, before_ms: int) -> int:
        """Ask one rail, oldest payouts last; one that fails holds up nobody."""
        rows, count, below = OneByOne(self._store, self._clock, finding=UNASKED_FINDING), 0, (1 << 63) - 1
        while True:
            page = await self._store.read(partial(_overdue, rail=rail, before_ms=before_ms, below=below))
            for payout, method in page:
                count += 1
                ask = partial(self._ask, witness, payout, method)
                try:
                    await rows.do(ask, subject=str(payout.id), at_ms=payout.created_ms)
                except CapacityError:
                    return count  # this rail is down; others may not be
            if len(page) < _BATCH:
                return count
            below = page[-1][0].id

    async def _ask(self, witness: Witness, payout: Payout, method: PayoutMethod) -> None:
        if happened := await witness.ask(payout, method):
            await self._apply(payout.id, *happened)

    async def compare(self) -> list[str]:
        """Note and return what does not agree between payouts and the ledger's accounts."""
        wrong = await self._store.read(lambda view: list(disagreements(view)))
        if wrong:
            await self._store.transact(lambda tx: _note(tx, wrong))
        return wrong

    async def _apply(self, payout_id: int, *happened: Happened) -> None:
        await self._store.transact(lambda tx: advance(tx, payout_id, *happened, actor=ACTOR))


@dataclass(frozen=True, slots=True)
class LedgerAccount:
    """The ledger's own row of an account, for reading only: the planner alone writes it."""

    TABLE: ClassVar[str] = "ledger_accounts"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: int
    owner: int
    kind: int
    asset: str
    lane: int
    floor: int
    closed: bool
    credits: int
    debits: int
    held: int


def disagreements(view: View) -> Iterator[str]:
    """Yield where payouts and accounts disagree (B11): in_transit by owner, and what is in connected accounts."""
    opened = Counter[int]()
    at_connect = 0
    for payout in _paged_open(view):
        opened[payout.owner] += payout.gross
        at_connect += payout.net if is_at_connect(payout) else 0
    connect = sum(_balance(account) for account in view.rows(LedgerAccount).find(kind=Kind.CONNECT, limit=_PAGE))
    if connect != -at_connect:
        yield f"connect {connect} is not {-at_connect}"
    for account in _paged_in_transit(view):
        expected = opened.pop(account.owner, 0)
        if _balance(account) != expected:
            yield f"in_transit of {account.owner} {_balance(account)} is not {expected}"
    yield from (f"in_transit of {owner} is missing" for owner in opened)


def _note(tx: Transaction, wrong: Sequence[str]) -> None:
    for text in wrong[:_BATCH]:
        note_finding(tx, BALANCE_FINDING, text)


def _overdue(view: View, *, rail: str, before_ms: int, below: int) -> list[tuple[Payout, PayoutMethod]]:
    found = view.rows(Payout).find(
        state=_OVERDUE_STATES,
        rail=rail,
        at_most=("created_ms", before_ms),
        order_by="id",
        descending=True,
        below=("id", below),
        limit=_BATCH,
    )
    ids = {payout.method for payout in found}
    methods = {one.id: one for one in view.rows(PayoutMethod).find(id=list(ids), limit=_BATCH)} if ids else {}
    return [(payout, methods[payout.method]) for payout in found]


def _balance(account: LedgerAccount) -> int:
    return account.credits - account.debits


def _paged_open(view: View) -> Iterator[Payout]:
    below = (1 << 63) - 1
    while True:
        page = view.rows(Payout).find(state=OPEN_STATES, descending=True, below=("id", below), limit=_PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        below = page[-1].id


def _paged_in_transit(view: View) -> Iterator[LedgerAccount]:
    below = (1 << 63) - 1
    while True:
        page = view.rows(LedgerAccount).find(kind=Kind.IN_TRANSIT, descending=True, below=("id", below), limit=_PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        below = page[-1].id
