"""The attached engine against servers that are incomplete, busy, broken or rude."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from hushnet.dialects.openai_chat import ChatRequest, Delta, ResponseFormat
from hushnet.foundation.errors import ConfigurationError, RequestError
from hushnet.foundation.ids import ModelId
from hushnet.provider.engines.base import Capabilities, ContextTooLong, EngineBusy, EngineFailed, ModelSpec
from hushnet.provider.engines.openai_server import KEY_VARIABLE, OpenAiServerEngine
from support.engines import answer
from support.openai_peer import Chat, OpenAiPeer, Talk, chunk, hello, says, usage

REQUEST = ChatRequest("peer", [{"role": "user", "content": "hi"}])


def spec_of(peer: OpenAiPeer, **members) -> ModelSpec:
    return replace(ModelSpec(model=ModelId("peer"), url=peer.url, slots=2), **members)


@asynccontextmanager
async def attached(peer: OpenAiPeer, **members) -> AsyncGenerator[tuple[OpenAiServerEngine, Capabilities], None]:
    async with peer.running():
        engine = OpenAiServerEngine()
        capabilities = await engine.load(spec_of(peer, **members))
        try:
            yield engine, capabilities
        finally:
            await engine.unload()


async def test_a_server_that_ignores_formats_and_logprobs_is_served_without_them() -> None:
    async with attached(OpenAiPeer()) as (engine, capabilities):
        assert capabilities == Capabilities(frozenset(), context_tokens=512, slots=2)
        assert (await answer(engine, REQUEST)).text == "hello"
        with pytest.raises(RequestError) as refused:
            await answer(engine, replace(REQUEST, response_format=ResponseFormat("json_object")))
        assert refused.value.error_code == "unsupported_feature"


async def test_a_server_that_keeps_to_schemas_and_reports_logprobs_is_known_to() -> None:
    async def able(talk: Talk) -> None:
        await talk.begin()
        if "response_format" in talk.body:
            await talk.events(*says('{"verdict":', '"sea"}'))
        elif talk.body.get("logprobs"):
            entry = {"token": "a", "logprob": -0.1, "bytes": None, "top_logprobs": []}
            await talk.events(chunk("a", logprobs={"content": [entry]}), chunk(finish_reason="stop"), usage(3, 1))
        else:
            await talk.events(*says("x"))

    async with attached(OpenAiPeer(chat=able)) as (engine, capabilities):
        assert capabilities.features == {"json_schema", "logprobs"}
        schema = ResponseFormat("json_schema", "x", {"type": "object"})
        await answer(engine, replace(REQUEST, response_format=schema))
        with pytest.raises(RequestError):
            await answer(engine, replace(REQUEST, response_format=ResponseFormat("json_schema", "x", {"$ref": "#"})))


@pytest.mark.parametrize(
    ("arguments", "is_able"), [(['{"word":', '"sea"}'], True), (['{"word"'], False), (["{}"], False)]
)
async def test_tools_are_offered_where_a_call_was_seen(arguments: list[str], is_able: bool) -> None:
    async def calling(talk: Talk) -> None:
        await talk.begin()
        if "tools" not in talk.body:
            await talk.events(*says("x"))
            return
        first = {"index": 0, "id": "c1", "type": "function", "function": {"name": "look_up", "arguments": ""}}
        parts = [{"index": 0, "function": {"arguments": part}} for part in arguments]
        calls = [chunk("", delta={"tool_calls": [call]}) for call in (first, *parts)]
        await talk.events(*calls, chunk(finish_reason="tool_calls"), usage(3, 9))

    tool = {"type": "function", "function": {"name": "look_up"}}
    async with attached(OpenAiPeer(chat=calling)) as (engine, capabilities):
        assert ("tools" in capabilities.features) is is_able
        if is_able:
            answered = await answer(engine, replace(REQUEST, tools=(tool,), tool_choice="auto"))
            assert answered.finished.reason == "tool_calls"
            assert [delta.tool_calls[0]["function"].get("name") for delta in answered.deltas] == ["look_up", None, None]


async def test_only_known_fields_are_sent() -> None:
    peer = OpenAiPeer()
    request = replace(REQUEST, temperature=0.5, seed=2**40, stop=("x",), raw={"canary": 1, "n_predict": 9, "n": 1})
    async with attached(peer) as (engine, _):
        await answer(engine, request, at_most=7)

    assert peer.talks[-1].body == {
        "model": "peer",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 7,
        "temperature": 0.5,
        "seed": 2**40 % 0xFFFFFFFF,
        "stop": ["x"],
    }


async def test_a_server_that_cannot_count_is_asked_for_one_token() -> None:
    peer = OpenAiPeer()
    async with attached(peer) as (engine, _):
        assert await engine.count_prompt_tokens(REQUEST) == 9

    assert peer.talks[-1].body["max_tokens"] == 1


async def test_a_bound_that_may_not_fit_behind_the_prompt_is_cut_to_what_does() -> None:
    for context_tokens, bound, talks in ((4096, 1000, 1), (512, 503, 2)):
        peer = OpenAiPeer(models=[{"id": "peer", "max_model_len": context_tokens}])
        async with attached(peer) as (engine, _):
            peer.talks.clear()
            await answer(engine, REQUEST, at_most=1000)

        assert peer.talks[-1].body["max_tokens"] == bound
        assert len(peer.talks) == talks


async def test_a_prompt_that_fills_the_context_is_refused_with_both_numbers() -> None:
    async def counts_much(talk: Talk) -> None:
        await talk.begin()
        await talk.events(chunk("a"), chunk(finish_reason="stop"), usage(512, 1))

    async with attached(OpenAiPeer(chat=counts_much)) as (engine, _):
        with pytest.raises(ContextTooLong) as refused:
            await answer(engine, REQUEST)
        assert (refused.value.prompt_tokens, refused.value.context_tokens) == (512, 512)


async def test_a_server_that_reports_usage_as_it_goes_is_asked_to() -> None:
    async def tells(talk: Talk) -> None:
        await talk.begin()
        if "continuous_usage_stats" in talk.body["stream_options"]:
            await talk.events({**chunk("a"), "usage": usage(9, 1)["usage"]})
            await asyncio.sleep(0.001)
            await talk.events({**chunk("b"), "usage": usage(9, 2)["usage"]}, chunk(finish_reason="stop"), usage(9, 2))
        else:
            await talk.events(*says("a", "b"))

    async with attached(OpenAiPeer(chat=tells)) as (engine, _):
        answered = await answer(engine, REQUEST)
        assert answered.deltas[0].prompt_tokens == answered.finished.usage.input == 9


@pytest.mark.parametrize("is_refusing", [True, False])
async def test_a_server_that_does_not_is_asked_no_more(is_refusing: bool) -> None:
    async def plain(talk: Talk) -> None:
        if is_refusing and "continuous_usage_stats" in talk.body["stream_options"]:
            await talk.respond(400, {"error": {"message": "unknown field", "code": 400}})
            return
        await hello(talk)

    peer = OpenAiPeer(chat=plain)
    async with attached(peer) as (engine, _):
        await answer(engine, REQUEST)

    assert peer.talks[-1].body["stream_options"] == {"include_usage": True}


async def test_speeds_are_measured_where_the_server_does_not_tell_them() -> None:
    async def slowly(talk: Talk) -> None:
        await talk.begin()
        for text in "abc":
            await talk.events(chunk(text))
            await asyncio.sleep(0)
        await talk.events(chunk(finish_reason="stop"), usage(9, 3))

    async with attached(OpenAiPeer(chat=slowly)) as (engine, _):
        assert engine.capacity().decode_tokens_s > 0
        assert engine.capacity().prefill_tokens_s > 0


async def test_the_server_s_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "local-key")
    peer = OpenAiPeer()
    async with attached(peer) as (engine, _):
        assert "local-key" not in repr(engine)

    assert peer.talks[-1].headers["authorization"] == "Bearer local-key"


async def test_closing_an_answer_closes_the_connection() -> None:
    hung_up = asyncio.Event()

    async def endless(talk: Talk) -> None:
        if talk.body["max_tokens"] < 50:
            await hello(talk)
            return
        await talk.begin()
        await talk.events(chunk("a"))
        await talk.hung_up()
        hung_up.set()

    async with attached(OpenAiPeer(chat=endless)) as (engine, _):
        events = engine.generate(REQUEST, max_output_tokens=50)
        assert isinstance(await anext(events), Delta)
        await events.aclose()
        async with asyncio.timeout(60):
            await hung_up.wait()
        assert engine.capacity().active == 0


async def _refuse_to_load(peer: OpenAiPeer, error: type[Exception], **members) -> Exception:
    async with peer.running():
        engine = OpenAiServerEngine()
        with pytest.raises(error) as refused:
            await engine.load(spec_of(peer, **members))
        assert not (await engine.health()).is_healthy
        return refused.value


async def test_a_model_that_is_not_listed_is_not_served() -> None:
    await _refuse_to_load(OpenAiPeer(models=[{"id": "other"}]), ConfigurationError)


async def test_a_context_that_nobody_knows_must_be_given() -> None:
    peer = OpenAiPeer(models=[{"id": "peer"}])
    error = await _refuse_to_load(peer, ConfigurationError)
    assert "context" in error.hint()

    async with attached(peer, context_tokens=99) as (_, capabilities):
        assert capabilities.context_tokens == 99


async def test_a_prompt_beyond_any_context_is_refused_here() -> None:
    async with attached(OpenAiPeer()) as (engine, _):
        with pytest.raises(ContextTooLong):
            await answer(engine, ChatRequest("peer", [{"role": "user", "content": "x" * 100_000}]))


async def test_a_stream_without_usage_cannot_be_metered_and_is_not_served() -> None:
    async def unmetered(talk: Talk) -> None:
        await talk.begin()
        await talk.events(chunk("a"), chunk(finish_reason="stop"))

    error = await _refuse_to_load(OpenAiPeer(chat=unmetered), ConfigurationError)

    assert "include_usage" in error.hint()


@pytest.mark.parametrize("models", [b"not json", {"object": "list"}, [1]], ids=["garbage", "no_data", "list"])
async def test_a_list_of_models_that_is_none_is_a_failed_engine(models) -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Talk({}, {}, reader, writer).respond(200, models)
        writer.close()

    server = await asyncio.start_server(rude, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(EngineFailed):
        await OpenAiServerEngine().load(ModelSpec(model=ModelId("peer"), url=f"http://127.0.0.1:{port}/v1"))
    server.close()


async def test_a_server_that_is_not_there_is_a_failed_engine() -> None:
    peer = OpenAiPeer()
    async with peer.running():
        url = peer.url
    with pytest.raises(EngineFailed) as failed:
        await OpenAiServerEngine().load(ModelSpec(model=ModelId("peer"), url=url))

    assert failed.value.error_code == "engine_unreachable"


async def _status(talk: Talk, status: int) -> None:
    await talk.respond(status, {"error": {"message": "canary", "code": status}})


async def _error_event(talk: Talk) -> None:
    await talk.begin()
    await talk.events(chunk("a"), {"error": {"code": 500, "message": "canary"}})


async def _refusal_event(talk: Talk) -> None:
    await talk.begin()
    await talk.events({"error": {"code": 400, "message": "canary"}})


async def _cut(talk: Talk) -> None:
    await talk.begin()
    await talk.events(chunk("a"))


async def _garbage(talk: Talk) -> None:
    await talk.begin()
    await talk.events(b"data: canary\n\n")


async def _wrong_shape(talk: Talk) -> None:
    await talk.begin()
    await talk.events({"choices": "canary"})


async def _endless_line(talk: Talk) -> None:
    await talk.begin()
    for _ in range(40):
        await talk.events(b"data: " + b"x" * 65_536)


@pytest.mark.parametrize(
    ("chat", "error"),
    [
        (lambda talk: _status(talk, 400), RequestError),
        (lambda talk: _status(talk, 422), RequestError),
        (lambda talk: _status(talk, 429), EngineBusy),
        (lambda talk: _status(talk, 503), EngineBusy),
        (lambda talk: _status(talk, 500), EngineFailed),
        (lambda talk: _status(talk, 302), EngineFailed),
        (_error_event, EngineFailed),
        (_refusal_event, RequestError),
        (_cut, EngineFailed),
        (_garbage, EngineFailed),
        (_wrong_shape, EngineFailed),
        (_endless_line, EngineFailed),
    ],
)
async def test_what_goes_wrong_becomes_our_error_without_the_server_s_words(chat: Chat, error: type[Exception]) -> None:
    peer = OpenAiPeer()
    async with attached(peer) as (engine, _):
        peer.chat = chat
        with pytest.raises(error) as failed:
            await answer(engine, REQUEST)

        assert type(failed.value) is error
        assert "canary" not in str(failed.value)
        assert engine.capacity().active == 0
        peer.chat = hello
        assert (await answer(engine, REQUEST)).text == "hello"


async def test_health_follows_the_server() -> None:
    peer = OpenAiPeer()
    engine = OpenAiServerEngine()
    async with peer.running():
        await engine.load(spec_of(peer))
        assert (await engine.health()).is_healthy
    assert (await engine.health()).reason == "not_answering"
    await engine.unload()


async def test_a_model_is_asked_for_by_the_server_s_own_name() -> None:
    peer = OpenAiPeer(models=[{"id": "/models/peer.gguf", "max_model_len": 512}])
    async with attached(peer, name_at_server="/models/peer.gguf") as (engine, _):
        assert (await answer(engine, REQUEST)).text == "hello"

    assert {talk.body["model"] for talk in peer.talks} == {"/models/peer.gguf"}


async def test_a_server_without_the_model_is_quoted_with_the_names_that_it_lists() -> None:
    peer = OpenAiPeer(models=[{"id": f"m{number}"} for number in range(7)])
    async with peer.running():
        with pytest.raises(ConfigurationError) as refused:
            await OpenAiServerEngine().load(spec_of(peer))

    assert refused.value.hint().startswith("It lists m0, m1, m2, m3, m4 and 2 more;")


async def test_a_server_that_is_not_there_is_named_and_nothing_is_promised() -> None:
    spec = ModelSpec(model=ModelId("peer"), url="http://someone:secret@127.0.0.1:9/v1")
    with pytest.raises(EngineFailed, match=r"no server answers at http://127\.0\.0\.1:9/v1$") as failed:
        await OpenAiServerEngine().load(spec)

    assert failed.value.error_code == "engine_unreachable"
    assert "by itself" not in failed.value.hint()
