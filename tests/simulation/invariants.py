"""What must hold after every step of a simulated world, and when it has ended. One class an invariant; add one, list it.

`after_step` is called some hundred thousand times a minute: it looks at what can have changed. `at_end` comes once all
requests have settled, everybody has gone, and the coordinator has closed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol

from hushnet.coordinator.fleet.fleet import Slot
from hushnet.coordinator.ledger.chart import Floor, account_info
from hushnet.coordinator.ledger.check import check
from hushnet.coordinator.ledger.model import UsageOutcome, UsageRecord
from hushnet.coordinator.routing.model import RouteRequest
from hushnet.coordinator.serving.store import Silence
from hushnet.foundation.ids import ProviderId
from hushnet.sealing.errors import WireCode
from simulation.consumers import Outcome
from simulation.watching import RequestSeen, WatchedLink

if TYPE_CHECKING:
    from simulation.world import World

NO_ROOM: Final = f"refused {WireCode.CAPACITY:d}"
SLACK_S: Final = 2.0
"""A pass of the pulse, a look at the deadlines, and the delays of the store."""


class Invariant(Protocol):
    """One law of the world."""

    def after_step(self) -> None:
        """Report with `Watch.broke` what is wrong now."""
        ...

    async def at_end(self) -> None:
        """Report what is wrong in the end."""
        ...


class BooksBalance:
    """Credits are debits; nobody has less than nothing; what is held is the sum of the holds."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._commits = -1

    def after_step(self) -> None:
        store = self._world.books
        if store.commits == self._commits:
            return
        self._commits = store.commits
        total = held = 0
        for number, account in store.accounts.items():
            total += account.balance
            held += account.held
            if account_info(number).floor == Floor.NEVER_NEGATIVE and not 0 <= account.held <= account.balance:  # type: ignore[union-attr]
                self._world.watch.broke("books", f"account {number} has {account.balance} and holds {account.held}")
        if total:
            self._world.watch.broke("books", f"credits exceed debits by {total}")
        if held != sum(hold.parts.total for hold in store.holds.values()):
            self._world.watch.broke("books", f"{held} is held, the holds say otherwise")

    async def at_end(self) -> None:
        for finding in (await check(self._world.store))[:3]:
            self._world.watch.broke("books", f"{finding.invariant} {finding.subject} {finding.detail}")


class SlotsCounted:
    """What the fleet counts as open at a provider is what is open on its link; a slot is lent for no longer than it may be."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._linger_s = world.serving.service.limits.linger_s_max + SLACK_S

    def after_step(self) -> None:
        if not self._world.is_serving:
            return  # nobody is lent anything any more, and nobody looks at the clock
        for live in self._world.serving.fleet.providers():
            link = live.link
            if isinstance(link, WatchedLink) and not link.is_lost:
                self._compare(link, live.load.open_total, live.load.open_by_model)

    async def at_end(self) -> None:
        for link in self._world.watch.links:
            if link.live is not None and link.live.load.open_total:
                self._world.watch.broke("slots", f"{link.live!r} keeps slots for nobody")

    def _compare(self, link: WatchedLink, counted: int, by_model: Counter[str]) -> None:
        watch, now_s = self._world.watch, self._world.loop.time()
        seen = link.open_attempts()
        done = [attempt.done_s for attempt in seen]
        least = sum(1 for each in done if each is None)
        most = sum(1 for each in done if each is None or now_s - each <= self._linger_s)
        if counted != by_model.total() or min(by_model.values(), default=0) < 0:
            watch.broke("slots", f"{link.live!r} counts {dict(by_model)}")
        if counted < least:
            watch.broke("slots", f"{link.live!r}: {least} attempts are running, {counted} are counted")
        if counted <= most:
            link.undispatched_since_s = None
            return
        # A slot that was taken a moment ago, whose attempt is being sealed.
        if link.undispatched_since_s is None:
            link.undispatched_since_s = now_s
        if now_s - link.undispatched_since_s > SLACK_S:
            watch.broke("slots", f"{link.live!r}: {counted} are counted, {most} attempts are known")


class OneFinaliser:
    """Every request that was taken in ends settled, exactly once, and no hold outlives it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def after_step(self) -> None:
        """`WatchedLedger` sees each settlement as it is made."""

    async def at_end(self) -> None:
        world = self._world
        for request in world.watch.by_id.values():
            if request.held_s is not None and not world.ledger.is_settled(request.id) and not world.was_disturbed:
                world.watch.broke("one finaliser", f"{request.tag} was held for and never settled")
        if count := await world.store.inspect(lambda books: sum(1 for _ in books.holds())):
            world.watch.broke("one finaliser", f"{count} holds are open")


