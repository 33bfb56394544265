"""What the ledger means, said a second time in the plainest way: dictionaries, one operation after another.

It shares no code with the planner, only the words of `ledger.model`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from hushnet.coordinator.ledger.model import (
    Already,
    AlreadyClosed,
    AlreadyOther,
    AlreadyPosted,
    AnyLeg,
    Capped,
    CapUse,
    Close,
    Closed,
    CloseKind,
    Conflict,
    Fact,
    Freeze,
    GiveBack,
    Held,
    Hold,
    Insufficient,
    Invalid,
    Leg,
    Operation,
    Outcome,
    Overdrawn,
    Overpaid,
    Phase,
    Posted,
    Refused,
    Repay,
    Take,
    Unknown,
    UpTo,
)


@dataclass
class Past:
    """A hold as it was made, and how it ended."""

    hold: Hold
    parts: tuple[int, int, int]
    phase: int | None = None
    posted: dict[int, int] = field(default_factory=dict)


class PlainLedger:
    """Balances by account number, holds by id, facts by key."""

    def __init__(self) -> None:
        self.balance = Counter[int]()
        self.held = Counter[int]()
        self.closed_owners: set[int] = set()
        self.holds: dict[int, Past] = {}
        self.facts: dict[str, tuple[object, ...]] = {}
        self.ceilings: dict[int, int] = {}
        self.spent = Counter[CapUse]()
        self.reserved = Counter[CapUse]()

    def apply(self, operation: Operation) -> Outcome:
        if isinstance(operation, Hold):
            return self._hold(operation)
        if isinstance(operation, Close):
            return self._close(operation)
        assert isinstance(operation, Fact)
        return self._fact(operation)

    def free(self, account: int) -> int:
        return self.balance[account] - self.held[account]

    def room(self, use: CapUse) -> int:
        return self.ceilings[use.cap] - self.spent[use] - self.reserved[use]

    def _hold(self, hold: Hold) -> Outcome:
        past = self.holds.get(hold.id)
        if past is not None:
            return self._hold_again(past, hold)
        buckets = [hold.owner * 16 + kind for kind in (1, 2, 3)]
        if hold.owner in self.closed_owners:
            return Refused()
        if sum(map(self.free, buckets)) < hold.amount:
            return Insufficient(sum(map(self.free, buckets)))
        for use in hold.caps:
            if self.room(use) < hold.amount:
                return Capped(use.cap, max(self.room(use), 0))
        rest, parts = hold.amount, []
        for bucket in buckets:
            take = self.free(bucket) if self.free(bucket) < rest else rest
            parts.append(take)
            self.held[bucket] += take
            rest -= take
        self.reserved.update(dict.fromkeys(hold.caps, hold.amount))
        self.holds[hold.id] = Past(hold, (parts[0], parts[1], parts[2]))
        return Held(*parts)

    @staticmethod
    def _hold_again(past: Past, hold: Hold) -> Outcome:
        if (past.hold.owner, past.hold.amount) != (hold.owner, hold.amount):
            return Conflict()
        if past.phase is not None:
            return AlreadyClosed()
        return Held(*past.parts) if past.hold.caps == hold.caps else Conflict()

    def _close(self, close: Close) -> Outcome:
        wanted = {credit.account: credit.amount for credit in close.credits}
        if sum(wanted.values()) > close.parts.total:
            return Invalid("beyond_hold")
        past = self.holds.get(close.id)
        if past is None:
            return Unknown()
        if past.phase is not None:
            return self._close_again(past, past.phase, close, wanted)
        if (close.owner, close.parts, close.caps) != (past.hold.owner, Held(*past.parts), past.hold.caps):
            return Invalid("parts")
        self._finish(past, close.kind, wanted)
        return Closed(sum(wanted.values()))

    @staticmethod
    def _close_again(past: Past, phase: int, close: Close, wanted: dict[int, int]) -> Outcome:
        posted = sum(past.posted.values())
        if close.owner != past.hold.owner:
            return Invalid("owner")
        return Already(posted) if (phase, past.posted) == (close.kind, wanted) else AlreadyOther(Phase(phase), posted)

    def _finish(self, past: Past, kind: CloseKind, wanted: dict[int, int]) -> None:
        past.phase, past.posted = int(kind), wanted
        to_pay = sum(wanted.values())
        for use in past.hold.caps:
            self.reserved[use] -= past.hold.amount
            self.spent[use] += to_pay
        for number, part in enumerate(past.parts, 1):
            bucket = past.hold.owner * 16 + number
            self.held[bucket] -= part
            paid = part if part < to_pay else to_pay
            self.balance[bucket] -= paid
            to_pay -= paid
        assert to_pay == 0
        self.balance.update(wanted)

    def _fact(self, fact: Fact) -> Outcome:
        content = (fact.code, fact.owner, fact.legs)
        if fact.key in self.facts:
            return AlreadyPosted() if self.facts[fact.key] == content else Conflict()
        before = self.balance.copy()
        moved: list[Leg] = []
        wrong: Outcome | None = None
        for debit, credit, amount in self._movements(fact.legs):
            wrong = self._refusal(debit, credit, amount)
            if wrong is not None:
                break
            self.balance[debit] -= amount
            self.balance[credit] += amount
            moved.append(Leg(debit, credit, amount))
        counted = sum(leg.amount for leg in fact.legs if isinstance(leg, Leg))
        for use in fact.caps:
            if wrong is None and self.room(use) < counted:
                wrong = Capped(use.cap, max(self.room(use), 0))
        if wrong is not None:
            self.balance = before
            return wrong
        for use in fact.caps:
            self.spent[use] += counted
        self._freeze(fact, before)
        self.facts[fact.key] = content
        return Posted(tuple(moved))

    def _movements(self, legs: Iterable[AnyLeg]) -> Iterator[tuple[int, int, int]]:
        """What the legs come to, each looked at when those before it have moved."""
        return ((debit, credit, n) for leg in legs for debit, credit, n in self._movements_of(leg) if n)

    def _movements_of(self, leg: AnyLeg) -> Iterator[tuple[int, int, int]]:
        match leg:
            case Leg(debit, credit, amount):
                yield debit, credit, amount
            case UpTo(debit, credit, amount):
                yield debit, credit, min(amount, self.free(debit))
            case Take(owner, rest):
                for bucket in (2, 3) if leg.has_earnings else (2,):
                    part = min(rest, self.free(owner * 16 + bucket))
                    rest -= part
                    yield owner * 16 + bucket, owner * 16 + 5, part
                yield owner * 16 + 6, owner * 16 + 5, rest
            case Repay(owner):
                yield owner * 16 + 2, owner * 16 + 6, min(self.free(owner * 16 + 2), -self.balance[owner * 16 + 6])
                rest = min(leg.earnings, -self.balance[owner * 16 + 6])
                yield owner * 16 + 3, owner * 16 + 6, min(self.free(owner * 16 + 3), rest)
            case GiveBack(owner, paid, earnings, owed):
                forgiven = min(owed, -self.balance[owner * 16 + 6])
                yield owner * 16 + 5, owner * 16 + 6, forgiven
                yield owner * 16 + 5, owner * 16 + 2, paid + owed - forgiven
                yield owner * 16 + 5, owner * 16 + 3, earnings

    def _refusal(self, debit: int, credit: int, amount: int) -> Outcome | None:
        is_users = debit >= 1 << 20
        if (
            is_users
            and debit % 16 == 3
            and credit % 16 == 4
            and debit // 16 in self.closed_owners
            and credit >= 1 << 20
        ):
            return Refused()
        if is_users and debit % 16 != 6 and self.free(debit) < amount:
            return Overdrawn(debit)
        if credit >= 1 << 20 and credit % 16 == 6 and self.balance[credit] + amount > 0:
            return Overpaid(credit)
        return None

    def _freeze(self, fact: Fact, before: Counter[int]) -> None:
        """Who has come into debt, or was asked for, is frozen; who has come out of it, or was asked for, is free."""
        for account in list(self.balance):
            if account >= 1 << 20 and account % 16 == 6 and before[account] < 0 == self.balance[account]:
                self.closed_owners.discard(account // 16)
        for leg in fact.legs:
            if isinstance(leg, Freeze):
                (self.closed_owners.add if leg.is_frozen else self.closed_owners.discard)(leg.owner)
        self.closed_owners |= {account // 16 for account, n in self.balance.items() if n < 0 and self._is_debt(account)}

    @staticmethod
    def _is_debt(account: int) -> bool:
        return account >= 1 << 20 and account % 16 == 6
