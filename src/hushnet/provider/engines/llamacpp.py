"""The default engine: llama.cpp in this process, with continuous batching over slots.

Tools are not offered: llama.cpp turns their parameters into grammars by itself, without the bounds that `grammar` keeps, and
prints what it cannot turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final

from hushnet.foundation.clock import Clock, SystemClock
from hushnet.foundation.errors import ConfigurationError, RequestError
from hushnet.provider.engines.base import (
    Capabilities,
    ChatRequest,
    ContextTooLong,
    EngineCapacity,
    EngineFailed,
    Event,
    Health,
    ModelSpec,
    check_features,
    check_length,
)
from hushnet.provider.engines.bodies import plain_messages, request_body
from hushnet.provider.engines.chunks import AnswerReader
from hushnet.provider.engines.grammar import compile_format
from hushnet.provider.engines.native import NativeServer, NativeSettings, Stream
from hushnet.provider.engines.probes import probe_features, probe_request
from hushnet.provider.engines.slots import Lease, SlotPool


@dataclass(frozen=True, slots=True)
class LlamaCppLimits:
    """Tuning of this engine.

    A batch is the longest step that cannot be interrupted, so its size is chosen from the measured prefill speed:
    `step_s_max` keeps a cancel within 100 ms where the model allows it at all. Smaller batches cost little (5 % of
    prefill at 64 tokens against 512 on a CPU, measured).
    """

    step_s_max: float = 0.04
    batch_tokens_first: int = 256
    batch_tokens_min: int = 16
    batch_tokens_max: int = 512
    context_tokens_default: int = 8192
    """A slot's context when nobody says: memory for it is taken at once, and models are trained for far more."""
    measure_s_max: float = 0.5
    queue_max: int = 256
    """The link's own admission is tighter; this bounds memory."""


_MEASUREMENTS_MAX: Final = 4
_FEW_WORDS: Final = "one two three four five six seven eight nine ten " * 6
_MANY_WORDS: Final = _FEW_WORDS * 4


