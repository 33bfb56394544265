"""What hush-tiny does through llama.cpp: what its published score says it can do, and that it stops."""

import json
from pathlib import Path

import jsonschema
import pytest
from hush_tiny.cases import Case, every_case
from hush_tiny.corpus import off_topic, small_talk
from hush_tiny.corpus.facts import BY_KEY
from hush_tiny.evaluate import Answerer, Reply, is_right

SLACK = 0.05  # kernels differ between processors, and a near tie may fall the other way


@pytest.fixture(scope="module")
def answerer(model_folder: Path) -> Answerer:
    return Answerer(model_folder / "artefacts" / "hush-tiny-q8_0.gguf", context_tokens=1024)


def _ask(answerer: Answerer, question: str) -> Reply:
    reply = answerer.reply((("user", question),))
    assert reply.has_ended
    return reply


def _cases(category: str) -> list[Case]:
    return [case for case in every_case() if case.category == category]


@pytest.mark.parametrize("greeting", ["Hello!", "Hi", "Say hello"])
def test_it_greets(answerer: Answerer, greeting: str):
    assert _ask(answerer, greeting).text == small_talk.ANSWERS["greeting"]


@pytest.mark.parametrize(
    ("question", "fact"),
    [
        ("Please explain what sealed mode does.", "sealed_mode"),
        ("Tell me all the sealing suites.", "suites"),
        ("What are the four levels of trust?", "trust_tiers"),
        ("How do I turn my laptop into a provider?", "hush_up"),
        ("Can the same request be billed twice?", "charged_twice"),
    ],
)
def test_it_answers_a_question_about_hushnet_in_unseen_wording(answerer: Answerer, question: str, fact: str):
    assert _ask(answerer, question).text == BY_KEY[fact].answer


@pytest.mark.parametrize(
    "category", ["facts, final exam", "honesty, final exam", "greetings and thanks, unseen wording"]
)
def test_it_keeps_its_published_score(answerer: Answerer, model_folder: Path, category: str):
    published = json.loads((model_folder / "evaluation.json").read_text())["categories"][category]["share"]
    right = [is_right(case, answerer.reply(case.messages, case.schema)) for case in _cases(category)]
    assert sum(right) / len(right) >= published - SLACK


def test_it_counts(answerer: Answerer):
    assert _ask(answerer, "Count from 3 to 9.").text == "3, 4, 5, 6, 7, 8, 9"


def test_it_writes_a_list(answerer: Answerer):
    assert _ask(answerer, "List five colours").text == "red, blue, green, yellow, orange"


def test_it_says_that_it_does_not_know(answerer: Answerer):
    assert _ask(answerer, "How do I change a tyre?").text == off_topic.ANSWER


def test_it_fills_in_a_json_schema(answerer: Answerer):
    properties = {"name": {"type": "string"}, "age": {"type": "integer"}}
    schema = {"type": "object", "properties": properties, "required": ["name", "age"], "additionalProperties": False}
    reply = answerer.reply((("user", "Emma is 34 years old. Return name and age as JSON."),), schema)
    value = json.loads(reply.text)
    jsonschema.validate(value, schema)
    assert value == {"name": "Emma", "age": 34}


def test_it_remembers_a_name_over_a_turn(answerer: Answerer):
    said = (("user", "My name is Emma."), ("assistant", "Nice to meet you, Emma!"), ("user", "What is my name?"))
    assert answerer.reply(said).text == "Your name is Emma."


def test_a_system_prompt_does_not_disturb_it(answerer: Answerer):
    said = (("system", "You are the help desk of Hushnet."), ("user", "What is a provider?"))
    assert answerer.reply(said).text == BY_KEY["provider"].answer


def test_greedy_answers_are_the_same_every_time(answerer: Answerer):
    assert _ask(answerer, "What is Hushnet?") == _ask(answerer, "What is Hushnet?")
