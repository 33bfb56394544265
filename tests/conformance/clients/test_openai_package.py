"""The official openai package works unchanged against the coordinator and against the local sealing proxy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from support.network import Network, Process, network
from support.paced_server import PacedServer, paced_server

MODEL = "hush-tiny"
ASK = [{"role": "user", "content": "What is Hushnet?"}]
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@dataclass
class Subject:
    """Where the package points, and the network behind it."""

    name: str
    base_url: str
    api_key: str
    network: Network

    def client(self, **options: object) -> OpenAI:
        return OpenAI(base_url=self.base_url, api_key=self.api_key, max_retries=0, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def engine() -> Iterator[PacedServer]:
    with paced_server() as server:
        yield server


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, engine: PacedServer) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("openai")) as made:
        made.start_provider(MODEL)
        made.start_provider(engine.model_source, name="paced")
        yield made


@pytest.fixture(scope="module", params=["coordinator", "proxy"])
def subject(
    request: pytest.FixtureRequest, running: Network, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Subject]:
    if request.param == "coordinator":
        yield Subject("coordinator", f"{running.base_url}/v1", running.api_key, running)
        return
    home: Path = tmp_path_factory.mktemp("proxy")
    arguments = ("proxy", "--json", "--port", "0", "--base-url", running.base_url)
    proxy = Process(home, *arguments, env={"HUSH_API_KEY": running.api_key})
    yield Subject("proxy", proxy.ready["base_url"], "any key", running)
    assert proxy.stop() == 0


def test_a_whole_answer(subject: Subject) -> None:
    with subject.client() as client:
        answer = client.chat.completions.create(model=MODEL, messages=ASK, temperature=0)
    assert "inference" in (answer.choices[0].message.content or "").lower()
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == MODEL


def test_a_stream_with_usage(subject: Subject) -> None:
    with subject.client() as client:
        stream = client.chat.completions.create(
            model=MODEL, messages=ASK, stream=True, stream_options={"include_usage": True}, temperature=0
        )
        chunks = list(stream)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert "inference" in text.lower()
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage is not None
    assert chunks[-1].choices == []
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == ["stop"]


def test_a_stream_and_a_whole_answer_say_the_same(subject: Subject) -> None:
    with subject.client() as client:
        whole = client.chat.completions.create(model=MODEL, messages=ASK, temperature=0, seed=1)
        stream = client.chat.completions.create(model=MODEL, messages=ASK, temperature=0, seed=1, stream=True)
        text = "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)
    assert text == whole.choices[0].message.content


async def test_the_asynchronous_client(subject: Subject) -> None:
    async with AsyncOpenAI(base_url=subject.base_url, api_key=subject.api_key, max_retries=0) as client:
        stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True, max_tokens=8)
        parts = [choice.delta.content or "" async for chunk in stream for choice in chunk.choices]
    assert "".join(parts)


def test_a_json_schema_is_enforced(subject: Subject) -> None:
    with subject.client() as client:
        answer = client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "What is Hushnet?"}],  # its free answer is prose
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "person", "strict": True, "schema": SCHEMA},
            },
            temperature=0,
            max_tokens=200,
        )
    person = json.loads(answer.choices[0].message.content or "")
    assert set(person) == {"name", "age"}
    assert isinstance(person["age"], int)


def test_a_json_object_is_enforced(subject: Subject) -> None:
    with subject.client() as client:
        answer = client.chat.completions.create(
            model=MODEL, messages=ASK, response_format={"type": "json_object"}, temperature=0, max_tokens=300
        )
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)
    else:
        assert (answer.choices[0].message.content or "").lstrip().startswith("{")


def test_logprobs_where_the_engine_has_them(subject: Subject) -> None:
    with subject.client() as client:
        answer = client.chat.completions.create(
            model=MODEL, messages=ASK, logprobs=True, top_logprobs=2, max_tokens=4, temperature=0
        )
    assert answer.choices[0].logprobs is not None
    tokens = answer.choices[0].logprobs.content or []
    assert 1 <= len(tokens) <= 4
    assert all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in tokens)


@pytest.mark.parametrize("spelling", ["max_tokens", "max_completion_tokens"])
def test_both_spellings_of_the_output_bound(subject: Subject, spelling: str) -> None:
    with subject.client() as client:
        answer = client.chat.completions.create(model=MODEL, messages=ASK, **{spelling: 3})  # type: ignore[call-overload]
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 3


def test_stop_ends_the_answer_before_the_word(subject: Subject) -> None:
    with subject.client() as client:
        free = client.chat.completions.create(model=MODEL, messages=ASK, temperature=0).choices[0].message.content or ""
        word = free.split()[3]
        cut = client.chat.completions.create(model=MODEL, messages=ASK, temperature=0, stop=[word])
    assert word not in (cut.choices[0].message.content or "")
    assert cut.choices[0].finish_reason == "stop"


def test_unknown_fields_are_no_error(subject: Subject) -> None:
    with subject.client() as client:
        answer = client.chat.completions.create(
            model=MODEL,
            messages=ASK,
            max_tokens=4,
            extra_body={"a_field_of_tomorrow": {"deep": [1, 2]}},
            user="u",
            metadata={"a": "b"},
        )
    assert answer.choices[0].message.content


def test_the_models_are_listed_and_retrieved(subject: Subject) -> None:
    with subject.client() as client:
        assert {model.id for model in client.models.list()} == {MODEL, "paced"}
        assert client.models.retrieve(MODEL).id == MODEL
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("no-such-model")


@pytest.mark.parametrize(
    "parameters",
    [
        {"temperature": -1},
        {"temperature": "hot"},
        {"max_tokens": 0},
        {"max_tokens": -5},
        {"max_tokens": 10**30},
        {"max_tokens": 1.5},
        {"n": 2},
        {"messages": []},
        {"messages": "hi"},
        {"stop": ["x"] * 99},
        {"response_format": {"type": "xml"}},
        {"top_logprobs": 5},
    ],
)
def test_bad_parameters_are_bad_requests(subject: Subject, parameters: dict[str, object]) -> None:
    with subject.client() as client, pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**{"model": MODEL, "messages": ASK, **parameters})  # type: ignore[call-overload]
    assert raised.value.code
    assert "traceback" not in str(raised.value).lower()


def test_an_unknown_model_is_not_found_or_unavailable(subject: Subject) -> None:
    with subject.client() as client, pytest.raises(openai.APIStatusError) as raised:
        client.chat.completions.create(model="no-such-model", messages=ASK)
    assert raised.value.status_code in {404, 503}
    assert raised.value.body


def test_a_wrong_key_is_an_authentication_error(running: Network) -> None:
    wrong = OpenAI(base_url=f"{running.base_url}/v1", api_key="hk_user_1_wrong", max_retries=0)
    with wrong as client, pytest.raises(openai.AuthenticationError) as raised:
        client.chat.completions.create(model=MODEL, messages=ASK)
    assert raised.value.code == "invalid_api_key"


def test_a_prompt_beyond_the_context_is_a_bad_request(subject: Subject) -> None:
    with subject.client() as client, pytest.raises(openai.APIStatusError) as raised:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "many words " * 20_000}])
    assert raised.value.status_code in {400, 413}
    assert raised.value.body


def test_a_time_out_of_the_client_stops_the_engine(subject: Subject, engine: PacedServer) -> None:
    before = len(engine.requests)
    with subject.client(timeout=1.0) as client, pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model="paced", messages=[{"role": "user", "content": "first=60 tokens=2"}])
    seen = engine.wait_for(before + 1)
    assert seen.has_ended.wait(60)
    assert seen.was_cut


def test_an_aborted_stream_stops_the_engine(subject: Subject, engine: PacedServer) -> None:
    before = len(engine.requests)
    with subject.client() as client:
        stream = client.chat.completions.create(
            model="paced", messages=[{"role": "user", "content": "tokens=10000 gap=0.01"}], stream=True
        )
        next(chunk for chunk in stream if chunk.choices and chunk.choices[0].delta.content)
        stream.close()
    seen = engine.wait_for(before + 1)
    assert seen.has_ended.wait(60)
    assert seen.was_cut
    assert seen.sent < 10_000
