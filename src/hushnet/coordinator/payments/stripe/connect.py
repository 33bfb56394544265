"""Stripe Connect: connected accounts, transfers to them, payouts on them, reversals, and looking them up.

Nothing here decides: an answer is told as what it says of the call (`payments/calls.py`), an unclear one as unknown.
Accounts are Express: Stripe collects who their owners are and answers for it; their payouts are manual, because ours
name what they are for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from hushnet.coordinator.payments.calls import CLOCKS_S, Done, Refused, Sent
from hushnet.coordinator.payments.payouts.connect import AccountSeen, PayoutSeen, TransferSeen
from hushnet.coordinator.payments.payouts.moves import METADATA
from hushnet.coordinator.payments.stripe.gateway import Answered, Ask, StripeGateway
from hushnet.coordinator.payments.stripe.objects import Named, Page
from hushnet.foundation.errors import CapacityError, RequestError

T = TypeVar("T")

_PAGE: Final = 100
_PAGES_MAX: Final = 50
_WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,59}", re.ASCII)


class _Requirements(msgspec.Struct, frozen=True):
    currently_due: list[str] | None = None
    disabled_reason: str | None = None


class _Account(msgspec.Struct, frozen=True):
    payouts_enabled: bool = False
    details_submitted: bool = False
    requirements: _Requirements | None = None


class _Link(msgspec.Struct, frozen=True):
    url: str


class _Transfer(msgspec.Struct, frozen=True):
    id: str
    amount: int
    amount_reversed: int
    destination: str = ""
    reversals: Page[Named] | None = None

    def seen(self) -> TransferSeen:
        newest = self.reversals.data[0].id if self.reversals is not None and self.reversals.data else None
        return TransferSeen(self.id, self.amount, self.amount_reversed, self.destination, newest)


class _Payout(msgspec.Struct, frozen=True):
    id: str
    status: str
    failure_code: str | None = None
    metadata: dict[str, str] | None = None

    def seen(self) -> PayoutSeen:
        return PayoutSeen(self.id, self.status, _word(self.failure_code))


class StripeConnect:
    """`payouts.connect.AccountGateway` and `ConnectGateway` over one Stripe account.

    `country` is where owners' banks are; `return_url` and `refresh_url` are where Stripe sends an owner back to.
    """

    def __init__(self, gateway: StripeGateway, *, country: str, return_url: str, refresh_url: str) -> None:
        self._gateway = gateway
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
            "metadata": {"hush_owner": str(owner)},
        }
        made = await self._asked(lambda v1: v1.accounts.create_async(wanted, {"idempotency_key": idem_key}), Named)
        return made.id

    async def onboarding_url(self, account: str) -> str:
        wanted = {
            "account": account,
            "type": "account_onboarding",
            "refresh_url": self._refresh_url,
            "return_url": self._return_url,
        }
        return (await self._asked(lambda v1: v1.account_links.create_async(wanted), _Link)).url

    async def account(self, account: str) -> AccountSeen:
        seen = await self._asked(lambda v1: v1.accounts.retrieve_async(account), _Account)
        wanted = seen.requirements or _Requirements()
        return AccountSeen(
            payouts_enabled=seen.payouts_enabled,
            is_submitted=seen.details_submitted,
            due=len(wanted.currently_due or ()),
            is_rejected=(wanted.disabled_reason or "").startswith("rejected"),
        )

    # Calls out.

    async def transfer(self, request: Mapping[str, Any], *, idem_key: str) -> Sent:
        wanted, options = dict(request), {"idempotency_key": idem_key}
        made = await self._gateway.write(lambda v1: v1.transfers.create_async(wanted, options), Named)
        return Done({"id": made.value.id}) if isinstance(made, Answered) else made

    async def payout(self, request: Mapping[str, Any], *, idem_key: str) -> Sent:
        wanted = dict(request)
        options = {"idempotency_key": idem_key, "stripe_account": wanted.pop("account")}
        made = await self._gateway.write(lambda v1: v1.payouts.create_async(wanted, options), _Payout)
        if not isinstance(made, Answered):
            return made
        seen = made.value.seen()
        return Done({"id": seen.id, "status": seen.status, "failure": seen.failure})

    async def reverse(self, request: Mapping[str, Any], *, idem_key: str) -> Sent:
        wanted, options = dict(request), {"idempotency_key": idem_key}
        transfer = wanted.pop("transfer")
        made = await self._gateway.write(
            lambda v1: v1.transfers.reversals.create_async(transfer, wanted, options), Named
        )
        return Done({"id": made.value.id}) if isinstance(made, Answered) else made

    # Look-ups: what they raise leaves the question open.

    async def transfers_in(self, group: str) -> list[TransferSeen]:
        wanted = {"transfer_group": group, "limit": _PAGE}
        page = await self._gateway.read(lambda v1: v1.transfers.list_async(wanted), Page[_Transfer])
        return [one.seen() for one in page.data]

    async def transfer_seen(self, transfer: str) -> TransferSeen:
        return (await self._gateway.read(lambda v1: v1.transfers.retrieve_async(transfer), _Transfer)).seen()

    async def payout_seen(self, account: str, payout: str) -> PayoutSeen:
        options = {"stripe_account": account}
        found = await self._gateway.read(lambda v1: v1.payouts.retrieve_async(payout, None, options), _Payout)
        return found.seen()

    async def payout_for(self, account: str, payout_id: int, *, since_ms: int) -> PayoutSeen | None:
        """See `ConnectGateway.payout_for`; raises `CapacityError` when the account has more payouts than are read."""
        wanted: dict[str, Any] = {"limit": _PAGE, "created": {"gte": since_ms // 1000 - CLOCKS_S}}
        options = {"stripe_account": account}
        for _ in range(_PAGES_MAX):
            page = await self._gateway.read(lambda v1: v1.payouts.list_async(wanted, options), Page[_Payout])
            for one in page.data:
                if (one.metadata or {}).get(METADATA) == str(payout_id):
                    return one.seen()
            if not page.has_more:
                return None
            wanted["starting_after"] = page.data[-1].id
        raise CapacityError("this account has too many payouts to look through", code="payments_unavailable")

    async def _asked(self, ask: Ask, shape: type[T]) -> T:
        answer = await self._gateway.write(ask, shape)
        match answer:
            case Answered(value):
                return value
            case Refused(code):
                raise RequestError(f"Stripe refuses ({code})", code="payments_refused")
            case _:
                raise CapacityError("Stripe does not answer", code="payments_unavailable", retry_after_s=5.0)


def _word(text: str | None) -> str:
    """Return a word of Stripe's; anything that does not look like one is not repeated."""
    return text if text and _WORD.fullmatch(text) else ""
