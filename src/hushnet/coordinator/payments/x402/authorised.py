"""`upto`: the payer permits a bound, the request is served, and what it cost is settled after it, through the outbox.

    receivable → paid(wallet): bound, and the hold       when it is verified, before it is served
    paid(wallet) → receivable: bound − cost              when the hold is closed, by whoever finds that
    x402 → receivable: cost, or bad_debt → receivable    when the chain shows the transfer, or it never can any more

The provider is paid from the hold like by anybody else. A settlement that fails for good is the operator's loss, and the payer is
barred. Between the second and the first line the wallet's account shows money that is not its own; so no credit of a wallet is
spent while one of its `upto` payments is unsettled (`book.spent_credit`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec

from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import Capped, Code, Fact, Held, Hold, Insufficient, Leg
from hushnet.coordinator.ledger.model import Refused as HoldRefused
from hushnet.coordinator.ledger.transaction import MoneyStore, PostingRefusedError, Transaction
from hushnet.coordinator.payments.calls import Absent, Again, CannotTell, Done, Refused, Seen, Sent, Unknown, enqueue
from hushnet.coordinator.payments.model import Call, note_finding
from hushnet.coordinator.payments.x402.book import ACTOR, Bought, Wanted, wallet_of
from hushnet.coordinator.payments.x402.chain import Chain, Transfers, Unpaid, Unseen
from hushnet.coordinator.payments.x402.facilitator import Rejected
from hushnet.coordinator.payments.x402.model import NEVER_MS, X402Payment
from hushnet.coordinator.payments.x402.purchases import QUOTA, Denied, PaymentsOut, Pending, Purchase
from hushnet.coordinator.payments.x402.transitions import Event, advance
from hushnet.foundation.ids import AccountId, RequestId

RAIL: Final = "x402"
ACTION: Final = "settle"
UNSETTLED_MAX: Final = 1
"""What one payer may owe at a time: one bound."""
LOOK_MS: Final = 5_000
_RETRY_S: Final = 2.0


class Authorised:
    """Serves first and settles after; `amount_max` (micro-USD) is the most that is risked on one request."""

    def __init__(self, store: MoneyStore, *, amount_max: int) -> None:
        self._store = store
        self._amount_max = amount_max

    async def buy(self, row: X402Payment, wanted: Wanted) -> Purchase:
        """Put the bound on the wallet's account and hold it for the request."""
        if wanted.amount > self._amount_max:
            return Denied("amount_out_of_bounds")
        try:
            return await self._store.transact(lambda tx: _authorise(tx, row, wanted))
        except PostingRefusedError as error:
            if isinstance(error.outcome, HoldRefused | Insufficient):
                return Denied("account_frozen")
            if isinstance(error.outcome, Capped):
                return Denied(QUOTA)
            raise


def _authorise(tx: Transaction, row: X402Payment, wanted: Wanted) -> Purchase:
    found = tx.rows(X402Payment).get(*row.key)
    if found is None or found.request or found.lease_ms != row.lease_ms:
        return Pending(_RETRY_S)
    wallet = wallet_of(tx, found.payer)
    if wallet.unsettled >= UNSETTLED_MAX:
        return Denied("too_many_payments")
    hold = Hold(RequestId(tx.next_id()), AccountId(found.owner), wanted.amount, wanted.expires_ms, caps=wanted.caps)
    account = user_account(found.owner, Kind.PAID)
    fact = _fact(found, "authorised", Leg(operator_account(Kind.RECEIVABLE), account, found.amount))
    _, held = tx.post(fact, hold)
    assert isinstance(held, Held), "anything else is refused by the transaction"
    after = replace(found, request=hold.id, lease_ms=0, next_ms=tx.now_ms + LOOK_MS)
    tx.rows(X402Payment).save(after)
    tx.rows(type(wallet)).save(replace(wallet, unsettled=wallet.unsettled + 1))
    return Bought(after, held, wanted.caps)


def charge(tx: Transaction, row: X402Payment, cost: int) -> None:
    """Take back what the request did not cost, and have the rest settled; the hold is closed."""
    found = tx.rows(X402Payment).get(*row.key)
    if found is None or found.state != row.state or found.request != row.request:
        return  # somebody else has charged it
    wallet_of(tx, found.payer)  # locked before the books, as by whoever holds for a request
    if cost < found.amount:
        leg = Leg(user_account(found.owner, Kind.PAID), operator_account(Kind.RECEIVABLE), found.amount - cost)
        tx.post(_fact(found, "charged", leg))
    if cost:
        after = replace(found, state=advance(found.state, Event.SENT), settled=cost, next_ms=NEVER_MS)
        tx.rows(X402Payment).save(after)
        enqueue(tx, RAIL, ACTION, found.request, {"key": list(found.key), "amount": cost})
    else:
        _end(tx, found, Event.EXPIRED)


