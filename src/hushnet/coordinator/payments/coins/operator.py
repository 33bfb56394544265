"""What only the operator knows of coins: what a gateway kept, what was sold, and that confirmed coins went back."""

from __future__ import annotations

from hushnet.coordinator.ledger.model import Conflict, Fact, Posted
from hushnet.coordinator.ledger.transaction import MoneyStore, PostingRefusedError, Transaction
from hushnet.coordinator.payments.coins.accounting import gateway_fee, reversed_, sale
from hushnet.coordinator.payments.coins.assets import Pair
from hushnet.coordinator.payments.coins.intake import CoinStray, write_change
from hushnet.coordinator.payments.coins.invoices import InvoiceError
from hushnet.coordinator.payments.coins.model import CoinInvoice, InvoiceState
from hushnet.foundation.errors import RequestError

_PAGE_MAX = 200


class CoinOperator:
    """Facts about coins on the operator's word; each can be said twice and counts once."""

    def __init__(self, store: MoneyStore) -> None:
        self._store = store

    async def invoice(self, invoice_id: int) -> CoinInvoice:
        """Return anybody's invoice; raises `InvoiceError`."""
        found = await self._store.read(lambda view: view.rows(CoinInvoice).get(invoice_id))
        if found is None:
            raise InvoiceError("there is no such invoice")
        return found

    async def fee(self, invoice_id: int, units: int, *, actor: str) -> bool:
        """Note what the gateway kept of an invoice's coins; False when that was known.

        Raises `InvoiceError`, and `RequestError` (`conflict`, `out_of_range`) for another amount or more than came in.
        """

        def work(tx: Transaction) -> bool:
            invoice = _invoice(tx, invoice_id)
            if not 1 <= units <= invoice.units_in:
                raise RequestError("a gateway keeps no more than came in", code="out_of_range")
            return _posted(tx, gateway_fee(invoice, units, actor=actor))

        return await self._store.transact(work)

    async def sale(self, pair: Pair, *, sale_id: str, units: int, usd: int, actor: str) -> bool:
        """Note that coins were sold for `usd` micro-USD; False when that was known. Raises `RequestError` `conflict`."""
        fact = sale(pair, sale_id=sale_id, units=units, usd=usd, actor=actor)
        return await self._store.transact(lambda tx: _posted(tx, fact))

    async def reverse(self, invoice_id: int, *, actor: str) -> CoinInvoice:
        """Take an invoice's coins back, for a gateway that does not say itself that a chain was reorganised.

        Raises `InvoiceError`, and `RequestError` `conflict` where nothing was credited.
        """

        def work(tx: Transaction) -> CoinInvoice:
            invoice = _invoice(tx, invoice_id)
            if invoice.state is InvoiceState.REVERSED:
                return invoice
            if not invoice.units_in:
                raise RequestError("no coins of this invoice were confirmed", code="conflict")
            change = reversed_(invoice, actor=actor)
            write_change(tx, change)
            return change.invoice

        return await self._store.transact(work)

    async def strays(self) -> list[CoinStray]:
        """Return coins that came without an invoice."""
        return await self._store.read(lambda view: view.rows(CoinStray).find(limit=_PAGE_MAX))


def _invoice(tx: Transaction, invoice_id: int) -> CoinInvoice:
    invoice = tx.rows(CoinInvoice).get(invoice_id)
    if invoice is None:
        raise InvoiceError("there is no such invoice")
    return invoice


def _posted(tx: Transaction, fact: Fact) -> bool:
    try:
        (outcome,) = tx.post(fact)
    except PostingRefusedError as error:
        if isinstance(error.outcome, Conflict):
            raise RequestError("this was said before, with another amount", code="conflict") from None
        raise
    return isinstance(outcome, Posted)
