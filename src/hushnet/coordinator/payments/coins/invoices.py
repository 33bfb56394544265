"""Invoices for coins: asked for once for one purpose, quoted by a gateway, shown to their owner only.

The row and the call to the gateway are committed together, before the gateway hears of it. A gateway without idempotency
keys may make a second address when its answer is lost; of the first nobody has ever been told, so no coins go there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from hushnet.coordinator.ledger.transaction import MoneyStore, Transaction, View
from hushnet.coordinator.payments.calls import Absent, Again, Calls, Done, Refused, Seen, Sent, Unknown, enqueue
from hushnet.coordinator.payments.coins.accounting import quoted
from hushnet.coordinator.payments.coins.addresses import AddressError, Destination
from hushnet.coordinator.payments.coins.assets import AssetError, Pair
from hushnet.coordinator.payments.coins.gateways.base import Gateway
from hushnet.coordinator.payments.coins.gateways.http import (
    GatewayBusyError,
    GatewayRefusedError,
    GatewayUnclearError,
)
from hushnet.coordinator.payments.coins.model import OPEN, CoinInvoice, InvoiceState, Quote
from hushnet.coordinator.payments.coins.rates import RateError
from hushnet.coordinator.payments.coins.states import Event, next_state
from hushnet.coordinator.payments.coins.units import UnitsError
from hushnet.coordinator.payments.model import Call, note_finding
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import CapacityError, RequestError
from hushnet.foundation.ids import AccountId
from hushnet.foundation.money import AmountError

ASK: Final = "invoice"
"""The action of the call that asks a gateway for a quote."""
_QUOTE_MS: Final = 15 * 60_000
"""How long an invoice counts as open before its quote says."""
_TRIES_MAX: Final = 6
"""Unclear answers after which a quote is given up: about a minute; nobody has been shown an address."""
_PAUSE_S: Final = 0.05
_PAGE_MAX: Final = 100


class InvoiceError(RequestError):
    """The invoice cannot be made, or there is none such."""

    code = "coin_invoice_not_found"


@dataclass(frozen=True, slots=True)
class InvoiceLimits:
    """What may be asked for; amounts in micro-USD."""

    usd_min: int = 1_000_000
    usd_max: int = 10_000_000_000
    open_max: int = 5
    """Invoices of one account that wait for coins."""
    quote_s_max: float = 10.0
    """How long who asks waits for the gateway's quote before being told to come back."""


