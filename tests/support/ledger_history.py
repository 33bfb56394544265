"""A history of a ledger: random operations in random batches, with crashes, beside a plain model of what they mean.

Every operation is told to the model when it is thought of, and to the ledger when its batch is committed; a twin ledger
takes each operation in a batch of its own. Outcomes and books of all three must agree, and the books must balance.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from types import ModuleType
from typing import Protocol

from msgspec.structs import replace

from hushnet.coordinator.ledger import plan as real_planner
from hushnet.coordinator.ledger.books.check import check_books
from hushnet.coordinator.ledger.chart import SPENDABLE, Kind, is_operator, on_lane, operator_account, user_account
from hushnet.coordinator.ledger.faults import AFTER_COMMIT, BEFORE_COMMIT
from hushnet.coordinator.ledger.ids import FactIds
from hushnet.coordinator.ledger.model import CapUse, Close, Code, Fact, Held, Hold, Leg, Operation, Outcome
from hushnet.coordinator.ledger.reads import prepared
from hushnet.coordinator.ledger.store import Books, Lease, Reads, Snapshot, Writes
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.ids import AccountId, RequestId
from support.ledger import CONSUMER, PROVIDER, REFERRER, expire, post, void
from support.ledger_memory import MemoryBooks, MemoryLedgerStore
from support.ledger_model import PlainLedger

OWNERS = (CONSUMER, PROVIDER, REFERRER, AccountId(100_000))
CAPS = (CapUse(1, 0), CapUse(2, 86_400_000))
CEILINGS = {1: 250, 2: 500}
LIFE_MS = 3_600_000


class CrashedError(Exception):
    """The process died at a fault point."""


class Store(Protocol):
    """What a history needs of a store, without waiting."""

    def claim(self, now_ms: int) -> Lease: ...
    def commit(self, reads: Reads, decide: Callable[[Snapshot], Writes | None]) -> None: ...
    def inspect(self, work: Callable[[Books], object]) -> object: ...
    def fail_at(self, point: str) -> None: ...
    def set_ceilings(self, ceilings: dict[int, int]) -> None: ...
    def close(self) -> None: ...


class MemoryStore:
    """A store in memory that crashes when told."""

    def __init__(self) -> None:
        self.rows = MemoryLedgerStore(self._reach)
        self._point = ""

    def claim(self, now_ms: int) -> Lease:
        origin = max((origin for origin, _, _ in self.rows.lanes.values()), default=0) + 256
        _, seq, head = self.rows.lanes.get(0, (0, 0, bytes(32)))
        self.rows.lanes[0] = (origin, seq, head)
        return Lease(0, origin, 1 << 62, seq, head, max((fact for fact, _ in self.rows.transfers), default=0), None)

    def commit(self, reads: Reads, decide: Callable[[Snapshot], Writes | None]) -> None:
        self.rows.commit(reads, decide)

    def inspect(self, work: Callable[[Books], object]) -> object:
        return work(MemoryBooks(self.rows))

    def fail_at(self, point: str) -> None:
        self._point = point

    def set_ceilings(self, ceilings: dict[int, int]) -> None:
        self.rows.ceilings = ceilings

    def close(self) -> None:
        return

    def _reach(self, point: str) -> None:
        if point == self._point:
            self._point = ""
            raise CrashedError


class Process:
    """A ledger process without a writer: plans a batch and commits it."""

    def __init__(self, store: Store, clock: ManualClock, planner: ModuleType) -> None:
        self.store = store
        self._clock = clock
        self._planner = planner
        self.restart()

    def restart(self) -> None:
        self._lease = self.store.claim(self._clock.now_ms())
        self._seq, self._head = self._lease.seq, self._lease.head

    def run(self, operations: list[Operation]) -> tuple[Outcome, ...]:
        moment = self._planner.Moment(self._lease.lane, self._lease.origin, self._seq, self._head, self._clock.now_ms())
        batch = prepared(operations, lane=moment.lane)
        planned = []

        def decide(snapshot: Snapshot) -> Writes | None:
            planned.append(self._planner.plan(batch, snapshot, moment))
            return planned[0].writes  # type: ignore[no-any-return]

        self.store.commit(batch.reads, decide)
        if planned[0].writes is not None:
            self._seq, self._head = planned[0].writes.batch.seq, planned[0].writes.batch.digest
        return planned[0].outcomes  # type: ignore[no-any-return]


class History:
    """The ledger under test, its twin, its model, and the steps that a history is made of."""

    def __init__(self, store: Store, planner: ModuleType = real_planner) -> None:
        self.clock = ManualClock()
        self.model = PlainLedger()
        self.model.ceilings = dict(CEILINGS)
        self.ids = FactIds(0, self.clock, last_fact=0, until_ms=1 << 62)
        self.process = Process(store, self.clock, planner)
        self.twin = Process(MemoryStore(), self.clock, planner)
        for each in (self.process, self.twin):
            each.store.set_ceilings(dict(CEILINGS))
        self.queue: list[Operation] = []
        self.expected: list[Outcome] = []
        self.past: list[Operation] = []

    def think(self, operation: Operation) -> None:
        """Queue an operation for the next batch."""
        self.queue.append(operation)
        self.expected.append(self.model.apply(operation))
        self.past.append(operation)
        if len(self.queue) >= 64:
            self.commit()

    def hold(self, rng: Random) -> None:
        """Hold an amount, with a liking for amounts at which the answer turns."""
        owner, caps = rng.choice(OWNERS), rng.choice([(), (), CAPS[:1], CAPS[1:], CAPS])
        free = [self.model.free(user_account(owner, kind)) for kind in SPENDABLE]
        rooms = [self.model.room(use) for use in caps]
        edges = [*free, sum(free[:2]), sum(free), *rooms]
        amount = rng.choice([edge + more for edge in edges for more in (0, 1)] + [rng.randint(1, 60)] * 8)
        self.think(Hold(RequestId(self.ids.next()), owner, max(1, amount), self.clock.now_ms() + LIFE_MS, caps))

    def hold_again_with_other_content(self, rng: Random) -> None:
        holds = [operation for operation in self.past if isinstance(operation, Hold)]
        if holds:
            hold = rng.choice(holds)
            other = rng.choice(
                [replace(hold, amount=hold.amount + 1), replace(hold, owner=rng.choice(OWNERS)), replace(hold, caps=())]
            )
            self.think(replace(other, expires_ms=self.clock.now_ms() + LIFE_MS))

    def close(self, rng: Random) -> None:
        """Close a hold that is open, or one that is not, in full, in part, not at all, or beyond."""
        pasts = list(self.model.holds.values())
        if not pasts:
            return
        still_open = [past for past in pasts if past.phase is None]
        past = rng.choice(still_open if still_open and rng.random() < 0.8 else pasts)
        parts = Held(*past.parts)
        provider = rng.choice([owner for owner in OWNERS if owner != past.hold.owner])
        total = parts.total
        amount = rng.choice([1, total, rng.randint(1, total), rng.randint(1, total), total + 1])
        fee = rng.randint(0, amount - 1)
        referral = rng.randint(0, fee)
        close = rng.choice(
            [post(past.hold, parts, amount - fee, fee - referral, referral, provider=provider)] * 3
            + [void(past.hold, parts), expire(past.hold, parts)]
        )
        if rng.random() < 0.25:
            close = rng.choice(
                [
                    replace(close, owner=rng.choice([owner for owner in OWNERS if owner != provider])),
                    replace(close, parts=Held(parts.promo + 1, parts.paid, parts.earnings)),
                    replace(close, caps=CAPS),
                    replace(close, id=RequestId(self.ids.next())),
                ]
            )
        self.think(close)

    def fact(self, rng: Random) -> None:
        """Money in, out, aside and back; debts made and repaid."""
        owner = rng.choice(OWNERS)
        promo, paid, earnings, frozen, owed = (
            user_account(owner, kind) for kind in (Kind.PROMO, Kind.PAID, Kind.EARNINGS, Kind.FROZEN, Kind.OWED)
        )
        stripe, expense = operator_account(Kind.STRIPE), operator_account(Kind.PROMO_EXPENSE)
        moves = [
            *[((stripe, paid), (expense, promo), (expense, earnings))] * 3,
            ((stripe, paid),),
            ((expense, promo),),
            ((paid, frozen), (earnings, frozen)),
            ((frozen, stripe), (owed, stripe)),
            ((paid, owed),),
            ((stripe, paid), (paid, owed), (promo, expense)),
            (),
        ]
        legs = tuple(Leg(debit, credit, self._amount(rng, debit, credit)) for debit, credit in rng.choice(moves))
        key = rng.choice(list(self.model.facts) or ["k"]) if rng.random() < 0.1 else f"key:{len(self.past)}"
        self.think(Fact(key.ljust(3, "."), Code.ADJUSTMENT, legs, actor="test", owner=owner, id=self.ids.next()))

    def _amount(self, rng: Random, debit: int, credit: int) -> int:
        """An amount, with a liking for those at which the answer turns."""
        edges = [self.model.free(debit), self.model.balance[debit], -self.model.balance[credit]]
        return max(1, rng.choice([edge + more for edge in edges for more in (0, 1)] + [rng.randint(1, 300)] * 9))

    def replay(self, rng: Random) -> None:
        if self.past:
            operation = rng.choice(self.past)
            if isinstance(operation, Hold):
                operation = replace(operation, expires_ms=self.clock.now_ms() + LIFE_MS)
            self.think(operation)

    def commit(self) -> None:
        """Commit the queue as one batch, and one by one in the twin, and compare."""
        queue, expected = self.queue, tuple(self.expected)
        self.queue, self.expected = [], []
        assert self.process.run(queue) == expected
        assert tuple(outcome for operation in queue for outcome in self.twin.run([operation])) == expected

    def crash_before_commit(self) -> None:
        """The batch is lost; the new process submits it again."""
        self._crash(BEFORE_COMMIT)
        self.commit()

    def crash_after_commit(self) -> None:
        """The batch is committed and nobody hears of it; the new process submits it again."""
        if self._crash(AFTER_COMMIT):
            for operation in self.queue:
                self.twin.run([operation])
            self.expected = [self.model.apply(operation) for operation in self.queue]
        self.commit()

    def pass_time(self, rng: Random) -> None:
        self.commit()
        self.clock.advance(rng.choice([0.001, 1, 60]))

    def check(self) -> None:
        """Everything agrees and the books balance."""
        self.commit()
        balances: dict[int, tuple[int, int]] = {}

        def read(books: Books) -> object:
            for row in books.accounts():
                was = balances.get(on_lane(row.id, 0), (0, 0))
                balances[on_lane(row.id, 0)] = (was[0] + row.credits - row.debits, was[1] + row.held)
            return check_books(books), {row.id: row.parts for row in books.holds()}

        findings, holds = self.process.store.inspect(read)  # type: ignore[misc]
        assert findings == []
        model = {id_: (self.model.balance[id_], self.model.held[id_]) for id_ in self.model.balance}
        assert {id_: found for id_, found in balances.items() if any(found)} == {
            id_: said for id_, said in model.items() if any(said)
        }
        assert holds == {id_: Held(*past.parts) for id_, past in self.model.holds.items() if past.phase is None}
        assert self._rows(self.process) == self._rows(self.twin)
        assert all(is_operator(id_) or balance >= 0 or id_ % 16 == 6 for id_, (balance, _) in balances.items())

    def _crash(self, point: str) -> bool:
        self.process.store.fail_at(point)
        try:
            self.process.run(self.queue)
        except CrashedError:
            self.process.restart()
            return True
        finally:
            self.process.store.fail_at("")
        return False

    @staticmethod
    def _rows(process: Process) -> object:
        return process.store.inspect(
            lambda books: (
                [row for row, _ in books.transfers()],
                [(row.id, row.key, row.digest) for row in books.facts()],
                list(books.usage()),
                list(books.windows()),
            )
        )


STEPS = (
    "hold",
    "hold",
    "hold",
    "close",
    "close",
    "fact",
    "fact",
    "replay",
    "hold_again_with_other_content",
    "pass_time",
)
ENDINGS = ("commit", "commit", "commit", "crash_before_commit", "crash_after_commit")


def live(history: History, rng: Random, steps: int) -> None:
    """Drive a history by a seeded random: `steps` operations, in batches of up to 64, compared and checked."""
    for _ in range(steps):
        getattr(history, rng.choice(STEPS))(rng)
        if rng.random() < 0.1:
            getattr(history, rng.choice(ENDINGS))()
    history.check()


__all__ = ["Close", "History", "MemoryStore", "live"]
