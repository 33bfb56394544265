"""What a sighting of coins means for an invoice and for the books: pure, and the same in every order of sightings.

Three numbers of an invoice only ever grow: what was seen by its end, what was seen by a day after it, and what is
confirmed. Everything else follows from them, so that any order of any repetition of events ends in the same books:

| confirmed units | are worth | go to |
|---|---|---|
| seen by the end | the invoice's rate: exactly what is due is exactly what was asked | the owner |
| seen within 24 h after it | the lower of that and `late_rate` | the owner |
| later still | `late_rate` | suspense, and a finding |

`late_rate` is the rate of the day when the first late coins of the invoice are applied.

Coins are never turned into dollars without both sides: `coin → fx_coin` in units, `fx → …` in micro-USD.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from hushnet.coordinator.ledger.chart import Kind, coin_account, operator_account, user_account
from hushnet.coordinator.ledger.model import AnyLeg, Code, Fact, Leg, Repay, Take
from hushnet.coordinator.payments.coins.assets import Pair
from hushnet.coordinator.payments.coins.model import CoinInvoice, InvoiceState, Quote, Sighting
from hushnet.coordinator.payments.coins.rates import RateError, quoted_rate
from hushnet.coordinator.payments.coins.states import Event, next_state
from hushnet.coordinator.payments.coins.units import usd_at, usd_of

LATE_MS: Final = 24 * 3_600_000
OPEN_MS_MAX: Final = 24 * 3_600_000
"""A rate is fixed for a day at most, whatever a gateway says."""
_RAW_MAX: Final = 64
FX: Final = operator_account(Kind.FX)
SUSPENSE: Final = operator_account(Kind.SUSPENSE)
BANK: Final = operator_account(Kind.BANK)


@dataclass(frozen=True, slots=True)
class Change:
    """What to write: the invoice as it is now, at most one fact, and findings as (kind, detail)."""

    invoice: CoinInvoice
    fact: Fact | None = None
    findings: tuple[tuple[str, str], ...] = ()


def quoted(invoice: CoinInvoice, quote: Quote) -> CoinInvoice:
    """Put the gateway's answer into an invoice that was being made; raises `RateError` for an unbelievable one."""
    rate = quoted_rate(invoice.pair, usd=invoice.usd, due=quote.units_due)
    return replace(
        invoice,
        state=next_state(invoice.state, Event.QUOTED),
        gateway_id=quote.gateway_id,
        address=quote.destination.address,
        tag=quote.destination.tag,
        units_due=quote.units_due,
        rate=rate,
        url=quote.url,
        expires_ms=min(quote.expires_ms, invoice.created_ms + OPEN_MS_MAX),
        raw=quote.raw[:_RAW_MAX],
    )


def needs_rate(invoice: CoinInvoice, sighting: Sighting) -> bool:
    """Say whether `absorb` may need today's rate: something was confirmed after the end."""
    return sighting.confirmed > invoice.units_in and sighting.at_ms > invoice.expires_ms


def absorb(invoice: CoinInvoice, sighting: Sighting, *, rate: int | None = None) -> Change:
    """Return what a sighting changes; `rate` is today's, in micro-USD per whole coin.

    Raises `RateError` when late coins have to be priced and no rate is given.
    """
    if invoice.state in (InvoiceState.CREATING, InvoiceState.REFUSED):
        raise ValueError("an invoice without a quote has no coins")
    if invoice.state is InvoiceState.REVERSED:
        return _after_reversal(invoice, sighting)
    if sighting.is_invalid and (invoice.credited or invoice.suspended):
        return reversed_(invoice)
    counted = _counted(invoice, sighting)
    new, legs = _valued(invoice, counted, rate)
    new = replace(new, state=_state_after(invoice, new, sighting))
    fact = None
    if legs:
        tail = "" if new.units_in > invoice.units_in else f":{new.credited}:{new.suspended}"
        fact = Fact(
            key=f"coin:{invoice.id}:{new.units_in}{tail}",
            code=Code.COIN_DEPOSIT,
            legs=(*legs, Repay(invoice.owner)) if new.credited > invoice.credited else legs,
            actor=invoice.gateway,
            owner=invoice.owner,
        )
    return Change(new, fact, _findings(invoice, new, sighting))


