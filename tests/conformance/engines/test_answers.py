"""What every engine answers: order, bounds, counts, formats."""

import json
import math

import jsonschema
import pytest

from hushnet.dialects.openai_chat import ChatRequest, ResponseFormat
from hushnet.foundation.errors import RequestError
from hushnet.provider.engines.base import ContextTooLong, Engine
from support.engines import CONTEXT_TOKENS, MODEL, answer, ask, endless, json_schema

UNSURE = "Repeat after me: violet copper canyon velvet harbour meadow"
"""Words that the model was never taught: it guesses, so sampling shows."""

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROSE = "What is Hushnet?"


async def test_a_greedy_answer_is_the_same_every_time_and_not_empty(engine: Engine) -> None:
    first, second = await answer(engine, ask(PROSE)), await answer(engine, ask(PROSE))

    assert first.text == second.text
    assert first.text.strip()
    assert first.finished.reason == "stop"


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": PROSE}],
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PROSE}],
        [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": PROSE}],
        [
            {"role": "user", "content": "Grüße, 世界 🌍"},
            {"role": "assistant", "content": None},
            {"role": "user", "content": "?"},
        ],
        [{"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}],
        [{"role": "user", "content": "word " * 300}],
        [{"role": "user", "content": ""}],
    ],
    ids=["plain", "system", "developer", "unicode", "parts", "long", "empty"],
)
async def test_the_prompt_count_is_exactly_the_usage_that_is_charged(engine: Engine, messages: list[dict]) -> None:
    request = ChatRequest(MODEL, messages, temperature=0.0)

    counted = await engine.count_prompt_tokens(request)

    assert counted == (await answer(engine, request, at_most=1)).finished.usage.input


async def test_deltas_never_count_more_tokens_than_the_final_usage(engine: Engine) -> None:
    answered = await answer(engine, ask("Tell me about 世界 🌍 and sealing.", temperature=1.5, seed=7), at_most=200)

    assert 0 < sum(delta.tokens for delta in answered.deltas) <= answered.finished.usage.output


async def test_the_bound_of_the_call_binds_whatever_the_request_says(engine: Engine) -> None:
    bounded = await answer(engine, endless(max_output_tokens=500), at_most=5)
    own = await answer(engine, endless(max_output_tokens=3), at_most=500)

    assert (bounded.finished.reason, bounded.finished.usage.output) == ("length", 5)
    assert (own.finished.reason, own.finished.usage.output) == ("length", 3)


async def test_an_answer_that_fills_the_context_ends_in_length(engine: Engine) -> None:
    answered = await answer(engine, endless(), at_most=1_000_000)

    assert answered.finished.reason == "length"
    assert answered.finished.usage.input + answered.finished.usage.output <= CONTEXT_TOKENS


async def test_a_prompt_beyond_the_context_is_refused_with_both_numbers_before_any_event(engine: Engine) -> None:
    request = ask("word " * 3000)

    with pytest.raises(ContextTooLong) as refused:
        await answer(engine, request)

    assert refused.value.prompt_tokens == await engine.count_prompt_tokens(request)
    assert refused.value.context_tokens == CONTEXT_TOKENS


async def test_a_stop_string_ends_the_answer_and_is_not_part_of_it(engine: Engine) -> None:
    whole = (await answer(engine, ask(PROSE))).text
    stop = whole.split()[2]

    stopped = await answer(engine, ask(PROSE, stop=(stop, "never said")))

    assert stopped.finished.reason == "stop"
    assert whole.startswith(stopped.text)
    assert stop not in stopped.text


@pytest.mark.parametrize("seed", [0, 7, -1, 2**63 - 1, 0xFFFFFFFF])
async def test_a_seed_makes_a_warm_answer_repeatable(engine: Engine, seed: int) -> None:
    request = ask(UNSURE, temperature=1.8, seed=seed)

    assert (await answer(engine, request)).text == (await answer(engine, request)).text


async def test_different_seeds_give_different_answers(engine: Engine) -> None:
    texts = {(await answer(engine, ask(UNSURE, temperature=1.8, seed=seed))).text for seed in range(4)}

    assert len(texts) > 1


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"verdict": {"enum": ["yes", "no"]}}, "required": ["verdict"]},
        {"type": "array", "items": {"type": "integer", "minimum": -3, "maximum": 12}, "minItems": 2, "maxItems": 4},
        {"anyOf": [{"const": {"a": [1, None]}}, {"type": "boolean"}]},
        {
            "$defs": {"leaf": {"type": "object", "properties": {"v": {"enum": [1, 2.5, None]}}}},
            "type": "object",
            "properties": {
                "leaves": {"type": "array", "items": {"$ref": "#/$defs/leaf"}, "maxItems": 2},
                "id": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
            },
            "required": ["id"],
        },
    ],
)
async def test_a_schema_is_enforced_where_the_free_answer_is_prose(engine: Engine, schema: dict) -> None:
    assert not (await answer(engine, ask(PROSE))).text.startswith(("{", "["))

    answered = await answer(engine, ask(PROSE, response_format=json_schema(schema)), at_most=400)

    assert answered.finished.reason == "stop"
    jsonschema.validate(json.loads(answered.text), schema)


