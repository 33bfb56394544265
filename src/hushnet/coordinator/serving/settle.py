"""What is billed, and the close of the hold: the decision is pure, the closing is patient.

Billed is what was relayed, in the words of the last meter that was relayed with it, capped by the relayed bytes, by the
request's bounds and by the receipt. A final meter may lower the bill, never raise it. A meter, receipt or record that
does not verify costs the provider everything: nothing is posted on its word.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from hushnet.coordinator.ledger.model import Busy, Close, FreeUse, Invalid, Tier, Unknown, Usage, UsageOutcome
from hushnet.coordinator.ledger.model import Mode as UsageMode
from hushnet.coordinator.ledger.prices import billed_tokens
from hushnet.coordinator.serving.attempt import SEALERS_OWN, Attempt
from hushnet.coordinator.serving.model import Consumer, Facts, Mode, RequestBody
from hushnet.coordinator.serving.reading import Mark
from hushnet.coordinator.serving.store import RequestLedger
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import StorageError
from hushnet.foundation.ids import RequestId
from hushnet.foundation.money import Tokens
from hushnet.sealing.errors import SealingError
from hushnet.sealing.meters import Meter

_LOG = logging.getLogger(__name__)
_NO_TOKENS = Tokens(input=0, cached=0, output=0)
_NO_METER = Meter(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Bill:
    """What is charged for: the tokens, whether anything was delivered, and what was found against the provider."""

    tokens: Tokens
    is_delivered: bool
    findings: tuple[str, ...] = ()

    @classmethod
    def nothing(cls, *findings: str) -> Bill:
        """Nobody pays."""
        return cls(_NO_TOKENS, is_delivered=False, findings=findings)


def bill(facts: Facts, relayed: Mark, *, final: Meter | None, fault: str = "") -> Bill:
    """Decide what to charge.

    `relayed` is how far the consumer got; `final` the attempt's proven final meter, None when none came; `fault` the
    check that the attempt's records, meters or receipt failed, empty when none did.
    """
    if fault:
        return Bill.nothing(fault)
    if relayed.content_records == 0 or (final is not None and _is_free(final)):
        return Bill.nothing()
    meter = _lower(relayed.meter or _NO_METER, final)
    tokens = billed_tokens(
        Tokens(input=meter.input, cached=meter.cached, output=meter.output),
        prompt_tokens_max=facts.prompt_tokens_max,
        output_tokens_max=facts.output_tokens_max,
        content_bytes_relayed=relayed.content_bytes,
    )
    is_inflated = relayed.is_final and meter.output > relayed.content_bytes
    return Bill(tokens, is_delivered=True, findings=("output_beyond_content",) if is_inflated else ())


def proven(attempt: Attempt) -> tuple[Meter | None, str]:
    """Return the attempt's final meter when one came and its receipt verifies, and the check that failed otherwise."""
    if attempt.reading.final is None:
        return None, ""
    try:
        return attempt.reading.proven_meter(), ""
    except SealingError as error:
        return None, error.error_code


def usage_of(
    consumer: Consumer,
    body: RequestBody,
    attempt: Attempt | None,
    decided: Bill,
    *,
    outcome: UsageOutcome,
    tariff_id: int,
) -> Usage:
    """Return the usage row of a request; `attempt` served it, None where nobody did."""
    mode = UsageMode.SEALED if body.mode is Mode.SEALED else UsageMode.STANDARD
    if attempt is None:
        return Usage(consumer.key_id, body.facts.model, outcome, mode=mode, price=tariff_id)
    provider = attempt.slot.provider
    return Usage(
        api_key=consumer.key_id,
        model=body.facts.model,
        outcome=outcome,
        provider=provider.owner.account_id,
        machine=provider.provider_id,
        tokens_in=decided.tokens.input,
        tokens_cached=decided.tokens.cached,
        tokens_out=decided.tokens.output,
        tier=Tier(int(provider.tier)),
        mode=mode,
        price=tariff_id,
    )


async def close_for_good(ledger: RequestLedger, clock: Clock, close: Close, *, retry_s: float, until_ms: int) -> None:
    """Submit the one finaliser until the ledger has it, or until the sweeper may act on the hold."""
    await _submit(lambda: ledger.close(close), clock, close.id, retry_s=retry_s, until_ms=until_ms)


async def record_for_good(ledger: RequestLedger, clock: Clock, use: FreeUse, *, retry_s: float, until_ms: int) -> None:
    """Write the usage row of a request that held nothing."""
    await _submit(lambda: ledger.record_free(use), clock, use.id, retry_s=retry_s, until_ms=until_ms)


async def _submit(
    ask: Callable[[], Awaitable[object]], clock: Clock, request_id: RequestId, *, retry_s: float, until_ms: int
) -> None:
    while True:
        outcome: object
        try:
            outcome = await ask()
        except StorageError:
            outcome = Busy()
        if isinstance(outcome, Invalid | Unknown):
            word = outcome.reason if isinstance(outcome, Invalid) else "unknown"
            _LOG.error("close refused by the books", extra={"request_id": request_id, "reason": word})
        if not isinstance(outcome, Busy) or clock.now_ms() >= until_ms:
            return
        await asyncio.sleep(retry_s)


def _is_free(final: Meter) -> bool:
    """Whether an attempt's end says that nobody owes anything: the request's own fault, or an empty answer."""
    return final.code in SEALERS_OWN or (final.code == 0 and final.output == 0)


def _lower(relayed: Meter, final: Meter | None) -> Meter:
    """Return the lower of two meters, count by count."""
    if final is None:
        return relayed
    return Meter(
        min(relayed.input, final.input),
        min(relayed.cached, final.cached),
        min(relayed.output, final.output),
        min(relayed.reasoning, final.reasoning),
    )