def reversed_(invoice: CoinInvoice, *, actor: str = "") -> Change:
    """Take confirmed coins back: the chain or the gateway did. What the owner has spent of them is owed."""
    pair = invoice.pair
    legs: list[AnyLeg] = [Leg(_coins(pair, "fx_coin"), _coins(pair, "coin"), invoice.units_in)]
    if invoice.credited:
        frozen = user_account(invoice.owner, Kind.FROZEN)
        legs += [Take(invoice.owner, invoice.credited), Leg(frozen, FX, invoice.credited)]
    if invoice.suspended:
        legs.append(Leg(SUSPENSE, FX, invoice.suspended))
    fact = Fact(
        key=f"coin:{invoice.id}:reversed",
        code=Code.COIN_REVERSED,
        legs=tuple(legs),
        actor=actor or invoice.gateway,
        owner=invoice.owner,
    )
    new = replace(invoice, state=next_state(invoice.state, Event.REVERSED))
    return Change(new, fact, (("coin_reversed", f"{invoice.units_in} units of {pair.name}"),))


def stray(pair: Pair, *, gateway: str, payment: str, units: int, rate: int) -> Fact:
    """Keep coins that belong to no invoice of ours, at what they are worth now, until a person says whose they are."""
    legs: tuple[AnyLeg, ...] = (Leg(_coins(pair, "coin"), _coins(pair, "fx_coin"), units),)
    if value := usd_at(units, rate, pair.scale):
        legs = (*legs, Leg(FX, SUSPENSE, value))
    return Fact(key=f"coin:{gateway}:{payment}", code=Code.SUSPENSE, legs=legs, actor=gateway)


def gateway_fee(invoice: CoinInvoice, units: int, *, actor: str) -> Fact:
    """Note what the gateway kept of an invoice's coins."""
    leg = Leg(_coins(invoice.pair, "gateway_fees"), _coins(invoice.pair, "coin"), units)
    return Fact(key=f"coin:{invoice.id}:fee", code=Code.GATEWAY_FEE, legs=(leg,), actor=actor)


def sale(pair: Pair, *, sale_id: str, units: int, usd: int, actor: str) -> Fact:
    """Note that the operator sold coins: they are gone, and dollars are at the bank."""
    legs = (Leg(_coins(pair, "fx_coin"), _coins(pair, "coin"), units), Leg(BANK, FX, usd))
    return Fact(key=f"fx:{sale_id}", code=Code.FX, legs=legs, actor=actor)


def _counted(invoice: CoinInvoice, sighting: Sighting) -> CoinInvoice:
    """Let the three growing numbers grow."""
    seen = max(sighting.seen, sighting.confirmed, invoice.units_due if sighting.is_seen and not sighting.seen else 0)
    is_prompt = sighting.at_ms <= invoice.expires_ms
    is_late = sighting.at_ms <= invoice.expires_ms + LATE_MS
    prompt = sighting.prompt if sighting.prompt is not None else seen if is_prompt else 0
    late = sighting.late if sighting.late is not None else seen if is_late else 0
    return replace(
        invoice,
        units_in=max(invoice.units_in, sighting.confirmed),
        seen_prompt=max(invoice.seen_prompt, prompt),
        seen_late=max(invoice.seen_late, late, prompt),
        raw=sighting.raw[:_RAW_MAX] or invoice.raw,
        as_of_ms=max(invoice.as_of_ms, sighting.at_ms),
    )


def _parts(invoice: CoinInvoice) -> tuple[int, int, int]:
    """Split the confirmed units into those in time, those a day late at most, and those later still."""
    prompt = min(invoice.units_in, invoice.seen_prompt)
    late = max(0, min(invoice.units_in, invoice.seen_late) - prompt)
    return prompt, late, invoice.units_in - prompt - late


