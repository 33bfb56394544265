"""Calls out: written down before the first byte is sent, repeated with the same key and body until the outcome is known.

| state | on | to |
|---|---|---|
| due | claimed for 60 s | sending |
| sending | done, or proof that it happened | done, with the domain's rows and facts, in one transaction |
| | definite refusal of the first try | refused, likewise |
| | definite refusal of a later try | what the rail says of the earlier: done, refused if proven absent, else unknown |
| | surely not done (in progress, too many, no connection) | due, 1 s to 10 minutes later |
| | unknown (time-out, reset, 5xx, the process died) | due, the same key and body: unknown is never a refusal |
| | the third equal 5xx, or 23 hours after the first try | look up: rails replay stored answers, and forget keys after a day |
| look up | found | done |
| | proven absent | refused as `absent`, and the same request under the next attempt's key |
| | cannot tell | look up again; after an hour a finding |
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

from hushnet.coordinator.ledger.faults import CALL_AFTER_SEND, CALL_BEFORE_SEND, FaultHook, no_faults
from hushnet.coordinator.ledger.transaction import MoneyStore, Transaction
from hushnet.coordinator.payments.model import Call, CallState, note_finding
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import CapacityError, StorageError
from hushnet.foundation.tasks import keep_running

_LOG = logging.getLogger(__name__)

LEASE_MS: Final = 60_000
KEY_LIFE_MS: Final = 23 * 3_600_000
"""Stripe forgets idempotency keys after 24 hours; an hour is kept for clocks and queues."""
CLOCKS_S: Final = 300
"""Our clock and a rail's may differ by this much: a look-up that begins at a time begins so much earlier."""
EQUAL_5XX_MAX: Final = 3
"""Stripe stores the answer of a key, a 500 included, and replays it: asking again tells nothing new."""
ATTEMPTS_MAX: Final = 5
_DOUBT_MS_MAX: Final = 3_600_000
_BACKOFF_MS_MAX: Final = 600_000
_SEND_S_MAX: Final = 45.0
"""Below the lease: a send that takes longer is cut off and its outcome unknown."""
_POLL_S: Final = 1.0
_BATCH: Final = 20
_OUTCOME_MAX: Final = 4000
_OPEN: Final = (CallState.DUE, CallState.SENDING, CallState.LOOK_UP)


@dataclass(frozen=True, slots=True)
class Done:
    """It happened; `outcome` is what the domain needs to know of the answer (JSON values)."""

    outcome: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """It was refused for good; `code` is a word of a closed set."""

    code: str


@dataclass(frozen=True, slots=True)
class Again:
    """It surely was not done."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may have been done. A `reason` that begins with `http_5` is an answer that may be a stored one."""

    reason: str


@dataclass(frozen=True, slots=True)
class Absent:
    """The rail proves that it was never done."""


@dataclass(frozen=True, slots=True)
class CannotTell:
    """The rail does not say whether it was done."""

    reason: str = "cannot_tell"


Sent: TypeAlias = Done | Refused | Again | Unknown
Seen: TypeAlias = Done | Absent | CannotTell


class Caller(Protocol):
    """What one kind of call means."""

    async def send(self, call: Call) -> Sent:
        """Send the frozen request under its key. What it raises counts as unknown.

        A refusal is this try's alone: what became of earlier ones is looked up by whoever calls.
        """
        ...

    async def look_up(self, call: Call) -> Seen:
        """Find out by the rail's own records whether the call was done."""
        ...

    def done(self, tx: Transaction, call: Call, outcome: Mapping[str, Any]) -> None:
        """Note what was done: rows and facts, inside the transaction that ends the call; idempotent by keys."""
        ...

    def refused(self, tx: Transaction, call: Call, code: str) -> None:
        """Note that it was refused, likewise."""
        ...


def enqueue(
    tx: Transaction, rail: str, action: str, subject: int, request: Mapping[str, Any], *, attempt: int = 1
) -> Call:
    """Write a call down, to be sent once the transaction is committed. The same call again is the one that is there."""
    text = json.dumps(request, separators=(",", ":"), sort_keys=True)
    call = Call(
        id=tx.next_id(),
        rail=rail,
        action=action,
        subject=subject,
        attempt=attempt,
        idem_key=f"hush-{action}-{subject}-{attempt}",
        request=text,
        next_ms=tx.now_ms,
    )
    rows = tx.rows(Call)
    if rows.add(call):
        return call
    (known,) = rows.find(rail=rail, action=action, subject=subject, attempt=attempt)
    return known


