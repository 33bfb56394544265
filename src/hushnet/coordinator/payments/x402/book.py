"""What happens to payments inside a transaction: taken in once, advanced by the table, credited once, spent on one request.

Rows are locked payment first, then wallet. The fact of a payment is keyed by payer and nonce, so however often it is found to
be paid, it is credited once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import msgspec

from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import CapUse, Code, Fact, Held, Hold, Leg
from hushnet.coordinator.ledger.transaction import Transaction
from hushnet.coordinator.payments.x402.model import NEVER_MS, Wallet, X402Payment, new_wallet_id
from hushnet.coordinator.payments.x402.payload import Payment
from hushnet.coordinator.payments.x402.transitions import Event, State, advance
from hushnet.foundation.errors import StorageError
from hushnet.foundation.ids import AccountId, RequestId

ACTOR: Final = "x402"
GRACE_MS: Final = 90_000
"""How long after `valid_before` the chain is asked for the last word: a block so late must have been made first."""
_WALLET_TRIES: Final = 4


@dataclass(frozen=True, slots=True)
class Ours:
    """The payment is this caller's to go on with, until its lease ends."""

    row: X402Payment


@dataclass(frozen=True, slots=True)
class Known:
    """The payment is there, and somebody works on it or it has bought a request or is over: `row` says which."""

    row: X402Payment


@dataclass(frozen=True, slots=True)
class NotTaken:
    """It was not taken in; `code` is a word of ours."""

    code: str


Admission: TypeAlias = Ours | Known | NotTaken


@dataclass(frozen=True, slots=True)
class Wanted:
    """The hold that a payment is to make: its amount, until when it may stand, and the budget windows that it counts in."""

    amount: int
    expires_ms: int
    caps: tuple[CapUse, ...] = ()


@dataclass(frozen=True, slots=True)
class Bought:
    """A request is paid for: its hold stands."""

    row: X402Payment
    parts: Held
    caps: tuple[CapUse, ...] = ()

    @property
    def request(self) -> RequestId:
        return RequestId(self.row.request)

    @property
    def owner(self) -> AccountId:
        return AccountId(self.row.owner)


def admit(tx: Transaction, payment: Payment, digest: bytes, *, refusal: str, lease_ms: int, open_max: int) -> Admission:
    """Take a payment in, or take up one that nobody works on; `refusal` says why a new one would not be taken.

    The row is there before anything is asked of anybody about the payment. Another body or signature under the same nonce
    is never served.
    """
    rows = tx.rows(X402Payment)
    row = rows.get(payment.network.caip2, payment.asset, payment.payer, payment.nonce)
    if row is None:
        if refusal:
            return NotTaken(refusal)
        wallet = wallet_of(tx, payment.payer)
        refused = _refused(tx, payment, wallet, open_max=open_max)
        if refused:
            return NotTaken(refused)
        new = _new(tx, payment, digest, wallet, lease_ms)
        if rows.add(new):
            return Ours(new)
        row = rows.get(*new.key)
        assert row is not None, "what could not be added is there"
    if row.digest != digest:
        return NotTaken("payment_conflict")
    is_open = row.request == 0 and row.state in (State.VERIFIED, State.SETTLING, State.SETTLED)
    if not is_open or row.lease_ms > tx.now_ms:
        return Known(row)
    ours = replace(row, lease_ms=tx.now_ms + lease_ms)
    rows.save(ours)
    return Ours(ours)


def wallet_of(tx: Transaction, payer: str) -> Wallet:
    """Return the payer's wallet, locked; it is made when there is none."""
    wallets = tx.rows(Wallet)
    for _ in range(_WALLET_TRIES):
        found = wallets.get(payer)
        if found is not None:
            return found
        wallets.add(Wallet(payer=payer, owner=new_wallet_id(), created_ms=tx.now_ms))
    raise StorageError("a wallet could not be made")


def _refused(tx: Transaction, payment: Payment, wallet: Wallet, *, open_max: int) -> str:
    if wallet.barred_ms is not None:
        return "payer_barred"
    unresolved = tx.rows(X402Payment).find(
        network=payment.network.caip2,
        asset=payment.asset,
        payer=payment.payer,
        request=0,
        state=[State.VERIFIED, State.SETTLING],
        limit=open_max,
    )
    return "too_many_payments" if len(unresolved) >= open_max else ""


def _new(tx: Transaction, payment: Payment, digest: bytes, wallet: Wallet, lease_ms: int) -> X402Payment:
    return X402Payment(
        network=payment.network.caip2,
        asset=payment.asset,
        payer=payment.payer,
        nonce=payment.nonce,
        scheme=payment.scheme.value,
        version=payment.version,
        signed=msgspec.json.encode(payment.inner()),
        amount=payment.amount,
        owner=wallet.owner,
        digest=digest,
        valid_before_s=payment.valid_before_s,
        next_ms=last_look_ms(payment.valid_before_s),
        lease_ms=tx.now_ms + lease_ms,
        created_ms=tx.now_ms,
    )


def last_look_ms(valid_before_s: int) -> int:
    """Return when the chain can say for good what became of a payment."""
    return valid_before_s * 1000 + GRACE_MS


