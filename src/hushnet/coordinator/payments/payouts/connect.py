"""What is needed of Stripe Connect, and how an owner's account there comes to be.

An account is asked for under a key of its owner's, so that a lost answer gives the same account again. What Stripe wants
of its owner is between the two of them: here is only whether it pays out. An event about an account says no more than
that something changed; what it is now is fetched, so events may come in any order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from hushnet.coordinator.ledger.transaction import MoneyStore, Transaction
from hushnet.coordinator.payments.calls import Sent
from hushnet.coordinator.payments.payouts.methods import add_method, bank_place, methods_of
from hushnet.coordinator.payments.payouts.model import STRIPE, ConnectAccount, OnboardingState
from hushnet.foundation.ids import AccountId


@dataclass(frozen=True, slots=True)
class AccountSeen:
    """A connected account as Stripe has it."""

    payouts_enabled: bool
    is_submitted: bool
    """Its owner has answered everything that Stripe asked at first."""
    due: int
    """How many answers Stripe wants now."""
    is_rejected: bool = False

    @property
    def state(self) -> OnboardingState:
        if self.is_rejected:
            return OnboardingState.REJECTED
        if self.payouts_enabled:
            return OnboardingState.READY
        return OnboardingState.REVIEWING if self.is_submitted and not self.due else OnboardingState.PENDING


@dataclass(frozen=True, slots=True)
class TransferSeen:
    """A transfer as Stripe has it; amounts in cents."""

    id: str
    amount: int
    amount_reversed: int
    destination: str
    reversal: str | None = None
    """The newest reversal of it."""

    @property
    def is_reversed(self) -> bool:
        return self.amount_reversed >= self.amount


@dataclass(frozen=True, slots=True)
class PayoutSeen:
    """A payout on a connected account as Stripe has it; `status` is Stripe's word."""

    id: str
    status: str
    failure: str = ""


class AccountGateway(Protocol):
    """Connected accounts. Methods raise `CapacityError` when Stripe does not answer, `RequestError` when it refuses."""

    async def create_account(self, owner: int, *, idem_key: str) -> str:
        """Make an account for `owner` and return its id; the same key gives the same account for a day."""
        ...

    async def onboarding_url(self, account: str) -> str:
        """Return a link, good for minutes and for one visit, under which the account's owner answers Stripe."""
        ...

    async def account(self, account: str) -> AccountSeen: ...


class ConnectGateway(Protocol):
    """Transfers to connected accounts and payouts on them. Look-ups raise when Stripe does not answer."""

    async def transfer(self, request: Mapping[str, Any], *, idem_key: str) -> Sent:
        """Move money to a connected account; done with `id`."""
        ...

    async def payout(self, request: Mapping[str, Any], *, idem_key: str) -> Sent:
        """Send a connected account's money to its bank; done with `id`, `status` and `failure`."""
        ...

    async def reverse(self, request: Mapping[str, Any], *, idem_key: str) -> Sent:
        """Fetch a transfer back; done with `id`."""
        ...

    async def transfers_in(self, group: str) -> list[TransferSeen]: ...

    async def transfer_seen(self, transfer: str) -> TransferSeen: ...

    async def payout_seen(self, account: str, payout: str) -> PayoutSeen: ...

    async def payout_for(self, account: str, payout_id: int, *, since_ms: int) -> PayoutSeen | None:
        """Find the payout that names one of ours among the account's since then; None: there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Onboarding:
    """Where an owner stands with Stripe, and where to go on; `url` is empty when nothing is to be done."""

    state: OnboardingState
    url: str = ""


class Onboarder:
    """Accounts at Stripe Connect, one an owner."""

    def __init__(self, store: MoneyStore, gateway: AccountGateway, *, cool_down_ms: int) -> None:
        self._store = store
        self._gateway = gateway
        self._cool_down_ms = cool_down_ms

    async def begin(self, owner: AccountId) -> Onboarding:
        """Make the owner's account unless it is there, and return the link under which to go on."""
        row = await self._store.transact(lambda tx: _wanted(tx, owner))
        account = row.account
        if account is None:
            made = await self._gateway.create_account(owner, idem_key=f"hush-account-{owner}-1")
            row = await self._store.transact(lambda tx: _named(tx, owner, made))
            account = row.account or made
        url = await self._gateway.onboarding_url(account)
        return Onboarding(row.state, url)

    async def look(self, owner: AccountId) -> Onboarding | None:
        """Ask Stripe how the owner's account stands; None when there is none."""
        row = await self._store.read(lambda view: view.rows(ConnectAccount).get(owner))
        if row is None or row.account is None:
            return None
        seen = await self._gateway.account(row.account)
        account = row.account
        row = await self._store.transact(lambda tx: note_account(tx, account, seen, cool_down_ms=self._cool_down_ms))
        return None if row is None else Onboarding(row.state)


def note_account(tx: Transaction, account: str, seen: AccountSeen, *, cool_down_ms: int) -> ConnectAccount | None:
    """Note how an account stands; one that has become ready is a payout method. None: it is not one of ours."""
    rows = tx.rows(ConnectAccount)
    found = rows.find(account=account, limit=1)
    before = rows.get(found[0].owner) if found else None
    if before is None:
        return None
    after = replace(before, state=seen.state, payouts_enabled=seen.payouts_enabled)
    if after != before:
        after = replace(after, updated_ms=tx.now_ms)
        rows.save(after)
    if after.state is OnboardingState.READY and before.state is not OnboardingState.READY:
        _add_bank(tx, after.owner, account, cool_down_ms)
    return after


def _add_bank(tx: Transaction, owner: int, account: str, cool_down_ms: int) -> None:
    if not any(method.rail == STRIPE for method in methods_of(tx, owner)):
        add_method(tx, owner, bank_place(account), cool_down_ms=cool_down_ms)


def _wanted(tx: Transaction, owner: AccountId) -> ConnectAccount:
    rows = tx.rows(ConnectAccount)
    new = ConnectAccount(owner, None, OnboardingState.CREATING, False, tx.now_ms, tx.now_ms)
    rows.add(new)
    return rows.get(owner) or new


def _named(tx: Transaction, owner: AccountId, account: str) -> ConnectAccount:
    """Note the account's id; the first that is noted stays."""
    rows = tx.rows(ConnectAccount)
    row = _wanted(tx, owner)
    if row.account is None:
        row = replace(row, account=account, state=OnboardingState.PENDING, updated_ms=tx.now_ms)
        rows.save(row)
    return row
