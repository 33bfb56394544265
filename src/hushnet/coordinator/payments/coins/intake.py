"""What gateways tell us, applied: webhooks from the inbox, and looks at invoices that nothing was heard of.

A gateway's word is compared whole against its table; an unknown one is ignored and noted. An event of an invoice that is
not known waits (its answer may be on the way), and after five tries the gateway is asked itself: confirmed coins of no
invoice of ours go to suspense, once, and a person is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Final, Protocol

from hushnet.coordinator.ledger.transaction import MoneyStore, Transaction, View
from hushnet.coordinator.payments.coins.accounting import Change, absorb, needs_rate, stray
from hushnet.coordinator.payments.coins.gateways.base import (
    REFERENCE,
    Deliveries,
    Gateway,
    Stray,
    Webhook,
    Word,
    invoice_of,
)
from hushnet.coordinator.payments.coins.gateways.http import read_json, text_of
from hushnet.coordinator.payments.coins.model import CoinInvoice, InvoiceState, Sighting
from hushnet.coordinator.payments.coins.rates import RateSource
from hushnet.coordinator.payments.inbox import FETCH_AFTER, Applied, Ignored, Inbox, Verdict, Waiting
from hushnet.coordinator.payments.model import InboxEvent, note_finding
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import CapacityError, HushnetError, RequestError, StorageError

_LOG = logging.getLogger(__name__)

_NO_COINS: Final = (InvoiceState.CREATING, InvoiceState.REFUSED)
_GRACE_MS: Final = 5 * 60_000
"""After an invoice's end its gateway has this long to say so before it is asked."""
_LOOK_S: Final = 60.0
_LOOKS: Final = 20
_OVER_MAX: Final = 1000
_FAILED_MS: Final = 3_600_000
"""What could not be looked at is left alone for so long: it must not be in the way of all others."""


class GatewayPort(Gateway, Deliveries, Protocol):
    """A gateway that quotes invoices and sends webhooks."""


class ForgedWebhookError(RequestError):
    """A delivery was not signed by who it claims to be from, or not lately; nothing of it is kept."""

    code = "bad_signature"


async def receive(gateway: GatewayPort, inbox: Inbox, headers: Mapping[str, str], body: bytes, *, now_ms: int) -> bool:
    """Verify a delivery over its raw bytes and store it; False when it is known.

    Raises `ForgedWebhookError`, `RequestError` for a genuine one that cannot be read, `StorageError`.
    """
    if not gateway.is_genuine(headers, body, now_ms=now_ms):
        raise ForgedWebhookError("the webhook's signature is not valid")
    try:
        webhook = gateway.read(body)
    except ValueError:
        raise RequestError("the webhook cannot be read", code="invalid_json") from None
    return await inbox.receive(gateway.name, webhook.event, kind=webhook.kind, subject=webhook.subject, body=body)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoinStray:
    """Coins of no invoice that are in suspense; `units` at the pair's scale, `usd` in micro-USD."""

    TABLE: ClassVar[str] = "coin_strays"
    KEY: ClassVar[tuple[str, ...]] = ("gateway", "payment")

    gateway: str
    payment: str
    asset: str
    network: str
    units: int
    usd: int
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """What was found out before the transaction."""

    word: Word | None
    webhook: Webhook
    invoice: int | None = None
    sighting: Sighting | None = None
    rate: int | None = None
    stray: Stray | None = None
    lack: str = "amount_unknown"
    """What a sighting waits for when there is none."""
    is_asked: bool = False
    """The gateway was asked about a payment that no invoice knows."""


PayoutTold = Callable[[Webhook], Awaitable[Callable[[Transaction], Verdict]]]
"""Finds out about a payout and returns what to do inside the transaction."""


