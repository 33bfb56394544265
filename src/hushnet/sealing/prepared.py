"""Key exchanges made ahead, for recipients that are likely to be sealed to again: what is ready costs a request 8 us, not 80.

Rules: each is used once; a recipient has at most a few, and they grow old; a recipient that appears with another key loses
those for its former one; nothing survives into a forked process, a copy or a log. Pure: who keeps it says when there is time
to prepare (`coordinator/serving/desk.py`).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from hushnet.sealing.encapsulation import Encapsulation, encapsulate
from hushnet.sealing.errors import SealingError
from hushnet.sealing.forks import PROCESS
from hushnet.sealing.statements import Recipient
from hushnet.sealing.suites import kem_of


@dataclass(frozen=True, slots=True)
class PreparedLimits:
    """How much is kept."""

    each_max: int = 8
    """Encapsulations ready for one recipient: what a burst takes before the loop is idle again."""
    recipients_max: int = 256
    """Recipients that are prepared for, the last used ones: 2.4 MiB at most."""
    age_s_max: float = 60.0
    """How old an encapsulation may become, and how long a recipient is likely that is not sealed to: what is kept in memory
    opens nothing that was sent, but what is still to be sent."""


class _Shelf:
    """What is ready for one recipient's key, oldest first, each with the time when it was made."""

    __slots__ = ("kem", "public_key", "ready", "used_s")

    def __init__(self, kem: int, public_key: bytes, used_s: float) -> None:
        self.kem = kem
        self.public_key = public_key
        self.ready: deque[tuple[float, Encapsulation]] = deque()
        self.used_s = used_s


class PreparedKeys:
    """The encapsulations of one sealing client, by recipient."""

    def __init__(self, now_s: Callable[[], float], limits: PreparedLimits | None = None) -> None:
        """Start empty; `now_s` gives monotonic seconds."""
        self._now_s = now_s
        self._limits = limits or PreparedLimits()
        self._shelves: OrderedDict[bytes, _Shelf] = OrderedDict()
        self._generation = PROCESS.generation

    def take(self, recipient: Recipient) -> Encapsulation | None:
        """Return an encapsulation to the recipient's key, which is its taker's alone; None when none is ready.

        Either way the recipient counts as likely from now on, under the key that it has now.
        """
        kem = kem_of(recipient.suite)
        if kem is None:
            return None
        now_s = self._now_s()
        shelf = self._shelf_of(recipient, kem, now_s)
        self._drop_aged(shelf, now_s)
        return shelf.ready.popleft()[1] if shelf.ready else None

    def prepare(self) -> bool:
        """Make one for the recipient that has the fewest ready; False when nothing is wanting. About 75 us."""
        now_s = self._now_s()
        self._forget_unlikely(now_s)
        shelf = min(self._shelves.values(), key=lambda each: len(each.ready), default=None)
        if shelf is None or len(shelf.ready) >= self._limits.each_max:
            return False
        try:
            shelf.ready.append((now_s, encapsulate(shelf.kem, shelf.public_key)))
        except SealingError:
            # A key that nothing can be sealed to: the request that tries says so.
            self._shelves = OrderedDict((key, each) for key, each in self._shelves.items() if each is not shelf)
        return True

    def forget(self) -> None:
        """Drop everything."""
        self._shelves.clear()

    @property
    def ready(self) -> int:
        """How many are ready, for all recipients."""
        return sum(len(shelf.ready) for shelf in self._shelves.values())

    def _shelf_of(self, recipient: Recipient, kem: int, now_s: float) -> _Shelf:
        if self._generation != PROCESS.generation:
            self._generation = PROCESS.generation
            self._shelves.clear()
        shelf = self._shelves.get(recipient.provider_id)
        if shelf is None or shelf.public_key != recipient.public_key:
            shelf = self._shelves[recipient.provider_id] = _Shelf(kem, recipient.public_key, now_s)
            if len(self._shelves) > self._limits.recipients_max:
                self._shelves.popitem(last=False)
        shelf.used_s = now_s
        self._shelves.move_to_end(recipient.provider_id)
        return shelf

    def _drop_aged(self, shelf: _Shelf, now_s: float) -> None:
        while shelf.ready and now_s - shelf.ready[0][0] >= self._limits.age_s_max:
            shelf.ready.popleft()

    def _forget_unlikely(self, now_s: float) -> None:
        """Drop the recipients that nobody has sealed to for a while; they are in the order of their last use."""
        while self._shelves:
            first = next(iter(self._shelves))
            if now_s - self._shelves[first].used_s < self._limits.age_s_max:
                break
            del self._shelves[first]
        for shelf in self._shelves.values():
            self._drop_aged(shelf, now_s)

    def __reduce__(self) -> NoReturn:
        raise TypeError("prepared keys are not copied: each is used once")

    def __repr__(self) -> str:
        return f"PreparedKeys({self.ready} ready for {len(self._shelves)} recipients)"