def _valued(before: CoinInvoice, counted: CoinInvoice, rate: int | None) -> tuple[CoinInvoice, tuple[AnyLeg, ...]]:
    """Price what is confirmed now, and return the legs from what was priced before."""
    scale = counted.pair.scale
    prompt, late, too_late = _parts(counted)
    late_rate = counted.late_rate or ((rate or 0) if late or too_late else 0)
    if (late or too_late) and not late_rate:
        raise RateError("late coins wait for today's rate")
    worth = _worth(counted, prompt, late, late_rate)
    suspended = usd_at(too_late, late_rate, scale)
    new = replace(counted, late_rate=late_rate, credited=max(before.credited, worth), suspended=suspended)
    return new, _legs(before, new)


def _worth(invoice: CoinInvoice, prompt: int, late: int, late_rate: int) -> int:
    """Return what units in time and late ones are worth together, rounded down once.

    Rounded once, because with two roundings the same coins would be worth one micro-USD less when they turn out to be in
    time; then the order of events would show.
    """
    if not late:
        return usd_of(prompt, usd=invoice.usd, due=invoice.units_due)
    scale: int = 10**invoice.pair.scale
    late_worth = min(invoice.usd * scale, late_rate * invoice.units_due)
    return (prompt * invoice.usd * scale + late * late_worth) // (invoice.units_due * scale)


def _legs(before: CoinInvoice, new: CoinInvoice) -> tuple[AnyLeg, ...]:
    legs: list[AnyLeg] = []
    if (units := new.units_in - before.units_in) > 0:
        legs.append(Leg(_coins(new.pair, "coin"), _coins(new.pair, "fx_coin"), units))
    if (held := new.suspended - before.suspended) > 0:
        legs.append(Leg(FX, SUSPENSE, held))
    elif held < 0:
        legs.append(Leg(SUSPENSE, FX, -held))
    if (credit := new.credited - before.credited) > 0:
        legs.append(Leg(FX, user_account(new.owner, Kind.PAID), credit))
    return tuple(legs)


def _state_after(before: CoinInvoice, new: CoinInvoice, sighting: Sighting) -> InvoiceState:
    state = before.state
    if sighting.is_seen or sighting.seen or sighting.confirmed:
        state = next_state(state, Event.DETECTED)
    if new.credited >= new.usd:
        return next_state(state, Event.COVERED)
    if new.credited:
        state = next_state(state, Event.PARTLY)
    elif _parts(new)[2]:
        return next_state(state, Event.TOO_LATE)
    is_over = new.as_of_ms > new.expires_ms + LATE_MS  # whatever a gateway says, or forgets to say
    if is_over or sighting.is_expired or sighting.is_failed or sighting.is_invalid:
        state = next_state(state, Event.ENDED_PARTLY if new.credited else Event.ENDED)
    return state


def _after_reversal(invoice: CoinInvoice, sighting: Sighting) -> Change:
    if sighting.confirmed <= invoice.units_in:
        return Change(invoice)
    return Change(invoice, findings=(("coins_after_reversal", f"{sighting.confirmed} units of {invoice.pair.name}"),))


def _findings(before: CoinInvoice, new: CoinInvoice, sighting: Sighting) -> tuple[tuple[str, str], ...]:
    findings = []
    if new.suspended > before.suspended:
        findings.append(("coins_too_late", f"{_parts(new)[2]} units of {new.pair.name}"))
    if sighting.is_failed and new.credited:
        findings.append(("coin_failed_after_credit", f"{new.units_in} units of {new.pair.name}"))
    return tuple(findings)


def _coins(pair: Pair, what: str) -> int:
    match what:
        case "coin" | "fx_coin" | "gateway_fees":
            return coin_account(pair.asset, pair.network, what)
        case _:
            raise ValueError(what)