class SettleCall:
    """`payments.calls.Caller`: the settlement of what a request has cost."""

    def __init__(self, store: MoneyStore, facilitator: PaymentsOut, chain: Chain) -> None:
        self._store = store
        self._facilitator = facilitator
        self._chain = chain

    async def send(self, call: Call) -> Sent:
        """Send the settlement; the same again is told apart by its nonce. A refusal is final when its time is over."""
        key, amount = _asked(call)
        row = await self._store.read(lambda view: view.rows(X402Payment).get(*key))
        assert row is not None, "payments are never deleted"
        if call.tries > 1:
            seen = await self._seen(row, amount)
            if isinstance(seen, Done | Refused):
                return seen
        answer = await self._facilitator.settle(row.payment(), amount)
        seen = await self._seen(row, amount)
        if isinstance(seen, Unpaid):
            return Again(answer.reason) if isinstance(answer, Rejected) else Unknown("not_on_chain")
        return seen

    async def _seen(self, row: X402Payment, amount: int) -> Done | Refused | Unpaid | Unknown:
        """Say by the chain whether it is settled: a transfer that no other payment of this payer counts as its own."""
        seen = await self._chain.look_up_permit(row.payment(), amount, row.created_ms // 1000)
        match seen:
            case Unpaid(is_final=True):
                return Refused("expired")
            case Unpaid():
                return seen
            case Unseen(word):
                return Unknown(word)
            case Transfers(txids, is_complete):
                free = [txid for txid in txids if not await self._is_counted(row, txid)]
                if len(free) == 1:
                    return Done({"txid": free[0]})
                # Several can't be told apart; none at all means that the payer made the permit worthless.
                return Refused("nonce_used") if is_complete and not free else Unknown("nonce_used")

    async def _is_counted(self, row: X402Payment, txid: str) -> bool:
        same = await self._store.read(
            lambda view: view.rows(X402Payment).find(
                network=row.network, asset=row.asset, payer=row.payer, txid=txid, limit=1
            )
        )
        return bool(same)

    async def look_up(self, call: Call) -> Seen:
        """After a day the permit's time is long over: send once more, and see what the chain says."""
        told = await self.send(call)
        match told:
            case Done():
                return told
            case Refused():
                return Absent()
            case _:
                return CannotTell()

    def done(self, tx: Transaction, call: Call, outcome: Mapping[str, Any]) -> None:
        """The money is here."""
        row = self._row(tx, call)
        tx.post(_fact(row, "settled", Leg(operator_account(Kind.X402), operator_account(Kind.RECEIVABLE), row.settled)))
        _end(tx, replace(row, txid=str(outcome["txid"])), Event.PAID)

    def refused(self, tx: Transaction, call: Call, code: str) -> None:
        """It never will be: the loss is ours, and the payer is served no more."""
        row = self._row(tx, call)
        leg = Leg(operator_account(Kind.BAD_DEBT), operator_account(Kind.RECEIVABLE), row.settled)
        tx.post(_fact(row, "lost", leg))
        _end(tx, replace(row, reason=code), Event.LOST)
        note_finding(tx, "x402_lost", str(row.request), code)

    def _row(self, tx: Transaction, call: Call) -> X402Payment:
        """Return the payment, with its wallet locked too: rows before the books."""
        row = tx.rows(X402Payment).get(*_asked(call)[0])
        assert row is not None, "payments are never deleted"
        wallet_of(tx, row.payer)
        return row


class _Asked(msgspec.Struct):
    key: tuple[str, str, str, str]
    amount: int


def _asked(call: Call) -> tuple[tuple[str, str, str, str], int]:
    asked = msgspec.json.decode(call.request, type=_Asked)
    return asked.key, asked.amount


def _end(tx: Transaction, row: X402Payment, event: Event) -> None:
    wallet = wallet_of(tx, row.payer)
    barred_ms = tx.now_ms if event is Event.LOST else wallet.barred_ms
    tx.rows(X402Payment).save(replace(row, state=advance(row.state, event), next_ms=NEVER_MS, lease_ms=0))
    tx.rows(type(wallet)).save(replace(wallet, unsettled=wallet.unsettled - 1, barred_ms=barred_ms))


def _fact(row: X402Payment, what: str, leg: Leg) -> Fact:
    return Fact(f"{row.payment().key}:{what}", Code.X402, (leg,), actor=ACTOR, owner=row.owner)
