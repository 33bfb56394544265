"""The planner: what a batch of operations means, decided purely from what was read under the lock.

Operations are walked in order over a working copy of the balances, so a batch means exactly what the same operations
mean one by one: an earlier credit is spendable by a later hold, a duplicate inside the batch is answered as one. A
refused operation leaves no row and fails nobody else. There is no other code that makes a hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hushnet.coordinator.ledger.books.audit import link
from hushnet.coordinator.ledger.chart import SPENDABLE, Kind, account_info, on_lane, user_account
from hushnet.coordinator.ledger.ids import id_ms
from hushnet.coordinator.ledger.legs import Resolved, fact_digest, resolve
from hushnet.coordinator.ledger.model import (
    HOLD_LIFE_MS_MAX,
    Already,
    AlreadyClosed,
    AlreadyOther,
    AlreadyPosted,
    Capped,
    CapUse,
    Close,
    Closed,
    CloseKind,
    CloseOutcome,
    Code,
    Conflict,
    Fact,
    FactOutcome,
    FreeUse,
    FreeUseOutcome,
    Held,
    Hold,
    HoldOutcome,
    Insufficient,
    Invalid,
    Leg,
    Operation,
    Outcome,
    Phase,
    Posted,
    Recorded,
    Refused,
    Unknown,
    UnknownAccount,
    UpTo,
    UsageRecord,
)
from hushnet.coordinator.ledger.reads import Batch
from hushnet.coordinator.ledger.store import FactRow, Snapshot, StoredHold, Transfer, Writes
from hushnet.coordinator.ledger.working import Account, Working, parts_of, pending_rows

_CLOSE_CODES: Final = {CloseKind.POST: Code.SETTLE, CloseKind.VOID: Code.VOID, CloseKind.EXPIRE: Code.EXPIRE}


@dataclass(frozen=True, slots=True)
class Moment:
    """Where and when a batch is decided: the writer's lane and claim, its chain's head, and the time."""

    lane: int
    origin: int
    seq: int
    head: bytes
    now_ms: int


@dataclass(frozen=True, slots=True)
class Plan:
    """One outcome per operation, and what to write (None: nothing changes)."""

    outcomes: tuple[Outcome, ...]
    writes: Writes | None


def plan(batch: Batch, snapshot: Snapshot, moment: Moment) -> Plan:
    """Decide a batch's operations in order; `snapshot` has at least what `batch.reads` asks for."""
    planner = _Planner(Working(snapshot), moment)
    outcomes = tuple(
        planner.decide(operation) if breach is None else Invalid(breach)
        for operation, breach in zip(batch.operations, batch.breaches, strict=True)
    )
    return Plan(outcomes, _writes(planner.working, moment))


