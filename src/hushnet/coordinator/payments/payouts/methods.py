"""Where an owner's earnings may go: methods, one of them the default.

Rules: a new place cools down before money goes there, so that a stolen key is noticed first; an address is one method a
network; a method is never deleted, because payouts name it; one default an owner, changed in one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from hushnet.coordinator.ledger.transaction import Transaction, View
from hushnet.coordinator.payments.payouts.model import (
    OPEN_STATES,
    STRIPE,
    ConnectAccount,
    OnboardingState,
    Payout,
    PayoutMethod,
)
from hushnet.foundation.errors import RequestError

METHODS_MAX: Final = 20
BANK_ASSET: Final = "usd"
BANK_NETWORK: Final = "bank"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a method leads."""

    rail: str
    asset: str
    network: str
    address: str
    tag: int | None = None


class AddressCheck(Protocol):
    """What knows a coin's addresses."""

    def __call__(self, asset: str, network: str, address: str, tag: int | None) -> Place:
        """Return the place as it is to be stored; raises `RequestError` when it is none of that coin on that network."""
        ...


class UnknownMethodError(RequestError):
    """There is no such method, or it is somebody else's, or it has been removed."""

    code = "payout_method_not_found"


class MethodRefusedError(RequestError):
    """The method cannot be used, added or removed now."""

    code = "payout_method_unusable"


def bank_place(account: str) -> Place:
    """Return the place that an account at Stripe Connect is."""
    return Place(STRIPE, BANK_ASSET, BANK_NETWORK, account)


def methods_of(view: View, owner: int) -> list[PayoutMethod]:
    """Return an owner's methods that are not removed, oldest first."""
    return view.rows(PayoutMethod).find(owner=owner, removed_ms=None, limit=METHODS_MAX)


def add_method(tx: Transaction, owner: int, place: Place, *, cool_down_ms: int) -> PayoutMethod:
    """Add a place, which cools down first; the first becomes the default. One that is there already is returned as it is."""
    rows = tx.rows(PayoutMethod)
    known = methods_of(tx, owner)
    same = _at(known, place)
    if same is not None:
        return same
    if len(known) >= METHODS_MAX:
        raise MethodRefusedError(f"an account has at most {METHODS_MAX} payout methods", code="too_many_methods")
    method = PayoutMethod(
        id=tx.next_id(),
        owner=owner,
        rail=place.rail,
        asset=place.asset,
        network=place.network,
        address=place.address,
        tag=place.tag,
        is_default=not any(other.is_default for other in known),
        usable_ms=tx.now_ms + cool_down_ms,
        removed_ms=None,
        created_ms=tx.now_ms,
    )
    if rows.add(method):
        return method
    method = replace(method, is_default=False)  # a rival's first method has become the default meanwhile
    same = method if rows.add(method) else _at(methods_of(tx, owner), place)
    if same is not None:
        return same
    raise MethodRefusedError(
        "that address is a payout method already, with another tag",
        hint="remove it first: `hush payout methods remove`",
    )


def set_default(tx: Transaction, owner: int, method_id: int) -> PayoutMethod:
    """Make one method the default and no other; raises `UnknownMethodError`."""
    rows = tx.rows(PayoutMethod)
    locked = [rows.get(method.id) for method in methods_of(tx, owner)]
    living = [method for method in locked if method is not None and method.removed_ms is None]
    chosen = next((method for method in living if method.id == method_id), None)
    if chosen is None:
        raise UnknownMethodError("this account has no such payout method")
    for method in living:
        if method.is_default and method.id != method_id:
            rows.save(replace(method, is_default=False))
    chosen = replace(chosen, is_default=True)
    rows.save(chosen)
    return chosen


def remove_method(tx: Transaction, owner: int, method_id: int) -> PayoutMethod:
    """Take a method out of use for good; raises `UnknownMethodError`, `MethodRefusedError` while a payout is on its way to it."""
    method = own_method(tx, owner, method_id)
    if tx.rows(Payout).find(owner=owner, method=method_id, state=OPEN_STATES, limit=1):
        raise MethodRefusedError("a payout to this method is on its way", hint="cancel it, or wait until it is there")
    method = replace(method, is_default=False, removed_ms=tx.now_ms)
    tx.rows(PayoutMethod).save(method)
    return method


def usable_method(tx: Transaction, owner: int, method_id: int | None, *, rails: frozenset[str]) -> PayoutMethod:
    """Return, locked, the method that is asked for, or the default; raises when money may not go there now."""
    if method_id is None:
        default = next((method for method in methods_of(tx, owner) if method.is_default), None)
        if default is None:
            raise UnknownMethodError(
                "this account has no default payout method",
                code="no_payout_method",
                hint="add one: `hush payout onboard` for a bank account, `hush payout methods add` for coins",
            )
        method_id = default.id
    method = own_method(tx, owner, method_id)
    if method.rail not in rails:
        raise MethodRefusedError("the operator does not pay out that way now")
    if tx.now_ms < method.usable_ms:
        left_h = -(-(method.usable_ms - tx.now_ms) // 3_600_000)
        raise MethodRefusedError(
            f"this payout method is new: it can be used in {left_h} h",
            code="payout_method_cooling_down",
            hint="use another method, or wait",
        )
    if method.rail == STRIPE and not _is_ready(tx, owner, method.address):
        raise MethodRefusedError("Stripe does not pay out to this account now", hint="`hush payout onboard` says why")
    return method


def _at(methods: Sequence[PayoutMethod], place: Place) -> PayoutMethod | None:
    return next(
        (one for one in methods if Place(one.rail, one.asset, one.network, one.address, one.tag) == place), None
    )


def own_method(tx: Transaction, owner: int, method_id: int) -> PayoutMethod:
    """Return one of the owner's methods, locked; raises `UnknownMethodError`."""
    method = tx.rows(PayoutMethod).get(method_id)
    if method is None or method.owner != owner or method.removed_ms is not None:
        raise UnknownMethodError("this account has no such payout method")
    return method


def _is_ready(tx: Transaction, owner: int, account: str) -> bool:
    known = tx.rows(ConnectAccount).find(owner=owner, account=account, state=OnboardingState.READY, limit=1)
    return bool(known) and known[0].payouts_enabled