def sent(tx: Transaction, row: X402Payment, *, next_ms: int) -> X402Payment | None:
    """Note that a settlement is about to be sent; None when the payment is no longer ours to send."""
    found = tx.rows(X402Payment).get(*row.key)
    if found is None or found.lease_ms != row.lease_ms or found.request:
        return None
    after = replace(found, state=advance(found.state, Event.SENT), tries=found.tries + 1, next_ms=next_ms)
    tx.rows(X402Payment).save(after)
    return after


def released(tx: Transaction, row: X402Payment) -> None:
    """Let the next request with this payment go on with it."""
    found = tx.rows(X402Payment).get(*row.key)
    if found is not None and found.lease_ms == row.lease_ms:
        tx.rows(X402Payment).save(replace(found, lease_ms=0))


def refused(tx: Transaction, row: X402Payment, reason: str, *, event: Event = Event.REFUSED) -> X402Payment:
    """Note that the payment was refused, or has lapsed; the chain has the last word on one that was sent."""
    found = tx.rows(X402Payment).get(*row.key)
    assert found is not None, "payments are never deleted"
    if (found.state, event) not in _ENDING:
        return found
    is_looked_at = event is Event.REFUSED and last_look_ms(found.valid_before_s) > tx.now_ms
    next_ms = last_look_ms(found.valid_before_s) if is_looked_at else NEVER_MS
    after = replace(found, state=advance(found.state, event), reason=reason, lease_ms=0, next_ms=next_ms)
    tx.rows(X402Payment).save(after)
    return after


_ENDING: Final = frozenset(
    (state, event)
    for state in (State.VERIFIED, State.SETTLING, State.FAILED)
    for event in (Event.REFUSED, Event.EXPIRED)
)


def paid(tx: Transaction, row: X402Payment, txid: str, wanted: Wanted | None) -> Bought | X402Payment:
    """Credit an `exact` payment that is on the chain, once, and make the hold of the request that it buys.

    Without `wanted`, or where the payment has bought a request already, the money becomes or stays the wallet's credit.
    Raises `PostingRefusedError` when the ledger does not take the hold; then nothing is credited either.
    """
    found = tx.rows(X402Payment).get(*row.key)
    assert found is not None, "payments are never deleted"
    event = () if found.state is State.SETTLED else (credited(found),)
    hold = _hold(tx, found, wanted) if wanted is not None and not found.request else None
    outcomes = tx.post(*event, *(() if hold is None else (hold,)))
    after = replace(
        found,
        state=State.SETTLED if found.state is State.SETTLED else advance(found.state, Event.PAID),
        settled=found.amount,
        txid=found.txid or txid,
        request=found.request if hold is None else hold.id,
        lease_ms=0,
        next_ms=NEVER_MS,
    )
    tx.rows(X402Payment).save(after)
    return after if hold is None else _bought(after, outcomes[-1], hold)


def spent_credit(tx: Transaction, row: X402Payment, wanted: Wanted) -> Bought | X402Payment | Wallet:
    """Make the hold from what the wallet has left.

    `row.request` says which request the payment had bought before (0: none): one that is over and cost nothing. Returns
    the payment where somebody else has gone on with it, and the wallet while an `upto` payment of it is unsettled: what
    its account shows is not all its own then. Raises `PostingRefusedError` when the credit does not suffice.
    """
    found = tx.rows(X402Payment).get(*row.key)
    assert found is not None, "payments are never deleted"
    if found.request != row.request or found.state not in (State.VERIFIED, State.SETTLED):
        return found
    wallet = wallet_of(tx, found.payer)
    if wallet.unsettled:
        return wallet
    hold = _hold(tx, found, wanted)
    (outcome,) = tx.post(hold)
    after = replace(found, request=hold.id, lease_ms=0)
    tx.rows(X402Payment).save(after)
    return _bought(after, outcome, hold)


def forgotten(tx: Transaction, row: X402Payment) -> None:
    """Delete a payment of which nothing came and nothing can come, and its wallet if that is all there was of it."""
    found = tx.rows(X402Payment).get(*row.key)
    if found is None or found.state not in FORGETTABLE or found.tries or found.request:
        return
    wallet = tx.rows(Wallet).get(found.payer)
    tx.rows(X402Payment).remove(*found.key)
    is_used = wallet is None or wallet.barred_ms is not None or tx.rows(X402Payment).find(owner=found.owner, limit=1)
    if not is_used:
        tx.rows(Wallet).remove(found.payer)


FORGETTABLE: Final = (State.FAILED, State.LAPSED)
"""Where a payment ends that was never sent to be settled; when its time is over it cannot be taken in again either."""


def credited(row: X402Payment) -> Fact:
    """Return the fact of an `exact` payment that is on the chain."""
    leg = Leg(operator_account(Kind.X402), user_account(row.owner, Kind.PAID), row.amount)
    return Fact(row.payment().key, Code.X402, (leg,), actor=ACTOR, owner=row.owner)


def _hold(tx: Transaction, row: X402Payment, wanted: Wanted) -> Hold:
    return Hold(RequestId(tx.next_id()), AccountId(row.owner), wanted.amount, wanted.expires_ms, caps=wanted.caps)


def _bought(row: X402Payment, outcome: object, hold: Hold) -> Bought:
    assert isinstance(outcome, Held), "anything else is refused by the transaction"
    return Bought(row, outcome, hold.caps)
