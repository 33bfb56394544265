"""Coins in over HTTP: what is offered, invoices of the caller's own account, and the gateways' webhooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hushnet.coordinator.accounts import Accounts, Caller, Scope
from hushnet.coordinator.api.bodies import CONTROL_BODY_IDLE_S, json_response, read_body, read_json
from hushnet.coordinator.api.dispatch import route
from hushnet.coordinator.payments.coins.assets import PAIRS, find_pair, pair_named
from hushnet.coordinator.payments.coins.intake import GatewayPort, receive
from hushnet.coordinator.payments.coins.invoices import CoinInvoices, InvoiceError
from hushnet.coordinator.payments.coins.model import CoinInvoice, InvoiceState
from hushnet.coordinator.payments.coins.units import format_units
from hushnet.coordinator.payments.coins.uris import payment_uri
from hushnet.coordinator.payments.inbox import Inbox
from hushnet.coordinator.payments.model import BODY_BYTES_MAX
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import RequestError
from hushnet.foundation.money import parse_usd

_ID_MAX: Final = 2**63 - 1


class CoinWish(msgspec.Struct, forbid_unknown_fields=True):
    """`amount_usd` is text like 12.34; the network may be left out where a coin is on one only."""

    amount_usd: str
    asset: str
    network: str = ""


@dataclass(frozen=True, slots=True)
class CoinDesk:
    """What the routes work with; `gateways` by name, none when coins are off."""

    accounts: Accounts
    invoices: CoinInvoices
    inbox: Inbox
    clock: Clock
    gateways: Mapping[str, GatewayPort]
    payout_pairs: frozenset[str] = frozenset()


class CoinsApi:
    """Routes for everybody, for a key of scope `user`, and for the gateways."""

    def __init__(self, desk: CoinDesk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        return [
            route("/v1/coins", {"GET": self.coins}),
            route("/v1/deposits/coin", {"GET": self.invoices, "POST": self.ask}),
            route("/v1/deposits/coin/{invoice_id}", {"GET": self.invoice}),
            route("/v1/webhooks/coinpay", {"POST": self.coinpay}),
            route("/v1/webhooks/btcpay", {"POST": self.btcpay}),
        ]

    async def coins(self, request: Request) -> Response:
        """List the coins that are taken and paid out here, each on its network."""
        del request
        offered, paid = self._desk.invoices.gateways, self._desk.payout_pairs
        shown = [
            {
                "asset": pair.asset,
                "network": pair.network,
                "decimals": pair.scale,
                "deposit": pair.name in offered,
                "payout": pair.name in paid,
            }
            for pair in PAIRS
            if pair.name in offered or pair.name in paid
        ]
        return json_response({"object": "list", "data": shown})

    async def ask(self, request: Request) -> Response:
        """Ask for an address to send coins to; the same again is the same invoice while it is open."""
        caller = await self._caller(request)
        wish = await read_json(request, CoinWish)
        usd = parse_usd(wish.amount_usd)
        invoice = await self._desk.invoices.ask(caller.account_id, find_pair(wish.asset, wish.network), usd)
        is_quoted = invoice.state is not InvoiceState.CREATING
        return json_response(shown_invoice(invoice), status=201 if is_quoted else 202)

    async def invoices(self, request: Request) -> Response:
        """List the caller's coin invoices, newest first, `before` one of them."""
        caller = await self._caller(request)
        before = request.query_params.get("before")
        found = await self._desk.invoices.of(
            caller.account_id, before=None if before is None else invoice_id_of(before)
        )
        return json_response({"object": "list", "data": [shown_invoice(invoice) for invoice in found]})

    async def invoice(self, request: Request) -> Response:
        """Show one coin invoice of the caller's own, and what has come in."""
        caller = await self._caller(request)
        found = await self._desk.invoices.one(caller.account_id, invoice_id_of(request.path_params["invoice_id"]))
        return json_response(shown_invoice(found))

    async def coinpay(self, request: Request) -> Response:
        """Take a signed webhook of CoinPayPortal."""
        return await self._webhook(request, "coinpay")

    async def btcpay(self, request: Request) -> Response:
        """Take a signed webhook of the BTCPay Server."""
        return await self._webhook(request, "btcpay")

    async def _webhook(self, request: Request, name: str) -> Response:
        gateway = self._desk.gateways.get(name)
        if gateway is None:
            raise RequestError("this gateway is not used here", code="not_found")
        body = await read_body(request.scope, request.receive, bytes_max=BODY_BYTES_MAX, idle_s=CONTROL_BODY_IDLE_S)
        headers = {key.lower(): value for key, value in request.headers.items()}
        is_new = await receive(gateway, self._desk.inbox, headers, body, now_ms=self._desk.clock.now_ms())
        return json_response({"received": True, "new": is_new})

    async def _caller(self, request: Request) -> Caller:
        return await self._desk.accounts.authenticate(request.headers.get("authorization"), Scope.USER)


def shown_invoice(invoice: CoinInvoice) -> dict[str, Any]:
    """Show an invoice; coin amounts are exact text."""
    pair = pair_named(f"{invoice.asset}.{invoice.network}")
    left = max(0, invoice.units_due - invoice.units_in)
    is_quoted = invoice.units_due > 0
    return {
        "id": str(invoice.id),
        "object": "coin_invoice",
        "state": invoice.state.name.lower(),
        "amount_micro_usd": invoice.usd,
        "asset": invoice.asset,
        "network": invoice.network,
        "amount": format_units(invoice.units_due, pair.scale) if is_quoted else None,
        "address": invoice.address or None,
        "destination_tag": invoice.tag,
        "uri": (payment_uri(pair, invoice.destination, left or invoice.units_due) or None) if is_quoted else None,
        "url": invoice.url or None,
        "received": format_units(invoice.units_in, pair.scale),
        "missing": format_units(left, pair.scale) if is_quoted else None,
        "credited_micro_usd": invoice.credited,
        "rate_micro_usd": invoice.rate or None,
        "expires_ms": invoice.expires_ms,
        "created_ms": invoice.created_ms,
    }


def invoice_id_of(text: str) -> int:
    """Read an invoice's id; raises `InvoiceError`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= _ID_MAX):
        raise InvoiceError("that is not an invoice's id")
    return int(text)
