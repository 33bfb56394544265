"""The corpus of hush-tiny: the same every time, clean of the wordings kept for evaluation, and right."""

import json
import random
import re
from collections import Counter

import pytest
from hush_tiny import exam
from hush_tiny.chat import END, pieces
from hush_tiny.corpus import held_out, sampling, skills, structured
from hush_tiny.corpus.facts import BY_KEY, FACTS
from hush_tiny.corpus.turns import Conversation, Turn
from hush_tiny.corpus.wording import choose, expand, normalise
from hush_tiny.corpus.words import HELD_OUT_NAMES, HELD_OUT_WORDS


def _conversations(seed: int, count: int) -> list[Conversation]:
    rng = random.Random(seed)
    return [sampling.conversation(rng, rng.choice((1, 1, 2, 4))) for _ in range(count)]


@pytest.fixture(scope="module")
def asked() -> list[Turn]:
    """Every turn of two thousand training conversations."""
    return [turn for talk in _conversations(5, 2000) for turn in talk.turns]


@pytest.fixture(scope="module")
def drawable() -> dict[str, str]:
    """Every normalised wording that asks for a fact, with the fact's key; a wording that asks for two fails here."""
    owner: dict[str, str] = {}
    for fact in FACTS:
        for text in {normalise(text) for template in fact.templates() for text in expand(template)}:
            assert owner.setdefault(text, fact.key) == fact.key, text
    return owner


def test_one_seed_names_one_corpus():
    assert _conversations(3, 300) == _conversations(3, 300)
    assert _conversations(3, 300) != _conversations(4, 300)


def test_no_held_out_wording_is_ever_asked_in_training(asked: list[Turn]):
    assert not {normalise(turn.user) for turn in asked} & held_out.NORMALISED


def test_held_out_wordings_are_new_and_not_merely_filtered(drawable: dict[str, str]):
    questions = [question for asked in held_out.FACT_QUESTIONS.values() for question in asked]
    unseen = [question for question in questions if normalise(question) not in drawable]
    assert len(unseen) > 0.9 * len(questions)


def test_held_out_names_never_occur_in_training(asked: list[Turn]):
    text = " ".join(turn.user + turn.assistant for turn in asked)
    assert not re.search(rf"\b({'|'.join(HELD_OUT_NAMES)})\b", text)


def test_every_fact_has_held_out_questions_and_at_least_forty_wordings(drawable: dict[str, str]):
    assert set(held_out.FACT_QUESTIONS) == set(BY_KEY)
    assert all(count >= 40 for count in Counter(drawable.values()).values())


def test_no_wording_asks_for_two_facts(drawable: dict[str, str]):
    assert set(drawable.values()) == set(BY_KEY)


def test_a_template_expands_to_every_sentence_it_can_draw():
    template = "(what is|explain( briefly|)) (a|the) hold"
    rng = random.Random(1)
    assert {choose(rng, template) for _ in range(200)} == set(expand(template))
    assert "explain briefly the hold" in expand(template)


def test_an_unbalanced_template_is_refused():
    with pytest.raises(ValueError, match="unbalanced"):
        choose(random.Random(1), "what) is this")


@pytest.mark.parametrize(("first", "last", "answer"), [(3, 6, "3, 4, 5, 6"), (2, 0, "2, 1, 0"), (7, 7, "7")])
def test_counting_answers_are_right(first: int, last: int, answer: str):
    assert skills.count_answer(first, last) == answer


def test_held_out_sums_are_not_trained():
    rng = random.Random(2)
    for _ in range(2000):
        turn = skills.arithmetic(rng)
        numbers = [int(number) for number in re.findall(r"\d+", turn.user)]
        if "+" in turn.user and len(numbers) == 2:
            assert not skills.is_held_out(*numbers)
            assert turn.assistant == str(sum(numbers))


def test_structured_answers_are_json_objects():
    rng = random.Random(8)
    for _ in range(1000):
        assert isinstance(json.loads(structured.sample(rng).assistant), dict)


def test_only_answers_and_their_end_are_learned():
    cut = pieces(Conversation((Turn("Hi", "Hello!"),), system="Be brief."))
    assert [text for text, is_learned in cut if is_learned] == [f"Hello!{END}"]


def test_held_out_words_are_not_in_the_word_lists():
    rng = random.Random(9)
    copied = {word for _ in range(3000) for word in skills.repeat(rng).assistant.lower().split()}
    assert not copied & set(HELD_OUT_WORDS)


def test_no_question_of_the_final_exam_is_ever_asked_in_training(asked: list[Turn], drawable: dict[str, str]):
    questions = {normalise(question) for question in (*exam.FACTS.values(), *exam.UNKNOWN)}
    assert set(exam.FACTS) == set(BY_KEY)
    assert not questions & (drawable.keys() | {normalise(turn.user) for turn in asked})
