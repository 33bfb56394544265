"""Deposits, joined: what the API asks, what the inbox and the outbox need, and what runs in the background."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hushnet.coordinator.ledger.transaction import MoneyStore
from hushnet.coordinator.payments.calls import Caller
from hushnet.coordinator.payments.deposits.callers import deposit_callers
from hushnet.coordinator.payments.deposits.model import DepositLimits
from hushnet.coordinator.payments.deposits.payment_events import KINDS, PaymentEvents
from hushnet.coordinator.payments.deposits.reconciling import Matcher, Reconciliation
from hushnet.coordinator.payments.deposits.reversal_events import DISPUTE_KINDS, REFUND_KINDS, ReversalEvents
from hushnet.coordinator.payments.deposits.service import Deposits
from hushnet.coordinator.payments.deposits.topups import TopUps
from hushnet.coordinator.payments.inbox import EventHandler
from hushnet.coordinator.payments.stripe.gateway import StripeGateway
from hushnet.foundation.clock import Clock


@dataclass(frozen=True, slots=True)
class DepositRail:
    """Money in by card. `handlers` are by kind of Stripe event, `callers` by (rail, action)."""

    deposits: Deposits
    topups: TopUps
    reconciliation: Reconciliation
    handlers: Mapping[str, EventHandler]
    callers: Mapping[tuple[str, str], Caller]


def build_deposits(
    store: MoneyStore,
    gateway: StripeGateway,
    clock: Clock,
    *,
    limits: DepositLimits,
    wake_calls: Callable[[], None],
    matchers: Mapping[str, Matcher] | None = None,
) -> DepositRail:
    """Join the parts; `wake_calls` is `Calls.wake`, `matchers` what other parts book of Stripe's balance transactions."""
    payments = PaymentEvents(gateway)
    reversals = ReversalEvents(store, gateway, takes_earnings=limits.takes_earnings)
    handlers: dict[str, EventHandler] = dict.fromkeys(KINDS, payments)
    handlers |= dict.fromkeys((*REFUND_KINDS, *DISPUTE_KINDS), reversals)
    return DepositRail(
        deposits=Deposits(store, limits=limits, wake=wake_calls),
        topups=TopUps(store, clock, wake=wake_calls),
        reconciliation=Reconciliation(store, gateway, clock, matchers=matchers),
        handlers=handlers,
        callers=deposit_callers(gateway),
    )
