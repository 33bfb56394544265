"""Every attempt of a provider: admitted or refused at once, opened here and nowhere else, stopped together.

This module and `provider.attempt` are what the link calls an `AttemptHandler`; `attempt` has the life of one attempt.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from hushnet.dialects.openai_chat import ChatRequest
from hushnet.foundation.clock import Clock
from hushnet.foundation.ids import AttemptId, ModelId
from hushnet.provider.attempt import Attempt, AttemptReport, Phase, ServingLimits
from hushnet.provider.checks import Failure, decode_body, failed
from hushnet.provider.supervision import LoadedModel
from hushnet.sealing.errors import WireCode
from hushnet.sealing.keyring import Keyring
from hushnet.sealing.opening import OpenedRequest, open_request
from hushnet.sealing.replay import ReplayCache

if TYPE_CHECKING:
    from hushnet.provider.link import AttemptWriter

_LOG = logging.getLogger(__name__)


class EngineHost(Protocol):
    """Who has the engines; implemented by `shelf.Shelf`."""

    @property
    def slots(self) -> int:
        """Answers that all models on offer take together; 0 while nothing is on offer."""
        ...

    @property
    def sole(self) -> LoadedModel | None:
        """What is loaded, where there is nothing to choose."""
        ...

    def serves(self, loaded: LoadedModel) -> bool: ...

    async def obtain(self, model_id: ModelId) -> LoadedModel | None:
        """Return a model, loaded if need be; None when it is not on offer. Raises `EngineBusy` or `EngineFailed`."""
        ...

    def suspect(self, loaded: LoadedModel | None, *, is_stuck: bool = False) -> None: ...

    def load_requested(self, model_id: ModelId) -> None: ...

    def unload_requested(self, model_id: ModelId) -> None: ...


class Serving:
    """Runs attempts on the event loop of the link.

    `on_ended` hears of each attempt once it has ended, `on_link_lost` of a link that is gone.
    """

    def __init__(
        self,
        *,
        provider_id: bytes,
        keyring: Keyring,
        engines: EngineHost,
        clock: Clock,
        limits: ServingLimits | None = None,
        replay: ReplayCache | None = None,
        on_ended: Callable[[AttemptReport], None] | None = None,
        on_link_lost: Callable[[], None] | None = None,
    ) -> None:
        self.clock = clock
        self.limits = limits or ServingLimits()
        self.outcomes: Counter[str] = Counter()
        self._provider_id = provider_id
        self._keyring = keyring
        self._engines = engines
        self._replay = replay or ReplayCache()
        self._on_ended = on_ended
        self._on_link_lost = on_link_lost
        self._by_number: dict[AttemptId, Attempt] = {}
        self._running: dict[Attempt, None] = {}
        self._is_draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._openers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="opening")

    @property
    def running(self) -> int:
        """Attempts that have not ended."""
        return len(self._running)

    @property
    def tokens_queued(self) -> int:
        """Tokens that attempts without a slot may come to use."""
        return sum(attempt.tokens_reserved for attempt in self._running if attempt.phase is Phase.QUEUED)

    # What the link calls.

    def attempt_arrived(self, attempt: AttemptId, envelope: bytes, deadline_ms: int, writer: AttemptWriter) -> None:
        """Start an attempt, or refuse it at once when there is no room for it."""
        refusal = self._refusal()
        if refusal is not None:
            writer.refuse(refusal)
            self._note(AttemptReport(attempt, refusal.label))
            return
        running = Attempt(self, attempt, self._engines.sole, writer)
        self._by_number[attempt] = running
        self._running[running] = None
        self._idle.clear()
        running.start(envelope, deadline_ms / 1000)

    def attempt_cancelled(self, attempt: AttemptId, code: int) -> None:
        """Stop the attempt's engine now; its terminal record says `cancelled`, whatever the relay's reason was."""
        del code
        if (running := self._by_number.get(attempt)) is not None:
            running.stop(failed(WireCode.CANCELLED))

    def link_lost(self) -> None:
        """Stop every attempt; nobody hears its end."""
        for running in self._by_number.values():
            running.stop(None)
        self._by_number.clear()
        if self._on_link_lost is not None:
            self._on_link_lost()

    def load_model_requested(self, model: ModelId) -> None:
        if self._is_draining:
            return
        self._engines.load_requested(model)

    def unload_model_requested(self, model: ModelId) -> None:
        self._engines.unload_requested(model)

    def drain_requested(self) -> None:
        """Nothing to do: the coordinator sends no more, and running attempts are finished."""

    # What the daemon calls.

    def engine_changed(self) -> None:
        """End the attempts of an engine that is no longer the one that serves."""
        for running in tuple(self._running):
            if running.bound is not None and not self._engines.serves(running.bound):
                running.stop(failed(WireCode.ENGINE_FAILED))

    def uses(self, loaded: LoadedModel) -> bool:
        """Say whether an attempt that has not ended uses `loaded`."""
        return any(running.bound is loaded for running in self._running)

    def begin_drain(self) -> None:
        """Refuse new attempts from now on."""
        self._is_draining = True

    async def idle(self) -> None:
        """Wait until no attempt runs."""
        await self._idle.wait()

    async def aclose(self) -> None:
        """End what still runs and wait for it."""
        self.begin_drain()
        for running in tuple(self._running):
            running.stop(failed(WireCode.DRAINING))
        await self.idle()
        self._openers.shutdown(wait=False)

    # What an attempt calls.

    async def open(self, envelope: bytes) -> tuple[OpenedRequest, ChatRequest | Failure]:
        """Open an envelope and decode its body; raises `SealingError` with a wire code."""
        if len(envelope) <= self.limits.inline_bytes_max:
            return self._open(envelope)
        return await asyncio.get_running_loop().run_in_executor(self._openers, self._open, envelope)

    async def obtain(self, model: ModelId) -> LoadedModel | None:
        """Return a model, loaded if need be; None when it is not on offer. Raises `EngineBusy` or `EngineFailed`."""
        return await self._engines.obtain(model)

    def engine_failed(self, loaded: LoadedModel, *, is_stuck: bool = False) -> None:
        """Have the engine looked at."""
        self._engines.suspect(loaded, is_stuck=is_stuck)

    def ended(self, attempt: Attempt, report: AttemptReport) -> None:
        """Take an ended attempt off the books."""
        self._running.pop(attempt, None)
        if self._by_number.get(attempt.number) is attempt:
            del self._by_number[attempt.number]
        if not self._running:
            self._idle.set()
        self._note(report)

    def _refusal(self) -> WireCode | None:
        slots = self._engines.slots
        if self._is_draining:
            return WireCode.DRAINING
        if not slots:
            return WireCode.MODEL_UNAVAILABLE
        if len(self._running) >= slots + self.limits.queue:
            return WireCode.CAPACITY
        return None

    def _open(self, envelope: bytes) -> tuple[OpenedRequest, ChatRequest | Failure]:
        opened = open_request(
            envelope,
            provider_id=self._provider_id,
            keyring=self._keyring,
            cache=self._replay,
            now=self.clock.now_ms() // 1000,
        )
        return opened, decode_body(opened.header, opened.data)

    def _note(self, report: AttemptReport) -> None:
        self.outcomes[report.outcome] += 1
        _LOG.info(
            "attempt ended",
            extra={
                "attempt": report.attempt,
                "outcome": report.outcome,
                "input_tokens": report.input_tokens,
                "output_tokens": report.output_tokens,
                "duration_ms": report.duration_ms,
            },
        )
        if self._on_ended is not None:
            self._on_ended(report)
