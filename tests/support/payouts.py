"""Payouts for tests without a database: a row, its books as plain numbers, and what must be true of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from hushnet.coordinator.ledger.chart import Kind, account_info, coin_account, operator_account, user_account
from hushnet.coordinator.payments.payouts.books import is_at_connect, legs_of
from hushnet.coordinator.payments.payouts.model import COIN, STRIPE, Payout, PayoutState
from hushnet.coordinator.payments.payouts.transitions import PayoutEvent, Posting, Step, Without, step_of

OWNER = 80_000
GROSS, FEE = 25_000_000, 500_000
UNITS = 2_500
EARNED = 40_000_000


def payout_row(rail: str, *, instant: bool = True, **columns: object) -> Payout:
    """A payout as it is requested; a coin's has its quote already."""
    is_coin = rail == COIN
    fee = FEE if instant else 0
    row = Payout(
        id=2,
        owner=OWNER,
        method=4,
        rail=rail,
        instant=instant,
        gross=GROSS,
        fee=fee,
        net=GROSS - fee,
        state=PayoutState.REQUESTED,
        transfer=None,
        payout=None,
        reversal=None,
        asset="USDC" if is_coin else None,
        network="base" if is_coin else None,
        units=UNITS if is_coin else None,
        rate=10_000 if is_coin else None,
        gateway=None,
        txid=None,
        is_reversed=False,
        reason="",
        client="c1",
        wish="w",
        created_ms=0,
        updated_ms=0,
    )
    return replace(row, **columns)  # type: ignore[arg-type] - a test names its columns


class PlainBooks:
    """Balances by account, and the postings that were made: each at most once."""

    def __init__(self, balances: Mapping[int, int] | None = None, posted: Iterable[Posting] = ()) -> None:
        self.balances = Counter(balances or {user_account(OWNER, Kind.EARNINGS): EARNED})
        self.posted = frozenset(posted)

    def post(self, payout: Payout, posting: Posting) -> PlainBooks:
        assert posting not in self.posted, f"{posting} would be posted twice"
        made = PlainBooks(self.balances, self.posted | {posting})
        for leg in legs_of(payout, posting):
            made.balances[leg.debit] -= leg.amount
            made.balances[leg.credit] += leg.amount
        return made

    def check(self, payout: Payout) -> None:
        """Whoever has the money has it in the books: the owner, the connected account, the bank; fees only when paid."""
        is_paid, is_back = (
            payout.state is PayoutState.PAID,
            payout.state in (PayoutState.RETURNED, PayoutState.CANCELLED),
        )
        is_stripe = payout.rail == STRIPE
        at_connect = is_at_connect(payout)
        expected = {
            user_account(OWNER, Kind.EARNINGS): EARNED if is_back else EARNED - GROSS,
            user_account(OWNER, Kind.IN_TRANSIT): payout.gross if payout.is_open else 0,
            operator_account(Kind.CONNECT): -payout.net if at_connect else 0,
            operator_account(Kind.STRIPE): payout.net if at_connect or (is_paid and is_stripe) else 0,
            operator_account(Kind.PAYOUT_FEES): payout.fee if is_paid else 0,
            operator_account(Kind.FX): payout.net if is_paid and not is_stripe else 0,
            coin_account("USDC", "base", "coin"): UNITS if is_paid and not is_stripe else 0,
            coin_account("USDC", "base", "fx_coin"): -UNITS if is_paid and not is_stripe else 0,
        }
        assert {account: n for account, n in self.balances.items() if n} == {a: n for a, n in expected.items() if n}
        assert all(n >= 0 for account, n in self.balances.items() if _is_user(account))


def requested(rail: str, *, instant: bool = True) -> tuple[Payout, PlainBooks]:
    """A payout that has just been asked for, and its books."""
    payout = payout_row(rail, instant=instant)
    return payout, PlainBooks().post(payout, Posting.REQUESTED)


def applied(payout: Payout, books: PlainBooks, event: PayoutEvent) -> tuple[Payout, PlainBooks, Step | Without]:
    """One event, as `moves.advance` applies it."""
    step = step_of(payout.rail, payout.state, event)
    if not isinstance(step, Step):
        return payout, books, step
    if step.posting is not None:
        books = books.post(payout, step.posting)
    is_reversed = payout.is_reversed or step.posting is Posting.REVERSED
    return replace(payout, state=step.to, is_reversed=is_reversed), books, step


def _is_user(account: int) -> bool:
    info = account_info(account)
    assert info is not None
    return info.owner != 0