class Queued(Silence):
    """The telemetry of the world: how long requests wait in the queue, which is never longer than they may."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.longest_s = 0.0

    def queued(self, *, seconds: float) -> None:
        self.longest_s = max(self.longest_s, seconds)
        if seconds > self._world.limits.queue_s_max + SLACK_S:
            self._world.watch.broke("no starvation", f"somebody waited {seconds:.1f} s in the queue")


class NobodyStarves:
    """Nobody waits past the bounds, and nobody who waits sees another account served twice before it."""

    def __init__(self, world: World) -> None:
        self._world = world
        limits = world.limits
        self._whole_s = limits.total_s_max + limits.last_word_s_max + 10 * SLACK_S
        self._next_look_s = 0.0

    def after_step(self) -> None:
        world = self._world
        if world.loop.time() < self._next_look_s:
            return
        self._next_look_s = world.loop.time() + 1.0
        for request in world.waiting_requests():
            if world.loop.time() - request.arrived_s > self._whole_s and not world.was_disturbed:
                world.watch.broke("no starvation", f"{request.tag} runs for longer than it may")

    async def at_end(self) -> None:
        if self._world.plan.is_fair:
            for request in self._world.watch.requests.values():
                if request.held_s is not None:
                    self._look_back(request, request.held_s)

    def _look_back(self, request: RequestSeen, since_s: float) -> None:
        """In a world where every request is like every other, an account's turn comes once a round."""
        until_s = request.attempts[0].sealed_s if request.attempts else None
        if until_s is None:
            return
        before = Counter(
            other.account
            for other in self._world.watch.requests.values()
            if other.attempts and other.held_s is not None and since_s < other.attempts[0].sealed_s < until_s
        )
        own = before.pop(request.account, 0)
        for account, count in before.items():
            if count > own + self._world.plan.fair_turns:
                self._world.watch.broke(
                    "no starvation",
                    f"{request.tag} waited while account {account} was served {count} times, its own {own} times",
                )


class RightProvider:
    """Slots are taken at providers that are trusted, that stay, and that the request may go to."""

    def __init__(self, world: World) -> None:
        self._world = world
        fleet = world.serving.fleet
        taken = fleet.take

        def take(provider_id: ProviderId, request: RouteRequest) -> Slot:
            self._judge(provider_id, request)
            return taken(provider_id, request)

        fleet.take = take  # type: ignore[method-assign]

    def after_step(self) -> None:
        """Slots are judged as they are taken."""

    async def at_end(self) -> None:
        limits = self._world.limits
        for request in self._world.watch.requests.values():
            tried = Counter(attempt.provider for attempt in request.attempts if attempt.dispatched_s is not None)
            most = 1 if request.is_sealed else limits.attempts_at_one_max
            # Whoever had no room may have it later.
            full = Counter(
                each.provider for each in request.attempts if each.ending == NO_ROOM and not request.is_sealed
            )
            bound = max(limits.attempts_max + limits.refusals_max, len(tried))
            if tried and (max((tried - full).values(), default=0) > most or tried.total() > bound):
                self._world.watch.broke("right provider", f"{request.tag} was tried {dict(tried)}")

    def _judge(self, provider_id: ProviderId, request: RouteRequest) -> None:
        world = self._world
        live = world.serving.fleet.get(provider_id)
        link = live.link if live is not None else None
        why = ""
        if live is None or not isinstance(link, WatchedLink) or link.is_lost:
            why = "that is gone"
        elif link.is_draining:
            why = "that drains"
        elif link.challenges.missed >= world.gate.missed_max:
            why = "that is not trusted"
        elif provider_id in request.excluded:
            why = "that is excluded"
        elif request.recipients is not None and provider_id not in request.recipients:
            why = "that the envelope does not name"
        elif request.model not in live.offers or not set(request.features) <= set(live.offers[request.model].features):
            why = "that does not serve it"
        elif live.tier < request.floor:
            why = "below its floor"
        if why:
            world.watch.broke("right provider", f"a request for {request.model} went to {provider_id[:6]}, {why}")


class MoneyFollowsDelivery:
    """Who was given nothing pays nothing; a whole answer that nobody touched is billed to the token, to its own account."""

    def __init__(self, world: World) -> None:
        self._world = world

    def after_step(self) -> None:
        """The books tell it in the end."""

    async def at_end(self) -> None:
        world = self._world
        if world.was_disturbed:
            return
        records = await world.store.inspect(lambda books: {record.id: record for record in books.usage()})
        for request in world.watch.by_id.values():
            record = records.get(request.id)
            if record is None:
                if request.held_s is not None:
                    world.watch.broke("money", f"{request.tag} has no usage record")
                continue
            if wrong := _wrong_bill(request, record):
                world.watch.broke("money", f"{request.tag} ({request.outcome}) {wrong}: {record.usage}")


def _wrong_bill(request: RequestSeen, record: UsageRecord) -> str:
    usage, is_whole = record.usage, request.outcome == Outcome.WHOLE
    is_empty_error = request.outcome == Outcome.ERROR and not request.text and not request.is_sealed
    wrongs = {
        "was billed to another account": record.owner != request.account,
        "was billed more tokens than were made": usage.tokens_out > request.words,
        "paid for an error": is_empty_error and record.cost > 0,
        "is whole, and not told as completed": is_whole and usage.outcome is not UsageOutcome.COMPLETED,
        f"has {request.words} tokens": is_whole and request.is_plain and usage.tokens_out != request.words,
    }
    return next((wrong for wrong, holds in wrongs.items() if holds), "")


class NothingLeft:
    """When everybody has gone nothing runs, waits or is kept."""

    def __init__(self, world: World) -> None:
        self._world = world

    def after_step(self) -> None:
        """There is always something while the world runs."""

    async def at_end(self) -> None:
        world = self._world
        service = world.serving.service
        if service.running or (service.waiting and not world.was_killed):
            world.watch.broke("nothing left", f"{service.running} requests run, {service.waiting} wait")
        if world.listener.links or world.listener.strangers:
            world.watch.broke("nothing left", f"{world.listener!r}")
        tasks = sorted(task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task())
        if tasks:
            world.watch.broke("nothing left", f"tasks {tasks[:5]}")
        for request in world.watch.requests.values():
            if not request.outcome:
                world.watch.broke("nothing left", f"{request.tag} never heard of its end")


INVARIANTS: Final = (
    BooksBalance,
    SlotsCounted,
    OneFinaliser,
    NobodyStarves,
    RightProvider,
    MoneyFollowsDelivery,
    NothingLeft,
)
