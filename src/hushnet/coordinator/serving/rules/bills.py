"""What is billed. Pure.

Billed is what was relayed, in the words of the last meter that was relayed with it, capped by the relayed bytes, by the
request's bounds and by the receipt. A final meter may lower the bill, never raise it. A meter, receipt or record that
does not verify costs the provider everything: nothing is posted on its word.
"""

from __future__ import annotations

from dataclasses import dataclass

from hushnet.coordinator.fleet.fleet import Slot
from hushnet.coordinator.ledger.model import Tier
from hushnet.coordinator.ledger.prices import Terms, TermsTable, billed_tokens
from hushnet.coordinator.serving.attempt import SEALERS_OWN
from hushnet.coordinator.serving.model import Facts
from hushnet.coordinator.serving.rules.reading import Mark
from hushnet.foundation.money import Tokens
from hushnet.sealing.meters import Meter

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


def tier_of(slot: Slot) -> Tier:
    """Return the trust tier at which an attempt was routed, whatever becomes of the provider meanwhile."""
    return Tier(int(slot.candidate.traits.tier if slot.candidate is not None else slot.provider.tier))


def terms_of(table: TermsTable, slot: Slot) -> Terms:
    """Return the terms of an attempt: tier and discount are those that the router saw when the slot was taken."""
    return table.of(tier_of(slot), slot.candidate.traits.discount_bps if slot.candidate is not None else 0)


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
