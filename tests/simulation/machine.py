"""The engine of a simulated provider: answers take the time of a real one, and fail in its ways.

A prompt is `TAG NUMBER`: the answer to it is `TAG:0 TAG:1 ...`, NUMBER words of one token each, so that whoever reads an
answer can tell whose it is, whether anything is missing in it, and whether it is whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from random import Random

from hushnet.dialects.openai_chat import prompt_bytes_bound
from hushnet.provider.engines.base import (
    Capabilities,
    ChatRequest,
    Delta,
    EngineBusy,
    EngineCapacity,
    EngineFailed,
    Event,
    Finished,
    Health,
    ModelSpec,
    Usage,
)
from hushnet.provider.machine import MachineWatch, Strain
from simulation.chance import often, spread


def prompt_of(tag: str, words: int) -> str:
    """Return the prompt that asks for `words` words."""
    return f"{tag} {words}"


def answer_of(tag: str, words: int) -> str:
    """Return the whole answer to that prompt."""
    return "".join(f"{tag}:{number} " for number in range(words))


@dataclass
class MachineCondition:
    """How well a machine does; a scenario changes it while it runs. Seconds a token, shares of all answers."""

    decode_s: float = 0.03
    prefill_s: float = 0.0005
    heat: float = 1.0
    """How much slower than at its best: a hot machine throttles."""
    stalls: float = 0.0
    fails: float = 0.0
    is_dead: bool = False
    """The engine has died: answers fail and its health says so, until it is loaded anew."""


class ConditionWatch(MachineWatch):
    """What a provider reports of its machine: its condition, and nothing of the machine that simulates."""

    def __init__(self, condition: MachineCondition) -> None:
        self._condition = condition

    @property
    def now(self) -> Strain:  # type: ignore[override]
        heat = self._condition.heat
        return Strain(cpu=min(heat / 4, 1.0), thermal="nominal" if heat < 1.5 else "fair" if heat < 3 else "serious")

    async def run(self) -> None:
        await asyncio.Event().wait()


@dataclass
class Machine:
    """One loaded engine."""

    chance: Random
    condition: MachineCondition
    slots: int
    context_tokens: int = 8192
    features: frozenset[str] = frozenset({"tools"})
    name: str = "simulated"
    running: int = field(default=0, init=False)

    async def load(self, spec: ModelSpec) -> Capabilities:
        await asyncio.sleep(spread(self.chance, 0.5))
        self.condition.is_dead = False
        return Capabilities(self.features, context_tokens=self.context_tokens, slots=self.slots)

    async def unload(self) -> None:
        """Nothing is kept."""

    async def generate(
        self, request: ChatRequest, *, max_output_tokens: int, cache_salt: str | None = None
    ) -> AsyncGenerator[Event, None]:
        if self.running >= self.slots:
            raise EngineBusy("every slot is taken")
        self.running += 1
        try:
            async for event in self._answer(request, max_output_tokens):
                yield event
        finally:
            self.running -= 1

    async def count_prompt_tokens(self, request: ChatRequest) -> int:
        return prompt_bytes_bound(request) // 4

    def capacity(self) -> EngineCapacity:
        condition = self.condition
        return EngineCapacity(
            self.slots, self.running, 0, 50 * self.running, 1 / (condition.decode_s * condition.heat), 500.0
        )

    async def health(self) -> Health:
        return Health(is_healthy=not self.condition.is_dead, reason="died" if self.condition.is_dead else "")

    async def _answer(self, request: ChatRequest, most: int) -> AsyncGenerator[Event, None]:
        tag, _, number = request.messages[-1]["content"].partition(" ")
        words, prompt = int(number), await self.count_prompt_tokens(request)
        breaks_at = self.chance.randrange(words + 1) if often(self.chance, self.condition.fails) else -1
        stalls_at = self.chance.randrange(words + 1) if often(self.chance, self.condition.stalls) else -1
        await asyncio.sleep(spread(self.chance, prompt * self.condition.prefill_s))
        for word in range(min(words, most)):
            if word == breaks_at or self.condition.is_dead:
                raise EngineFailed("the engine broke")
            if word == stalls_at:
                await asyncio.sleep(3600)
            await asyncio.sleep(spread(self.chance, self.condition.decode_s * self.condition.heat, factor=1.2))
            yield Delta(f"{tag}:{word} ", 1)
        reason = "stop" if words <= most else "length"
        yield Finished(reason, Usage(input=prompt, cached=0, output=min(words, most)))
