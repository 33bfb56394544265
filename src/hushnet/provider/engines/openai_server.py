"""The second engine: any local server that speaks the OpenAI API, attached by its URL.

What the server can do is probed, never assumed. It gets known fields only. A request is cancelled by closing its
connection. A llama.cpp server is recognised and asked for more: exact prompt counts, progress while it reads a prompt
(so that a closed connection is noticed within one batch), grammars, and prefix caches kept apart.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Collection, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec

from hushnet.dialects.openai_chat import ResponseFormat, prompt_bytes_bound
from hushnet.foundation.clock import Clock, SystemClock
from hushnet.foundation.errors import ConfigurationError, HushnetError, RequestError
from hushnet.provider.engines.base import (
    Capabilities,
    ChatRequest,
    ContextTooLong,
    EngineBusy,
    EngineCapacity,
    EngineFailed,
    Event,
    Finished,
    Health,
    ModelSpec,
    check_features,
    check_length,
)
from hushnet.provider.engines.bodies import plain_messages, request_body
from hushnet.provider.engines.chunks import AnswerReader, reported_error, tells_usage
from hushnet.provider.engines.grammar import compile_format
from hushnet.provider.engines.probes import check_template, probe_features, probe_request
from hushnet.provider.engines.slots import Lease, SlotPool
from hushnet.provider.engines.sse import DataLines

KEY_VARIABLE = "HUSH_ENGINE_API_KEY"
"""The environment variable with the server's own API key, where it wants one."""

UNREACHABLE: Final = "engine_unreachable"
NAMES_SHOWN_MAX: Final = 5

_NO_KEEP_ALIVE = httpx.Limits(max_connections=None, max_keepalive_connections=0)
"""A kept connection may be closed by the server just as it is used again; a new one to a local server costs 0.3 ms."""


@dataclass(frozen=True, slots=True)
class OpenAiServerLimits:
    """Seconds and counts of this engine; an answer itself may take as long as it takes."""

    connect_s_max: float = 5.0
    control_s_max: float = 5.0
    silence_s_max: float = 300.0
    """Between two pieces of an answer; a slow machine may read a long prompt for minutes."""
    queue_max: int = 256


@dataclass(frozen=True, slots=True)
class _Server:
    """What probing learned. `counts_prompts` and `is_llamacpp` are what only llama.cpp's server offers.

    `tells_usage`: it reports usage with every piece when asked to, as vLLM and SGLang do.
    """

    client: httpx.AsyncClient
    model: str
    context_tokens: int
    slots: int
    is_llamacpp: bool
    counts_prompts: bool = False
    tells_usage: bool = False


