"""An engine that misbehaves on purpose: it stalls, breaks, lies, or will not stop. The happy path runs on a real model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

from hushnet.foundation.errors import HushnetError
from hushnet.provider.engines.base import (
    Capabilities,
    ChatRequest,
    Delta,
    EngineCapacity,
    Event,
    Finished,
    Health,
    ModelSpec,
    Usage,
)

Script = Callable[[ChatRequest], AsyncGenerator[Event, None]]


async def talk_for_ever(request: ChatRequest) -> AsyncGenerator[Event, None]:
    """Say tokens as fast as they are taken."""
    del request
    while True:
        yield Delta("x", 1)
        await asyncio.sleep(0)


async def say_hello(request: ChatRequest) -> AsyncGenerator[Event, None]:
    """Answer `he` `llo` at once."""
    del request
    yield Delta("he", 1)
    yield Delta("llo", 1)
    yield Finished("stop", Usage(input=5, cached=0, output=2))


@dataclass
class ScriptedEngine:
    """Plays `script` for every request. `is_open` counts generators that run; `stops` those that were closed early."""

    script: Script = say_hello
    name: str = "scripted"
    prompt_tokens: int = 5
    count: Callable[[ChatRequest], Awaitable[int]] | None = None
    capabilities: Capabilities = field(
        default_factory=lambda: Capabilities(frozenset({"json_schema", "logprobs"}), context_tokens=1024, slots=2)
    )
    load_errors: list[Exception] = field(default_factory=list)
    health_now: Health = field(default_factory=lambda: Health(is_healthy=True))
    running: int = 0
    running_most: int = 0
    stops: int = 0
    loads: int = 0
    unloads: int = 0
    bounds: list[int] = field(default_factory=list)
    salts: list[str | None] = field(default_factory=list)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    started: asyncio.Event = field(default_factory=asyncio.Event)

    async def load(self, spec: ModelSpec) -> Capabilities:
        del spec
        self.loads += 1
        if self.load_errors:
            raise self.load_errors.pop(0)
        return self.capabilities

    async def unload(self) -> None:
        self.unloads += 1

    async def generate(
        self, request: ChatRequest, *, max_output_tokens: int, cache_salt: str | None = None
    ) -> AsyncGenerator[Event, None]:
        self.bounds.append(max_output_tokens)
        self.salts.append(cache_salt)
        self.running += 1
        self.running_most = max(self.running, self.running_most)
        self.started.set()
        is_done = False
        try:
            async for event in self.script(request):
                yield event
            is_done = True
        except HushnetError:
            is_done = True
            raise
        finally:
            self.running -= 1
            if not is_done:
                self.stops += 1
                self.stopped.set()

    async def count_prompt_tokens(self, request: ChatRequest) -> int:
        return self.prompt_tokens if self.count is None else await self.count(request)

    def capacity(self) -> EngineCapacity:
        return EngineCapacity(self.capabilities.slots, self.running, 0, 5 * self.running, 10.0, 100.0)

    async def health(self) -> Health:
        return self.health_now