async def is_still_claimed(store: MoneyStore, call: Call) -> bool:
    """Say whether nobody has gone on with a call since it was claimed.

    For rails that forget keys or have none: a process may have been stopped for longer than its lease.
    """
    row = await store.read(lambda view: view.rows(Call).get(call.id))
    return row is not None and row.state is CallState.SENDING and row.lease_ms == call.lease_ms


class Calls:
    """The calls of every rail, and the task that makes them. Any process may make any call; a lease says who does."""

    def __init__(
        self,
        store: MoneyStore,
        clock: Clock,
        callers: Mapping[tuple[str, str], Caller],
        *,
        reach: FaultHook = no_faults,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`callers` by (rail, action); `jitter` gives numbers in 0..1 that spread repeated tries."""
        self._store = store
        self._clock = clock
        self._callers = callers
        self._reach = reach
        self._jitter = jitter
        self._arrived: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def wake(self) -> None:
        """Look now, without waiting for the next poll."""
        for arrived in self._arrived.values():
            arrived.set()

    async def run(self) -> None:
        """Make calls until cancelled, each rail's by themselves: one that fails or does not answer holds up no other."""
        rails = sorted({rail for rail, _ in self._callers})
        await asyncio.gather(*(keep_running(partial(self._run, rail), name=f"calls-{rail}") for rail in rails))

    async def _run(self, rail: str) -> None:
        arrived = self._arrived[rail]
        while True:
            arrived.clear()
            try:
                while await self.step(rail) == _BATCH:
                    pass
            except (StorageError, CapacityError) as error:
                _LOG.warning("the calls cannot be read", extra={"rail": rail, "error": error.error_code})
            try:
                async with asyncio.timeout(_POLL_S):
                    await arrived.wait()
            except TimeoutError:
                continue

    async def step(self, only: str = "") -> int:
        """Make every call that is due, of one rail or of all, once; return how many there were.

        Calls of a rail that was configured once wait until it is again, in nobody's way.
        """
        now_ms = self._clock.now_ms()
        rails = {only} if only else {rail for rail, _ in self._callers}
        due = await self._store.read(
            lambda view: view.rows(Call).find(
                state=_OPEN,
                rail=sorted(rails),
                action=sorted({action for rail, action in self._callers if rail in rails}),
                at_most=("next_ms", now_ms),
                order_by="next_ms",
                limit=_BATCH,
            )
        )
        await asyncio.gather(*(self._make(call) for call in due))
        return len(due)

    async def _make(self, call: Call) -> None:
        caller = self._callers.get((call.rail, call.action))
        if caller is None:
            return  # an action of one rail that only another one has
        claimed = await self._store.transact(lambda tx: _claim(tx, call))
        if claimed is None:
            return
        if claimed.state is CallState.LOOK_UP:
            seen = await self._look_up(caller, claimed)
            await self._note(caller, claimed, seen)
            return
        self._reach(CALL_BEFORE_SEND)
        sent = await self._send(caller, claimed)
        self._reach(CALL_AFTER_SEND)
        await self._note(caller, claimed, sent)

    async def _send(self, caller: Caller, call: Call) -> Sent:
        try:
            async with asyncio.timeout(_SEND_S_MAX):
                sent = await caller.send(call)
                if isinstance(sent, Refused) and call.tries > 1:
                    return _unless_done(sent, await caller.look_up(call))
                return sent
        except Exception as error:
            return Unknown(type(error).__name__.lower())

    async def _look_up(self, caller: Caller, call: Call) -> Seen:
        try:
            async with asyncio.timeout(_SEND_S_MAX):
                return await caller.look_up(call)
        except Exception as error:
            return CannotTell(type(error).__name__.lower())

    async def _note(self, caller: Caller, call: Call, told: Sent | Seen) -> None:
        try:
            await self._store.transact(lambda tx: self._write(tx, caller, call, told))
        except Exception as error:
            # Its domain would not have it: the call stays as it is, its lease runs out, and it is found again.
            name = type(error).__name__
            _LOG.error("a call's outcome was refused", extra={"rail": call.rail, "action": call.action, "error": name})
            await self._store.transact(
                lambda tx: note_finding(tx, "call_outcome_refused", call.idem_key, f"{type(told).__name__}: {name}")
            )

    def _write(self, tx: Transaction, caller: Caller, call: Call, told: Sent | Seen) -> None:
        rows = tx.rows(Call)
        row = rows.get(call.id)
        if row is None or row.state not in (CallState.SENDING, CallState.LOOK_UP) or row.lease_ms != call.lease_ms:
            return  # another process went on with it when our lease had run out
        match told:
            case Done(outcome):
                caller.done(tx, row, outcome)
                text = json.dumps(outcome, separators=(",", ":"), sort_keys=True)
                rows.save(replace(row, state=CallState.DONE, outcome=text[:_OUTCOME_MAX]))
            case Refused(code):
                caller.refused(tx, row, code)
                rows.save(replace(row, state=CallState.REFUSED, outcome=code))
            case Again(reason) | Unknown(reason):
                rows.save(self._later(row, reason, tx.now_ms, is_unknown=isinstance(told, Unknown)))
            case Absent():
                self._resend(tx, caller, row)
            case CannotTell(reason):
                assert row.first_ms is not None, "a call is looked up after it was sent"
                if tx.now_ms - row.first_ms >= _DOUBT_MS_MAX:
                    note_finding(tx, "call_in_doubt", row.idem_key, reason)
                rows.save(replace(row, next_ms=tx.now_ms + self._backoff_ms(row.tries), lease_ms=0))

    def _later(self, row: Call, reason: str, now_ms: int, *, is_unknown: bool) -> Call:
        """Try again later, or find out first when another try could tell nothing new or do it twice."""
        equal = 0
        if is_unknown and reason.startswith("http_5"):
            before, _, count = row.outcome.partition("*")
            equal = int(count) + 1 if before == reason and count.isdecimal() else 1
        note = f"{reason}*{equal}" if equal else reason
        is_in_doubt = equal >= EQUAL_5XX_MAX or _is_key_old(row, now_ms)
        state = CallState.LOOK_UP if is_in_doubt else CallState.DUE
        next_ms = now_ms if is_in_doubt else now_ms + self._backoff_ms(row.tries)
        return replace(row, state=state, next_ms=next_ms, lease_ms=0, outcome=note)

    def _resend(self, tx: Transaction, caller: Caller, row: Call) -> None:
        tx.rows(Call).save(replace(row, state=CallState.REFUSED, outcome="absent"))
        if row.attempt >= ATTEMPTS_MAX:
            caller.refused(tx, row, "absent")
        else:
            enqueue(tx, row.rail, row.action, row.subject, json.loads(row.request), attempt=row.attempt + 1)

    def _backoff_ms(self, tries: int) -> int:
        longest = min(1000 << min(tries, 20), _BACKOFF_MS_MAX)
        return longest // 2 + round(longest // 2 * self._jitter())


def _claim(tx: Transaction, call: Call) -> Call | None:
    """Take a call that is due for a minute; None when another process has it, or it is over."""
    rows = tx.rows(Call)
    row = rows.get(call.id)
    if row is None or row.state not in _OPEN or row.next_ms > tx.now_ms:
        return None
    lease_ms = tx.now_ms + LEASE_MS
    first_ms = tx.now_ms if row.first_ms is None else row.first_ms
    is_look_up = row.state is CallState.LOOK_UP or _is_key_old(row, tx.now_ms)
    state = CallState.LOOK_UP if is_look_up else CallState.SENDING
    claimed = replace(row, state=state, tries=row.tries + 1, first_ms=first_ms, lease_ms=lease_ms, next_ms=lease_ms)
    rows.save(claimed)
    return claimed


def _unless_done(refused: Refused, seen: Seen) -> Sent:
    """Say what a refusal is worth after earlier tries, of which it says nothing."""
    match seen:
        case Done():
            return seen
        case Absent():
            return refused
        case CannotTell(reason):
            return Unknown(reason)


def _is_key_old(row: Call, now_ms: int) -> bool:
    return row.first_ms is not None and now_ms - row.first_ms >= KEY_LIFE_MS