class OpenAiServerEngine:
    """Serves a model that an attached server has loaded."""

    name = "openai-server"

    def __init__(self, limits: OpenAiServerLimits | None = None, *, clock: Clock | None = None) -> None:
        self._limits = limits or OpenAiServerLimits()
        self._clock = clock or SystemClock()
        self._server: _Server | None = None
        self._pool = SlotPool(0, queue_max=0)
        self._features: frozenset[str] | None = None

    def __repr__(self) -> str:
        state = "attached" if self._server is not None else "empty"
        return f"<OpenAiServerEngine {state} {self.capacity()}>"

    async def load(self, spec: ModelSpec) -> Capabilities:
        """Attach to `spec.url` and probe. The server must list the model, stream, and report usage."""
        if self._server is not None:
            raise ConfigurationError("the engine is attached already")
        if spec.url is None:
            raise ConfigurationError("openai-server needs a URL", hint="Give http://HOST:PORT/v1#MODEL.")
        client = self._client(spec.url)
        try:
            with _at_start(spec.url):
                self._server = server = await self._introduce(client, spec)
            self._pool = SlotPool(server.slots, queue_max=self._limits.queue_max)
            await self._require_metered_stream(spec.model)
            self._server = server = replace(server, counts_prompts=await self._counts_prompts(server))
            self._server = server = replace(server, tells_usage=await self._tells_usage(server))
            self._features = await probe_features(self._answer, spec.model, may_use_tools=not server.is_llamacpp)
            is_sound = await check_template(self._answer, spec.model) if "tools" in self._features else None
        except BaseException:
            self._server = None
            await client.aclose()
            raise
        return Capabilities(self._features, server.context_tokens, server.slots, is_sound)

    async def unload(self) -> None:
        """Let go of the server; what runs breaks off."""
        server, self._server, self._features = self._server, None, None
        self._pool.close()
        if server is not None:
            await server.client.aclose()

    async def generate(
        self, request: ChatRequest, *, max_output_tokens: int, cache_salt: str | None = None
    ) -> AsyncGenerator[Event, None]:
        """See `Engine.generate`."""
        check_features(request, self._features)
        bound = await self._fitting(request, max_output_tokens)
        async with aclosing(self._answer(request, bound, cache_salt)) as events:
            async for event in events:
                yield event

    async def count_prompt_tokens(self, request: ChatRequest) -> int:
        """Ask the server to count; one that cannot is asked for a single token, and its usage is read."""
        server = self._attached()
        check_length(request, server.context_tokens)
        if server.counts_prompts:
            return await self._count(server, request)
        bare = replace(request, response_format=None, logprobs=False, top_logprobs=0)
        *_, finished = [event async for event in self._answer(bare, 1)]
        if not isinstance(finished, Finished):
            raise EngineFailed("the server counted nothing")
        return finished.usage.input

    def capacity(self) -> EngineCapacity:
        """Report the load that came through us; others may use the same server."""
        return self._pool.capacity()

    async def health(self) -> Health:
        """Ask for the list of models."""
        if self._server is None:
            return Health(is_healthy=False, reason="not_attached")
        try:
            await self._get(self._server.client, "models")
        except HushnetError:
            return Health(is_healthy=False, reason="not_answering")
        return Health(is_healthy=True)

    async def _fitting(self, request: ChatRequest, max_output_tokens: int) -> int:
        """Return a bound that fits the context behind the prompt: servers other than llama.cpp's refuse one that does not.

        Few prompts need counting for it: bytes tell enough of most.
        """
        server = self._attached()
        if server.is_llamacpp or prompt_bytes_bound(request) + max_output_tokens <= server.context_tokens:
            return max_output_tokens
        prompt_tokens = await self.count_prompt_tokens(request)
        if prompt_tokens >= server.context_tokens:
            raise ContextTooLong(prompt_tokens=prompt_tokens, context_tokens=server.context_tokens)
        return min(max_output_tokens, server.context_tokens - prompt_tokens)

    async def _answer(
        self, request: ChatRequest, max_output_tokens: int, cache_salt: str | None = None
    ) -> AsyncGenerator[Event, None]:
        server, pool = self._attached(), self._pool
        check_length(request, server.context_tokens)
        body = request_body(request, max_output_tokens=max_output_tokens) | {"model": server.model}
        if request.response_format is not None:
            body |= _format_members(request.response_format, is_llamacpp=server.is_llamacpp)
        if server.tells_usage:
            body["stream_options"]["continuous_usage_stats"] = True
        lease = await pool.acquire(cache_salt)
        try:
            if server.is_llamacpp:
                body |= {"cache_prompt": lease.may_reuse_prefix, "return_progress": True, "id_slot": lease.slot.index}
            reader = AnswerReader(pool, lease, top_logprobs=request.top_logprobs)
            began_s, first_s = self._clock.monotonic_s(), 0.0
            async with aclosing(self._stream(server.client, body, is_llamacpp=server.is_llamacpp)) as batches:
                async for batch in batches:
                    for delta in reader.read(batch):
                        first_s = first_s or self._clock.monotonic_s()
                        yield delta
            finished = reader.finish()
            if not reader.has_timings:
                self._note_rates(lease, prefill_s=first_s - began_s, decode_s=self._clock.monotonic_s() - first_s)
            yield finished
        finally:
            pool.release(lease)

    async def _stream(
        self, client: httpx.AsyncClient, body: dict[str, Any], *, is_llamacpp: bool
    ) -> AsyncGenerator[list[bytes], None]:
        lines = DataLines()
        with _foreign_errors():
            async with client.stream("POST", "chat/completions", json=body) as response:
                if response.status_code != httpx.codes.OK:
                    raise _refusal(response.status_code, await response.aread(), is_llamacpp=is_llamacpp)
                async for received in response.aiter_raw():
                    if batch := lines.feed(received):
                        yield batch

    def _note_rates(self, lease: Lease, *, prefill_s: float, decode_s: float) -> None:
        """Measure from outside what the server does not tell."""
        self._pool.note_rates(
            decode_tokens_s=(lease.output_tokens - 1) / decode_s if decode_s > 0 else 0.0,
            prefill_tokens_s=lease.prompt_tokens / prefill_s if prefill_s > 0 else 0.0,
        )

    def _client(self, url: str) -> httpx.AsyncClient:
        key = os.environ.get(KEY_VARIABLE)
        limits = self._limits
        return httpx.AsyncClient(
            base_url=url.rstrip("/") + "/",
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(limits.silence_s_max, connect=limits.connect_s_max),
            limits=_NO_KEEP_ALIVE,
            trust_env=False,
        )

    async def _introduce(self, client: httpx.AsyncClient, spec: ModelSpec) -> _Server:
        listed = _listed_models(await self._get(client, "models"))
        name = spec.name_at_server or spec.model
        if name not in listed:
            raise ConfigurationError("the server does not list this model", hint=_names_of(listed))
        props = await self._props(client)
        known = props.get("n_ctx") or listed[name].get("max_model_len")
        context_tokens = min(filter(None, (spec.context_tokens, known)), default=0)
        if not context_tokens:
            hint = "Give it with the address: http://HOST:PORT/v1#MODEL?context=8192."
            raise ConfigurationError("the server does not say how long its context is", hint=hint)
        return _Server(
            client=client,
            model=name,
            context_tokens=context_tokens,
            slots=min(spec.slots, props.get("slots") or spec.slots),
            is_llamacpp=bool(props),
        )

    async def _props(self, client: httpx.AsyncClient) -> dict[str, int]:
        """Read llama.cpp's own description, which lies beside `/v1`; empty for any other server."""
        try:
            props = await self._get(client, str(client.base_url.join("../props")))
            return {"n_ctx": int(props["default_generation_settings"]["n_ctx"]), "slots": int(props["total_slots"])}
        except (HushnetError, KeyError, TypeError, ValueError):
            return {}

    async def _require_metered_stream(self, model: str) -> None:
        try:
            async for _event in self._answer(probe_request(model), 4):
                pass
        except EngineFailed:
            hint = "It must stream chat completions and honour stream_options.include_usage."
            raise ConfigurationError("the server does not stream answers with usage", hint=hint) from None

    async def _counts_prompts(self, server: _Server) -> bool:
        try:
            return await self._count(server, probe_request(server.model)) > 0
        except HushnetError:
            return False

    async def _tells_usage(self, server: _Server) -> bool:
        """Ask for usage with every piece: an answer that is cut short then has a prompt that was counted."""
        if server.is_llamacpp:
            return False  # its progress tells the same
        body = request_body(probe_request(server.model), max_output_tokens=4) | {"model": server.model}
        body["stream_options"]["continuous_usage_stats"] = True
        try:
            async with aclosing(self._stream(server.client, body, is_llamacpp=False)) as batches:
                chunks = [chunk async for batch in batches for chunk in batch]
        except HushnetError:
            return False
        return any(map(tells_usage, chunks))

    async def _count(self, server: _Server, request: ChatRequest) -> int:
        body = {"model": server.model, "messages": plain_messages(request)}
        with _foreign_errors():
            response = await server.client.post("chat/completions/input_tokens", json=body)
        counted = _decoded(response)
        if not isinstance(counted, dict) or type(counted.get("input_tokens")) is not int:
            raise EngineFailed("the server counted nothing")
        return int(counted["input_tokens"])

    async def _get(self, client: httpx.AsyncClient, path: str) -> Any:
        with _foreign_errors():
            return _decoded(await client.get(path, timeout=self._limits.control_s_max))

    def _attached(self) -> _Server:
        if self._server is None:
            raise EngineFailed("no server is attached")
        return self._server


