"""What Stripe tells of payouts: `payout.*`, `transfer.*` and `account.*` events, applied in any order, any number of times.

An event is believed only where it fits the row that it names: amount, currency, connected account and Stripe's own id.
One that does not is a finding and moves nothing. An account's event is a reason to fetch the account; from the sixth
try on payouts and transfers are fetched too.
"""

from __future__ import annotations

from typing import Final

import msgspec

from hushnet.coordinator.ledger.transaction import Transaction
from hushnet.coordinator.payments.inbox import FETCH_AFTER, Applied, Ignored, Verdict, Waiting
from hushnet.coordinator.payments.model import InboxEvent, note_finding
from hushnet.coordinator.payments.payouts.connect import (
    AccountGateway,
    AccountSeen,
    ConnectGateway,
    PayoutSeen,
    TransferSeen,
    note_account,
)
from hushnet.coordinator.payments.payouts.fees import CENT
from hushnet.coordinator.payments.payouts.model import STRIPE, Payout, PayoutMethod
from hushnet.coordinator.payments.payouts.moves import (
    CONTRADICTION_FINDING,
    METADATA,
    Happened,
    advance,
    transfer_group,
)
from hushnet.coordinator.payments.payouts.stripe_rail import ACTOR, outcome_of, told_by
from hushnet.coordinator.payments.payouts.transitions import PayoutEvent, Without

MISMATCH_FINDING: Final = "payout_mismatch"
_ID_MAX: Final = (1 << 63) - 1
_PAYOUT_KINDS: Final = {
    "payout.paid": PayoutEvent.PAYOUT_PAID,
    "payout.failed": PayoutEvent.PAYOUT_FAILED,
    "payout.canceled": PayoutEvent.PAYOUT_CANCELED,
}
KINDS: Final = frozenset(
    {*_PAYOUT_KINDS, "payout.created", "transfer.created", "transfer.updated", "transfer.reversed"}
    | {"account.updated", "account.application.deauthorized"}
)
"""The events that say something here; `transfer.*` come from the platform's own endpoint, the others from Connect's."""


class _Reversal(msgspec.Struct):
    id: str


class _Reversals(msgspec.Struct):
    data: list[_Reversal] = []


class _Object(msgspec.Struct):
    id: str
    amount: int = 0
    currency: str = ""
    metadata: dict[str, str] = {}
    failure_code: str | None = None
    transfer_group: str | None = None
    destination: str | None = None
    amount_reversed: int = 0
    reversals: _Reversals | None = None


class _Data(msgspec.Struct):
    object: _Object


class StripeEvent(msgspec.Struct):
    """What is read of an event's body, which was verified when it was received."""

    type: str
    data: _Data
    account: str = ""


Fetched = AccountSeen | PayoutSeen | TransferSeen | None


class PayoutEvents:
    """The inbox's handler of events about payouts and connected accounts, for `KINDS` (`stripe.events.StripeEvents`)."""

    def __init__(self, accounts: AccountGateway, gateway: ConnectGateway, *, cool_down_ms: int) -> None:
        self._accounts = accounts
        self._gateway = gateway
        self._cool_down_ms = cool_down_ms

    async def prepare(self, event: InboxEvent) -> Fetched:
        told = _read(event)
        if event.kind == "account.updated":
            return await self._accounts.account(told.data.object.id)
        if event.attempts < FETCH_AFTER:
            return None
        if event.kind.startswith("payout."):
            return await self._gateway.payout_seen(told.account, told.data.object.id)
        if event.kind.startswith("transfer."):
            return await self._gateway.transfer_seen(told.data.object.id)
        return None

    def apply(self, tx: Transaction, event: InboxEvent, prepared: object) -> Verdict:
        told = _read(event)
        if event.kind.startswith("account."):
            return self._account(tx, event, told, prepared)
        row = _named(tx, told)
        if row is None:
            return Ignored("not_ours")
        wrong = _mismatch(tx, row, told)
        if wrong:
            note_finding(tx, MISMATCH_FINDING, str(row.id), f"{event.kind}: {wrong}")
            return Ignored("mismatch")
        happened = _happened(tx, row, told, prepared)
        if not happened:
            return Ignored("nothing_new")
        moved = advance(tx, row.id, *happened, actor=ACTOR)
        return Waiting("transfer_not_seen") if moved.last is Without.EARLY else Applied()

    def _account(self, tx: Transaction, event: InboxEvent, told: StripeEvent, prepared: object) -> Verdict:
        if isinstance(prepared, AccountSeen):
            account, seen = told.data.object.id, prepared
        else:  # the owner took our access to the account away
            account, seen = told.account, AccountSeen(False, False, 0, is_rejected=True)
        noted = note_account(tx, account, seen, cool_down_ms=self._cool_down_ms)
        return Applied() if noted is not None else Ignored("not_ours")


