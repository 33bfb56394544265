"""A history of a ledger: random operations in random batches, with crashes, beside a plain model of what they mean.

Every operation is told to the model when it is thought of, and to the ledger when its batch is committed; a twin ledger
takes each operation in a batch of its own. Outcomes and books of all three must agree, and the books must balance.

A history may have a store for itself, or share one with others (`ledger_volumes.py`): then it has owners and budget
windows of its own there, and no twin.
"""

from __future__ import annotations

from random import Random
from types import ModuleType

from msgspec.structs import replace

from hushnet.coordinator.ledger import plan as real_planner
from hushnet.coordinator.ledger.books.check import check_books
from hushnet.coordinator.ledger.chart import SPENDABLE, is_operator, on_lane, user_account
from hushnet.coordinator.ledger.model import CapUse, Close, Fact, Held, Hold, Operation, Outcome, Posted
from hushnet.coordinator.ledger.store import Books
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.ids import AccountId, RequestId
from support.ledger import expire, post, void
from support.ledger_batches import BATCH_MAX, Batches
from support.ledger_events import EVENTS, Events
from support.ledger_model import Past, PlainLedger
from support.ledger_stores import MemoryStore, Process, Store

OWNERS = 5
FIRST_OWNER = 70_000
CEILINGS = {1: 250, 2: 500, 3: 150}
"""A daily budget, one for life, and the pool of rewards."""
LIFE_MS = 3_600_000


class History:
    """The ledger under test, its twin, its model, and the steps that a history is made of."""

    def __init__(self, batches: Batches, *, number: int = 0) -> None:
        self.batches = batches
        self.clock = batches.clock
        self.owners = tuple(AccountId(FIRST_OWNER + OWNERS * number + n) for n in range(OWNERS))
        self._first_ms = number << 20
        self._day = 0
        self.model = PlainLedger()
        self.model.ceilings = dict(CEILINGS)
        self.events = Events(self)
        self.past: list[Operation] = []

    @classmethod
    def alone(cls, store: Store, planner: ModuleType = real_planner) -> History:
        """Begin one in an empty store, with a twin in memory."""
        clock = ManualClock()
        process, twin = Process(store, clock, planner), Process(MemoryStore(), clock, planner)
        for each in (process, twin):
            each.store.set_ceilings(dict(CEILINGS))
        return cls(Batches(process, twin, clock))

    def pool(self) -> CapUse:
        return CapUse(3, self._first_ms + self._day)

    def next_id(self) -> int:
        return self.batches.ids.next()

    def think(self, operation: Operation) -> None:
        """Queue an operation for the next batch."""
        self.past.append(operation)
        self.batches.add(operation, self._apply)

    def hold(self, rng: Random) -> None:
        """Hold an amount, with a liking for amounts at which the answer turns."""
        owner = rng.choice(self.owners)
        if rng.random() < 0.3:
            owner = max(self.owners, key=lambda each: sum(self.model.free(each * 16 + kind) for kind in (1, 2, 3)))
        daily, for_life = CapUse(1, self._first_ms + self._day), CapUse(2, self._first_ms)
        caps = rng.choice([(), (), (daily,), (for_life,), (daily, for_life)])
        amount = rng.randint(1, 60)
        if rng.random() < 0.6:
            free = [self.model.free(user_account(owner, kind)) for kind in SPENDABLE]
            rooms = [self.model.room(use) for use in caps]
            amount = max(1, rng.choice([*free, sum(free[:2]), sum(free), *rooms]) + rng.randint(0, 1))
        self.think(Hold(RequestId(self.next_id()), owner, amount, self.clock.now_ms() + LIFE_MS, caps))

    def hold_again_with_other_content(self, rng: Random) -> None:
        holds = [operation for operation in self.past if isinstance(operation, Hold)]
        if holds:
            hold = rng.choice(holds)
            owner = rng.choice(self.owners)
            other = rng.choice(
                [replace(hold, amount=hold.amount + 1), replace(hold, owner=owner), replace(hold, caps=())]
            )
            self.think(replace(other, expires_ms=self.clock.now_ms() + LIFE_MS))

    def close(self, rng: Random) -> None:
        """Close a hold that is open, or one that is not, in full, in part, not at all, or beyond."""
        past = self._past_hold(rng)
        if past is None:
            return
        close = self._closing(past, rng)
        parts, others = close.parts, [owner for owner in self.owners if owner != close.usage.provider]
        if rng.random() < 0.25:
            close = rng.choice(
                [
                    replace(close, owner=rng.choice(others)),
                    replace(close, parts=Held(parts.promo + 1, parts.paid, parts.earnings)),
                    replace(close, caps=(CapUse(1, self._first_ms + self._day), CapUse(2, self._first_ms))),
                    replace(close, id=RequestId(self.next_id())),
                ]
            )
        self.think(close)

    def another_writer_closes(self, rng: Random) -> None:
        """Another writer, on a lane of its own, closes a hold that we are about to close."""
        past = self._past_hold(rng)
        if past is None:
            return
        self.batches.end(rng)
        theirs, ours = self._closing(past, rng), self._closing(past, rng)
        self.batches.beside(theirs, self._apply)
        self.think(ours)

    def another_writer_posts(self, rng: Random) -> None:
        """What was asked here before comes to another writer: an event redelivered, a retry."""
        facts = [operation for operation in self.past if isinstance(operation, Fact)]
        if facts:
            self.batches.end(rng)
            self.batches.beside(rng.choice(facts), self._apply)

    def replay(self, rng: Random) -> None:
        if self.past:
            operation = rng.choice(self.past)
            if isinstance(operation, Hold):
                operation = replace(operation, expires_ms=self.clock.now_ms() + LIFE_MS)
            self.think(operation)

    def event(self, rng: Random) -> None:
        """Something outside requests happens."""
        getattr(self.events, rng.choice(EVENTS))(rng)

    def pass_time(self, rng: Random) -> None:
        """Time goes on, and maybe into another window of the budgets."""
        self.batches.end(rng)
        self.clock.advance(rng.choice([0.001, 1, 60]))
        self._day += rng.random() < 0.3

    def check_model(self) -> None:
        """What the model has set aside is what the events say is open."""
        for owner in self.owners:
            frozen, in_transit = self.model.balance[owner * 16 + 5], self.model.balance[owner * 16 + 4]
            assert (frozen, in_transit) == (self.events.frozen[owner], self.events.in_transit[owner])
            assert all(self.model.free(owner * 16 + kind) >= 0 for kind in range(1, 6))
            assert self.model.balance[owner * 16 + 6] <= 0
            assert self.model.balance[owner * 16 + 6] == 0 or owner in self.model.closed_owners
        for use, spent in self.model.spent.items():
            assert spent + self.model.reserved[use] <= CEILINGS[use.cap]

    def check(self) -> None:
        """Everything agrees and the books balance."""
        self.batches.commit()
        self.check_model()
        process, twin = self.batches.process, self.batches.twin
        check_store(process.store, [self])
        assert twin is not None
        assert self._rows(process) == self._rows(twin)

    def _apply(self, operation: Operation) -> Outcome:
        outcome = self.model.apply(operation)
        if isinstance(operation, Fact) and isinstance(outcome, Posted):
            self.events.note(operation.key, outcome.legs)
        return outcome

    def _past_hold(self, rng: Random) -> Past | None:
        pasts = list(self.model.holds.values())
        still_open = [past for past in pasts if past.phase is None]
        return rng.choice(still_open if still_open and rng.random() < 0.8 else pasts) if pasts else None

    def _closing(self, past: Past, rng: Random) -> Close:
        parts = Held(*past.parts)
        provider = rng.choice([owner for owner in self.owners if owner != past.hold.owner])
        total = parts.total
        amount = rng.choice([1, total, rng.randint(1, total), rng.randint(1, total), total + 1])
        fee = rng.randint(0, amount - 1)
        referral = rng.randint(0, fee)
        posting = post(past.hold, parts, amount - fee, fee - referral, referral, provider=provider)
        return rng.choice([posting] * 3 + [void(past.hold, parts), expire(past.hold, parts)])

    @staticmethod
    def _rows(process: Process) -> object:
        return process.store.inspect(
            lambda books: (
                [row for row, _ in books.transfers()],
                [(row.id, row.key, row.digest) for row in books.facts()],
                list(books.usage()),
                [window for window in books.windows() if window.spent or window.held],
            )
        )