def _format_members(wanted: ResponseFormat, *, is_llamacpp: bool) -> dict[str, Any]:
    """Ask for a format. The schema is compiled for every server: the bounds it keeps protect the server, too."""
    grammar = compile_format(wanted)
    if is_llamacpp:
        return {"grammar": grammar}
    if wanted.schema is None:
        return {"response_format": {"type": "json_object"}}
    schema = {"name": wanted.name or "answer", "schema": wanted.schema, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _listed_models(answer: Any) -> dict[str, dict[str, Any]]:
    entries = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(entries, list):
        raise EngineFailed("the server does not list models")
    return {entry["id"]: entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)}


def _names_of(listed: Collection[str]) -> str:
    """Name the first of what a server lists, as far as it can be shown."""
    if not listed:
        return "It lists no model: load one there first."
    shown = ["".join(each for each in name if each.isprintable())[:128] for name in islice(listed, NAMES_SHOWN_MAX)]
    more = f" and {len(listed) - len(shown)} more" if len(listed) > len(shown) else ""
    return f"It lists {', '.join(shown)}{more}; write the name behind the # of the address."


@contextmanager
def _at_start(url: str) -> Iterator[None]:
    """Name the address in what goes wrong while it is still a person's typing that may be wrong."""
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    try:
        yield
    except EngineFailed as error:
        if error.error_code == UNREACHABLE:
            message, hint = f"no server answers at {place}", "Start the server, or correct the address."
        else:
            message = f"{place}: {error}"
            hint = f"Does the address end in /v1? Does the server want a key ({KEY_VARIABLE})?"
        raise EngineFailed(message, code=error.error_code, hint=hint) from None