def _read(event: InboxEvent) -> StripeEvent:
    return msgspec.json.decode(event.body, type=StripeEvent)


def _named(tx: Transaction, told: StripeEvent) -> Payout | None:
    """Return, locked, the payout of ours that an event names: by metadata, else by Stripe's id."""
    rows = tx.rows(Payout)
    named = told.data.object.metadata.get(METADATA, "")
    if named.isascii() and named.isdecimal() and len(named) <= 19:
        found = rows.find(id=min(int(named), _ID_MAX), rail=STRIPE, limit=1)
    elif told.type.startswith("transfer."):
        found = rows.find(transfer=told.data.object.id, limit=1)
    else:
        found = rows.find(payout=told.data.object.id, limit=1)
    return rows.get(found[0].id) if found else None


def _mismatch(tx: Transaction, row: Payout, told: StripeEvent) -> str:
    """Say in what an event does not fit the payout that it names; empty when it does."""
    thing = told.data.object
    is_transfer = told.type.startswith("transfer.")
    (method,) = tx.rows(PayoutMethod).find(id=row.method)
    if (thing.destination if is_transfer else told.account) != method.address:
        return "another account"
    if thing.amount * CENT != row.net or thing.currency != "usd":
        return "another amount"
    if is_transfer and thing.transfer_group != transfer_group(row.id):
        return "another transfer group"
    known = row.transfer if is_transfer else row.payout
    if known is not None and known != thing.id:
        note_finding(tx, CONTRADICTION_FINDING, str(row.id), f"a second {'transfer' if is_transfer else 'payout'}")
        return "another id"
    return ""


def _happened(tx: Transaction, row: Payout, told: StripeEvent, prepared: object) -> tuple[Happened, ...]:
    thing = told.data.object
    if isinstance(prepared, PayoutSeen):
        return tuple(told_by(prepared))
    if told.type in _PAYOUT_KINDS:
        return (outcome_of(_PAYOUT_KINDS[told.type], thing.id, thing.failure_code or ""),)
    if told.type == "payout.created":
        return (Happened(event=PayoutEvent.PAYOUT_MADE, payout=thing.id),)
    seen = prepared if isinstance(prepared, TransferSeen) else _seen(thing)
    made = Happened(event=PayoutEvent.TRANSFER_MADE, transfer=thing.id)
    if seen.amount_reversed == 0:
        return () if told.type == "transfer.updated" else (made,)
    if not seen.is_reversed:
        note_finding(tx, MISMATCH_FINDING, str(row.id), "a part of the transfer was reversed")
        return ()
    return (Happened(event=PayoutEvent.TRANSFER_REVERSED, transfer=thing.id, reversal=seen.reversal),)


def _seen(thing: _Object) -> TransferSeen:
    newest = thing.reversals.data[0].id if thing.reversals is not None and thing.reversals.data else None
    return TransferSeen(thing.id, thing.amount, thing.amount_reversed, thing.destination or "", newest)
