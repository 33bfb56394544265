"""What a fact's legs come to, evaluated in order on a tally of that fact alone, over balances read under the lock.

Two rules hold whatever the legs are: who is in debt after a fact that moved the debt is frozen, and the fact that ends
the debt unfreezes, but nobody whose account is closed for good; and a frozen owner's earnings go into no payout.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hushnet.coordinator.ledger.chart import (
    SPENDABLE,
    Floor,
    Kind,
    account_info,
    on_lane,
    operator_account,
    user_account,
)
from hushnet.coordinator.ledger.closure import CloseOut, NotClosable, Obstacle
from hushnet.coordinator.ledger.model import (
    AnyLeg,
    Fact,
    Freeze,
    GiveBack,
    Leg,
    Overdrawn,
    Overpaid,
    Refused,
    Repay,
    Take,
    UpTo,
)
from hushnet.coordinator.ledger.working import Working

_SYMBOL = 1 << 63
"""In a digest, no account has this bit: a leg that depends on balances begins with it and a number of its own."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """The amounts that the legs came to, zeros left out, whose money is frozen (True) or free again (False), who is closed."""

    legs: tuple[Leg, ...]
    freezes: Mapping[int, bool]
    closes: Sequence[int] = ()


def resolve(legs: Sequence[AnyLeg], working: Working) -> Resolved | Overdrawn | Overpaid | Refused | NotClosable:
    """Evaluate legs in order; the first that may not be is the answer."""
    tally = _Tally(working)
    for leg in legs:
        if isinstance(leg, CloseOut) and (obstacle := tally.obstacle(leg)) is not None:
            return obstacle
        for move in tally.moves(leg):
            refusal = tally.refusal(move)
            if refusal is not None:
                return refusal
    return Resolved(tuple(tally.legs), tally.freezes(), tally.closes)


class _Tally:
    """What one fact has moved so far."""

    def __init__(self, working: Working) -> None:
        self._working = working
        self._moved = Counter[int]()
        self._asked: dict[int, bool] = {}
        self.legs: list[Leg] = []
        self.closes: list[int] = []

    def moves(self, leg: AnyLeg) -> list[Leg]:
        """Return what a leg comes to after those before it."""
        moves: list[Leg] = []
        match leg:
            case Leg():
                moves = [leg]
            case UpTo():
                moves = _some((leg.debit, leg.credit, min(leg.amount, self._available(leg.debit))))
            case Take():
                moves = self._take(leg)
            case Repay():
                moves = self._repay(leg)
            case GiveBack():
                moves = self._give_back(leg)
            case Freeze():
                self._asked[leg.owner] = leg.is_frozen
            case CloseOut():
                self.closes.append(leg.owner)
                moves = self._close_out(leg)
        return moves

    def obstacle(self, leg: CloseOut) -> NotClosable | None:
        """Say what keeps an account from being closed for good."""
        spendable = [self._working.account(user_account(leg.owner, kind)) for kind in SPENDABLE]
        in_transit, frozen, owed = (
            self._working.account(user_account(leg.owner, kind)) for kind in (Kind.IN_TRANSIT, Kind.FROZEN, Kind.OWED)
        )
        for obstacle, amount in (
            (Obstacle.HOLD, sum(account.held for account in spendable)),
            (Obstacle.PAYOUT, in_transit.balance),
            (Obstacle.DEBT, -owed.balance),
            (Obstacle.FREEZE, frozen.balance),
        ):
            if amount:
                return NotClosable(obstacle, amount)
        if any(account.is_closed for account in spendable) and not owed.is_closed:
            return NotClosable(Obstacle.FREEZE, 0)
        _, paid, earnings = spendable
        left = paid.available + earnings.available
        return NotClosable(Obstacle.MONEY, left) if left > leg.gives_up else None

    def refusal(self, move: Leg) -> Overdrawn | Overpaid | Refused | None:
        """Add a leg to the tally; say so when it may not be."""
        is_payout = (_kind(move.debit), _kind(move.credit)) == (Kind.EARNINGS, Kind.IN_TRANSIT)
        if is_payout and self._working.account(move.debit).is_closed:
            return Refused()
        self._moved[move.debit] -= move.amount
        self._moved[move.credit] += move.amount
        if _floor(move.debit) == Floor.NEVER_NEGATIVE and self._available(move.debit) < 0:
            return Overdrawn(move.debit)
        if _floor(move.credit) == Floor.NEVER_POSITIVE and self._balance(move.credit) > 0:
            return Overpaid(move.credit)
        self.legs.append(move)
        return None

    def freezes(self) -> dict[int, bool]:
        """Return whom the fact freezes or unfreezes."""
        found = dict(self._asked)
        for account in self._moved:
            if _kind(account) == Kind.OWED and (self._working.account(account).balance or self._balance(account)):
                found.setdefault(account >> 4, False)
        return {
            owner: is_frozen or self._debt(owner) > 0 or self._is_closed_out(owner)
            for owner, is_frozen in found.items()
        }

    def _take(self, take: Take) -> list[Leg]:
        paid, earnings, frozen, owed = (
            user_account(take.owner, kind) for kind in (Kind.PAID, Kind.EARNINGS, Kind.FROZEN, Kind.OWED)
        )
        from_paid = min(take.amount, self._available(paid))
        from_earnings = min(take.amount - from_paid, self._available(earnings)) if take.has_earnings else 0
        rest = take.amount - from_paid - from_earnings
        return _some((paid, frozen, from_paid), (earnings, frozen, from_earnings), (owed, frozen, rest))

    def _repay(self, repay: Repay) -> list[Leg]:
        paid, earnings, owed = (user_account(repay.owner, kind) for kind in (Kind.PAID, Kind.EARNINGS, Kind.OWED))
        debt = self._debt(repay.owner)
        from_paid = min(debt, self._available(paid))
        from_earnings = min(debt - from_paid, repay.earnings, self._available(earnings)) if repay.earnings else 0
        return _some((paid, owed, from_paid), (earnings, owed, from_earnings))

    def _give_back(self, back: GiveBack) -> list[Leg]:
        paid, earnings, frozen, owed = (
            user_account(back.owner, kind) for kind in (Kind.PAID, Kind.EARNINGS, Kind.FROZEN, Kind.OWED)
        )
        still_owed = min(back.owed, self._debt(back.owner))
        return _some(
            (frozen, owed, still_owed),
            (frozen, paid, back.paid + back.owed - still_owed),
            (frozen, earnings, back.earnings),
        )

    def _close_out(self, leg: CloseOut) -> list[Leg]:
        promo, paid, earnings = (user_account(leg.owner, kind) for kind in SPENDABLE)
        unclaimed = operator_account(Kind.UNCLAIMED)
        return _some(
            (promo, operator_account(Kind.PROMO_EXPENSE), self._available(promo)),
            (paid, unclaimed, self._available(paid)),
            (earnings, unclaimed, self._available(earnings)),
        )

    def _is_closed_out(self, owner: int) -> bool:
        return self._working.account(user_account(owner, Kind.OWED)).is_closed

    def _available(self, account: int) -> int:
        return self._working.account(account).available + self._moved[account]

    def _balance(self, account: int) -> int:
        return self._working.account(account).balance + self._moved[account]

    def _debt(self, owner: int) -> int:
        return -self._balance(user_account(owner, Kind.OWED))


def _some(*moves: tuple[int, int, int]) -> list[Leg]:
    return [Leg(*move) for move in moves if move[2]]


def _kind(account: int) -> Kind | None:
    info = account_info(account)
    return None if info is None else info.kind


def _floor(account: int) -> Floor:
    info = account_info(account)
    return Floor.FREE if info is None else info.floor


def fact_digest(fact: Fact) -> bytes:
    """Return SHA-256 over a fact's content: code, owner and legs as asked; neither id, lane, caps, actor nor note."""
    head = struct.pack(">HQH", fact.code, fact.owner, len(fact.legs))
    return hashlib.sha256(head + b"".join(map(_packed, fact.legs))).digest()


def _packed(leg: AnyLeg) -> bytes:
    match leg:
        case Leg():
            return struct.pack(">QQQ", on_lane(leg.debit, 0), on_lane(leg.credit, 0), leg.amount)
        case Take():
            return _symbol(1, leg.owner, leg.amount, leg.has_earnings)
        case Repay():
            return _symbol(6, leg.owner, leg.earnings) if leg.earnings else _symbol(2, leg.owner)
        case GiveBack():
            return _symbol(3, leg.owner, leg.paid, leg.earnings, leg.owed)
        case UpTo():
            return _symbol(4, on_lane(leg.debit, 0), on_lane(leg.credit, 0), leg.amount)
        case Freeze() | CloseOut():
            return _symbol(5, leg.owner, leg.is_frozen) if isinstance(leg, Freeze) else _symbol(7, leg.owner)


def _symbol(number: int, *content: int) -> bytes:
    return struct.pack(f">{1 + len(content)}Q", _SYMBOL | number, *content)