async def test_json_object_gives_an_object(engine: Engine) -> None:
    request = ask("Give the name and age of Emma, 34, as JSON.", response_format=ResponseFormat("json_object"))

    assert isinstance(json.loads((await answer(engine, request, at_most=300)).text), dict)


async def test_a_format_cut_by_the_bound_ends_in_length_and_not_in_an_error(engine: Engine) -> None:
    schema = {"type": "object", "properties": {"text": {"type": "string", "minLength": 100}}, "required": ["text"]}

    answered = await answer(engine, ask(PROSE, response_format=json_schema(schema)), at_most=5)

    assert answered.finished.reason == "length"
    assert answered.text.startswith("{")


async def test_logprobs_come_one_entry_a_token_with_as_many_alternatives_as_asked_for(engine: Engine) -> None:
    answered = await answer(engine, ask(PROSE, logprobs=True, top_logprobs=3), at_most=8)

    entries = [entry for delta in answered.deltas for entry in delta.logprobs or []]
    assert len(entries) == answered.finished.usage.output
    assert "".join(entry["token"] for entry in entries) == answered.text
    assert all(math.isfinite(entry["logprob"]) and entry["logprob"] <= 0 for entry in entries)
    assert all(len(entry["top_logprobs"]) == 3 for entry in entries)
    assert all(set(entry) == {"token", "logprob", "bytes", "top_logprobs"} for entry in entries)


async def test_logprobs_without_alternatives_are_logprobs_all_the_same(engine: Engine) -> None:
    answered = await answer(engine, ask(PROSE, logprobs=True), at_most=8)

    entries = [entry for delta in answered.deltas for entry in delta.logprobs or []]
    assert len(entries) == answered.finished.usage.output
    assert all(math.isfinite(entry["logprob"]) and entry["logprob"] <= 0 for entry in entries)
    assert all(entry["top_logprobs"] == [] for entry in entries)


async def test_a_prompt_s_count_told_with_a_piece_is_the_final_one(engine: Engine) -> None:
    answered = await answer(engine, ask(PROSE))

    assert {delta.prompt_tokens for delta in answered.deltas} <= {0, answered.finished.usage.input}


async def test_without_logprobs_none_come(engine: Engine) -> None:
    assert all(delta.logprobs is None for delta in (await answer(engine, ask(PROSE))).deltas)


async def test_what_was_not_probed_is_refused(engine: Engine) -> None:
    picture = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    request = ChatRequest(MODEL, [{"role": "user", "content": picture}])

    with pytest.raises(RequestError) as refused:
        await answer(engine, request)

    assert refused.value.error_code == "unsupported_feature"
