"""`hush ledger check` compares the accounts with the rows of payouts, refunds and payments (B11), in its one snapshot."""

from __future__ import annotations

import asyncio
from unittest import mock

import pytest
from typer.testing import CliRunner

from hushnet.cli.ledger.check import Checked, checked_books
from hushnet.cli.main import build
from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import AnyLeg, Code, Fact, Leg, Posted
from hushnet.coordinator.ledger.transaction import Transaction
from hushnet.coordinator.payments.deposits.model import Deposit, DepositState, Reversal, ReversalKind, ReversalState
from hushnet.coordinator.payments.payouts.model import STRIPE, Payout, PayoutMethod, PayoutState
from hushnet.coordinator.storage.books import watched
from support.ledger import CONSUMER
from support.money import OpenMoney, money

__all__ = ["money"]

CENT = 10_000
PAID, EARNINGS, IN_TRANSIT, FROZEN = (
    user_account(CONSUMER, kind) for kind in (Kind.PAID, Kind.EARNINGS, Kind.IN_TRANSIT, Kind.FROZEN)
)
AT_STRIPE, CONNECT, RECEIVABLE = (operator_account(kind) for kind in (Kind.STRIPE, Kind.CONNECT, Kind.RECEIVABLE))


async def check(money: OpenMoney) -> Checked:
    """Check as another process would: on a loop of its own."""
    return await asyncio.to_thread(lambda: asyncio.run(checked_books(home=None, database=money.url)))


async def move(money: OpenMoney, *legs: AnyLeg) -> None:
    fact = Fact(f"test:{money.ledger.next_request_id()}", Code.ADJUSTMENT, legs, actor="test", owner=CONSUMER)
    assert await money.ledger.fact(fact) == Posted()


@pytest.mark.parametrize(
    ("leg", "subject"),
    [
        (Leg(EARNINGS, IN_TRANSIT, CENT), f"in_transit of account {CONSUMER}"),
        (Leg(PAID, FROZEN, CENT), f"frozen of account {CONSUMER}"),
        (Leg(CONNECT, AT_STRIPE, CENT), "connect"),
        (Leg(RECEIVABLE, PAID, CENT), "receivable"),
        (Leg(PAID, operator_account(Kind.REFERRAL_PAYABLE), CENT), "referral_payable"),
    ],
)
async def test_money_that_no_row_explains_is_a_finding_of_the_check(money: OpenMoney, leg: Leg, subject: str) -> None:
    money.is_bare = True
    await money.books.give(CONSUMER, paid=5 * CENT, earnings=5 * CENT)
    assert (await check(money)).findings == ()
    await move(money, leg)

    found = (await check(money)).findings

    assert [(each.invariant, each.subject) for each in found] == [("B11", subject)]
    arguments = ["ledger", "check", "--database", money.url]
    told = await asyncio.to_thread(CliRunner().invoke, build(arguments), arguments)
    assert (told.exit_code, "the books do not balance" in told.output) == (1, True)


async def test_rows_that_explain_the_money_satisfy_the_check(money: OpenMoney) -> None:
    await money.books.give(CONSUMER, paid=5 * CENT, earnings=5 * CENT)
    await money.store.transact(_explain)
    await move(
        money, Leg(EARNINGS, IN_TRANSIT, 3 * CENT), Leg(CONNECT, AT_STRIPE, 2 * CENT), Leg(PAID, FROZEN, 4 * CENT)
    )
    assert (await check(money)).findings == ()


async def test_what_is_committed_while_the_check_reads_is_not_seen(money: OpenMoney) -> None:
    """Accounts and payouts are read one after the other; a payout asked for between the two must not look like a difference."""
    await money.books.give(CONSUMER, paid=5 * CENT, earnings=5 * CENT)
    loop, read = asyncio.get_running_loop(), watched.WatchedBooks.accounts
    asked: list[object] = []

    def accounts(books: watched.WatchedBooks) -> object:
        rows = list(read(books))
        if not asked:
            asked.append(asyncio.run_coroutine_threadsafe(_ask(money), loop).result(timeout=60))
        return iter(rows)

    with mock.patch.object(watched.WatchedBooks, "accounts", accounts):
        assert (await check(money)).findings == ()
    assert asked
    assert (await check(money)).totals["in_transit"] == 3 * CENT


async def _ask(money: OpenMoney) -> bool:
    await money.store.transact(_explain)
    await move(
        money, Leg(EARNINGS, IN_TRANSIT, 3 * CENT), Leg(CONNECT, AT_STRIPE, 2 * CENT), Leg(PAID, FROZEN, 4 * CENT)
    )
    return True


def _explain(tx: Transaction) -> None:
    """Write the payout of 3 cents, 2 of them in the connected account, and the refund of 4 down."""
    rows = tx.rows
    method = PayoutMethod(2, CONSUMER, STRIPE, "usd", "bank", "acct_1", None, True, 0, None, 1)
    rows(PayoutMethod).add(method)
    state = PayoutState.LANDED
    gone = dict.fromkeys(("payout", "reversal", "asset", "network", "gateway", "units", "rate", "txid"))
    rows(Payout).add(
        Payout(
            id=4,
            owner=CONSUMER,
            method=2,
            rail=STRIPE,
            instant=False,
            gross=3 * CENT,
            fee=CENT,
            net=2 * CENT,
            state=state,
            transfer="tr_1",
            is_reversed=False,
            reason="",
            client="c",
            wish="w",
            created_ms=1,
            updated_ms=1,
            **gone,  # type: ignore[arg-type] - all None
        )
    )
    deposit = Deposit(id=6, owner=CONSUMER, cents=100, state=DepositState.PAID, created_ms=1, updated_ms=1)
    rows(Deposit).add(deposit)
    rows(Reversal).add(
        Reversal(
            id=8,
            deposit=6,
            kind=ReversalKind.REFUND,
            amount=4 * CENT,
            state=ReversalState.ASKED,
            from_paid=4 * CENT,
            created_ms=1,
            updated_ms=1,
        )
    )
