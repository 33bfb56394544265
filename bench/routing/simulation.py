"""One policy on one trace: a discrete-event simulation of the coordinator's queue and every machine. Same seed, same result.

Whoever can't be placed waits in one FIFO queue with the coordinator's own limits, and is refused when they are reached.
The coordinator hears of an end at once; of a machine's speeds and load it hears every five seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Final, Protocol

from bench.routing.machines import Asked, Attempt, Engine, Machine
from bench.routing.traces import Trace
from hushnet.coordinator.admission.queue import QueueLimits
from hushnet.foundation.clock import ManualClock

HEARTBEAT_S: Final = 5.0
QUEUE_S_MAX: Final = 120.0
WAITING_MAX: Final = QueueLimits().waiting_max

_ARRIVED, _READ, _ENDED, _HEARTBEAT, _EXPIRED = range(5)


class Policy(Protocol):
    """Who chooses a machine; it may know what it dispatched, and what was reported."""

    def join(self, machine: Machine) -> None: ...

    def choose(self, asked: Asked) -> int | None:
        """Return the number of a machine with a free slot, None to let the request wait."""
        ...

    def opened(self, number: int, asked: Asked) -> None: ...

    def closed(self, number: int, asked: Asked) -> None: ...

    def reported(self, engine: Engine) -> None:
        """Read what the engine's machine may report; nothing else of it."""
        ...


@dataclass(frozen=True, slots=True)
class Served:
    """What became of one request: seconds from its arrival, and tokens of its prompt that need not be read."""

    asked: Asked
    machine: int
    waited_s: float
    first_s: float
    completed_s: float
    hit: int


@dataclass(slots=True)
class Run:
    """The outcome; `refused` waited too long or found the queue full."""

    served: list[Served] = field(default_factory=list)
    refused: list[Asked] = field(default_factory=list)
    ended_s: float = 0.0


class Clock(ManualClock):
    """The simulation's time, for what of the coordinator reads a clock."""

    def move_to(self, now_s: float) -> None:
        """Move on to `now_s`."""
        if now_s > self._monotonic_s:
            self.advance(now_s - self._monotonic_s)


class Simulation:
    """Made for one run."""

    def __init__(self, trace: Trace, policy: Policy, clock: Clock) -> None:
        self._policy = policy
        self._clock = clock
        self._trace = trace
        self._engines = [Engine(machine) for machine in trace.machines]
        self._events: list[tuple[float, int, int, Any, int]] = []
        self._events_made = 0
        self._waiting: OrderedDict[int, Asked] = OrderedDict()
        self._unserved = len(trace.asked)
        self._run = Run()
        self._now_s = 0.0

    def run(self) -> Run:
        """Play the trace until every request was served or refused."""
        for machine in self._trace.machines:
            self._policy.join(machine)
        for each in self._engines:
            self._at(HEARTBEAT_S * (each.machine.number * 0.618 % 1.0), _HEARTBEAT, each)
        for asked in self._trace.asked:
            self._at(asked.arrival_s, _ARRIVED, asked)
        steps: list[Callable[[Any, int], None]] = [
            self._arrived,
            self._read,
            self._ended,
            self._heartbeat,
            self._expired,
        ]
        while self._unserved:
            self._now_s, _, kind, subject, version = heappop(self._events)
            self._clock.move_to(self._now_s)
            steps[kind](subject, version)
        self._run.ended_s = self._now_s
        return self._run

    # Events.

    def _arrived(self, asked: Asked, _version: int) -> None:
        if not self._waiting and self._place(asked):
            return
        if len(self._waiting) >= WAITING_MAX:
            self._refuse(asked)
            return
        self._waiting[asked.number] = asked
        self._at(self._now_s + QUEUE_S_MAX, _EXPIRED, asked)

    def _read(self, engine: Engine, _version: int) -> None:
        engine.sync(self._now_s)
        engine.has_read(self._now_s)
        if engine.reading:
            self._at(self._now_s + engine.reading_s(), _READ, engine)
        self._foresee(engine)

    def _ended(self, engine: Engine, version: int) -> None:
        if version != engine.version:
            return
        engine.sync(self._now_s)
        attempt = engine.ended(self._now_s)
        self._foresee(engine)
        number, asked = engine.machine.number, attempt.asked
        self._policy.closed(number, asked)
        self._note(number, attempt)
        self._drain()

    def _heartbeat(self, engine: Engine, _version: int) -> None:
        engine.sync(self._now_s)
        self._policy.reported(engine)
        self._at(self._now_s + HEARTBEAT_S, _HEARTBEAT, engine)
        self._drain()

    def _expired(self, asked: Asked, _version: int) -> None:
        if self._waiting.pop(asked.number, None) is not None:
            self._refuse(asked)

    # Steps.

    def _place(self, asked: Asked) -> bool:
        number = self._policy.choose(asked)
        if number is None:
            return False
        engine = self._engines[number]
        engine.sync(self._now_s)
        engine.begin(asked, self._now_s)
        self._policy.opened(number, asked)
        if len(engine.reading) == 1:
            self._at(self._now_s + engine.reading_s(), _READ, engine)
        self._foresee(engine)
        return True

    def _drain(self) -> None:
        while self._waiting:
            asked = next(iter(self._waiting.values()))
            if not self._place(asked):
                return
            del self._waiting[asked.number]

    def _note(self, number: int, attempt: Attempt) -> None:
        asked, arrived_s = attempt.asked, attempt.asked.arrival_s
        self._run.served.append(
            Served(
                asked,
                number,
                attempt.begun_s - arrived_s,
                attempt.first_s - arrived_s,
                self._now_s - arrived_s,
                attempt.hit,
            )
        )
        self._follow(asked)

    def _refuse(self, asked: Asked) -> None:
        self._run.refused.append(asked)
        self._unserved -= 1

    def _follow(self, asked: Asked) -> None:
        """Whoever has an answer may ask more; who was refused leaves."""
        following = self._trace.next_turn(asked, self._now_s)
        if following is None:
            self._unserved -= 1
        else:
            self._at(following.arrival_s, _ARRIVED, following)

    def _foresee(self, engine: Engine) -> None:
        end_s = engine.next_end_s(self._now_s)
        if end_s is not None:
            self._at(end_s, _ENDED, engine, engine.version)

    def _at(self, time_s: float, kind: int, subject: object, version: int = 0) -> None:
        self._events_made += 1
        heappush(self._events, (time_s, self._events_made, kind, subject, version))


def play(trace: Trace, made: Callable[[Clock], Policy]) -> Run:
    """Run the policy that `made` makes on a trace."""
    clock = Clock()
    return Simulation(trace, made(clock), clock).run()
