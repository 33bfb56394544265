"""What a simulated world sees of the system under test, through its public seams and nothing else.

The coordinator is handed a gate, links, sinks, a ledger and bodies that pass every call on to the real ones and write
down what went by. What they find wrong themselves they report with `Watch.broke`; nothing is raised into the system.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hushnet.coordinator.fleet.gate import Gate
from hushnet.coordinator.fleet.link import Admitted, AttemptSink, ProviderLink, Rejected
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.foundation.ids import AccountId, AttemptId, ModelId, ProviderId
from hushnet.sealing.records import FINAL, Record
from hushnet.wire.frames import Capacity, ModelOffer, Register, StatementDocument

EVENTS_KEPT: Final = 400


@dataclass(eq=False)
class AttemptSeen:
    """One attempt, as its body, its link and its sink showed it. Times in seconds, None before."""

    request: RequestSeen
    provider: ProviderId
    sealed_s: float
    dispatched_s: float | None = None
    cancelled_s: float | None = None
    final_s: float | None = None
    ended_s: float | None = None
    ending: str = ""
    trick: str = ""

    @property
    def is_open(self) -> bool:
        """Whether the provider has not yet said that the slot is free."""
        return self.dispatched_s is not None and self.ended_s is None

    @property
    def done_s(self) -> float | None:
        """When nothing more was wanted of it, as far as the link shows."""
        times = [each for each in (self.cancelled_s, self.final_s) if each is not None]
        return min(times, default=None)


@dataclass(eq=False)
class RequestSeen:
    """One request of a consumer. `words` is how many it asked for; `outcome` one of `consumers.Outcome`."""

    tag: str
    account: AccountId
    model: ModelId
    is_sealed: bool
    words: int
    prompt_tokens: int
    arrived_s: float
    id: int = 0
    held_s: float | None = None
    attempts: list[AttemptSeen] = field(default_factory=list)
    outcome: str = ""
    text: str = ""
    is_hung_up: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether nothing that was hostile or broke had a part in it."""
        return len(self.attempts) == 1 and not self.attempts[0].trick and not self.is_hung_up


class Watch:
    """The log of a run, what was seen, and the first thing that was wrong."""

    def __init__(self) -> None:
        self.now_s: Callable[[], float] = lambda: 0.0
        self.events: deque[str] = deque(maxlen=EVENTS_KEPT)
        self.count = 0
        self.broken: str | None = None
        self.requests: dict[str, RequestSeen] = {}
        self.by_id: dict[int, RequestSeen] = {}
        self.by_envelope: dict[bytes, AttemptSeen] = {}
        self.links: list[WatchedLink] = []
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        """The hash of every event so far: two runs of one seed have the same."""
        return self._hash.hexdigest()

    def note(self, event: str) -> None:
        line = f"{self.now_s():10.4f} {event}"
        self.events.append(line)
        self.count += 1
        self._hash.update(line.encode())

    def broke(self, invariant: str, detail: str) -> None:
        """Report a broken invariant; the run ends after this step."""
        if self.broken is None:
            self.broken = f"{invariant}: {detail}"
            self.note(f"BROKEN {self.broken}")

    def sealed(self, request: RequestSeen, provider: ProviderId, envelope: bytes) -> None:
        """An attempt of a request was sealed to a provider."""
        attempt = AttemptSeen(request, provider, self.now_s())
        request.attempts.append(attempt)
        self.by_envelope[envelope] = attempt
        self.note(f"{request.tag} attempt {len(request.attempts)} for {provider[:6]}")

    def tricked(self, envelope: bytes, trick: str) -> None:
        """A provider plays a trick on an attempt."""
        attempt = self.by_envelope.get(envelope)
        if attempt is not None:
            attempt.trick = trick
            self.note(f"{attempt.request.tag} trick: {trick}")


class WatchedSink:
    """An `AttemptSink` on its way: counts the endings, which are one."""

    __slots__ = ("_attempt", "_link", "_sink")

    def __init__(self, sink: AttemptSink, attempt: AttemptSeen, link: WatchedLink) -> None:
        self._sink = sink
        self._attempt = attempt
        self._link = link

    def content_arrived(self, record: Record) -> None:
        self._still_open("content")
        self._sink.content_arrived(record)

    def records_arrived(self, records: Sequence[Record]) -> None:
        self._still_open("records")
        if self._attempt.final_s is None and any(record.flags & FINAL for record in records):
            self._attempt.final_s = self._link.watch.now_s()
        self._sink.records_arrived(records)

    def attempt_refused(self, code: int) -> None:
        self._end(f"refused {code}")
        self._sink.attempt_refused(code)

    def link_lost(self) -> None:
        self._end("link lost")
        self._sink.link_lost()

    def attempt_finished(self) -> None:
        self._end("finished")
        self._sink.attempt_finished()

    def _still_open(self, what: str) -> None:
        if self._attempt.ended_s is not None:
            self._link.watch.broke("sink contract", f"{what} after the end of {self._attempt.request.tag}")

    def _end(self, how: str) -> None:
        self._still_open(how)
        self._attempt.ended_s, self._attempt.ending = self._link.watch.now_s(), how
        self._link.watch.note(f"{self._attempt.request.tag} at {self._attempt.provider[:6]}: {how}")


@dataclass
class Challenges:
    """What a provider did with the challenges on one link, by our own count."""

    missed: int = 0
    nonce: bytes | None = None

    def sent(self, nonce: bytes) -> None:
        self.missed += self.nonce is not None
        self.nonce = nonce

    def answered(self, nonce: bytes, *, is_right: bool, missed_max: int) -> None:
        if nonce != self.nonce:
            return
        self.nonce = None
        self.missed = 0 if is_right else max(self.missed, missed_max)