def check_store(store: Store, histories: list[History]) -> None:
    """The books of a store balance and are what the models of all the histories in it say."""
    balances: dict[int, tuple[int, int]] = {}

    def read(books: Books) -> object:
        for row in books.accounts():
            was = balances.get(on_lane(row.id, 0), (0, 0))
            balances[on_lane(row.id, 0)] = (was[0] + row.credits - row.debits, was[1] + row.held)
        windows = {(row.cap, row.start_ms): (row.spent, row.held) for row in books.windows()}
        return check_books(books), {row.id: row.parts for row in books.holds()}, windows

    findings, holds, windows = store.inspect(read)  # type: ignore[misc]
    assert findings == []
    said: dict[int, tuple[int, int]] = {}
    for history in histories:
        for account, balance in history.model.balance.items():
            was = said.get(account, (0, 0))
            said[account] = (was[0] + balance, was[1] + history.model.held[account])
    assert {id_: found for id_, found in balances.items() if any(found)} == {
        id_: state for id_, state in said.items() if any(state)
    }
    pasts = [(id_, past) for history in histories for id_, past in history.model.holds.items()]
    assert holds == {id_: Held(*past.parts) for id_, past in pasts if past.phase is None}
    used = {
        use: (history.model.spent[use], history.model.reserved[use])
        for history in histories
        for use in {*history.model.spent, *history.model.reserved}
    }
    assert {use: found for use, found in windows.items() if any(found)} == {
        use: state for use, state in used.items() if any(state)
    }
    closed = {owner for history in histories for owner in history.model.closed_owners}
    assert store.closed_accounts() == {user_account(owner, kind) for owner in closed for kind in SPENDABLE}
    assert all(is_operator(id_) or balance >= 0 or id_ % 16 == 6 for id_, (balance, _) in balances.items())


STEPS = (
    *("hold", "hold", "hold", "close", "close", "close", "event", "event", "event"),
    *("replay", "hold_again_with_other_content"),
)
INTERRUPTIONS = ("pass_time", "another_writer_closes", "another_writer_posts")
"""Steps that end a batch first."""


def step(history: History, rng: Random) -> None:
    """Let one thing happen."""
    is_interrupted = rng.random() < history.batches.unrest
    getattr(history, rng.choice(INTERRUPTIONS if is_interrupted else STEPS))(rng)


def live(history: History, rng: Random, steps: int) -> None:
    """Drive a history by a seeded random: `steps` operations, in batches of 1 to 64, each compared."""
    history.events.endow(rng)
    batch = rng.randint(1, BATCH_MAX)
    for _ in range(steps):
        step(history, rng)
        if len(history.batches) >= batch:
            history.batches.end(rng)
            batch = rng.randint(1, BATCH_MAX)
    history.batches.end(rng)
    history.check_model()
