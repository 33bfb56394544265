"""The asynchronous client: the twin of `client.py`, over the same plans and answers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, Self, overload

import httpx

from hushnet.foundation.errors import HushnetError
from hushnet.sdk.answers import Answer, AnswerFacts, BodyCollector, ChunkReader, SealedAnswer, StandardAnswer, usage_of
from hushnet.sdk.client import TIMEOUT_S_DEFAULT
from hushnet.sdk.policy import VerificationPolicy
from hushnet.sdk.requests import chat_body, with_usage
from hushnet.sdk.results import ChatCompletion, ChatCompletionChunk, decode_chunk, decode_completion
from hushnet.sdk.routing import Route, route_of
from hushnet.sdk.session import Session, model_path
from hushnet.sdk.settings import ConsumerSettings, resolve
from hushnet.sdk.transport import AsyncTransport, aread


class AsyncClient:
    """A consumer of one coordinator, for asyncio; arguments and errors are those of `Client`."""

    def __init__(
        self,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        sealed: bool = True,
        policy: VerificationPolicy | None = None,
        route: Mapping[str, Any] | None = None,
        affinity: bool = True,
        timeout: float = TIMEOUT_S_DEFAULT,
        settings: ConsumerSettings | None = None,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        self.settings = settings or resolve(base_url=base_url, api_key=api_key)
        self.sealed = sealed
        self.policy = (policy or VerificationPolicy()).for_address(self.settings.base_url, self.settings.network)
        self.route = route_of(route)
        self.session = Session(self.settings.api_key, self.policy, key_source=self.settings.key_source)
        if not affinity:
            self.session.conversations = None
        self.transport = AsyncTransport(self.settings.base_url, timeout_s=timeout, client=http_client)
        self.chat = AsyncChat(self)
        self.models = AsyncModels(self)

    async def balance(self) -> dict[str, int]:
        """Return the account's balances in micro-USD."""
        balance: dict[str, int] = await self.request("GET", "/v1/balance")
        return balance

    async def cost(self, request_id: str) -> int | None:
        """Return what a finished request cost in micro-USD; None when it is not known."""
        return (await self.transport.run(self.session.cost(request_id)))[0]

    async def readers(self, model: str) -> int:
        """Return how many providers a sealed request for `model` would be readable by now; raises where there is none."""
        return len((await self.transport.run(self.session.choose(model, route=self.route)))[0][1])

    async def request(self, method: str, path: str, document: Any = None) -> Any:
        """Call one of the account's JSON routes with the key."""
        plan = self.session.get(path) if method == "GET" else self.session.send(method, path, document)
        return (await self.transport.run(plan))[0]

    async def open(self, body: bytes, *, is_stream: bool, route: Route | None = None) -> tuple[Answer, httpx.Response]:
        """Post a chat body, sealed or not, and return the answer to feed and the response to read it from."""
        answer: Answer
        route = self.route if route is None else route
        if self.sealed:
            opened, response = await self.transport.run(self.session.open_sealed(body, route))
            answer = SealedAnswer(opened)
        else:
            reply, response = await self.transport.run(self.session.open_standard(body, route))
            answer = StandardAnswer(reply, is_stream=is_stream)
        if response is None:
            raise RuntimeError("a plan that opens an answer ends with a streaming call")
        return answer, response

    async def aclose(self) -> None:
        """Close the connections."""
        await self.transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()


class AsyncModels:
    """What is on offer."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def list(self) -> list[dict[str, Any]]:
        """Return every model with its price and who serves it."""
        models: list[dict[str, Any]] = (await self._client.request("GET", "/v1/models"))["data"]
        return models

    async def retrieve(self, model: str) -> dict[str, Any]:
        """Return one model; raises `RequestError` when it is not on offer."""
        found: dict[str, Any] = await self._client.request("GET", model_path(model))
        return found


class AsyncChat:
    """Namespace, as in the openai package."""

    def __init__(self, client: AsyncClient) -> None:
        self.completions = AsyncCompletions(client)


class AsyncCompletions:
    """Chat completions."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    @overload
    async def create(
        self, *, model: str, messages: Sequence[Mapping[str, Any]], stream: Literal[False] = False, **parameters: Any
    ) -> ChatCompletion: ...
    @overload
    async def create(
        self, *, model: str, messages: Sequence[Mapping[str, Any]], stream: Literal[True], **parameters: Any
    ) -> AsyncChatStream: ...
    @overload
    async def create(
        self, *, model: str, messages: Sequence[Mapping[str, Any]], stream: bool, **parameters: Any
    ) -> ChatCompletion | AsyncChatStream: ...
    async def create(
        self, *, model: str, messages: Sequence[Mapping[str, Any]], stream: bool = False, **parameters: Any
    ) -> ChatCompletion | AsyncChatStream:
        """Ask for an answer. `parameters` are those of OpenAI's chat completions, and `route`; None leaves one out."""
        wanted = parameters.pop("route", None)
        route = None if wanted is None else route_of(wanted)
        is_counted_here = stream and not self._client.sealed and parameters.get("stream_options") is None
        asked = with_usage(parameters) if is_counted_here else parameters
        body = chat_body(model=model, messages=messages, stream=stream, **asked)
        answer, response = await self._client.open(body, is_stream=stream, route=route)
        opened = AsyncChatStream(self._client, answer, response, hides_usage=is_counted_here)
        return opened if stream else await opened.collect()


class AsyncChatStream(AnswerFacts):
    """A streamed answer: iterate it for chunks, close it to cancel; facts and usage are complete after the last chunk."""

    def __init__(
        self, client: AsyncClient, answer: Answer, response: httpx.Response, *, hides_usage: bool = False
    ) -> None:
        super().__init__(answer)
        self._hides_usage = hides_usage
        self._client = client
        self._response = response
        self._chunks = self._read()

    def __aiter__(self) -> AsyncIterator[ChatCompletionChunk]:
        return self._chunks

    async def __anext__(self) -> ChatCompletionChunk:
        return await anext(self._chunks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Hang up: the provider stops within a moment, and only what was delivered is charged."""
        await self._response.aclose()
        self._answer.drop()

    async def collect(self) -> ChatCompletion:
        """Read a whole (not streamed) answer; nothing is released before its end is proven."""
        collected = BodyCollector()
        try:
            async for part in self.parts():
                collected.add(part)
            self._answer.finish()
        finally:
            await self.close()
        completion = decode_completion(collected.body())
        completion.usage = self._answer.usage or usage_of(collected.body())
        await self._settle()
        completion.facts = self.facts
        return completion

    async def parts(self) -> AsyncIterator[bytes]:
        """Yield the dialect's response body as it is proven; the caller finishes the answer."""
        async for data in aread(self._response, self._client.settings.base_url):
            for part in self._answer.feed(data):
                yield part

    async def _read(self) -> AsyncIterator[ChatCompletionChunk]:
        chunks = ChunkReader()
        try:
            async for part in self.parts():
                for data in chunks.feed(part):
                    self._answer.usage = self._answer.usage or usage_of(data)
                    chunk = decode_chunk(data)
                    if chunk.choices or not self._hides_usage:
                        yield chunk
            self._answer.finish()
        finally:
            await self.close()
        await self._settle()

    async def _settle(self) -> None:
        with contextlib.suppress(HushnetError):
            self.facts.cost_micro_usd = await self._client.cost(self.facts.request_id)
