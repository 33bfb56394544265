"""Rules that an operation must keep whatever the books say; each breach has a stable word.

Checked before anything is read and before any arithmetic on numbers from outside.
"""

from __future__ import annotations

from typing import Final

from hushnet.coordinator.ledger.chart import OWNER_MAX, OWNER_MIN, Floor, Kind, account_info
from hushnet.coordinator.ledger.closure import CloseOut
from hushnet.coordinator.ledger.ids import ID_MAX
from hushnet.coordinator.ledger.model import (
    AnyLeg,
    CapUse,
    Close,
    CloseKind,
    Credit,
    Fact,
    FreeUse,
    Freeze,
    GiveBack,
    Hold,
    Leg,
    Operation,
    Repay,
    Take,
    UpTo,
    Usage,
)
from hushnet.foundation.money import TOKENS_MAX, TRANSFER_MICRO_USD_MAX

CAPS_MAX: Final = 16
LEGS_MAX: Final = 64
_KEY_MIN: Final = 3
_TEXT_MAX: Final = 200
_COLUMN_MAX: Final = (1 << 62) - 1


def reason(operation: Operation) -> str | None:
    """Return the word for the first rule that the operation breaks, None when it breaks none."""
    match operation:
        case Hold():
            return _hold(operation)
        case Close():
            return _close(operation)
        case FreeUse():
            return _id(operation.id) or _owner(operation.owner) or _usage(operation.usage)
        case Fact():
            return _fact(operation)


def _hold(hold: Hold) -> str | None:
    if not _is_amount(hold.amount):
        return "amount"
    if not _is_count(hold.expires_ms):
        return "expiry"
    return _id(hold.id) or _owner(hold.owner) or _caps(hold.caps)


def _close(close: Close) -> str | None:
    parts = close.parts
    if not (_is_count(parts.promo) and _is_count(parts.paid) and _is_count(parts.earnings) and _is_amount(parts.total)):
        return "parts"
    if (close.kind == CloseKind.POST) != bool(close.credits):
        return "credits"
    return _id(close.id) or _owner(close.owner) or _caps(close.caps) or _usage(close.usage) or _credits(close)


def _credits(close: Close) -> str | None:
    for credit in close.credits:
        word = "amount" if not _is_amount(credit.amount) else _receiver(credit, close)
        if word is not None:
            return word
    if len({credit.account for credit in close.credits}) < len(close.credits):
        return "receiver"
    return "beyond_hold" if sum(credit.amount for credit in close.credits) > close.parts.total else None


def _receiver(credit: Credit, close: Close) -> str | None:
    info = account_info(credit.account)
    if info is None or info.lane:
        return "receiver"
    match info.kind:
        case Kind.EARNINGS if info.owner == close.owner:
            return "own_consumer"
        case Kind.EARNINGS:
            return None if info.owner == close.usage.provider else "provider"
        case Kind.REFERRAL_PAYABLE:
            return "referrer" if close.usage.referrer is None else None
        case Kind.REVENUE:
            return None
        case _:
            return "receiver"


def _fact(fact: Fact) -> str | None:
    if len(fact.key) < _KEY_MIN or not fact.actor or not all(map(_is_text, (fact.key, fact.actor, fact.note))):
        return "text"
    if len(fact.legs) > LEGS_MAX:
        return "amount"
    if fact.caps and not (fact.legs and isinstance(fact.legs[0], Leg)):
        return "caps"
    if len(fact.legs) > 1 and any(isinstance(leg, CloseOut) for leg in fact.legs):
        return "closure"
    for leg in fact.legs:
        word = _leg(leg)
        if word is not None:
            return word
    return _id(fact.id) or (None if fact.owner == 0 else _owner(fact.owner)) or _caps(fact.caps)


def _leg(leg: AnyLeg) -> str | None:
    match leg:
        case Leg() | UpTo():
            return _movement(leg)
        case Take():
            return _owner(leg.owner) or (None if _is_amount(leg.amount) else "amount")
        case GiveBack():
            parts = (leg.paid, leg.earnings, leg.owed)
            return _owner(leg.owner) or (None if all(map(_is_count, parts)) and _is_amount(sum(parts)) else "amount")
        case Repay():
            is_bounded = leg.earnings == 0 or _is_amount(leg.earnings)
            return _owner(leg.owner) or (None if is_bounded else "amount")
        case Freeze():
            return _owner(leg.owner)
        case CloseOut():
            return _owner(leg.owner) or (None if _is_count(leg.gives_up) else "amount")


def _movement(leg: Leg | UpTo) -> str | None:
    """One between accounts that cannot exist is the planner's to refuse."""
    if not _is_amount(leg.amount):
        return "amount"
    debit, credit = account_info(leg.debit), account_info(leg.credit)
    if leg.debit == leg.credit or (debit and credit and debit.asset != credit.asset):
        return "leg"
    has_available = isinstance(leg, Leg) or debit is None or debit.floor == Floor.NEVER_NEGATIVE
    return None if has_available else "leg"


def _usage(usage: Usage) -> str | None:
    if not (
        _is_count(usage.tokens_in, TOKENS_MAX)
        and _is_count(usage.tokens_cached, usage.tokens_in)
        and _is_count(usage.tokens_out, TOKENS_MAX)
    ):
        return "tokens"
    if not (_is_count(usage.api_key) and _is_count(usage.provider) and _is_count(usage.price)):
        return "usage"
    if usage.referrer is not None and not _is_count(usage.referrer):
        return "usage"
    return None if _is_text(usage.model) and _is_text(usage.machine) else "text"


def _id(id_: int) -> str | None:
    return None if type(id_) is int and 0 < id_ <= ID_MAX and id_ % 2 == 0 else "id"


def _owner(owner: int) -> str | None:
    return None if type(owner) is int and OWNER_MIN <= owner <= OWNER_MAX else "owner"


def _caps(caps: tuple[CapUse, ...]) -> str | None:
    if not caps:
        return None
    is_sound = len(caps) <= CAPS_MAX and len(set(caps)) == len(caps)
    return None if is_sound and all(_is_count(use.cap) and _is_count(use.start_ms) for use in caps) else "caps"


def _is_amount(value: object) -> bool:
    return type(value) is int and 1 <= value <= TRANSFER_MICRO_USD_MAX


def _is_count(value: object, high: int = _COLUMN_MAX) -> bool:
    return type(value) is int and 0 <= value <= high


def _is_text(text: str) -> bool:
    return len(text) <= _TEXT_MAX and "\x00" not in text