class CoinEvents:
    """The events of one gateway (`inbox.EventHandler`)."""

    def __init__(
        self,
        store: MoneyStore,
        clock: Clock,
        gateway: GatewayPort,
        *,
        rates: RateSource,
        payouts: PayoutTold | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._gateway = gateway
        self._rates = rates
        self._payouts = payouts

    async def prepare(self, event: InboxEvent) -> object:
        webhook = self._gateway.read(event.body)
        word = self._gateway.words.get(webhook.kind)
        if word is Word.PAYOUT and self._payouts is not None:
            return await self._payouts(webhook)
        if word in (None, Word.NOTHING, Word.PAYOUT):
            return _Prepared(word=word, webhook=webhook)
        reference = _reference(event.body)
        invoice = await self._store.read(lambda view: self._invoice(view, webhook, reference))
        if invoice is None:
            is_asked = event.attempts >= FETCH_AFTER
            found = await self._gateway.stray(webhook.subject) if is_asked else None
            rate = await self._rates.rate(found.pair) if found is not None else None
            return _Prepared(word=word, webhook=webhook, stray=found, rate=rate, is_asked=is_asked)
        if invoice.state in _NO_COINS:
            return _Prepared(word=word, webhook=webhook, invoice=invoice.id, lack="invoice_without_quote")
        sighting = await self._gateway.sighting(
            invoice, event.body, now_ms=self._clock.now_ms(), is_fresh=event.attempts >= FETCH_AFTER
        )
        rate = None
        if sighting is not None and needs_rate(invoice, sighting):
            rate = await self._rates.rate(invoice.pair)
        return _Prepared(word=word, webhook=webhook, invoice=invoice.id, sighting=sighting, rate=rate)

    def apply(self, tx: Transaction, event: InboxEvent, prepared: object) -> Verdict:
        if not isinstance(prepared, _Prepared):
            assert callable(prepared)
            verdict: Verdict = prepared(tx)
            return verdict
        name = self._gateway.name
        if prepared.word is None:
            note_finding(tx, "unknown_word", f"{name}:{event.kind}", event.event)
            return Ignored("unknown_word")
        if prepared.word in (Word.NOTHING, Word.PAYOUT):
            return Ignored("says_nothing")
        if prepared.invoice is None:
            return self._apply_stray(tx, prepared)
        if prepared.sighting is None:
            return Waiting(prepared.lack)
        return apply_sighting(tx, prepared.invoice, prepared.sighting, rate=prepared.rate)

    def _invoice(self, view: View, webhook: Webhook, reference: str) -> CoinInvoice | None:
        """Find the invoice by the gateway's id, or by our reference while the gateway's answer is still on its way."""
        rows = view.rows(CoinInvoice)
        known = rows.find(gateway=self._gateway.name, gateway_id=webhook.subject, limit=1)
        if known:
            return known[0]
        number = invoice_of(reference)
        ours = rows.get(number) if number is not None else None
        is_on_its_way = ours is not None and ours.gateway == self._gateway.name and ours.state is InvoiceState.CREATING
        return ours if is_on_its_way else None

    def _apply_stray(self, tx: Transaction, prepared: _Prepared) -> Verdict:
        name, payment = self._gateway.name, prepared.webhook.subject
        if not prepared.is_asked:
            return Waiting("unknown_invoice")
        note_finding(tx, "unknown_invoice", f"{name}:{payment}", prepared.webhook.kind)
        found, rate = prepared.stray, prepared.rate
        if found is None or rate is None:
            return Ignored("unknown_invoice")
        fact = stray(found.pair, gateway=name, payment=payment, units=found.units, rate=rate)
        row = CoinStray(
            gateway=name,
            payment=payment,
            asset=found.pair.asset,
            network=found.pair.network,
            units=found.units,
            usd=sum(leg.amount for leg in fact.legs[1:] if hasattr(leg, "amount")),
            at_ms=tx.now_ms,
        )
        if tx.rows(CoinStray).add(row):
            tx.post(fact)
        return Applied()


def apply_sighting(tx: Transaction, invoice_id: int, sighting: Sighting, *, rate: int | None) -> Verdict:
    """Let a sighting change its invoice and the books, under the invoice's lock."""
    rows = tx.rows(CoinInvoice)
    invoice = rows.get(invoice_id)
    if invoice is None or invoice.state in _NO_COINS:
        return Waiting("invoice_without_quote")
    if sighting.prompt is not None and sighting.at_ms < invoice.as_of_ms:
        return Waiting("out_of_date")
    write_change(tx, absorb(invoice, sighting, rate=rate))
    return Applied()


def write_change(tx: Transaction, change: Change) -> None:
    """Write what a change says: the row, its findings, and its fact last."""
    tx.rows(CoinInvoice).save(change.invoice)
    for kind, detail in change.findings:
        note_finding(tx, kind, change.invoice.subject, detail)
    if change.fact is not None:
        tx.post(change.fact)


class CoinWatch:
    """Looks at invoices whose end has passed without a word from their gateway, so that a lost webhook loses nothing."""

    def __init__(self, store: MoneyStore, clock: Clock, gateways: Mapping[str, Gateway], *, rates: RateSource) -> None:
        """`gateways` by name."""
        self._store = store
        self._clock = clock
        self._gateways = gateways
        self._rates = rates
        self._later_ms: dict[int, int] = {}

    async def run(self) -> None:
        """Look every minute until cancelled."""
        while True:
            try:
                await self.step()
            except (StorageError, CapacityError) as error:
                _LOG.warning("coin invoices cannot be looked at", extra={"error": error.error_code})
            await asyncio.sleep(_LOOK_S)

    async def step(self) -> int:
        """Look at those that are due, once, the oldest first; return how many there were."""
        now_ms = self._clock.now_ms()
        over = await self._store.read(
            lambda view: view.rows(CoinInvoice).find(
                state=[InvoiceState.PENDING, InvoiceState.DETECTED],
                gateway=list(self._gateways),
                below=("expires_ms", now_ms - _GRACE_MS),
                order_by="as_of_ms",
                limit=_OVER_MAX,
            )
        )
        self._later_ms = {id_: at_ms for id_, at_ms in self._later_ms.items() if at_ms > now_ms}
        due = [invoice for invoice in over if invoice.id not in self._later_ms][:_LOOKS]
        for invoice in due:
            await self._look(invoice)
        return len(due)

    async def _look(self, invoice: CoinInvoice) -> None:
        gateway = self._gateways[invoice.gateway]
        try:
            sighting = await gateway.look(invoice, now_ms=self._clock.now_ms())
            if not sighting.is_seen:
                sighting = replace(sighting, is_expired=True)
            rate = await self._rates.rate(invoice.pair) if needs_rate(invoice, sighting) else None
            await self._store.transact(lambda tx: apply_sighting(tx, invoice.id, sighting, rate=rate))
        except HushnetError as error:
            self._later_ms[invoice.id] = self._clock.now_ms() + _FAILED_MS
            _LOG.warning(
                "an invoice cannot be looked at", extra={"gateway": invoice.gateway, "error": error.error_code}
            )


def _reference(body: bytes) -> str:
    document = read_json(body)
    if not isinstance(document, Mapping):
        return ""
    inner = document.get("data")
    for place in (document, inner):
        if isinstance(place, Mapping) and (found := text_of(place.get("metadata"), REFERENCE)):
            return found
    return ""
