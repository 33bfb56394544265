"""Accounts for tests of incentives: rows in the table of accounts, and what they have and have spent."""

from __future__ import annotations

from hushnet.coordinator.accounts import Account
from hushnet.coordinator.incentives.model import Bucket
from hushnet.coordinator.incentives.programmes import OneKey
from hushnet.coordinator.ledger.chart import LANE_MASK, Kind, operator_account
from hushnet.coordinator.ledger.model import UsageOutcome, UsageRecord
from hushnet.coordinator.ledger.prices import Reservation, Terms, settlement
from hushnet.coordinator.storage.accounts import SqlAccountStore
from hushnet.foundation.ids import AccountId, RequestId
from hushnet.foundation.money import TRANSFER_MICRO_USD_MAX, Price
from support.ledger import PROVIDER, usage
from support.money import OpenMoney

AMPLE = OneKey(TRANSFER_MICRO_USD_MAX, TRANSFER_MICRO_USD_MAX)
"""For tests that are about something else."""
FREE_INPUT = Price(input=0, cached=0, output=1_000_000)
"""One micro-USD an output token."""


async def open_account(money: OpenMoney, owner: AccountId) -> AccountId:
    """Write an account down."""
    assert money.books.database is not None
    made = await SqlAccountStore(money.books.database).add_account(Account(owner, f"account {owner}", 1))
    assert made.id == owner
    return owner


async def close_account(money: OpenMoney, owner: AccountId) -> None:
    assert money.books.database is not None
    assert await SqlAccountStore(money.books.database).bar_account(owner, 5)


async def spend(
    money: OpenMoney,
    owner: AccountId,
    amount: int,
    *,
    held: int = 0,
    terms: Terms | None = None,
    referrer: AccountId | None = None,
    provider: AccountId = PROVIDER,
) -> UsageRecord:
    """Let a request of `owner` cost `amount`, out of a hold of `held` or just as much."""
    hold, parts = await money.books.held(held or amount, owner=owner)
    used = usage(UsageOutcome.COMPLETED, tokens_out=amount, provider=provider, referrer=referrer)
    reservation = Reservation(hold.id, owner, parts)
    close = settlement(reservation, used, FREE_INPUT, terms or Terms(), is_delivered=True)
    assert sum(credit.amount for credit in close.credits) == amount
    await money.ledger.close(close)
    record = await money.ledger.usage_record(RequestId(hold.id))
    assert record is not None
    return record


async def operator_balance(money: OpenMoney, kind: Kind) -> int:
    """Return what an operator's account has over all lanes."""
    first = operator_account(kind)
    rows = await money.all_of(Bucket)
    return sum(row.credits - row.debits for row in rows if first <= row.id <= first + LANE_MASK)