class LlamaCppEngine:
    """Serves one GGUF model through `NativeServer`."""

    name = "llamacpp"

    def __init__(self, limits: LlamaCppLimits | None = None, *, clock: Clock | None = None) -> None:
        self._limits = limits or LlamaCppLimits()
        self._clock = clock or SystemClock()
        self._native: NativeServer | None = None
        self._pool = SlotPool(0, queue_max=0)
        self._streams: set[Stream] = set()
        self._features: frozenset[str] | None = None
        self._context_tokens = 0

    def __repr__(self) -> str:
        state = "loaded" if self._native is not None else "empty"
        return f"<LlamaCppEngine {state} {self.capacity()}>"

    async def load(self, spec: ModelSpec) -> Capabilities:
        """Load the file at `spec.path`, size the batch to the machine, and probe."""
        if self._native is not None:
            raise ConfigurationError("the engine has a model loaded already")
        if spec.path is None:
            raise ConfigurationError("llamacpp needs a model file", hint="Give a path to a .gguf file.")
        settings = NativeSettings(
            path=spec.path,
            slots=spec.slots,
            context_tokens=spec.context_tokens or self._limits.context_tokens_default,
            threads=spec.threads,
            batch_tokens=self._limits.batch_tokens_first,
        )
        try:
            await self._start(settings)
            wanted = self._batch_tokens(await self._prefill_tokens_s(spec))
            if wanted != settings.batch_tokens:
                await self._stop()
                await self._start(replace(settings, batch_tokens=wanted))
            self._features = await probe_features(self._answer, spec.model)
        except BaseException:
            await self._stop()
            raise
        return Capabilities(self._features, self._context_tokens, spec.slots)

    async def unload(self) -> None:
        """Stop what runs, refuse what waits, free the model."""
        self._features = None
        await self._stop()

    async def generate(
        self, request: ChatRequest, *, max_output_tokens: int, cache_salt: str | None = None
    ) -> AsyncGenerator[Event, None]:
        """See `Engine.generate`."""
        check_features(request, self._features)
        async with aclosing(self._answer(request, max_output_tokens, cache_salt)) as events:
            async for event in events:
                yield event

    async def count_prompt_tokens(self, request: ChatRequest) -> int:
        """Count with the model's template and tokenizer, over the control socket."""
        native = self._loaded()
        check_length(request, self._context_tokens)
        counted = await native.post("/v1/chat/completions/input_tokens", {"messages": plain_messages(request)})
        return int(counted["input_tokens"])

    def capacity(self) -> EngineCapacity:
        """Report the load now."""
        return self._pool.capacity()

    async def health(self) -> Health:
        """Ask the inference loop for its counters."""
        if self._native is None:
            return Health(is_healthy=False, reason="not_loaded")
        is_healthy = await self._native.answers()
        return Health(is_healthy, "" if is_healthy else "not_answering")

    async def _answer(
        self, request: ChatRequest, max_output_tokens: int, cache_salt: str | None = None
    ) -> AsyncGenerator[Event, None]:
        native, pool = self._loaded(), self._pool
        check_length(request, self._context_tokens)
        body = request_body(request, max_output_tokens=max_output_tokens)
        if request.response_format is not None:
            body["grammar"] = compile_format(request.response_format)
        lease = await pool.acquire(cache_salt)
        stream = self._begin(native, pool, lease, body)
        reader = AnswerReader(pool, lease, top_logprobs=request.top_logprobs)
        try:
            while (batch := await stream.next_batch()) is not None:
                for delta in reader.read(batch):
                    yield delta
            yield reader.finish()
        finally:
            stream.cancel()

    def _begin(self, native: NativeServer, pool: SlotPool, lease: Lease, body: dict[str, Any]) -> Stream:
        """Start the request in `lease`'s slot; the lease ends when llama.cpp has let go, not when we lose interest."""
        body |= {"id_slot": lease.slot.index, "cache_prompt": lease.may_reuse_prefix, "return_progress": True}
        try:
            stream = native.stream(body)
        except BaseException:
            pool.release(lease)
            raise
        self._streams.add(stream)

        def ended(_: object) -> None:
            self._streams.discard(stream)
            pool.release(lease)

        stream.ended.add_done_callback(ended)
        return stream

    async def _start(self, settings: NativeSettings) -> None:
        self._native = await NativeServer.start(settings)
        self._pool = SlotPool(settings.slots, queue_max=self._limits.queue_max)
        props = await self._native.get("/props")
        self._context_tokens = int(props["default_generation_settings"]["n_ctx"])

    async def _stop(self) -> None:
        native, self._native = self._native, None
        if native is None:
            return
        self._pool.close()
        for stream in self._streams:
            stream.cancel()
        await asyncio.gather(*(stream.ended for stream in self._streams), return_exceptions=True)
        await native.stop()

    def _loaded(self) -> NativeServer:
        if self._native is None:
            raise EngineFailed("no model is loaded")
        return self._native

    async def _prefill_tokens_s(self, spec: ModelSpec) -> float:
        """Measure, best of a few: the first request also reads the weights from disk, and other programs run here.

        A fast engine is asked for a longer prompt: a short one shows how long it takes to begin, not how fast it is.
        """
        began_s, best, words = self._clock.monotonic_s(), 0.0, _FEW_WORDS
        for attempt in range(_MEASUREMENTS_MAX):
            self._pool = SlotPool(spec.slots, queue_max=self._limits.queue_max)  # forgets the rates before
            request = replace(probe_request(spec.model), messages=[{"role": "user", "content": words}])
            try:
                async for _event in self._answer(request, 1):
                    pass
            except ContextTooLong:
                break
            except RequestError:
                raise EngineFailed("the model's chat template does not work", code="model_load_failed") from None
            best = max(best, self._pool.capacity().prefill_tokens_s)
            if self._batch_tokens(best) >= self._limits.batch_tokens_first // 4:
                words = _MANY_WORDS
            if attempt > 0 and self._clock.monotonic_s() - began_s > self._limits.measure_s_max:
                break
        return best

    def _batch_tokens(self, prefill_tokens_s: float) -> int:
        limits = self._limits
        wanted = int(prefill_tokens_s * limits.step_s_max)
        power = 1 << max(0, wanted.bit_length() - 1)
        return min(max(power, limits.batch_tokens_min), limits.batch_tokens_max)
