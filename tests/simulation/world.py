"""One simulated world: the real coordinator and real agents in one process, a seed's scenario around them."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Final
from unittest import mock

from hushnet.coordinator.api.provider_socket import ListenerSettings, ProviderListener
from hushnet.coordinator.ledger.service import Ledger
from hushnet.coordinator.ledger.store import LedgerStore
from hushnet.coordinator.ledger.writing.settings import LedgerSettings
from hushnet.coordinator.serving.assembly import Serving, build_serving
from hushnet.coordinator.storage import Database, open_ledger_store
from hushnet.foundation.ids import ModelId
from hushnet.provider.link import dialling
from hushnet.sealing.statements import Recipient
from simulation import demand
from simulation.accounts import SlowStore, WatchedLedger
from simulation.chance import often, seeded, spread
from simulation.chaos import wreak
from simulation.consumers import Conversation, Wish
from simulation.door import Doorway
from simulation.invariants import INVARIANTS, Queued
from simulation.loop import NothingLeftError, VirtualClock, VirtualLoop
from simulation.providers import NETWORK, SimulatedProvider
from simulation.scenario import Scenario, scenario_of
from simulation.surroundings import ErrorLog, Markups, Tariffs, Tokens
from simulation.watching import RequestSeen, Watch, WatchedGate

_LAST_BYTES_S: Final = 0.5
_COORDINATORS_OWN: Final = ("request-", "serving-", "ledger-", "link-admission")
"""How the names of the coordinator's tasks begin."""
_STANDSTILL_STEPS: Final = 100_000
"""Passes without the clock moving after which nothing will move it."""


class Broken(AssertionError):  # noqa: N818 - it names what happened to the world
    """An invariant does not hold."""


@dataclass(frozen=True)
class Report:
    """How a run ended. `digest` is the hash of its event log; `trace` the last events."""

    seed: int
    family: str
    steps: int
    seconds: float
    requests: int
    outcomes: dict[str, int]
    digest: str
    broken: str | None
    trace: tuple[str, ...]


