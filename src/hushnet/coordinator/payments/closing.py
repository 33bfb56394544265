"""Closing an account for good: its row, its money and its accounts in the ledger, in one transaction (design/ledger.md section 4).

What the owner may still take out is offered first: an account with more left of paid and earnings than its owner gives
up stays open. Its saved card and its payout plan go with it. What was on its way then still arrives: a settlement, a
deposit, the money of a payout that failed. It is credited as ever, so that debts are repaid and a deposit can be refunded;
nobody can spend it, an hourly look finds it, and closing the account again moves it to unclaimed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Final

from hushnet.coordinator.ledger.chart import SPENDABLE, Kind
from hushnet.coordinator.ledger.closure import CloseOut, NotClosable, Obstacle
from hushnet.coordinator.ledger.model import Code, Fact, Posted
from hushnet.coordinator.ledger.transaction import MoneyStore, PostingRefusedError, Transaction, View
from hushnet.coordinator.payments.deposits.topups import forget_card, is_charging
from hushnet.coordinator.payments.model import note_finding
from hushnet.coordinator.payments.payouts.model import PayoutPlan
from hushnet.foundation.errors import AccessError, HushnetError, RequestError
from hushnet.foundation.ids import AccountId
from hushnet.foundation.money import format_usd, require_int

_LOG = logging.getLogger(__name__)

PERIOD_S: Final = 3600.0
LATE_FINDING: Final = "money_of_closed_account"
GIVES_UP_MAX: Final = 1 << 53
"""What a number in JSON says exactly."""
_PAGE: Final = 500
_WAYS_OUT: Final = (
    "take earnings out with `hush payout request`; the operator refunds deposits by card; what is left is given up with "
    "`hush account close --give-up`"
)


class NotClosableError(RequestError):
    """The account cannot be closed as things stand; nothing was changed."""

    code = "account_not_closable"


@dataclass(frozen=True, slots=True)
class Closure:
    """What closing moved, in micro-USD; all 0 when the account had been closed before and nothing had come since."""

    promo: int = 0
    paid: int = 0
    earnings: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRow:
    """An account; a barred one has `closed_ms` too, and no closure in the books."""

    TABLE: ClassVar[str] = "accounts"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: int
    name: str
    created_ms: int
    closed_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fact:
    """A fact of the ledger, by its key; read only."""

    TABLE: ClassVar[str] = "ledger_facts"
    KEY: ClassVar[tuple[str, ...]] = ("id",)
    IS_LOOK: ClassVar[bool] = True

    id: int
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bucket:
    """One of a user's accounts in the ledger; read only."""

    TABLE: ClassVar[str] = "ledger_accounts"
    KEY: ClassVar[tuple[str, ...]] = ("id",)
    IS_LOOK: ClassVar[bool] = True

    id: int
    owner: int
    kind: int
    closed: bool
    credits: int
    debits: int


class Closing:
    """The closing of accounts, and the look at what came in afterwards."""

    def __init__(self, store: MoneyStore, *, wake: Callable[[], None]) -> None:
        """`wake` has the calls looked at now."""
        self._store = store
        self._wake = wake

    async def close(self, owner: AccountId, *, gives_up: int, actor: str) -> Closure:
        """Close an account for good; closing it again moves what has come since, and nothing else.

        `gives_up` is how much of paid and earnings, in micro-USD, its owner leaves behind at most. Raises `RequestError`
        `account_not_found`, `account_not_closable`, `account_not_empty`, `out_of_range`.
        """
        require_int("gives_up", gives_up, 0, GIVES_UP_MAX)
        try:
            closure = await self._store.transact(partial(_close, owner=owner, gives_up=gives_up, actor=actor))
        except PostingRefusedError as error:
            if not isinstance(error.outcome, NotClosable):
                raise
            raise _told(error.outcome) from None
        self._wake()
        return closure

    async def is_closed(self, owner: AccountId) -> bool:
        """Say whether an account is closed for good."""
        return await self._store.read(lambda view: _is_closed(view, owner))

    async def reopen(self, owner: AccountId) -> None:
        """Let a barred account's keys work again.

        Raises `RequestError` `account_not_found`, `AccessError` `account_closed` for one that is closed for good.
        """

        def work(tx: Transaction) -> None:
            account = _locked(tx, owner)
            if _is_closed(tx, owner):
                raise AccessError("this account is closed for good", code="account_closed", hint="make another one")
            tx.rows(AccountRow).save(replace(account, closed_ms=None))

        await self._store.transact(work)

    async def watch_forever(self) -> None:
        """Look for late money every hour, until cancelled."""
        while True:
            try:
                await self.look()
            except HushnetError as error:
                _LOG.warning("closed accounts were not looked at", extra={"error": error.error_code})
            await asyncio.sleep(PERIOD_S)

    async def look(self) -> int:
        """Write a finding for each closed account that has money; return how many have."""
        count, below = 0, (1 << 63) - 1
        while True:
            page = await self._store.read(partial(_closed_debts, below=below))
            late = await self._store.read(partial(_late_money, owners=[row.owner for row in page]))
            for owner, amount in sorted(late.items()):
                detail = f"{amount} micro-USD came in after it was closed"
                await self._store.transact(
                    partial(note_finding, kind=LATE_FINDING, subject=f"account:{owner}", detail=detail)
                )
            count += len(late)
            if len(page) < _PAGE:
                return count
            below = page[-1].id