class _Planner:
    """One batch being decided."""

    def __init__(self, working: Working, moment: Moment) -> None:
        self.working = working
        self._moment = moment

    def decide(self, operation: Operation) -> Outcome:
        match operation:
            case Hold():
                return self._hold(operation)
            case Close():
                return self._close(operation)
            case FreeUse():
                return self._free_use(operation)
            case Fact():
                return self._fact(operation)

    def _hold(self, hold: Hold) -> HoldOutcome:
        known = self._known_hold(hold)
        if known is not None:
            return known
        refusal = self._refused_hold(hold)
        if refusal is not None:
            return refusal
        left, parts = hold.amount, []
        for bucket in self._buckets(hold.owner):
            parts.append(min(left, bucket.available))
            left -= parts[-1]
        held = Held(*parts)
        now_ms = self._moment.now_ms
        stored = StoredHold(hold.id, hold.owner, held, now_ms, hold.expires_ms, self._moment.origin, hold.caps)
        self.working.open_hold(stored, pending_rows(stored))
        return held

    def _refused_hold(self, hold: Hold) -> Invalid | Refused | Insufficient | Capped | None:
        now_ms = self._moment.now_ms
        if id_ms(hold.id) < now_ms - HOLD_LIFE_MS_MAX:
            return Invalid("id")
        if not now_ms < hold.expires_ms <= now_ms + HOLD_LIFE_MS_MAX:
            return Invalid("expiry")
        buckets = self._buckets(hold.owner)
        if any(bucket.is_closed for bucket in buckets):
            return Refused()
        available = sum(bucket.available for bucket in buckets)
        return Insufficient(available) if available < hold.amount else self._over_a_cap(hold.caps, hold.amount)

    def _buckets(self, owner: int) -> list[Account]:
        return [self.working.account(user_account(owner, kind)) for kind in SPENDABLE]

    def _known_hold(self, hold: Hold) -> HoldOutcome | None:
        """Answer a hold whose id has been seen: equal content is success or long over, other content a conflict."""
        stored = self.working.hold(hold.id)
        if stored is not None:
            is_same = (stored.owner, stored.parts.total, stored.caps) == (hold.owner, hold.amount, hold.caps)
            return stored.parts if is_same else Conflict()
        pending = [row for row in self.working.finished(hold.id) if row.phase == Phase.PENDING]
        if not pending:
            return None
        is_same = pending[0].debit >> 4 == hold.owner and sum(row.amount for row in pending) == hold.amount
        return AlreadyClosed() if is_same else Conflict()

    def _over_a_cap(self, caps: Sequence[CapUse], amount: int) -> Capped | Invalid | None:
        for use in caps:
            window = self.working.window(use)
            if window is None:
                return Invalid("caps")
            if window.left < amount:
                return Capped(use.cap, max(0, window.left))
        return None

    def _close(self, close: Close) -> CloseOutcome:
        stored = self.working.hold(close.id)
        if stored is None:
            return self._finished_before(close)
        if (stored.owner, stored.parts, stored.caps) != (close.owner, close.parts, close.caps):
            return Invalid("parts")
        posted = sum(credit.amount for credit in close.credits)
        rows = self._posting_rows(stored, close) if posted else [self._empty_row(stored, close.kind)]
        self.working.finish_hold(stored, rows, self._record(close, posted))
        return Closed(posted)

    def _finished_before(self, close: Close) -> CloseOutcome:
        rows = self.working.finished(close.id)
        final = [row for row in rows if row.phase != Phase.PENDING]
        if not final:
            return Unknown()
        if rows[0].debit >> 4 != close.owner:
            return Invalid("owner")
        phase = Phase(final[0].phase)
        received = Counter[int]()
        for row in final:
            if row.credit is not None:
                received[on_lane(row.credit, 0)] += row.amount
        posted = received.total()
        wanted = {credit.account: credit.amount for credit in close.credits}
        return Already(posted) if phase == Phase(close.kind) and received == wanted else AlreadyOther(phase, posted)

    def _posting_rows(self, stored: StoredHold, close: Close) -> list[Transfer]:
        """Fill the credits in order from the parts in order: at most parts + credits - 1 legs."""
        rows: list[Transfer] = []
        sources = iter(parts_of(stored.owner, stored.parts))
        source, left = next(sources)
        for credit in close.credits:
            need, receiver = credit.amount, on_lane(credit.account, self._moment.lane)
            while need:
                if not left:
                    source, left = next(sources)
                amount = min(need, left)
                rows.append(self._row(stored.id | 1, len(rows), Code.SETTLE, Leg(source, receiver, amount)))
                need -= amount
                left -= amount
        return rows

    def _empty_row(self, stored: StoredHold, kind: CloseKind) -> Transfer:
        debit = parts_of(stored.owner, stored.parts)[0][0]
        return Transfer(
            stored.id | 1, 0, kind, _CLOSE_CODES[kind], debit, None, stored.parts.total, self._moment.now_ms
        )

    def _record(self, close: Close, posted: int) -> UsageRecord:
        received = {Kind.EARNINGS: 0, Kind.REVENUE: 0, Kind.REFERRAL_PAYABLE: 0}
        for credit in close.credits:
            info = account_info(credit.account)
            assert info is not None, "validity has seen every receiver"
            received[info.kind] += credit.amount
        return UsageRecord(
            id=close.id,
            owner=close.owner,
            usage=close.usage,
            held=close.parts.total,
            cost=posted,
            to_provider=received[Kind.EARNINGS],
            to_platform=received[Kind.REVENUE],
            to_referrer=received[Kind.REFERRAL_PAYABLE],
            at_ms=self._moment.now_ms,
        )

    def _free_use(self, use: FreeUse) -> FreeUseOutcome:
        known = self.working.used(use.id)
        if known is not None:
            return (
                AlreadyPosted() if (known.owner, known.usage, known.held) == (use.owner, use.usage, 0) else Conflict()
            )
        if self.working.hold(use.id) is not None or self.working.finished(use.id):
            return Conflict()
        self.working.usage[use.id] = UsageRecord(
            use.id,
            use.owner,
            use.usage,
            held=0,
            cost=0,
            to_provider=0,
            to_platform=0,
            to_referrer=0,
            at_ms=self._moment.now_ms,
        )
        return Recorded()

    def _fact(self, fact: Fact) -> FactOutcome:
        named = [leg for leg in fact.legs if isinstance(leg, Leg | UpTo)]
        for account in (account for leg in named for account in (leg.debit, leg.credit)):
            info = account_info(account)
            if info is None or info.lane:
                return UnknownAccount(account)
        digest = fact_digest(fact)
        known = self.working.digest(fact.key)
        if known is not None:
            return AlreadyPosted() if known == digest else Conflict()
        resolved = resolve(fact.legs, self.working)
        if not isinstance(resolved, Resolved):
            return resolved
        refusal = self._over_a_cap(fact.caps, _capped(fact)) if fact.caps else None
        if refusal is not None:
            return refusal
        self._post(fact, resolved, digest)
        return Posted(resolved.legs)

    def _post(self, fact: Fact, resolved: Resolved, digest: bytes) -> None:
        lane = self._moment.lane
        rows = [
            self._row(fact.id, leg, fact.code, Leg(on_lane(move.debit, lane), on_lane(move.credit, lane), move.amount))
            for leg, move in enumerate(resolved.legs)
        ]
        row = FactRow(fact.id, fact.key, digest, fact.code, fact.owner, fact.actor, fact.note, self._moment.now_ms)
        self.working.post_fact(row, rows)
        self.working.spend(fact.caps, _capped(fact))
        for owner, is_frozen in resolved.freezes.items():
            self.working.freeze(owner, is_frozen=is_frozen)
        for owner in resolved.closes:
            self.working.close(owner)

    def _row(self, fact: int, leg: int, code: Code, move: Leg) -> Transfer:
        return Transfer(fact, leg, Phase.POSTED, code, move.debit, move.credit, move.amount, self._moment.now_ms)


def _capped(fact: Fact) -> int:
    """Return what counts against a fact's caps: its plain legs, and not what depends on balances."""
    return sum(leg.amount for leg in fact.legs if isinstance(leg, Leg))


def _writes(working: Working, moment: Moment) -> Writes | None:
    transfers = sorted(working.transfers)
    if not (transfers or working.usage or working.facts):
        return None
    return Writes(
        batch=link(moment.lane, moment.seq + 1, moment.head, transfers, at_ms=moment.now_ms),
        origin=moment.origin,
        transfers=transfers,
        deltas=working.deltas(),
        opened=[hold for _, hold in sorted(working.opened.items())],
        closed=[hold for _, hold in sorted(working.closed.items())],
        usage=[record for _, record in sorted(working.usage.items())],
        facts=sorted(working.facts.values()),
        windows=working.window_deltas(),
    )
