"""What the operator does with coins over HTTP: settlement batches, payouts by hand, and facts that only a person knows."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hushnet.coordinator.accounts import Accounts, Scope
from hushnet.coordinator.accounts.rules import write_key_id
from hushnet.coordinator.api.bodies import json_response, read_json
from hushnet.coordinator.api.dispatch import route
from hushnet.coordinator.api.money.coins.consumer import invoice_id_of, shown_invoice
from hushnet.coordinator.ledger.transaction import MoneyStore
from hushnet.coordinator.payments.coins.assets import find_pair, pair_of
from hushnet.coordinator.payments.coins.by_hand import batch_document, waiting_by_hand
from hushnet.coordinator.payments.coins.operator import CoinOperator
from hushnet.coordinator.payments.coins.settlement import Batch, Item, Settlement
from hushnet.coordinator.payments.coins.units import format_units, parse_units
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import RequestError
from hushnet.foundation.money import parse_usd
from hushnet.identity.keys import IdentityKey

_SALE_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)


class BatchWish(msgspec.Struct, forbid_unknown_fields=True):
    """With `dry_run` nothing is sent, and nothing written."""

    dry_run: bool = False


class FeeWish(msgspec.Struct, forbid_unknown_fields=True):
    """`amount` in whole coins, as text."""

    amount: str


class SaleWish(msgspec.Struct, forbid_unknown_fields=True):
    """The same `sale_id` counts once; `amount` in whole coins and `amount_usd` as text."""

    sale_id: str
    asset: str
    amount: str
    amount_usd: str
    network: str = ""


@dataclass(frozen=True, slots=True)
class CoinOffice:
    """What the routes work with; `key` gives the coordinator's own key, which signs batch files."""

    accounts: Accounts
    store: MoneyStore
    clock: Clock
    settlement: Settlement
    network: str
    key: Callable[[], IdentityKey]


class CoinOperatorApi:
    """Routes for a key of scope `operator`."""

    def __init__(self, office: CoinOffice) -> None:
        self._office = office
        self._operator = CoinOperator(office.store)

    def routes(self) -> list[Route]:
        return [
            route("/v1/admin/coins/batch", {"GET": self.by_hand, "POST": self.batch}),
            route("/v1/admin/coins/strays", {"GET": self.strays}),
            route("/v1/admin/coins/sales", {"POST": self.sale}),
            route("/v1/admin/coins/invoices/{invoice_id}/fee", {"POST": self.fee}),
            route("/v1/admin/coins/invoices/{invoice_id}/reverse", {"POST": self.reverse}),
        ]

    async def batch(self, request: Request) -> Response:
        """Send requested coin payouts, the oldest first, within the limits; or say what would be sent."""
        await self._actor(request)
        wish = await read_json(request, BatchWish)
        settlement = self._office.settlement
        batch = await (settlement.plan() if wish.dry_run else settlement.run())
        return json_response(shown_batch(batch, is_dry_run=wish.dry_run))

    async def by_hand(self, request: Request) -> Response:
        """Show the payouts that wait to be sent by hand, signed by the coordinator's own key."""
        await self._actor(request)
        office = self._office
        orders = await office.store.read(waiting_by_hand)
        document = batch_document(orders, network=office.network, made_ms=office.clock.now_ms(), key=office.key())
        return json_response(document)

    async def strays(self, request: Request) -> Response:
        """List coins that came without an invoice and are in suspense."""
        await self._actor(request)
        shown = [
            {
                "gateway": row.gateway,
                "payment": row.payment,
                "asset": row.asset,
                "network": row.network,
                "amount": format_units(row.units, pair_of(row.asset, row.network).scale),
                "amount_micro_usd": row.usd,
                "at_ms": row.at_ms,
            }
            for row in await self._operator.strays()
        ]
        return json_response({"object": "list", "data": shown})

    async def fee(self, request: Request) -> Response:
        """Note what the gateway kept of an invoice's coins; the same again changes nothing."""
        actor = await self._actor(request)
        wish = await read_json(request, FeeWish)
        invoice_id = invoice_id_of(request.path_params["invoice_id"])
        invoice = await self._operator.invoice(invoice_id)
        is_new = await self._operator.fee(invoice_id, parse_units(wish.amount, invoice.pair), actor=actor)
        return json_response({"invoice": str(invoice_id), "outcome": _outcome(is_new)}, status=201 if is_new else 200)

    async def sale(self, request: Request) -> Response:
        """Note that coins were sold and the dollars are at the bank; the same id again changes nothing."""
        actor = await self._actor(request)
        wish = await read_json(request, SaleWish)
        pair, usd = find_pair(wish.asset, wish.network), parse_usd(wish.amount_usd)
        units = parse_units(wish.amount, pair)
        if _SALE_ID.fullmatch(wish.sale_id) is None or not units or not usd:
            raise RequestError("a sale has an id of 1 to 64 characters and amounts above 0", code="out_of_range")
        is_new = await self._operator.sale(pair, sale_id=wish.sale_id, units=units, usd=usd, actor=actor)
        return json_response({"sale_id": wish.sale_id, "outcome": _outcome(is_new)}, status=201 if is_new else 200)

    async def reverse(self, request: Request) -> Response:
        """Take an invoice's coins back because the chain or the gateway did; the same again changes nothing."""
        actor = await self._actor(request)
        invoice_id = invoice_id_of(request.path_params["invoice_id"])
        return json_response(shown_invoice(await self._operator.reverse(invoice_id, actor=actor)))

    async def _actor(self, request: Request) -> str:
        caller = await self._office.accounts.authenticate(request.headers.get("authorization"), Scope.OPERATOR)
        return f"key:{write_key_id(caller.key_id)}"


def shown_batch(batch: Batch, *, is_dry_run: bool) -> dict[str, Any]:
    """Show what a batch sends, or would send."""
    return {
        "object": "coin.settlement",
        "dry_run": is_dry_run,
        "amount_micro_usd": batch.usd,
        "payouts": [_shown_item(item) for item in batch.items],
        "left_out": [{"payout": str(payout), "reason": word} for payout, word in batch.left_out],
    }


def _shown_item(item: Item) -> dict[str, Any]:
    return {
        "payout": str(item.payout),
        "account_id": item.owner,
        "asset": item.pair.asset,
        "network": item.pair.network,
        "amount": format_units(item.units, item.pair.scale),
        "net_micro_usd": item.net,
        "rate_micro_usd": item.rate,
        "address": item.to.address,
        "destination_tag": item.to.tag,
        "by_hand": item.is_by_hand,
    }


def _outcome(is_new: bool) -> str:
    return "posted" if is_new else "already"
