"""Real engines on the built-in model, one thread each, and what tests ask of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import xllamacpp

from hushnet.dialects.openai_chat import ChatRequest, Delta, ResponseFormat
from hushnet.foundation.ids import ModelId
from hushnet.provider.engines.base import Engine, EngineCapacity, Finished, ModelSpec
from hushnet.provider.engines.registry import load_engine
from hushnet.provider.models.builtin import builtin_model

ENGINES = ("llamacpp", "openai-server")
MODEL = ModelId("hush-tiny")
CONTEXT_TOKENS = 1024


@contextmanager
def llama_server(*, slots: int) -> Generator[str, None, None]:
    """Run llama.cpp's own HTTP server on a free port: a real local OpenAI-compatible server; yields its `/v1` URL."""
    params = xllamacpp.CommonParams()
    params.model.path = str(builtin_model()[0])
    params.model_alias = {MODEL}
    params.n_batch = params.n_ubatch = 64
    params.n_parallel, params.n_ctx = slots, slots * CONTEXT_TOKENS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.verbosity, params.ui, params.warmup, params.cache_ram_mib = -1, False, False, 0
    server: Any = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    del server


@contextmanager
def placed(name: str, *, slots: int = 1) -> Generator[ModelSpec, None, None]:
    """Put the built-in model where engine `name` can load it."""
    if name == "openai-server":
        with llama_server(slots=slots) as url:
            yield ModelSpec(model=MODEL, url=url, slots=slots)
    else:
        path, build = builtin_model()
        yield ModelSpec(model=MODEL, path=path, slots=slots, context_tokens=CONTEXT_TOKENS, build=build)


@asynccontextmanager
async def loaded(name: str, *, slots: int = 1) -> AsyncGenerator[Engine, None]:
    """Load engine `name` with the built-in model."""
    with placed(name, slots=slots) as spec:
        engine = load_engine(name)
        await engine.load(spec)
        try:
            yield engine
        finally:
            await engine.unload()


def ask(prompt: str, **members: Any) -> ChatRequest:
    """Make a request with one user message, greedy unless told otherwise."""
    members.setdefault("temperature", 0.0)
    return ChatRequest(MODEL, [{"role": "user", "content": prompt}], **members)


def json_schema(schema: dict[str, Any]) -> ResponseFormat:
    return ResponseFormat("json_schema", "answer", schema)


def endless(**members: Any) -> ChatRequest:
    """Ask for an answer that fills the context unless it is stopped: a grammar keeps the model from ending."""
    numbers = json_schema({"type": "array", "items": {"type": "integer"}, "minItems": 1000})
    return ask("Count.", response_format=numbers, **members)


@dataclass
class Answered:
    """A whole answer."""

    deltas: list[Delta]
    finished: Finished

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas)


async def answer(engine: Engine, request: ChatRequest, *, at_most: int = 64, salt: str | None = None) -> Answered:
    """Run a request to its end."""
    async with aclosing(engine.generate(request, max_output_tokens=at_most, cache_salt=salt)) as events:
        *deltas, finished = [event async for event in events]
    assert isinstance(finished, Finished)
    assert all(isinstance(delta, Delta) for delta in deltas)
    return Answered(deltas, finished)


async def when(engine: Engine, reached: Any) -> EngineCapacity:
    """Wait until the engine's load satisfies `reached`."""
    async with asyncio.timeout(60):
        while not reached(capacity := engine.capacity()):  # noqa: ASYNC110 - the load signals nothing; it is a number
            await asyncio.sleep(0)
    return capacity
