"""The state machine of one attempt: open, check, wait for a slot, generate, end.

Rules:
- Every attempt ends in one place, `_end`: with a refusal before its first record, else with one terminal record.
- A refusal says a code and nothing else; what the consumer should read is sealed.
- The head leaves with the engine's first word, so that an answer which fails before it has the status of its failure.
- Whatever arrives ends its own attempt at worst.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from hushnet.dialects.openai_chat import ChatRequest, Delta, prompt_bytes_bound
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import HushnetError, LocalProtocolError, RequestError
from hushnet.foundation.ids import AttemptId, ModelId
from hushnet.provider.answers import Answer, answer_to
from hushnet.provider.checks import Failure, bound_output, failed, is_prompt_within, refused_by_engine, too_long
from hushnet.provider.engines.base import ContextTooLong, EngineBusy, EngineFailed, Event, Finished
from hushnet.provider.generation import Generation
from hushnet.provider.metering import AttemptMeter, MeterPace
from hushnet.provider.sealed_answer import NoCredit, SealedAnswer
from hushnet.provider.supervision import LoadedModel
from hushnet.sealing.errors import SealingError, WireCode
from hushnet.sealing.header import RoutingHeader
from hushnet.sealing.records import FrameSealer
from hushnet.wire.errors import LinkLost

if TYPE_CHECKING:
    from hushnet.provider.link import AttemptWriter

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServingLimits:
    """What serving allows; the settings give `queue`."""

    queue: int = 8
    inline_bytes_max: int = 256 * 1024
    """Larger envelopes are opened off the event loop (docs/sealing.md section 6): 1 ms a MiB."""
    credit_s_max: float = 30.0
    """A reader that takes nothing for this long holds a slot that others wait for."""
    recount_s_max: float = 1.0
    """For the prompt of an answer that was cut short before its engine told the count; the coordinator waits 2 s."""
    pace: MeterPace = field(default_factory=MeterPace)


class Phase(Enum):
    """Where an attempt is."""

    OPENING = "opening"
    QUEUED = "queued"
    GENERATING = "generating"
    ENDING = "ending"


@dataclass(frozen=True, slots=True)
class AttemptReport:
    """How one attempt ended: `served`, `link_lost` or the label of a wire code, and its counts. Nothing of its content."""

    attempt: AttemptId
    outcome: str
    input_tokens: int = 0
    output_tokens: int = 0
    duration_ms: int = 0


class Opened(Protocol):
    """An opened request, without the means to open one."""

    @property
    def header(self) -> RoutingHeader: ...

    @property
    def meta(self) -> Mapping[str, Any]: ...

    def frame_sealer(self) -> FrameSealer: ...

    def release(self) -> None: ...


class AttemptHost(Protocol):
    """What an attempt needs of the provider it runs in; implemented by `serving.Serving`."""

    @property
    def clock(self) -> Clock: ...

    @property
    def limits(self) -> ServingLimits: ...

    async def open(self, envelope: bytes) -> tuple[Opened, ChatRequest | Failure]:
        """Open an envelope and decode its body; raises `SealingError` with a wire code."""
        ...

    async def obtain(self, model: ModelId) -> LoadedModel | None:
        """Return a model, loaded if need be; None when it is not on offer. Raises `EngineBusy` or `EngineFailed`."""
        ...

    def engine_failed(self, loaded: LoadedModel, *, is_stuck: bool = False) -> None:
        """Note that the engine failed an attempt, or would not stop."""
        ...

    def ended(self, attempt: Attempt, report: AttemptReport) -> None:
        """Take the attempt off the books."""
        ...


class Attempt:
    """One attempt. `stop` may be called at any time; the first call wins."""

    def __init__(self, host: AttemptHost, number: AttemptId, bound: LoadedModel | None, writer: AttemptWriter) -> None:
        """Make an attempt at `bound`, or at the model that its header turns out to name."""
        self.number = number
        self.bound = bound
        self.phase = Phase.OPENING
        self.tokens_reserved = 0
        self._host = host
        self._writer = writer
        self._task: asyncio.Task[None] | None = None
        self._began_s = host.clock.monotonic_s()
        self._is_begun = False
        self._is_stopped = False
        self._stopped_by: Failure | None = None
        self._opened: Opened | None = None
        self._meter: AttemptMeter | None = None
        self._request: ChatRequest | None = None
        self._answer: SealedAnswer | None = None
        self._generation: Generation | None = None

    @property
    def loaded(self) -> LoadedModel:
        """The model that serves this attempt; raises `LocalProtocolError` before it is known."""
        if self.bound is None:
            raise LocalProtocolError("the model of this attempt is not known yet")
        return self.bound

    def start(self, envelope: bytes, deadline_s: float) -> None:
        """Run in the background; `deadline_s` counts from now."""
        deadline = asyncio.get_running_loop().time() + deadline_s
        self._task = asyncio.create_task(self._run(envelope, deadline), name=f"attempt {self.number}")

    def stop(self, failure: Failure | None) -> None:
        """End the attempt with `failure`; None when its link is gone and nobody hears the end."""
        if self._is_stopped or self.phase is Phase.ENDING:
            return
        self._is_stopped = True
        self._stopped_by = failure
        if self._is_begun and self._task is not None:  # a task cancelled before its first step would never reach `_end`
            self._task.cancel()

    async def _run(self, envelope: bytes, deadline: float) -> None:
        self._is_begun = True
        failure: Failure | None = None
        try:
            if self._is_stopped:
                raise asyncio.CancelledError
            async with asyncio.timeout_at(deadline):
                await self._serve(envelope)
        except asyncio.CancelledError:
            failure = self._stopped_by if self._is_stopped else failed(WireCode.INTERNAL)
        except TimeoutError:
            failure = failed(WireCode.TIMED_OUT)
        except LinkLost:
            self._is_stopped, self._stopped_by = True, None
        except Exception as error:  # a hostile envelope or a broken plug-in ends this attempt and no other
            failure = self._failure_of(error)
        await self._end(failure)

    async def _serve(self, envelope: bytes) -> None:
        """Go through the steps; what goes wrong is raised."""
        self._opened, request = await self._host.open(envelope)
        header = self._opened.header
        if self.bound is None:
            self.bound = await self._host.obtain(ModelId(header.model))
        if self.bound is None:
            raise _Ended(failed(WireCode.MODEL_UNAVAILABLE))
        if header.model != self.loaded.spec.model or not set(header.features) <= self.loaded.capabilities.features:
            raise _Ended(failed(WireCode.MODEL_UNAVAILABLE))
        if isinstance(request, Failure):
            raise _Ended(request)
        prompt_tokens, bound = await self._measure(header, request)
        self._request = request
        self.tokens_reserved = bound + (self._tokens_at_most(request) if prompt_tokens is None else prompt_tokens)
        clock, limits = self._host.clock, self._host.limits
        self._meter = AttemptMeter(header, input_tokens=prompt_tokens, now_s=clock.monotonic_s(), pace=limits.pace)
        body = answer_to(request, completion_id=f"chatcmpl-{secrets.token_hex(12)}", created_s=clock.now_ms() // 1000)
        self._answer = self._sealed_answer(self._opened)
        self.phase = Phase.QUEUED
        await self.loaded.slots.take()
        self.phase = Phase.GENERATING
        salt = self._opened.meta.get("cache_salt")
        await self._generate(request, bound, salt=salt, body=body, meter=self._meter, answer=self._answer)

    async def _measure(self, header: RoutingHeader, request: ChatRequest) -> tuple[int | None, int]:
        """Return the prompt's tokens and the most that may be generated; raises what step 12 finds.

        Only a prompt that could exceed its bound is counted beforehand: counting costs a first token more than all the
        rest of a provider, and with an attached server it may cost a generation.
        """
        prompt_tokens = None if is_prompt_within(header, request) else await self._count(request)
        context_tokens = self.loaded.capabilities.context_tokens
        bound = bound_output(header, request, prompt_tokens=prompt_tokens, context_tokens=context_tokens)
        if isinstance(bound, Failure):
            raise _Ended(bound)
        return prompt_tokens, bound

    async def _count(self, request: ChatRequest) -> int:
        try:
            return await self.loaded.engine.count_prompt_tokens(request)
        except HushnetError:
            raise
        except Exception as error:  # an engine is a plug-in: whatever it raises is its own failure
            raise EngineFailed(f"the engine raised {type(error).__name__}") from None

    def _tokens_at_most(self, request: ChatRequest) -> int:
        return min(prompt_bytes_bound(request), self.loaded.capabilities.context_tokens)

    def _sealed_answer(self, opened: Opened) -> SealedAnswer:
        """Derive the keys of the answer: from here on failures are sealed."""
        return SealedAnswer(
            opened.frame_sealer(),
            self._writer,
            meter=self._meter,
            clock=self._host.clock,
            credit_s_max=self._host.limits.credit_s_max,
            build="" if self.bound is None else self.bound.spec.build,
        )

    async def _generate(
        self,
        request: ChatRequest,
        bound: int,
        *,
        salt: str | None,
        body: Answer,
        meter: AttemptMeter,
        answer: SealedAnswer,
    ) -> None:
        """Run the engine on the slot that this attempt holds, until the answer has ended."""
        generation = self._generation = Generation(
            lambda: self.loaded.engine.generate(request, max_output_tokens=bound, cache_salt=salt),
            on_over=self.loaded.slots.give_back,
        )
        while True:
            batch = await generation.take(meter.wait_s(self._host.clock.monotonic_s()))
            if await _forward(batch, body=body, meter=meter, answer=answer):
                return
            await answer.usage_when_due()

    def _failure_of(self, error: Exception) -> Failure:
        match error:
            case _Ended():
                return error.failure
            case ContextTooLong():
                return too_long(str(error))
            case RequestError():
                return refused_by_engine(error)
            case _:
                return failed(self._code_of(error))

    def _code_of(self, error: Exception) -> WireCode:
        match error:
            case SealingError() if self._opened is None and error.wire_code is not None:
                return error.wire_code
            case NoCredit():
                return WireCode.BACKPRESSURE
            case EngineBusy():
                return WireCode.CAPACITY
            case EngineFailed():
                if self.bound is not None:
                    self._host.engine_failed(self.bound)
                return WireCode.ENGINE_FAILED
            case _:
                _LOG.error("attempt failed", extra={"attempt": self.number, "error": type(error).__name__})
                return WireCode.INTERNAL

    async def _end(self, failure: Failure | None) -> None:
        """Stop the engine, say how it ended, free the slot: the only way out."""
        self.phase = Phase.ENDING
        if self._generation is not None:
            if not await self._generation.stop():
                self._host.engine_failed(self.loaded, is_stuck=True)
            elif failure is not None:
                await self._settle_prompt()
        is_link_lost = self._is_stopped and self._stopped_by is None
        try:
            if not is_link_lost:
                self._say_end(failure)
        except Exception as error:  # the attempt is over either way
            _LOG.error("attempt could not say its end", extra={"attempt": self.number, "error": type(error).__name__})
        finally:
            if self._answer is not None:
                self._answer.drop()
            outcome = "link_lost" if is_link_lost else "served" if failure is None else failure.code.label
            self._host.ended(self, self._report(outcome))

    async def _settle_prompt(self) -> None:
        """Count the prompt of an answer that was cut short before its engine told; one that cannot any more is not paid it."""
        if self._meter is None or self._request is None or not self._meter.owes_prompt:
            return
        try:
            async with asyncio.timeout(self._host.limits.recount_s_max):
                self._meter.settle_prompt(await self._count(self._request))
        except (HushnetError, TimeoutError) as error:
            _LOG.info("prompt not counted", extra={"attempt": self.number, "error": type(error).__name__})

    def _say_end(self, failure: Failure | None) -> None:
        if failure is not None:
            if self._opened is not None and self._is_id_free(failure):
                self._opened.release()
            if self._answer is None:
                if self._opened is None or not failure.is_sealed:
                    self._writer.refuse(failure.code)
                    return
                self._answer = self._sealed_answer(self._opened)
            self._answer.fail(failure)
        self._writer.finish()

    def _is_id_free(self, failure: Failure) -> bool:
        """Say whether the envelope may come again: only before engine work (docs/sealing.md section 6).

        A full engine has done none; one that was stopped for a drain may have.
        """
        is_full = failure.code is WireCode.CAPACITY and not (self._answer is not None and self._answer.is_begun)
        return failure.code.is_id_released and (self._generation is None or is_full)

    def _report(self, outcome: str) -> AttemptReport:
        duration_ms = round((self._host.clock.monotonic_s() - self._began_s) * 1000)
        if self._meter is None:
            return AttemptReport(self.number, outcome, duration_ms=duration_ms)
        usage = self._meter.usage
        return AttemptReport(self.number, outcome, usage.input, usage.output, duration_ms)

    def __repr__(self) -> str:
        return f"Attempt({self.number}, {self.phase.value})"


async def _forward(batch: list[Event], *, body: Answer, meter: AttemptMeter, answer: SealedAnswer) -> bool:
    """Send what the engine had ready; True when that was the end of the answer."""
    deltas = [event for event in batch if isinstance(event, Delta)]
    finished = next((event for event in batch if isinstance(event, Finished)), None)
    meter.count(deltas)
    parts = list(body.pieces(deltas))
    if batch:
        await answer.begin(body)
    if finished is not None:
        meter.settle(finished.usage)
        parts.extend(body.closing(finished, meter.usage))
    await answer.content(parts)
    if finished is not None:
        answer.end()
    return finished is not None


class _Ended(Exception):  # noqa: N818 - an outcome on its way to `_end`
    """Carries a failure out of the steps of an attempt."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code.label)
        self.failure = failure
