"""Stripe Connect through the SDK: connected accounts, transfers to them, payouts on them, reversals, look-ups.

Nothing here decides: an answer is told as what it says of the call (`payments/calls.py`), an unclear one as unknown.
Accounts are Express: Stripe collects who their owners are and answers for it; their payouts are manual, because ours
name what they are for.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Mapping
from http import HTTPStatus
from typing import Any, Final, cast

import stripe

from hushnet.coordinator.payments.calls import Again, Done, Refused, Sent, Unknown
from hushnet.coordinator.payments.payouts.connect import AccountSeen, PayoutSeen, TransferSeen
from hushnet.foundation.errors import CapacityError, RequestError

_PAGE: Final = 100
_PAGES_MAX: Final = 50
_WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,59}", re.ASCII)
_REFUSALS: Final = frozenset({400, 402, 403, 404})


class StripeConnect:
    """`payouts.connect.AccountGateway` and `ConnectGateway` over one Stripe client.

    `country` is where owners' banks are; `return_url` and `refresh_url` are where Stripe sends an owner back to.
    """

    def __init__(self, client: stripe.StripeClient, *, country: str, return_url: str, refresh_url: str) -> None:
        self._v1 = client.v1
        self._country = country
        self._return_url = return_url
        self._refresh_url = refresh_url

    # Accounts: a person waits, so what goes wrong is raised.

    async def create_account(self, owner: int, *, idem_key: str) -> str:
        wanted = {
            "type": "express",
            "country": self._country,
            "capabilities": {"transfers": {"requested": True}},
            "settings": {"payouts": {"schedule": {"interval": "manual"}}},
            "metadata": {"owner": str(owner)},
        }
        made = await _asked(self._v1.accounts.create_async(cast(Any, wanted), {"idempotency_key": idem_key}))
        return str(made.id)

    async def onboarding_url(self, account: str) -> str:
        link = {
            "account": account,
            "type": "account_onboarding",
            "refresh_url": self._refresh_url,
            "return_url": self._return_url,
        }
        return str((await _asked(self._v1.account_links.create_async(cast(Any, link)))).url)

    async def account(self, account: str) -> AccountSeen:
        seen = await _asked(self._v1.accounts.retrieve_async(account))
        wanted = seen.requirements
        reason = "" if wanted is None else wanted.disabled_reason or ""
        return AccountSeen(
            payouts_enabled=bool(seen.payouts_enabled),
            is_submitted=bool(seen.details_submitted),
            due=0 if wanted is None else len(wanted.currently_due or ()),
            is_rejected=reason.startswith("rejected"),
        )

    # Calls out.

    async def transfer(self, request: Mapping[str, Any], *, idem_key: str) -> Sent:
        wanted = cast(Any, dict(request))
        return await _sent(self._v1.transfers.create_async(wanted, {"idempotency_key": idem_key}))

    async def payout(self, request: Mapping[str, Any], *, idem_key: str) -> Sent:
        wanted = dict(request)
        options = {"idempotency_key": idem_key, "stripe_account": wanted.pop("account")}
        return await _sent(self._v1.payouts.create_async(cast(Any, wanted), cast(Any, options)))

    async def reverse(self, request: Mapping[str, Any], *, idem_key: str) -> Sent:
        wanted = dict(request)
        transfer = wanted.pop("transfer")
        options = cast(Any, {"idempotency_key": idem_key})
        return await _sent(self._v1.transfers.reversals.create_async(transfer, cast(Any, wanted), options))

    # Look-ups: they raise `StripeError`s, which leaves the question open.

    async def transfers_in(self, group: str) -> list[TransferSeen]:
        page = await self._v1.transfers.list_async({"transfer_group": group, "limit": _PAGE})
        return [_transfer(one) for one in page.data]

    async def transfer_seen(self, transfer: str) -> TransferSeen:
        return _transfer(await self._v1.transfers.retrieve_async(transfer))

    async def payout_seen(self, account: str, payout: str) -> PayoutSeen:
        return _payout(await self._v1.payouts.retrieve_async(payout, options={"stripe_account": account}))

    async def payout_for(self, account: str, payout_id: int, *, since_ms: int) -> PayoutSeen | None:
        """See `ConnectGateway.payout_for`; raises `CapacityError` when the account has more payouts than are read."""
        wanted: dict[str, Any] = {"limit": _PAGE, "created": {"gte": since_ms // 1000 - 1}}
        for _ in range(_PAGES_MAX):
            page = await self._v1.payouts.list_async(cast(Any, wanted), {"stripe_account": account})
            for one in page.data:
                if one.metadata is not None and one.metadata.to_dict().get("payout") == str(payout_id):
                    return _payout(one)
            if not page.has_more:
                return None
            wanted["starting_after"] = page.data[-1].id
        raise CapacityError("this account has too many payouts to look through", code="rail_unavailable")


def told_of(error: stripe.StripeError) -> Refused | Again | Unknown:
    """Return what an error answer says of the call: refused for good, surely not done, or unknown."""
    status = error.http_status
    if isinstance(error, stripe.IdempotencyError) and status != HTTPStatus.CONFLICT:
        return Unknown("idempotency")  # the key carried another request once: ours, so a person must look
    if status in _REFUSALS:
        return Refused(_word(error.code, "invalid_request"))
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS}:
        return Again(f"http_{status}")
    return Unknown(f"http_{status}" if status else "no_answer")


async def _sent(asked: Awaitable[Any]) -> Sent:
    try:
        made = await asked
    except stripe.StripeError as error:
        return told_of(error)
    known = {name: getattr(made, name, None) for name in ("status", "failure_code")}
    outcome = {"id": str(made.id), "status": known["status"] or "", "failure": _word(known["failure_code"], "")}
    return Done(outcome)


async def _asked(asked: Awaitable[Any]) -> Any:
    try:
        return await asked
    except stripe.StripeError as error:
        match told_of(error):
            case Refused(code):
                raise RequestError(f"Stripe refused ({code})", code="rail_refused") from None
            case _:
                raise CapacityError("Stripe does not answer", code="rail_unavailable", retry_after_s=5.0) from None


def _transfer(seen: stripe.Transfer) -> TransferSeen:
    to = seen.destination
    destination = to if isinstance(to, str) else "" if to is None else to.id
    return TransferSeen(seen.id, seen.amount, seen.amount_reversed, destination)


def _payout(seen: stripe.Payout) -> PayoutSeen:
    return PayoutSeen(seen.id, seen.status, _word(seen.failure_code, ""))


def _word(text: str | None, otherwise: str) -> str:
    """Return a word of Stripe's; anything that does not look like one is not repeated."""
    return text if text and _WORD.fullmatch(text) else otherwise
