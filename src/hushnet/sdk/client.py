"""The blocking client: `Client().chat.completions.create(...)` as in the openai package, sealed unless told otherwise."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Self, overload

import httpx

from hushnet.foundation.errors import HushnetError
from hushnet.sdk.answers import Answer, AnswerFacts, BodyCollector, ChunkReader, SealedAnswer, StandardAnswer, usage_of
from hushnet.sdk.policy import VerificationPolicy
from hushnet.sdk.requests import chat_body, with_usage
from hushnet.sdk.results import ChatCompletion, ChatCompletionChunk, decode_chunk, decode_completion
from hushnet.sdk.routing import Route, route_of
from hushnet.sdk.session import Session, model_path
from hushnet.sdk.settings import ConsumerSettings, resolve
from hushnet.sdk.transport import SyncTransport, read

TIMEOUT_S_DEFAULT = 600.0


class Client:
    """A consumer of one coordinator.

    `base_url` and `api_key` default to `HUSH_BASE_URL` / `HUSH_API_KEY`, then to what `hush up` stored. With
    `sealed=True` prompts are readable only by you and the providers they are sealed to; `policy` says which providers
    are good enough. `route` says whom to prefer or leave out (docs/http.md, `hushnet-route`); a request's own `route`
    replaces it. `affinity` lets follow-ups find the provider that has read the conversation before, by keyed tags that
    tell the coordinator which sealed requests continue one another (docs/sealing.md section 13). Errors are `HushnetError`s with a stable code and a hint. Not for use by several threads at once.
    """

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
        http_client: httpx.Client | None = None,
    ) -> None:
        self.settings = settings or resolve(base_url=base_url, api_key=api_key)
        self.sealed = sealed
        self.policy = (policy or VerificationPolicy()).for_address(self.settings.base_url, self.settings.network)
        self.route = route_of(route)
        self.session = Session(self.settings.api_key, self.policy, key_source=self.settings.key_source)
        if not affinity:
            self.session.conversations = None
        self.transport = SyncTransport(self.settings.base_url, timeout_s=timeout, client=http_client)
        self.chat = Chat(self)
        self.models = Models(self)

    def balance(self) -> dict[str, int]:
        """Return the account's balances in micro-USD."""
        balance: dict[str, int] = self.request("GET", "/v1/balance")
        return balance

    def cost(self, request_id: str) -> int | None:
        """Return what a finished request cost in micro-USD; None when it is not known."""
        return self.transport.run(self.session.cost(request_id))[0]

    def readers(self, model: str) -> int:
        """Return how many providers a sealed request for `model` would be readable by now; raises where there is none."""
        return len((self.transport.run(self.session.choose(model, route=self.route)))[0][1])

    def request(self, method: str, path: str, document: Any = None) -> Any:
        """Call one of the account's JSON routes with the key."""
        plan = self.session.get(path) if method == "GET" else self.session.send(method, path, document)
        return self.transport.run(plan)[0]

    def download(self, path: str) -> Iterator[bytes]:
        """Yield one of the account's documents, a statement say, as it arrives; raises when it breaks off."""
        _, response = self.transport.run(self.session.download(path))
        assert response is not None, "the plan's last call streams"
        with contextlib.closing(response):
            yield from read(response, self.settings.base_url)

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Models:
    """What is on offer."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> list[dict[str, Any]]:
        """Return every model with its price and who serves it."""
        models: list[dict[str, Any]] = self._client.request("GET", "/v1/models")["data"]
        return models

    def retrieve(self, model: str) -> dict[str, Any]:
        """Return one model; raises `RequestError` when it is not on offer."""
        found: dict[str, Any] = self._client.request("GET", model_path(model))
        return found


class Chat:
    """Namespace, as in the openai package."""

    def __init__(self, client: Client) -> None:
        self.completions = Completions(client)


class Completions:
    """Chat completions."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @overload
    def create(
        self, *, model: str, messages: Sequence[Mapping[str, Any]], stream: Literal[False] = False, **parameters: Any
    ) -> ChatCompletion: ...
    @overload
    def create(
        self, *, model: str, messages: Sequence[Mapping[str, Any]], stream: Literal[True], **parameters: Any
    ) -> ChatStream: ...
    @overload
    def create(
        self, *, model: str, messages: Sequence[Mapping[str, Any]], stream: bool, **parameters: Any
    ) -> ChatCompletion | ChatStream: ...
    def create(
        self, *, model: str, messages: Sequence[Mapping[str, Any]], stream: bool = False, **parameters: Any
    ) -> ChatCompletion | ChatStream:
        """Ask for an answer. `parameters` are those of OpenAI's chat completions, and `route`; None leaves one out."""
        wanted = parameters.pop("route", None)
        route = self._client.route if wanted is None else route_of(wanted)
        is_counted_here = stream and not self._client.sealed and parameters.get("stream_options") is None
        asked = with_usage(parameters) if is_counted_here else parameters
        body = chat_body(model=model, messages=messages, stream=stream, **asked)
        answer, response = self._open(body, route, is_stream=stream)
        opened = ChatStream(self._client, answer, response, hides_usage=is_counted_here)
        return opened if stream else opened.collect()

    def _open(self, body: bytes, route: Route, *, is_stream: bool) -> tuple[Answer, httpx.Response]:
        client = self._client
        answer: Answer
        if client.sealed:
            opened, response = client.transport.run(client.session.open_sealed(body, route))
            answer = SealedAnswer(opened)
        else:
            reply, response = client.transport.run(client.session.open_standard(body, route))
            answer = StandardAnswer(reply, is_stream=is_stream)
        if response is None:
            raise RuntimeError("a plan that opens an answer ends with a streaming call")
        return answer, response


class ChatStream(AnswerFacts):
    """A streamed answer: iterate it for chunks, close it to cancel; facts and usage are complete after the last chunk."""

    def __init__(self, client: Client, answer: Answer, response: httpx.Response, *, hides_usage: bool = False) -> None:
        super().__init__(answer)
        self._hides_usage = hides_usage
        self._client = client
        self._response = response
        self._chunks = self._read()

    def __iter__(self) -> Iterator[ChatCompletionChunk]:
        return self._chunks

    def __next__(self) -> ChatCompletionChunk:
        return next(self._chunks)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up: the provider stops within a moment, and only what was delivered is charged."""
        self._response.close()
        self._answer.drop()

    def collect(self) -> ChatCompletion:
        """Read a whole (not streamed) answer; nothing is released before its end is proven."""
        collected = BodyCollector()
        try:
            for part in self._parts():
                collected.add(part)
            self._answer.finish()
        finally:
            self.close()
        completion = decode_completion(collected.body())
        completion.usage = self._answer.usage or usage_of(collected.body())
        self._settle()
        completion.facts = self.facts
        return completion

    def _read(self) -> Iterator[ChatCompletionChunk]:
        chunks = ChunkReader()
        try:
            for part in self._parts():
                for data in chunks.feed(part):
                    self._answer.usage = self._answer.usage or usage_of(data)
                    chunk = decode_chunk(data)
                    if chunk.choices or not self._hides_usage:
                        yield chunk
            self._answer.finish()
        finally:
            self.close()
        self._settle()

    def _parts(self) -> Iterator[bytes]:
        for data in read(self._response, self._client.settings.base_url):
            yield from self._answer.feed(data)

    def _settle(self) -> None:
        with contextlib.suppress(HushnetError):
            self.facts.cost_micro_usd = self._client.cost(self.facts.request_id)