class CoinInvoices:
    """The invoices of every account; the first gateway that offers a pair quotes it."""

    def __init__(
        self,
        store: MoneyStore,
        clock: Clock,
        gateways: Sequence[Gateway],
        *,
        calls: Calls,
        limits: InvoiceLimits | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._calls = calls
        self._limits = limits or InvoiceLimits()
        self.gateways: Mapping[str, Gateway] = {
            name: gateway for gateway in reversed(gateways) for name in gateway.codes
        }
        """The gateway of each pair that is offered, by the pair's name."""

    async def ask(self, owner: AccountId, pair: Pair, usd: int) -> CoinInvoice:
        """Return an open invoice over `usd` micro-USD, the one that is there already where the same was asked before.

        Waits for its quote a while; one that comes back `CREATING` is quoted later. Raises `AssetError` for a pair that is
        not offered, `AmountError`, `InvoiceError` (`too_many_invoices`), `CapacityError` (`gateway_unavailable`).
        """
        gateway = self.gateways.get(pair.name)
        if gateway is None:
            raise AssetError(f"{pair.name} is not offered here")
        if usd % 10_000 or not self._limits.usd_min <= usd <= self._limits.usd_max:
            raise AmountError(
                f"a deposit is {self._limits.usd_min // 1_000_000} to {self._limits.usd_max // 1_000_000} USD"
            )
        wish = CoinInvoice(
            id=0,
            owner=owner,
            usd=usd,
            asset=pair.asset,
            network=pair.network,
            gateway=gateway.name,
            expires_ms=0,
            created_ms=0,
        )
        invoice = await self._store.transact(lambda tx: _opened(tx, wish, self._limits.open_max))
        self._calls.wake()
        invoice = await self._quoted(invoice)
        if invoice.state is InvoiceState.REFUSED:
            raise CapacityError("the payment gateway gives no quote now", code="gateway_unavailable", retry_after_s=60)
        return invoice

    async def of(self, owner: AccountId, *, before: int | None = None) -> list[CoinInvoice]:
        """Return the owner's invoices, newest first, a page at a time."""
        below = None if before is None else ("id", before)
        return await self._store.read(
            lambda view: view.rows(CoinInvoice).find(owner=owner, below=below, descending=True, limit=_PAGE_MAX)
        )

    async def one(self, owner: AccountId, invoice_id: int) -> CoinInvoice:
        """Return one of the owner's own; somebody else's looks like one that never was. Raises `InvoiceError`."""
        invoice = await self._store.read(lambda view: view.rows(CoinInvoice).get(invoice_id))
        if invoice is None or invoice.owner != owner:
            raise InvoiceError("this account has no such invoice")
        return invoice

    async def _quoted(self, invoice: CoinInvoice) -> CoinInvoice:
        """Wait until the gateway has answered, or for as long as a person waits."""
        end_s = self._clock.monotonic_s() + self._limits.quote_s_max
        while invoice.state is InvoiceState.CREATING and self._clock.monotonic_s() < end_s:
            await asyncio.sleep(_PAUSE_S)
            invoice = await self.one(AccountId(invoice.owner), invoice.id)
        return invoice


def _opened(tx: Transaction, wish: CoinInvoice, open_max: int) -> CoinInvoice:
    rows = tx.rows(CoinInvoice)
    for known in rows.find(owner=wish.owner, state=OPEN, limit=_PAGE_MAX):
        invoice = rows.get(known.id)
        if invoice is not None and invoice.state in OPEN and invoice.expires_ms <= tx.now_ms:
            # Its time is over whatever the gateway says later; coins that come still count.
            event = Event.ENDED_PARTLY if invoice.credited else Event.ENDED
            if invoice.state is InvoiceState.CREATING:
                event = Event.REFUSED  # nobody was shown an address, and now nobody will be
            if invoice.state is not InvoiceState.DETECTED:
                rows.save(replace(invoice, state=next_state(invoice.state, event)))
    if (standing := _standing(tx, wish, tx.now_ms)) is not None:
        return standing
    if len(rows.find(owner=wish.owner, state=OPEN, limit=open_max)) >= open_max:
        raise InvoiceError(
            "too many invoices of this account wait for coins",
            code="too_many_invoices",
            hint="pay one of them, or wait until they end: `hush deposit coin --list`",
        )
    invoice = replace(wish, id=tx.next_id(), created_ms=tx.now_ms, expires_ms=tx.now_ms + _QUOTE_MS)
    if not rows.add(invoice):
        rival = _standing(tx, wish, tx.now_ms)
        assert rival is not None, "an invoice that could not be added has a rival"
        return rival
    enqueue(tx, invoice.gateway, ASK, invoice.id, {"invoice": invoice.id})
    return invoice


def _standing(view: View, wish: CoinInvoice, now_ms: int) -> CoinInvoice | None:
    """Return the open invoice for the same purpose that can still be paid in time, one with coins on their way first."""
    found = view.rows(CoinInvoice).find(
        owner=wish.owner, asset=wish.asset, network=wish.network, usd=wish.usd, state=OPEN, limit=_PAGE_MAX
    )
    in_time = [invoice for invoice in found if invoice.expires_ms > now_ms]
    return max(in_time, key=lambda invoice: invoice.state, default=None)


class InvoiceCall:
    """The call that asks a gateway for a quote (`calls.Caller`)."""

    def __init__(self, store: MoneyStore, gateway: Gateway) -> None:
        self._store = store
        self._gateway = gateway

    async def send(self, call: Call) -> Sent:
        invoice = await self._store.read(lambda view: view.rows(CoinInvoice).get(call.subject))
        if invoice is None or invoice.state is not InvoiceState.CREATING:
            return Refused("no_longer_wanted")
        try:
            quote = await self._gateway.ask(invoice, is_repeated=call.tries > 1 or call.attempt > 1)
            quoted(invoice, quote)
        except GatewayRefusedError:
            return Refused("gateway_refused")
        except (AddressError, RateError, UnitsError) as error:
            return Refused(error.error_code)
        except GatewayBusyError:
            return Refused("gateway_unreachable") if call.tries >= _TRIES_MAX else Again("gateway_busy")
        except GatewayUnclearError as error:
            return Refused("gateway_unreachable") if call.tries >= _TRIES_MAX else Unknown(error.reason)
        return Done(_frozen(quote))

    async def look_up(self, call: Call) -> Seen:
        """Say that nothing was done: an address that nobody was shown is as good as none, and asking again finds it."""
        del call
        return Absent()

    def done(self, tx: Transaction, call: Call, outcome: Mapping[str, Any]) -> None:
        rows = tx.rows(CoinInvoice)
        invoice = rows.get(call.subject)
        if invoice is not None and invoice.state is InvoiceState.CREATING:
            rows.save(quoted(invoice, _thawed(outcome)))

    def refused(self, tx: Transaction, call: Call, code: str) -> None:
        rows = tx.rows(CoinInvoice)
        invoice = rows.get(call.subject)
        if invoice is None or invoice.state is not InvoiceState.CREATING:
            return
        rows.save(replace(invoice, state=next_state(invoice.state, Event.REFUSED)))
        note_finding(tx, "coin_quote_refused", f"{invoice.gateway}:{invoice.pair.name}", code)


def _frozen(quote: Quote) -> dict[str, Any]:
    return asdict(quote) | {"destination": list(quote.destination)}


def _thawed(outcome: Mapping[str, Any]) -> Quote:
    address, tag = outcome["destination"]
    return Quote(**{**outcome, "destination": Destination(address, tag)})