class WatchedLink:
    """A `ProviderLink` on its way: knows what runs there and what the provider may still be given."""

    def __init__(self, watch: Watch, link: ProviderLink) -> None:
        self.watch = watch
        self.live: LiveProvider | None = None
        self.is_draining = False
        self.is_lost = False
        self.challenges = Challenges()
        self.attempts: dict[AttemptId, AttemptSeen] = {}
        self.undispatched_since_s: float | None = None
        self._link = link

    @property
    def provider_id(self) -> ProviderId:
        return self._link.provider_id

    def __getattr__(self, name: str) -> Any:
        """Pass on whatever else a link can do."""
        return getattr(self._link, name)

    def dispatch(self, envelope: bytes, *, sink: AttemptSink, **terms: Any) -> AttemptId:
        seen = self.watch.by_envelope.get(envelope)
        if seen is None:
            self.watch.broke("attempts", "an envelope that nobody made was dispatched")
            return self._link.dispatch(envelope, sink=sink, **terms)
        watched = WatchedSink(sink, seen, self)
        number = self._link.dispatch(envelope, sink=watched, **terms)
        if self.is_draining or self.is_lost:
            self.watch.broke("right provider", f"{seen.request.tag} went to a provider that was leaving")
        if seen.dispatched_s is not None:
            self.watch.broke("attempts", f"{seen.request.tag} was dispatched twice with one envelope")
        seen.dispatched_s = self.watch.now_s()
        self.attempts[number] = seen
        self.watch.note(f"{seen.request.tag} to {seen.provider[:6]} as {number}")
        return number

    def cancel(self, attempt: AttemptId, code: int) -> None:
        seen = self.attempts.get(attempt)
        if seen is not None and seen.cancelled_s is None:
            seen.cancelled_s = self.watch.now_s()
            self.watch.note(f"{seen.request.tag} cancelled at {seen.provider[:6]}: {code}")
        self._link.cancel(attempt, code)

    def grant(self, attempt: AttemptId, bytes_: int) -> None:
        self._link.grant(attempt, bytes_)

    def challenge(self, nonce: bytes) -> None:
        self.challenges.sent(nonce)
        self._link.challenge(nonce)

    def load_model(self, model: ModelId) -> None:
        self._link.load_model(model)

    def drain(self, reason: str) -> None:
        self._link.drain(reason)

    def close(self, code: str) -> None:
        self._link.close(code)

    def open_attempts(self) -> list[AttemptSeen]:
        """Return what is open here; forgets what has ended."""
        self.attempts = {number: seen for number, seen in self.attempts.items() if seen.is_open}
        return list(self.attempts.values())


class WatchedGate:
    """The `FleetGate` that the listener reports to: hands the real one a link that is watched."""

    def __init__(self, gate: Gate, watch: Watch, live: Callable[[ProviderId], LiveProvider | None]) -> None:
        self.missed_max = 3
        self._gate = gate
        self._watch = watch
        self._live = live
        self._links: dict[ProviderLink, WatchedLink] = {}

    def __getattr__(self, name: str) -> Any:
        """Pass on whatever else a gate can be told."""
        return getattr(self._gate, name)

    async def admit(
        self, registration: Register, *, nonce: bytes, link: ProviderLink, peer: str
    ) -> Admitted | Rejected:
        watched = self._links[link] = WatchedLink(self._watch, link)
        verdict = await self._gate.admit(registration, nonce=nonce, link=watched, peer=peer)
        if isinstance(verdict, Admitted):
            watched.live = self._live(verdict.provider_id)
            self._watch.links.append(watched)
            self._watch.note(f"{verdict.provider_id[:6]} joined")
        else:
            self._watch.note(f"rejected: {verdict.code}")
        return verdict

    def heartbeat(self, provider_id: ProviderId, capacity: Capacity, *, link_ms: int = 0) -> None:
        self._gate.heartbeat(provider_id, capacity, link_ms=link_ms)

    def challenge_replied(self, provider_id: ProviderId, nonce: bytes, signature: bytes) -> None:
        if (link := self._current(provider_id)) is not None:
            link.challenges.answered(nonce, is_right=any(signature), missed_max=self.missed_max)
        self._gate.challenge_replied(provider_id, nonce, signature)

    def statement_changed(self, provider_id: ProviderId, statement: StatementDocument) -> None:
        self._gate.statement_changed(provider_id, statement)

    def models_changed(self, provider_id: ProviderId, models: Sequence[ModelOffer]) -> None:
        self._watch.note(f"{provider_id[:6]} offers {len(models)}")
        self._gate.models_changed(provider_id, models)

    def draining(self, provider_id: ProviderId) -> None:
        if (link := self._current(provider_id)) is not None:
            link.is_draining = True
            self._watch.note(f"{provider_id[:6]} drains")
        self._gate.draining(provider_id)

    def link_lost(self, provider_id: ProviderId, link: ProviderLink) -> None:
        watched = self._links.pop(link)
        watched.is_lost = True
        self._watch.note(f"{provider_id[:6]} lost")
        self._gate.link_lost(provider_id, watched)

    def _current(self, provider_id: ProviderId) -> WatchedLink | None:
        live = self._live(provider_id)
        link: Any = live.link if live is not None else None
        return link if isinstance(link, WatchedLink) else None