def _close(tx: Transaction, *, owner: AccountId, gives_up: int, actor: str) -> Closure:
    account = _locked(tx, owner)
    if account.closed_ms is None:
        tx.rows(AccountRow).save(replace(account, closed_ms=tx.now_ms))
    tx.rows(PayoutPlan).remove(owner)
    forget_card(tx, owner)
    if is_charging(tx, owner):
        raise NotClosableError(
            "a charge of the saved card is on its way", hint="wait until it has ended: minutes at most"
        )
    key = f"close:{owner}"
    if _is_closed(tx, owner):
        buckets = tx.rows(_Bucket).find(owner=owner, kind=list(SPENDABLE))
        if not any(bucket.credits > bucket.debits for bucket in buckets):
            return Closure()
        # What has ever come in names this closing: it has grown since the last one.
        key = f"{key}:{sum(bucket.credits for bucket in buckets)}"
    (outcome,) = tx.post(Fact(key, Code.CLOSURE, (CloseOut(owner, gives_up),), actor=actor, owner=owner))
    moved = Counter[int]()
    if isinstance(outcome, Posted):
        moved.update({leg.debit & 0xF: leg.amount for leg in outcome.legs})
    return Closure(promo=moved[Kind.PROMO], paid=moved[Kind.PAID], earnings=moved[Kind.EARNINGS])


def _locked(tx: Transaction, owner: AccountId) -> AccountRow:
    """Lock the account's row: two closings of one account follow each other."""
    account = tx.rows(AccountRow).get(owner)
    if account is None:
        raise RequestError("there is no such account", code="account_not_found")
    return account


def _is_closed(view: View, owner: AccountId) -> bool:
    return bool(view.rows(_Fact).find(key=f"close:{owner}", limit=1))


def _closed_debts(view: View, *, below: int) -> list[_Bucket]:
    """Return a page of the rows that only a closing closes: those of debts."""
    return view.rows(_Bucket).find(kind=Kind.OWED, closed=True, descending=True, below=("id", below), limit=_PAGE)


def _late_money(view: View, *, owners: list[int]) -> Counter[int]:
    found = Counter[int]()
    if owners:
        for row in view.rows(_Bucket).find(owner=owners, kind=list(SPENDABLE), limit=len(owners) * len(SPENDABLE)):
            found[row.owner] += row.credits - row.debits
    return +found


_REFUSALS: Final = {
    Obstacle.HOLD: ("{} is held for requests that run", "wait until they have ended"),
    Obstacle.PAYOUT: ("a payout of {} is on its way", "`hush payout list` says where it is"),
    Obstacle.DEBT: ("the account owes {}", "repay it: `hush repay` from earnings, `hush deposit card`"),
    Obstacle.FREEZE: ("a refund or dispute of {} is open, or the account is frozen", "ask the operator"),
    Obstacle.MONEY: ("{} of deposits and earnings is left: more than is given up", _WAYS_OUT),
}


def _told(refusal: NotClosable) -> NotClosableError:
    message, hint = _REFUSALS[refusal.obstacle]
    code = "account_not_empty" if refusal.obstacle is Obstacle.MONEY else "account_not_closable"
    return NotClosableError(message.format(format_usd(refusal.amount)), code=code, hint=hint)
