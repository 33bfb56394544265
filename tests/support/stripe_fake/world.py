"""What this Stripe knows: objects in Stripe's shapes, balances, balance transactions, and the events they caused."""

from __future__ import annotations

import copy
import itertools
import secrets
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeAlias

Thing: TypeAlias = dict[str, Any]

API_VERSION = "2026-10-28.endive"
PLATFORM = ""
"""The account name of the platform itself; connected accounts go by their `acct_` id."""


class World:
    """Everything that one Stripe account and its connected accounts have. Not locked: the server's lock guards it."""

    def __init__(self, now_s: Callable[[], int] = lambda: int(time.time())) -> None:
        self.now_s = now_s
        self.is_live = False
        self.objects: dict[str, dict[str, Thing]] = defaultdict(dict)
        self.events: list[Thing] = []
        self.balances: dict[str, int] = defaultdict(int)
        self.is_transfer_reversible = True
        """False: a reversal is refused with `balance_insufficient` whatever the connected account has."""
        self._run = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    def new_id(self, prefix: str) -> str:
        return f"{prefix}_{next(self._numbers):06d}{self._run}"

    def add(self, kind: str, prefix: str, **fields: Any) -> Thing:
        """Make an object of a collection (`payment_intents`, ...) and return it; `object` is the caller's."""
        made: Thing = {"id": self.new_id(prefix), "created": self.now_s(), "livemode": self.is_live, **fields}
        self.objects[kind][made["id"]] = made
        return made

    def find(self, kind: str, **equal: Any) -> list[Thing]:
        """Return the objects whose fields are so, newest first, as Stripe lists them."""
        return [
            thing
            for thing in reversed(self.objects[kind].values())
            if all(thing.get(name) == value for name, value in equal.items())
        ]

    def emit(self, kind: str, thing: Thing, *, account: str = PLATFORM, previous: Thing | None = None) -> Thing:
        """Note an event with the object as it is now; it waits for `deliver`."""
        data: Thing = {"object": shown(thing)}
        if previous is not None:
            data["previous_attributes"] = previous
        event: Thing = {
            "id": self.new_id("evt"),
            "object": "event",
            "api_version": API_VERSION,
            "created": self.now_s(),
            "data": data,
            "livemode": self.is_live,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": kind,
        }
        if account:
            event["account"] = account
        self.events.append(event)
        return event

    def book(self, kind: str, amount: int, source: str, *, fee: int = 0, account: str = PLATFORM) -> Thing:
        """Move `amount - fee` cents on an account's balance and return the balance transaction."""
        self.balances[account] += amount - fee
        category = {"adjustment": "dispute", "payment": "charge", "transfer_refund": "transfer_reversal"}.get(
            kind, kind
        )
        return self.add(
            "balance_transactions",
            "txn",
            object="balance_transaction",
            account=account,
            amount=amount,
            available_on=self.now_s(),
            balance_type="payments",
            currency="usd",
            description=None,
            exchange_rate=None,
            fee=fee,
            fee_details=[{"amount": fee, "currency": "usd", "type": "stripe_fee"}] if fee else [],
            net=amount - fee,
            reporting_category=category,
            source=source,
            status="available",
            type=kind,
        )


def shown(thing: Thing) -> Thing:
    """Return an object as it leaves: without what only this fake keeps (names that begin with `_`, `account`)."""
    hidden = {name for name in thing if name.startswith("_")}
    if thing.get("object") in {"balance_transaction", "payout"}:
        hidden.add("account")
    return copy.deepcopy({name: value for name, value in thing.items() if name not in hidden})
