"""The planner's working copy: balances, holds and keys as they are after each operation of a batch.

It starts from what was read under the lock, applies one decided operation at a time, and at the end tells what the
batch writes: rows, and one delta per account however many operations touched it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hushnet.coordinator.ledger.chart import OF_USERS, SPENDABLE, Kind, is_operator, user_account
from hushnet.coordinator.ledger.model import CapUse, Code, Held, Phase, UsageRecord
from hushnet.coordinator.ledger.store import (
    AccountState,
    Delta,
    FactRow,
    Snapshot,
    StoredHold,
    Transfer,
    WindowDelta,
)


@dataclass(slots=True)
class Account:
    """An account's columns while a batch is walked. An operator account starts at zero: only its delta matters."""

    credits: int
    debits: int
    held: int
    is_closed: bool

    @property
    def available(self) -> int:
        return self.credits - self.debits - self.held

    @property
    def balance(self) -> int:
        return self.credits - self.debits


@dataclass(slots=True)
class Window:
    """A budget window while a batch is walked."""

    spent: int
    held: int
    ceiling: int

    @property
    def left(self) -> int:
        return self.ceiling - self.spent - self.held


class Working:
    """A snapshot that can be moved forward. Its methods apply; whether they may is the planner's judgement."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._accounts: dict[int, Account] = {}
        self._windows: dict[CapUse, Window] = {}
        self._finished: dict[int, tuple[StoredHold, Sequence[Transfer]]] = {}
        self._holds: dict[int, StoredHold | None] = {}
        self.transfers: list[Transfer] = []
        self.opened: dict[int, StoredHold] = {}
        self.closed: dict[int, StoredHold] = {}
        self.usage: dict[int, UsageRecord] = {}
        self.facts: dict[str, FactRow] = {}

    def account(self, account: int) -> Account:
        """Return the account as it is now; one that has no row yet is empty."""
        found = self._accounts.get(account)
        if found is None:
            state = AccountState() if is_operator(account) else self._snapshot.accounts.get(account, AccountState())
            found = Account(state.credits, state.debits, state.held, state.is_closed)
            self._accounts[account] = found
        return found

    def window(self, use: CapUse) -> Window | None:
        """Return a budget window as it is now; None when there is no such cap."""
        found = self._windows.get(use)
        if found is None and (state := self._snapshot.windows.get(use)) is not None:
            found = self._windows[use] = Window(state.spent, state.held, state.ceiling)
        return found

    def hold(self, id_: int) -> StoredHold | None:
        """Return the open hold of this id."""
        return self._holds[id_] if id_ in self._holds else self._snapshot.holds.get(id_)

    def finished(self, id_: int) -> Sequence[Transfer]:
        """Return the rows, pending and final, of a hold that has been finalised; nothing for any other id."""
        if id_ in self._finished:
            hold, rows = self._finished[id_]
            return [*pending_rows(hold), *rows]
        return self._snapshot.transfers.get(id_, ())

    def used(self, id_: int) -> UsageRecord | None:
        """Return the usage record of a free use."""
        return self.usage.get(id_) or self._snapshot.uses.get(id_)

    def digest(self, key: str) -> bytes | None:
        """Return the content digest of the fact that has this key."""
        row = self.facts.get(key)
        return row.digest if row is not None else self._snapshot.facts.get(key)

    def open_hold(self, hold: StoredHold, rows: Sequence[Transfer]) -> None:
        """Reserve the parts; `rows` are the pending legs."""
        for account, amount in parts_of(hold.owner, hold.parts):
            self.account(account).held += amount
        for use in hold.caps:
            self._touched(use).held += hold.parts.total
        self._holds[hold.id] = self.opened[hold.id] = hold
        self.transfers.extend(rows)

    def finish_hold(self, hold: StoredHold, rows: Sequence[Transfer], record: UsageRecord) -> None:
        """Release the parts and post `rows`, the finaliser's."""
        for account, amount in parts_of(hold.owner, hold.parts):
            self.account(account).held -= amount
        for use in hold.caps:
            window = self._touched(use)
            window.held -= hold.parts.total
            window.spent += record.cost
        if self.opened.pop(hold.id, None) is None:
            self.closed[hold.id] = hold
        self._holds[hold.id] = None
        self._finished[hold.id] = (hold, rows)
        self._move(rows)
        self.usage[hold.id] = record

    def post_fact(self, row: FactRow, rows: Sequence[Transfer]) -> None:
        """Post a fact's legs under its key."""
        self.facts[row.key] = row
        self._move(rows)

    def spend(self, caps: Iterable[CapUse], amount: int) -> None:
        """Count a fact's amount as spent in each budget window of `caps`."""
        for use in caps:
            self._touched(use).spent += amount

    def freeze(self, owner: int, *, is_frozen: bool) -> None:
        """Close the owner's spendable accounts, or open them again."""
        for kind in SPENDABLE:
            self.account(user_account(owner, kind)).is_closed = is_frozen

    def close(self, owner: int) -> None:
        """Close all of the owner's accounts for good."""
        for kind in OF_USERS:
            self.account(user_account(owner, kind)).is_closed = True

    def deltas(self) -> list[Delta]:
        """Return what the batch adds to each account that it changed, ascending."""
        found = []
        for account, now in sorted(self._accounts.items()):
            was = AccountState() if is_operator(account) else self._snapshot.accounts.get(account, AccountState())
            is_closed = now.is_closed if now.is_closed != was.is_closed else None
            delta = Delta(account, now.credits - was.credits, now.debits - was.debits, now.held - was.held, is_closed)
            if delta[1:] != (0, 0, 0, None):
                found.append(delta)
        return found

    def window_deltas(self) -> list[WindowDelta]:
        """Return what the batch adds to each budget window, ascending."""
        found = []
        for use, now in self._windows.items():
            was = self._snapshot.windows[use]
            if (now.spent, now.held) != (was.spent, was.held):
                found.append(WindowDelta(use.cap, use.start_ms, now.spent - was.spent, now.held - was.held))
        return sorted(found)

    def _move(self, rows: Iterable[Transfer]) -> None:
        for row in rows:
            self.transfers.append(row)
            if row.phase == Phase.POSTED and row.credit is not None:
                self.account(row.debit).debits += row.amount
                self.account(row.credit).credits += row.amount

    def _touched(self, use: CapUse) -> Window:
        window = self.window(use)
        assert window is not None, "a hold is planned with its windows read"
        return window


def parts_of(owner: int, parts: Held) -> list[tuple[int, int]]:
    """Return (account, amount) of each bucket that a hold takes from, in order of consumption."""
    found = []
    if parts.promo:
        found.append((user_account(owner, Kind.PROMO), parts.promo))
    if parts.paid:
        found.append((user_account(owner, Kind.PAID), parts.paid))
    if parts.earnings:
        found.append((user_account(owner, Kind.EARNINGS), parts.earnings))
    return found


def pending_rows(hold: StoredHold) -> list[Transfer]:
    """Return the rows that a hold stands for: one pending leg a bucket."""
    return [
        Transfer(hold.id, leg, Phase.PENDING, Code.HOLD, account, None, amount, hold.opened_ms)
        for leg, (account, amount) in enumerate(parts_of(hold.owner, hold.parts))
    ]
