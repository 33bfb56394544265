"""Asking for a payout and cancelling it: each one transaction.

A request takes its gross out of earnings at once, under the lock that says what is withdrawable. The caller's own id
makes a repeated request the same payout.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hushnet.coordinator.ledger.transaction import Earnings, PostingRefusedError, Transaction
from hushnet.coordinator.payments.payouts.books import fact_of
from hushnet.coordinator.payments.payouts.fees import CENT, Split, Tariff, split, whole_cents
from hushnet.coordinator.payments.payouts.methods import MethodRefusedError, usable_method
from hushnet.coordinator.payments.payouts.model import (
    COIN,
    OPEN_STATES,
    RAILS,
    Payout,
    PayoutMethod,
    PayoutState,
)
from hushnet.coordinator.payments.payouts.moves import Happened, UnknownPayoutError, advance
from hushnet.coordinator.payments.payouts.transitions import PayoutEvent, Posting, Step
from hushnet.coordinator.settings.payouts import EARNINGS_MATURITY_H, HOUR_MS
from hushnet.foundation.errors import AccessError, RequestError
from hushnet.foundation.ids import AccountId


class PayoutRefusedError(RequestError):
    """The payout cannot be asked for, or cancelled, as things stand."""

    code = "payout_refused"


class WithdrawableError(AccessError):
    """The owner's withdrawable earnings are less than what was asked for."""

    code = "insufficient_withdrawable"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked: `gross` in micro-USD, or None for everything that is withdrawable; no method is the default one.

    `client` is the caller's own id of this request.
    """

    owner: AccountId
    client: str
    gross: int | None
    method: int | None = None
    is_instant: bool = False
    least: int = 0
    """Ask for nothing when it would be less than this."""

    @property
    def text(self) -> str:
        """Say what was asked, so that another request under the same id is noticed."""
        amount = "all" if self.gross is None else str(self.gross)
        return f"{amount};{self.method or 'default'};{'instant' if self.is_instant else 'standard'}"


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which an operator pays out."""

    tariff: Tariff = field(default_factory=Tariff)
    maturity_ms: int = EARNINGS_MATURITY_H * HOUR_MS
    """Earnings younger than this stay."""
    cool_down_ms: int = 48 * 3_600_000
    """A new method is used no sooner than this."""
    send_after_ms: int = 60_000
    """A payout over Stripe can be cancelled for this long before it is sent."""
    overdue_ms: int = 7 * 24 * 3_600_000
    """A payout that takes longer is asked about."""
    rails: frozenset[str] = frozenset(RAILS)


def request_payout(tx: Transaction, wish: Wish, terms: Terms) -> Payout:
    """Take the gross out of the owner's earnings and note the payout, or return the one that was asked for so before.

    Raises `RequestError`s (`conflict`, `payout_open`, `payout_too_small`, those of the method), `AccessError`s
    (`insufficient_withdrawable`, `account_frozen`).
    """
    known = _known(tx, wish)
    if known is not None:
        return known
    method = usable_method(tx, wish.owner, wish.method, rails=terms.rails)
    if wish.is_instant and method.rail == COIN:
        raise MethodRefusedError("coins are never instant", code="unsupported_value")
    least = Split(CENT, 0, CENT)  # stands until the lock says what everything is
    draft = _draft(tx, wish, method, least if wish.gross is None else _split(wish, wish.gross, terms))
    # The row comes before the ledger's locks: it is what a second request of this owner waits for.
    is_open = tx.rows(Payout).find(owner=wish.owner, state=OPEN_STATES, limit=1)
    if is_open or not tx.rows(Payout).add(draft):
        return _rival(tx, wish)
    earnings = tx.earnings_of(wish.owner, since_ms=tx.now_ms - terms.maturity_ms)
    payout = _funded(draft, wish, earnings, terms)
    tx.rows(Payout).save(payout)
    try:
        tx.post(fact_of(payout, Posting.REQUESTED, actor=f"owner:{wish.owner}"))
    except PostingRefusedError:
        raise AccessError("this account may not take money out now", code="account_frozen") from None
    return payout


def cancel_payout(tx: Transaction, owner: AccountId, payout_id: int) -> Payout:
    """Give a payout's gross back before it was sent; a cancelled one is returned as it is."""
    payout = tx.rows(Payout).get(payout_id)
    if payout is None or payout.owner != owner:
        raise UnknownPayoutError("this account has no such payout")
    if payout.state is PayoutState.CANCELLED:
        return payout
    moved = advance(tx, payout_id, Happened(event=PayoutEvent.CANCELLED), actor=f"owner:{owner}")
    if not isinstance(moved.last, Step):
        raise PayoutRefusedError(
            "this payout has been sent", code="payout_not_cancellable", hint="`hush payout show` says where it is"
        )
    return moved.payout


def _known(tx: Transaction, wish: Wish) -> Payout | None:
    found = tx.rows(Payout).find(owner=wish.owner, client=wish.client, limit=1)
    if not found:
        return None
    if found[0].wish != wish.text:
        raise RequestError("this request id was used for another payout", code="conflict")
    return found[0]


def _rival(tx: Transaction, wish: Wish) -> Payout:
    """Say why the row could not be added: the same request came twice at once, or another payout is open."""
    known = _known(tx, wish)
    if known is not None:
        return known
    raise PayoutRefusedError(
        "another payout of this account is on its way",
        code="payout_open",
        hint="wait until it is there, or cancel it: `hush payout cancel`",
    )


def _draft(tx: Transaction, wish: Wish, method: PayoutMethod, amounts: Split) -> Payout:
    is_coin = method.rail == COIN
    return Payout(
        id=tx.next_id(),
        owner=wish.owner,
        method=method.id,
        rail=method.rail,
        instant=wish.is_instant,
        gross=amounts.gross,
        fee=amounts.fee,
        net=amounts.net,
        state=PayoutState.REQUESTED,
        transfer=None,
        payout=None,
        reversal=None,
        asset=method.asset if is_coin else None,
        network=method.network if is_coin else None,
        units=None,
        rate=None,
        gateway=None,
        txid=None,
        is_reversed=False,
        reason="",
        client=wish.client,
        wish=wish.text,
        created_ms=tx.now_ms,
        updated_ms=tx.now_ms,
    )


def _funded(draft: Payout, wish: Wish, earnings: Earnings, terms: Terms) -> Payout:
    if earnings.is_closed:
        raise AccessError("this account may not take money out now", code="account_frozen")
    gross = whole_cents(earnings.withdrawable) if wish.gross is None else wish.gross
    if gross > earnings.withdrawable or gross < max(wish.least, 1):
        raise WithdrawableError(
            "the earnings that may leave now are less than that",
            hint="earnings can leave once they are old enough, by default after a day",
        )
    amounts = _split(wish, gross, terms)
    return replace(draft, gross=amounts.gross, fee=amounts.fee, net=amounts.net)


def _split(wish: Wish, gross: int, terms: Terms) -> Split:
    return split(gross, terms.tariff, is_instant=wish.is_instant)
