"""The service of requests: takes them in, owns their tasks, looks at the clock, and ends them all before it closes."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Final

from hushnet.coordinator.admission.envelopes import EnvelopeMemory
from hushnet.coordinator.admission.queue import FairQueue, QueueLimits
from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.coordinator.fleet.roll import Roll
from hushnet.coordinator.fleet.warm_pool import WarmPool
from hushnet.coordinator.routing.warmth import WarmPolicy
from hushnet.coordinator.serving.attempt import Attempt
from hushnet.coordinator.serving.desk import Desk, KeyDesk, PrefixDesk
from hushnet.coordinator.serving.failures import Failure, FailureCode
from hushnet.coordinator.serving.life import Life
from hushnet.coordinator.serving.model import Consumer, RequestBody
from hushnet.coordinator.serving.reserve import Quote, quoted
from hushnet.coordinator.serving.route import Placement, Waiting
from hushnet.coordinator.serving.rules.stops import Stop
from hushnet.coordinator.serving.seal import SealedBody
from hushnet.coordinator.serving.settings import ServingLimits
from hushnet.coordinator.serving.store import (
    Budgets,
    EnvelopeClaims,
    NoBudgets,
    RequestClaim,
    RequestLedger,
    Silence,
    Tariffs,
    Telemetry,
)
from hushnet.coordinator.telemetry.timing import RESERVE, Stopwatch
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import CapacityError
from hushnet.foundation.ids import AccountId, ModelId, RequestId
from hushnet.foundation.tasks import TaskSet
from hushnet.sealing.limits import SKEW
from hushnet.sealing.prepared import PreparedKeys

_LOG = logging.getLogger(__name__)

STOPPED_S_MAX: Final = 10.0
"""How long stopped requests may take to settle before the service gives up on them; the sweeper takes over."""


class RequestService:
    """Serves requests of one coordinator process. `tick` is called several times a second by the pulse."""

    def __init__(
        self,
        *,
        fleet: Fleet,
        ledger: RequestLedger,
        tariffs: Tariffs,
        clock: Clock,
        limits: ServingLimits | None = None,
        queue_limits: QueueLimits | None = None,
        telemetry: Telemetry | None = None,
        budgets: Budgets | None = None,
    ) -> None:
        self.claims: EnvelopeClaims | None = None
        """Set where other processes take requests too, before the first request."""
        self.limits = limits or ServingLimits()
        self._fleet = fleet
        self._clock = clock
        self.roll = Roll(fleet)
        """Who is there by the names that requests may use."""
        fleet.watch(self.roll.changed)
        queue: FairQueue[Waiting] = FairQueue(queue_limits)
        self.pool = WarmPool(
            fleet,
            clock,
            WarmPolicy(self.limits.warm, self.limits.pins),
            waiting=lambda model: self._placement.demand(model),  # noqa: PLW0108 - it is made below
            telemetry=telemetry or Silence(),
        )
        self._placement = Placement(fleet, queue, clock, self.pool, telemetry)
        self._desk = Desk(
            fleet=fleet,
            placement=self._placement,
            ledger=ledger,
            budgets=budgets or NoBudgets(),
            tariffs=tariffs,
            clock=clock,
            limits=self.limits,
            telemetry=telemetry or Silence(),
            keys=KeyDesk(PreparedKeys(clock.monotonic_s), clock.monotonic_s),
            prefixes=PrefixDesk(fleet, clock.monotonic_s),
            linger=self._linger,
        )
        self._ledger = ledger
        self._envelopes = EnvelopeMemory()
        self._lives: dict[Life, None] = {}
        """In the order in which they came: a set's order is another in every run, and no run could be replayed."""
        self._lingering: deque[tuple[float, Attempt]] = deque()
        self._tasks = TaskSet()
        self._is_closing = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def running(self) -> int:
        """How many requests are not settled yet."""
        return len(self._lives)

    @property
    def waiting(self) -> int:
        """How many requests wait for a provider."""
        return self._placement.waiting

    def waiting_for(self, model: ModelId) -> int:
        """Return how many requests wait for a provider of `model`."""
        return self._placement.waiting_for(model)

    def stopwatch(self) -> Stopwatch:
        """Start the clock of a request that has just arrived."""
        return Stopwatch(self._clock.monotonic_s)

    def next_request_id(self) -> RequestId:
        """Return the id for a request that is to be submitted with it. Raises `CapacityError` while the ledger has none."""
        return self._ledger.next_request_id()

    def submit(
        self,
        consumer: Consumer,
        body: RequestBody,
        watch: Stopwatch | None = None,
        *,
        is_told_its_place: bool = False,
        claim: RequestClaim | None = None,
    ) -> Life | Failure:
        """Begin to serve a request; its answer comes out of the life's outlet. A refusal here held nothing, and leaves
        what was prepaid to whoever made that hold.

        `is_told_its_place`: while it waits in the queue, notices come out of the outlet, as comments of an event stream.
        `claim` gives the request's id, and is released when the request ends with nothing held.
        """
        refusal = self._refusal(consumer, body)
        if refusal is not None:
            return refusal
        try:
            request_id = self._id_of(consumer, claim)
        except CapacityError as error:
            return Failure(FailureCode.BUSY, retry_after_s=error.retry_after_s)
        watch = watch or self.stopwatch()
        watch.enter(RESERVE)
        life = Life(self._desk, request_id, consumer, body, watch, is_told_its_place=is_told_its_place, claim=claim)
        self._lives[life] = None
        self._idle.clear()
        self._tasks.spawn(self._run(life, consumer.account_id), name=f"request-{request_id}")
        return life

    def quote(self, consumer: Consumer, body: RequestBody) -> Quote | Failure:
        """Return what a request would hold now, or why it would not be served; nothing is held or remembered."""
        refusal = self._unserved(consumer, body)
        if refusal is not None:
            return refusal
        tariff = self._desk.tariffs.tariff_of(body.facts.model)
        return quoted(body.facts, tariff=tariff, limits=self.limits, now_ms=self._clock.now_ms())

    def tick(self) -> None:
        """Look at every deadline: requests, the queue, slots that nobody freed."""
        now_s = self._clock.monotonic_s()
        for life in tuple(self._lives):
            if now_s >= life.look_s or life.outlet.is_saturated:
                life.tick(now_s)
        self._placement.expire()
        while self._lingering and (self._lingering[0][0] <= now_s or self._lingering[0][1].is_over):
            self._lingering.popleft()[1].release()

    async def idle(self) -> None:
        """Wait until every request that was submitted has settled."""
        await self._idle.wait()

    async def drain(self, seconds: float) -> None:
        """Take no more requests, and let those that run go on for up to `seconds`."""
        self._is_closing = True
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            _LOG.info("requests cut off by the shutdown", extra={"count": len(self._lives)})

    async def aclose(self) -> None:
        """Stop every request and wait until each has settled."""
        self._is_closing = True
        for life in tuple(self._lives):
            life.stop(Stop.SHUTDOWN)
        await self.drain(STOPPED_S_MAX)
        await self._tasks.aclose()
        self._desk.keys.close()

    async def _run(self, life: Life, account: AccountId) -> None:
        try:
            if self.claims is not None and isinstance(life.body, SealedBody):
                failure = await self._claim(life, account, life.body, self.claims)
                if failure is not None:
                    await life.let_go()
                    life.outlet.fail(failure)
                    life.stop(Stop.SHUTDOWN)  # nothing is held yet, and the consumer is told this failure
            await life.run()
            await life.let_go()
        finally:
            self._lives.pop(life, None)
            if not self._lives:
                self._idle.set()

    async def _claim(self, life: Life, account: AccountId, body: SealedBody, claims: EnvelopeClaims) -> Failure | None:
        """Say why a request must end before it begins: another process has taken its envelope, or may have."""
        header = body.header
        try:
            is_new = await claims.claim(account, header.id, until=header.exp + SKEW)
        except CapacityError:
            return Failure(FailureCode.BUSY)
        except Exception as error:
            _LOG.error("an envelope could not be claimed", extra={"request_id": life.id, "error": type(error).__name__})
            return Failure(FailureCode.INTERNAL)
        return None if is_new else Failure(FailureCode.DUPLICATE_ENVELOPE)

    def _id_of(self, consumer: Consumer, claim: RequestClaim | None) -> RequestId:
        if consumer.prepaid is not None:
            return consumer.prepaid.reservation.id
        return self.next_request_id() if claim is None else claim.request_id

    def _refusal(self, consumer: Consumer, body: RequestBody) -> Failure | None:
        refusal = self._unserved(consumer, body)
        if refusal is None and isinstance(body, SealedBody):
            return self._envelope_refusal(consumer, body)
        return refusal

    def _unserved(self, consumer: Consumer, body: RequestBody) -> Failure | None:
        if self._is_closing:
            return Failure(FailureCode.SHUTTING_DOWN)
        model = body.facts.model
        if not self._fleet.view(model).index:
            is_known = self._fleet.has_seen(model) or self._desk.tariffs.tariff_of(model).id != 0
            return Failure(FailureCode.MODEL_UNAVAILABLE if is_known else FailureCode.MODEL_NOT_FOUND)
        if body.facts.is_own_only and not self._fleet.view(model).index.owned_by(consumer.account_id):
            has_any = bool(self.roll.owned_by(consumer.account_id))
            return Failure(FailureCode.OWN_PROVIDER_LACKS_MODEL if has_any else FailureCode.NO_OWN_PROVIDER)
        return None

    def _envelope_refusal(self, consumer: Consumer, body: SealedBody) -> Failure | None:
        header, now = body.header, self._clock.now_ms() // 1000
        if not header.iat - SKEW <= now < header.exp + SKEW:
            return Failure(FailureCode.CLOCK_SKEW)
        if not self._envelopes.insert(consumer.account_id, header.id, until=header.exp + SKEW, now=now):
            return Failure(FailureCode.DUPLICATE_ENVELOPE)
        return None

    def _linger(self, attempt: Attempt) -> None:
        self._lingering.append((self._clock.monotonic_s() + self.limits.linger_s_max, attempt))
