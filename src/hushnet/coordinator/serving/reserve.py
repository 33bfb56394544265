"""The hold: the most that a request can cost is set aside before anything of it leaves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from hushnet.coordinator.ledger.model import (
    AlreadyClosed,
    Busy,
    Capped,
    Conflict,
    Held,
    Hold,
    HoldOutcome,
    Insufficient,
    Invalid,
    Refused,
)
from hushnet.coordinator.ledger.prices import Reservation, hold_amount
from hushnet.coordinator.serving.failures import Failure, FailureCode
from hushnet.coordinator.serving.model import Consumer, Facts
from hushnet.coordinator.serving.settings import ServingLimits
from hushnet.coordinator.serving.store import Allowance, Budgets, RequestLedger, Tariff
from hushnet.foundation.errors import StorageError
from hushnet.foundation.ids import RequestId

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Free:
    """Nothing needs to be held: the model costs nothing, or only the account's own machines may serve it."""


@dataclass(frozen=True, slots=True)
class Quote:
    """The hold that a request needs at this price: its amount, 0 for none, and until when it must stand."""

    amount: int
    expires_ms: int
    tariff: Tariff


def quoted(facts: Facts, *, tariff: Tariff, limits: ServingLimits, now_ms: int) -> Quote:
    """Return what a request can cost at most; raises `AmountError` for bounds outside what the ledger counts in."""
    amount = hold_amount(
        tariff.price,
        prompt_tokens_max=facts.prompt_tokens_max,
        output_tokens_max=facts.output_tokens_max,
        tier_bps_max=limits.terms.tier_bps_max(facts.floor),
    )
    expires_ms = now_ms + round((limits.total_s_max + limits.hold_margin_s) * 1000)
    return Quote(0 if facts.is_own_only else amount, expires_ms, tariff)


async def reserve(
    ledger: RequestLedger,
    request_id: RequestId,
    consumer: Consumer,
    facts: Facts,
    *,
    budgets: Budgets,
    tariff: Tariff,
    limits: ServingLimits,
    now_ms: int,
) -> Reservation | Free | Failure:
    """Hold the worst case until after the request's last deadline; nothing where only the account's machines may serve.

    The hold names every budget that applies; which they are is asked here and nowhere else, so no request goes without.
    """
    if consumer.prepaid is not None:
        return consumer.prepaid.reservation
    quote = quoted(facts, tariff=tariff, limits=limits, now_ms=now_ms)
    if quote.amount == 0:
        return Free()
    allowance = await _allowance(budgets, consumer, quote)
    if isinstance(allowance, Failure):
        return allowance
    hold = Hold(request_id, consumer.account_id, quote.amount, quote.expires_ms, caps=allowance.caps)
    try:
        outcome = await ledger.hold(hold)
    except StorageError:
        # Whether it was committed is unknown; the sweeper voids a hold that nobody claims.
        return Failure(FailureCode.BUSY, is_unsure=True)
    if isinstance(outcome, Held):
        return Reservation(request_id, consumer.account_id, outcome, allowance.caps)
    return _refusal(outcome, request_id, lambda capped: budgets.words(consumer.key_id, capped))


async def _allowance(budgets: Budgets, consumer: Consumer, quote: Quote) -> Allowance | Failure:
    """Return what the request counts against, or why it is more than one request may cost."""
    try:
        allowance = await budgets.allowance(consumer.account_id, consumer.key_id)
    except StorageError:
        return Failure(FailureCode.BUSY)
    if allowance.request_max is not None and quote.amount > allowance.request_max:
        words = budgets.words_of_maximum(allowance.request_max, quote.amount)
        return Failure(FailureCode.INSUFFICIENT_QUOTA, words=words)
    return allowance


def _refusal(outcome: HoldOutcome, request_id: RequestId, words: Callable[[Capped], str | None]) -> Failure:
    match outcome:
        case Insufficient():
            return Failure(FailureCode.INSUFFICIENT_FUNDS)
        case Capped():
            return Failure(FailureCode.INSUFFICIENT_QUOTA, words=words(outcome))
        case Refused():
            return Failure(FailureCode.ACCOUNT_FROZEN)
        case Busy():
            return Failure(FailureCode.BUSY)
        case AlreadyClosed() | Conflict() | Invalid() | Held():
            word = outcome.reason if isinstance(outcome, Invalid) else type(outcome).__name__
            _LOG.error("hold refused by the books", extra={"request_id": request_id, "reason": word})
            return Failure(FailureCode.INTERNAL)