class World:
    """Everything of one run. `chance` is the only source of randomness."""

    def __init__(
        self, seed: int, *, seconds: float | None = None, family: str | None = None, database: Path | None = None
    ) -> None:
        self.chance = Random(seed)
        self.watch = Watch()
        self.plan: Scenario = scenario_of(seed, self.chance, seconds=seconds, family=family)
        self.limits = self.plan.limits
        self.loop = VirtualLoop(self._after_step, lambda: spread(self.chance, 0.002))
        self.watch.now_s = self.loop.time
        self.clock = VirtualClock(self.loop)
        self.markups = Markups(seed, self.clock)
        self.books = SlowStore(self.chance, delay_s=self.plan.store_delay_s, is_lasting=self.plan.is_lasting)
        self.store: LedgerStore = self.books
        """`books`, unless a database file was given: then the store that a coordinator has on it."""
        self.providers: list[SimulatedProvider] = []
        self._twins: list[SimulatedProvider] = []
        self.conversations: dict[asyncio.Task[None], Conversation] = {}
        self.listed: dict[ModelId, list[Recipient]] = {}
        """What consumers saw when they last looked at the list of providers."""
        self.ledger: WatchedLedger
        self.serving: Serving
        self.listener: ProviderListener
        self.doorway: Doorway
        self.gate: WatchedGate
        self._invariants: list[object] = []
        self._checks: list[object] = []
        self.was_killed = self.is_dead = False
        self.is_serving = False
        """Until the coordinator's serving side has closed."""
        self._database = database
        self._moved = (0.0, 0)
        self._is_over = False

    @property
    def was_ill(self) -> bool:
        """Whether the books were ever away: then some promises are kept later, by the sweeper."""
        return self.books.fell_ill

    @property
    def was_disturbed(self) -> bool:
        """Whether the books were away, or the coordinator died: what was open then is the sweeper's to settle."""
        return self.was_ill or self.was_killed

    def waiting_requests(self) -> Iterator[RequestSeen]:
        """Return the requests that hold money and are not settled yet."""
        known = (self.watch.by_id.get(number) for number in self.ledger.open)
        return (request for request in known if request is not None)

    # What chaos and demand do.

    async def pause(self, median_s: float) -> None:
        await asyncio.sleep(spread(self.chance, median_s))

    def boot(self, provider: SimulatedProvider) -> None:
        if not self._is_over and not provider.is_up:
            self.doorway.weather[provider.plan.number] = self.plan.weather[provider.plan.number]
            provider.boot()

    def twin_of(self, provider: SimulatedProvider) -> SimulatedProvider:
        """Return another agent with the identity of `provider`."""
        twin = self._provider(copy.copy(provider.plan))
        twin.identity = provider.identity
        self._twins.append(twin)
        return twin

    def make_books_ill(self, share: float) -> None:
        self.books.illness = share

    def arrive(self, wish: Wish) -> None:
        """Let a consumer come."""
        conversation = Conversation(wish, self.serving.service, self.watch, self.clock, self.chance)
        task = asyncio.create_task(conversation.run(), name=f"consumer-{wish.tag}")
        self.conversations[task] = conversation
        task.add_done_callback(self._left)

    # The run.

    def run(self) -> Report:
        """Run to the end, or to the first broken invariant."""
        handler, log = ErrorLog(self), logging.getLogger("hushnet")
        propagates, log.propagate = log.propagate, False
        log.addHandler(handler)
        self.loop.set_exception_handler(lambda _, context: self._unhandled(context))
        try:
            with seeded(self.chance):
                try:
                    self.loop.run_until_complete(self._live())
                except Broken:
                    pass
                except NothingLeftError as error:
                    self.watch.broke("deadlock", str(error))
                finally:
                    self._clear_away()
        finally:
            log.removeHandler(handler)
            log.propagate = propagates
        return self._report()

    async def _live(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            if self._database is not None:
                database = await Database.open(f"sqlite:///{self._database}")
                stack.push_async_callback(database.aclose)
                self.store = open_ledger_store(database)
            ledger = await self._build()
            stack.enter_context(mock.patch.object(dialling, "ws_connect", self.doorway.dial))
            self.serving.start()
            self.is_serving = True
            for plan in self.plan.providers:
                self.providers.append(self._provider(plan))
                self.boot(self.providers[-1])
            chaos = asyncio.create_task(wreak(self), name="chaos")
            crowd = asyncio.create_task(demand.come(self), name="demand")
            prices = asyncio.create_task(self.markups.change(self), name="prices")
            await asyncio.sleep(self.plan.seconds)
            self.watch.note("closing")
            self._is_over = True
            await _end(crowd)
            await _end(prices)
            if self.plan.is_killed:
                await _end(chaos)
                await self._kill()
            else:
                if not self.plan.is_cut_short:
                    await _end(chaos)
                    await self.serving.service.idle()
                await self._close_coordinator(chaos)
                await self._send_home()
                await ledger.aclose()
            for check in self._invariants:
                await check.at_end()  # type: ignore[attr-defined]

    async def _build(self) -> Ledger:
        plan = self.plan
        ledger = await self._open_books()
        for account, credit in plan.consumers.items():
            if credit:
                await ledger.grant_promo(account, credit, grant_id=f"grant-{account}", actor="simulation")
        self.ledger = WatchedLedger(ledger, self.watch)
        self.serving = build_serving(
            network=NETWORK,
            clock=self.clock,
            ledger=self.ledger,
            tariffs=Tariffs(),
            tokens=Tokens(self.chance, 0.05 if plan.troubles.rate else 0.0),
            markups=self.markups,
            limits=replace(plan.limits, terms=self.markups.terms),
            queue_limits=plan.queue_limits,
            trust_settings=plan.trust,
            telemetry=Queued(self),
        )
        self.gate = WatchedGate(self.serving.gate, self.watch, self.serving.fleet.get)
        self.gate.missed_max = plan.trust.missed_max
        self.listener = ProviderListener(self.gate, ListenerSettings(NETWORK), self.clock)
        self.doorway = Doorway(self.chance, self.listener)
        self._invariants = [invariant(self) for invariant in INVARIANTS]
        self._checks = self._invariants
        return ledger

    async def _open_books(self) -> Ledger:
        """Open the ledger; what an earlier one left open is finalised before this returns."""
        settings = LedgerSettings(clock_skew_ms_max=None, sweep_s=5.0, renew_s=5.0, outage_s_max=5.0, draft_s=1.0)
        return await Ledger.open(self.store, self.clock, settings=settings)

    async def _kill(self) -> None:
        """End the coordinator as a power failure does: in the middle of everything; then open the books anew."""
        self.watch.note("killed")
        self.was_killed, self.is_dead, self.is_serving = True, True, False
        doomed = [task for task in asyncio.all_tasks() if task.get_name().startswith(_COORDINATORS_OWN)]
        for task in sorted(doomed, key=lambda each: each.get_name()):
            task.cancel()
        await asyncio.gather(*doomed, return_exceptions=True)
        for link in self.doorway.links.values():
            link.reset()
        for conversation in list(self.conversations.values()):
            conversation.cut()
        self.doorway.is_open = False
        await self.listener.aclose()
        await self._send_home()
        self.is_dead = False
        await (await self._open_books()).aclose()

    async def _close_coordinator(self, chaos: asyncio.Task[None]) -> None:
        """Stop in the order in which the coordinator's process does."""
        if often(self.chance, 0.5):
            self.listener.drain("closing")
        await asyncio.gather(self._close_serving(), self._close_http())
        await _end(chaos)
        self.doorway.is_open = False
        await self.listener.aclose()

    async def _send_home(self) -> None:
        """Wait for the consumers, stop the agents, and leave the books to the sweeper where it has work."""
        await asyncio.gather(*self.conversations)
        everybody = [*self.providers, *self._twins]
        for provider in everybody:
            if provider.is_up:
                provider.drain()
                provider.drain()
        for provider in everybody:
            await provider.stopped()
        self.make_books_ill(0.0)
        if self.was_ill:
            # What could not be settled in time is the sweeper's, once the holds have run out.
            await asyncio.sleep(self.limits.total_s_max + self.limits.hold_margin_s + 60.0)

    async def _close_serving(self) -> None:
        await self.serving.aclose(drain_s=self.plan.drain_s)
        self.is_serving = False

    async def _close_http(self) -> None:
        """Let answers end within the drain, then cut the rest."""
        open_still = list(self.conversations)
        if open_still:
            await asyncio.wait(open_still, timeout=self.plan.drain_s + _LAST_BYTES_S)
        for conversation in list(self.conversations.values()):
            conversation.cut()

    def _provider(self, plan: object) -> SimulatedProvider:
        provider = SimulatedProvider(
            plan,  # type: ignore[arg-type]
            chance=self.chance,
            clock=self.clock,
            doorway=self.doorway,
            watch=self.watch,
        )
        self.doorway.dressed = self._dress
        return provider

    def _dress(self, number: int, link: object) -> None:
        self.providers[number].dress(link)  # type: ignore[arg-type]

    def _left(self, task: asyncio.Task[None]) -> None:
        del self.conversations[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            where = "".join(traceback.format_exception(error)[-3:])
            self.watch.broke("consumers", f"{task.get_name()}: {where}")

    # After every step.

    def _after_step(self) -> None:
        if self.watch.broken is None:
            for check in self._checks:
                check.after_step()  # type: ignore[attr-defined]
            moved_s, since = self._moved
            if self.loop.time() > moved_s:
                self._moved = (self.loop.time(), self.loop.steps)
            elif self.loop.steps - since > _STANDSTILL_STEPS:
                self.watch.broke("standstill", "the loop turns and no time passes")
        if self.watch.broken is not None:
            raise Broken(self.watch.broken)

    def _unhandled(self, context: dict[str, object]) -> None:
        if self.is_dead:
            return
        error = context.get("exception")
        where = "".join(traceback.format_exception(error)[-3:]) if isinstance(error, BaseException) else ""
        self.watch.broke("no errors", f"unhandled in the loop: {context.get('message')} {where}")

    def _clear_away(self) -> None:
        """End what a broken run left, so that the next one begins with nothing."""
        if self.loop.is_closed():
            return
        self._checks = []
        self.loop.is_watched = False
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        with contextlib.suppress(Exception):
            self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def _report(self) -> Report:
        outcomes: dict[str, int] = {}
        for request in self.watch.requests.values():
            outcomes[request.outcome] = outcomes.get(request.outcome, 0) + 1
        return Report(
            seed=self.plan.seed,
            family=self.plan.family,
            steps=self.loop.steps,
            seconds=self.loop.time(),
            requests=len(self.watch.requests),
            outcomes=outcomes,
            digest=self.watch.digest,
            broken=self.watch.broken,
            trace=tuple(self.watch.events),
        )


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def simulate(
    seed: int, *, seconds: float | None = None, family: str | None = None, database: Path | None = None
) -> Report:
    """Run the world of a seed, for so long, with troubles of that family, on that SQLite file where they are given."""
    return World(seed, seconds=seconds, family=family, database=database).run()
