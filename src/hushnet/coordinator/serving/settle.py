"""The one finaliser of a request: finds out what was relayed, has the bill decided, closes the hold, patiently."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from hushnet.coordinator.fleet.reputation.outcomes import Outcome
from hushnet.coordinator.ledger.model import Busy, Close, FreeUse, Invalid, Unknown, Usage, UsageOutcome
from hushnet.coordinator.ledger.model import Mode as UsageMode
from hushnet.coordinator.ledger.prices import Reservation, Terms, settlement
from hushnet.coordinator.serving.attempt import Attempt, Ending
from hushnet.coordinator.serving.desk import Desk
from hushnet.coordinator.serving.model import Consumer, Mode, RequestBody
from hushnet.coordinator.serving.outlet import Outlet
from hushnet.coordinator.serving.rules.bills import Bill, bill, terms_of, tier_of
from hushnet.coordinator.serving.rules.outcomes import service_of
from hushnet.coordinator.serving.rules.stops import Stop
from hushnet.coordinator.serving.store import Tariff
from hushnet.foundation.errors import StorageError
from hushnet.foundation.ids import RequestId
from hushnet.sealing.errors import SealingError
from hushnet.sealing.meters import Meter
from hushnet.sealing.records import meter_of

_LOG = logging.getLogger(__name__)


ERROR_STATUS_MIN: Final = 400


@dataclass(slots=True)
class Finaliser:
    """Made when a request arrives, with the price of that moment; `reservation` stays None where nothing is held."""

    desk: Desk
    request_id: RequestId
    consumer: Consumer
    body: RequestBody
    outlet: Outlet
    tariff: Tariff
    reservation: Reservation | None = None

    async def settle(self, attempt: Attempt | None, stopped: Stop | None) -> UsageOutcome:
        """Close the hold, or record the free use; `attempt` is the one whose answer the consumer was given, if any.

        Returns how the usage record tells it. Patient with a busy ledger, not for ever: the sweeper comes after.
        """
        decided = Bill.nothing()
        if attempt is not None:
            await self._wait_for_the_last_word(attempt, stopped)
            final, fault = proven(attempt)
            decided = self._billed(attempt, final=final, fault=fault or _fault_of(attempt))
            for kind in decided.findings:
                note_finding(self.desk, attempt, kind, self.request_id)
            if decided.is_delivered and _ending_of(attempt) is Ending.COMPLETE:
                service = service_of(attempt, decided, self.outlet, is_stream=self.body.facts.is_stream)
                self.desk.fleet.note_outcome(attempt.slot, Outcome.SERVED, service)
        outcome = self._outcome(attempt, decided, stopped)
        desk = self.desk
        if self.reservation is not None:
            close = self._close(attempt, decided, outcome, self.reservation)
            await self._submit(lambda: desk.ledger.close(close))
        else:
            usage = usage_of(self.consumer, self.body, attempt, decided, outcome=outcome, tariff_id=self.tariff.id)
            use = FreeUse(self.request_id, self.consumer.account_id, usage)
            await self._submit(lambda: desk.ledger.record_free(use))
        return outcome

    def note_draft(self, attempt: Attempt) -> None:
        """Tell the ledger what the settlement would be now, for a sweeper that may have to make it."""
        if self.reservation is not None:
            decided = self._billed(attempt, final=None)
            draft = self._close(attempt, decided, UsageOutcome.ORPHANED, self.reservation)
            self.desk.ledger.note_draft(draft)

    def _billed(self, attempt: Attempt, *, final: Meter | None, fault: str = "") -> Bill:
        """Decide what to charge; an error is no answer, whatever its length."""
        if attempt.reader.status >= ERROR_STATUS_MIN:
            return Bill.nothing()
        return bill(self.body.facts, self.outlet.relayed, final=final, fault=fault)

    async def _wait_for_the_last_word(self, attempt: Attempt, stopped: Stop | None) -> None:
        """Wait until everything is written, or never will be, and for the final record of an attempt we cut short."""
        if stopped is not Stop.STALLED and self.outlet.head is not None:
            await self.outlet.emptied()
        is_cut = _ending_of(attempt) is Ending.STOPPED
        if is_cut and self.outlet.relayed.content_records:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.desk.limits.last_word_s_max):
                    await asyncio.shield(attempt.last_word)

    async def _submit(self, ask: Callable[[], Awaitable[object]]) -> None:
        """Ask the ledger until it has answered, or until the sweeper may act on the hold."""
        clock, limits = self.desk.clock, self.desk.limits
        until_ms = clock.now_ms() + round(limits.hold_margin_s * 1000)
        while True:
            outcome: object
            try:
                outcome = await ask()
            except StorageError:
                outcome = Busy()
            if isinstance(outcome, Invalid | Unknown):
                word = outcome.reason if isinstance(outcome, Invalid) else "unknown"
                _LOG.error("close refused by the books", extra={"request_id": self.request_id, "reason": word})
            if not isinstance(outcome, Busy) or clock.now_ms() >= until_ms:
                return
            await asyncio.sleep(limits.close_retry_s)

    def _outcome(self, attempt: Attempt | None, decided: Bill, stopped: Stop | None) -> UsageOutcome:
        if not decided.is_delivered:
            return UsageOutcome.NOT_DELIVERED
        if self.outlet.relayed.is_final and not self.outlet.relayed.is_error:
            return UsageOutcome.COMPLETED
        # A complete answer that was not relayed whole: its consumer left when nothing was there to stop any more.
        is_left = stopped is Stop.HUNG_UP or _ending_of(attempt) is Ending.COMPLETE
        return UsageOutcome.CANCELLED if is_left else UsageOutcome.FAILED_AFTER_CONTENT

    def _close(self, attempt: Attempt | None, decided: Bill, outcome: UsageOutcome, reservation: Reservation) -> Close:
        usage = usage_of(self.consumer, self.body, attempt, decided, outcome=outcome, tariff_id=self.tariff.id)
        terms = Terms() if attempt is None else terms_of(self.desk.limits.terms, attempt.slot)
        return settlement(reservation, usage, self.tariff.price, terms, is_delivered=decided.is_delivered)


def note_finding(desk: Desk, attempt: Attempt, kind: str, request_id: RequestId) -> None:
    """Record a finding against the provider of an attempt; `kind` is of a closed set."""
    provider = attempt.slot.provider
    provider.findings[kind] += 1
    desk.fleet.note_outcome(attempt.slot, Outcome.VIOLATION)
    desk.fleet.note_failed(provider, attempt.slot.model)
    desk.telemetry.finding(kind=kind)
    _LOG.warning(
        "finding against a provider",
        extra={"request_id": request_id, "provider_id": provider.provider_id, "code": kind},
    )


def _ending_of(attempt: Attempt | None) -> Ending | None:
    return attempt.outcome.result().ending if attempt is not None and attempt.outcome.done() else None


def _fault_of(attempt: Attempt) -> str:
    return attempt.outcome.result().fault if attempt.outcome.done() else ""


def proven(attempt: Attempt) -> tuple[Meter | None, str]:
    """Return the attempt's final meter when one came and its receipt verifies, and the check that failed otherwise.

    A reader that opens answers has verified the receipt already, by the same key, digest and nonce. Its word counts for
    that record object alone, never for another with the same bytes.
    """
    final = attempt.reading.final
    if final is None:
        return None, ""
    if attempt.reader.proven is final:
        return meter_of(final), ""
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
        tier=tier_of(attempt.slot),
        mode=mode,
        price=tariff_id,
        referrer=consumer.referrer,
    )
