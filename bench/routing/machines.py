"""A simulated provider: reads prompts one after another, writes all its answers at once, slower the more there are.

An answer is written at `decode / (1 + 0.27 (n - 1))` tokens a second beside n - 1 others; a prompt that is being read counts
as one of them (the figures of one machine in the reference system: 92.8, 69.5, 35.9, 29.6 tokens/s at 1, 2, 4, 8).
What it reports are averages of what its requests saw, as the agent's engines measure it (`provider/engines/slots.py`): a
rate is therefore one under load, and late.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final

from hushnet.provider.engines.slots import EWMA_WEIGHT

CONTENTION: Final = 0.27
CACHE_TOKENS_A_SLOT: Final = 8192
"""How much context of ended turns a machine keeps, oldest out first: about what its slots could hold at work."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a provider has; rates are of one stream that is alone."""

    number: int
    decode_tokens_s: float
    prefill_tokens_s: float
    slots: int

    def requests_s(self, prompt: float, output: float) -> float:
        """Return how many requests of that size a second it serves with every slot busy."""
        reading_s = prompt / self.prefill_tokens_s
        writing_s = output * (1.0 + CONTENTION * (self.slots - 1)) / self.decode_tokens_s
        return min(self.slots / (reading_s + writing_s), 1.0 / reading_s)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `prompt` and `output` are its true lengths in tokens; a router sees only the bounds.

    `prefix` tokens of the prompt are the conversation so far, which its last provider may have kept; `prompts` are the
    lengths of the prompts of all its turns, this one included.
    """

    number: int
    arrival_s: float
    prompt: int
    output: int
    output_max: int
    conversation: int = -1
    prefix: int = 0
    prompts: tuple[int, ...] = ()


@dataclass(eq=False, slots=True)
class Attempt:
    """A request at a machine."""

    asked: Asked
    hit: int
    begun_s: float
    first_s: float = 0.0


@dataclass(slots=True)
class Cache:
    """The contexts that a machine keeps, by conversation, up to a number of tokens."""

    tokens_max: int
    tokens: int = 0
    kept: OrderedDict[int, int] = field(default_factory=OrderedDict)

    def hit(self, asked: Asked) -> int:
        """Return how many tokens of the prompt need not be read again."""
        return min(self.kept.get(asked.conversation, 0), asked.prefix)

    def keep(self, asked: Asked) -> None:
        """Keep the context of a request that was answered."""
        if asked.conversation < 0:
            return
        self.tokens += asked.prompt + asked.output - self.kept.pop(asked.conversation, 0)
        self.kept[asked.conversation] = asked.prompt + asked.output
        while self.tokens > self.tokens_max:
            self.tokens -= self.kept.popitem(last=False)[1]


class Engine:
    """A machine at work. Times are seconds of the simulation; `sync` comes before anything is changed."""

    __slots__ = (
        "_at_s",
        "_order",
        "_work",
        "cache",
        "decode_seen",
        "machine",
        "prefill_seen",
        "reading",
        "version",
        "writing",
    )

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.reading: deque[Attempt] = deque()
        self.writing: list[tuple[float, int, Attempt]] = []
        self.version = 0
        """Changes with every change of speed: an end that was foreseen under another version will not come true."""
        self.decode_seen = machine.decode_tokens_s
        self.prefill_seen = machine.prefill_tokens_s
        self.cache = Cache(machine.slots * CACHE_TOKENS_A_SLOT)
        self._work = 0.0  # tokens that a stream would have written that was always there
        self._at_s = 0.0
        self._order = 0

    @property
    def occupied(self) -> int:
        """How many slots are taken."""
        return len(self.reading) + len(self.writing)

    @property
    def tokens_active(self) -> int:
        """Tokens of the requests at work, as an engine counts them: prompts, and answers as far as they are written."""
        read = sum(attempt.asked.prompt for attempt in self.reading)
        return read + sum(
            attempt.asked.prompt + attempt.asked.output - int(end - self._work) for end, _, attempt in self.writing
        )

    def sync(self, now_s: float) -> None:
        """Write until `now_s`."""
        self._work += (now_s - self._at_s) * self._speed()
        self._at_s = now_s

    def begin(self, asked: Asked, now_s: float) -> Attempt:
        """Take a request in; raises `RuntimeError` when every slot is taken."""
        if self.occupied >= self.machine.slots:
            raise RuntimeError(f"machine {self.machine.number} was given more than it has slots for")
        attempt = Attempt(asked, self.cache.hit(asked), now_s)
        self.reading.append(attempt)
        return attempt

    def reading_s(self) -> float:
        """Return how long the prompt takes that is read now."""
        attempt = self.reading[0]
        return max(attempt.asked.prompt - attempt.hit, 1) / self.machine.prefill_tokens_s

    def has_read(self, now_s: float) -> None:
        """Begin to write the answer to the prompt that was read."""
        attempt = self.reading.popleft()
        attempt.first_s = now_s
        self._order += 1
        heappush(self.writing, (self._work + attempt.asked.output, self._order, attempt))

    def next_end_s(self, now_s: float) -> float | None:
        """Return when the next answer would be whole if nothing changed; a new version."""
        self.version += 1
        if not self.writing:
            return None
        return now_s + max(self.writing[0][0] - self._work, 0.0) / self._speed()

    def ended(self, now_s: float) -> Attempt:
        """Return the answer that is whole, and measure its speed."""
        attempt = heappop(self.writing)[2]
        self.cache.keep(attempt.asked)
        writing_s = now_s - attempt.first_s
        if attempt.asked.output > 1 and writing_s > 0:
            self.decode_seen += EWMA_WEIGHT * ((attempt.asked.output - 1) / writing_s - self.decode_seen)
        return attempt

    def _speed(self) -> float:
        streams = len(self.writing) + (1 if self.reading else 0)
        return self.machine.decode_tokens_s / (1.0 + CONTENTION * (streams - 1)) if streams else 0.0
