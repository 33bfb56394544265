"""One inbox handler for a source of Stripe's events: each kind has its own handler, and other kinds are not for us."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hushnet.coordinator.ledger.transaction import Transaction
from hushnet.coordinator.payments.inbox import EventHandler, Ignored, Verdict
from hushnet.coordinator.payments.model import InboxEvent

ACCOUNT: Final = "stripe"
"""Source: events of our own Stripe account. Transfers are among them."""
CONNECT: Final = "stripe-connect"
"""Source: events of connected accounts."""


class StripeEvents:
    """`EventHandler` that passes each event to the handler of its kind."""

    def __init__(self, handlers: Mapping[str, EventHandler]) -> None:
        """`handlers` by Stripe's event type (`charge.refunded`); of two sources' one table may serve both."""
        self._handlers = handlers

    async def prepare(self, event: InboxEvent) -> object:
        handler = self._handlers.get(event.kind)
        return None if handler is None else await handler.prepare(event)

    def apply(self, tx: Transaction, event: InboxEvent, prepared: object) -> Verdict:
        handler = self._handlers.get(event.kind)
        return Ignored("other_kind") if handler is None else handler.apply(tx, event, prepared)