def _refusal(status: int, body: bytes, *, is_llamacpp: bool = False) -> HushnetError:
    """Turn an error response into ours; its text is dropped. llama.cpp says 500 where a template rejects the messages."""
    if status in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE):
        return EngineBusy("the server is busy", retry_after_s=1.0)
    if status in _REQUEST_FAULTS or (is_llamacpp and status == httpx.codes.INTERNAL_SERVER_ERROR):
        error = reported_error(body)
        return error if isinstance(error, RequestError) else RequestError(_REFUSED, code="engine_refused")
    return EngineFailed("the server answered with an error")


_REQUEST_FAULTS = (
    httpx.codes.BAD_REQUEST,
    httpx.codes.REQUEST_ENTITY_TOO_LARGE,
    httpx.codes.UNPROCESSABLE_ENTITY,
)
_REFUSED = "the engine does not take this request"


def _decoded(response: httpx.Response) -> Any:
    if response.status_code != httpx.codes.OK:
        raise _refusal(response.status_code, response.content)
    try:
        return msgspec.json.decode(response.content)
    except (msgspec.MsgspecError, ValueError):
        raise EngineFailed("the server did not answer with JSON") from None


@contextmanager
def _foreign_errors() -> Iterator[None]:
    """Turn the HTTP client's errors into ours."""
    try:
        yield
    except (httpx.HTTPError, httpx.StreamError):
        raise EngineFailed("the server cannot be reached", code=UNREACHABLE) from None
    except RuntimeError:  # what httpx raises for a client that is closed
        raise EngineFailed("the server was let go") from None
