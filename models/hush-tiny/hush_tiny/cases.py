"""The questions of the evaluation: wordings, ranges, words and names that training never showed.

Every case has one right answer, so that a score is a count and not an opinion.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

from hush_tiny import exam
from hush_tiny.corpus import held_out, off_topic, sampling, skills, small_talk
from hush_tiny.corpus.facts import BY_KEY
from hush_tiny.corpus.words import CAPITALS, CATEGORIES, HELD_OUT_NAMES, HELD_OUT_WORDS, NOUNS, NUMBER_WORDS

SEED = 11
LONG_TALK_CHARACTERS = 2_100

Schema = dict[str, object]


@dataclass(frozen=True)
class Case:
    """What is said so far, ending with the user, and the answer that counts as right.

    With a schema the answer is generated under it, and compared as JSON.
    """

    category: str
    messages: tuple[tuple[str, str], ...]
    expected: str
    schema: Schema | None = None


def every_case() -> list[Case]:
    """Return all cases, always the same."""
    taught = (_facts, _small_talk, _off_topic, _counting, _lists, _copying, _arithmetic, _structured)
    makers = (*taught, _follow_ups, _settings)
    return [case for maker in makers for case in maker(random.Random(SEED))]


def _asked(category: str, question: str, expected: str, schema: Schema | None = None) -> Case:
    return Case(category, (("user", question),), expected, schema)


def _facts(rng: random.Random) -> Iterator[Case]:
    for key, questions in held_out.FACT_QUESTIONS.items():
        for question in questions:
            yield _asked("facts, unseen wording", question, BY_KEY[key].answer)
    for key, question in exam.FACTS.items():
        yield _asked("facts, final exam", question, BY_KEY[key].answer)
    for _ in range(100):
        turn = sampling.fact_turn(rng)
        yield _asked("facts, wording of the corpus", turn.user, turn.assistant)


def _small_talk(rng: random.Random) -> Iterator[Case]:
    for kind, texts in held_out.SMALL_TALK.items():
        for text in texts:
            yield _asked("greetings and thanks, unseen wording", text, small_talk.ANSWERS[kind])


def _off_topic(rng: random.Random) -> Iterator[Case]:
    for question in held_out.OFF_TOPIC:
        yield _asked("honesty about what it does not know", question, off_topic.ANSWER)
    for question in exam.UNKNOWN:
        yield _asked("honesty, final exam", question, off_topic.ANSWER)


def _counting(rng: random.Random) -> Iterator[Case]:
    short = [(a, b) for a in range(21) for b in range(a + 1, a + skills.SHORT_COUNT) if skills.is_held_out(a, b)]
    for first, last in rng.sample(short, 30):
        question = rng.choice(held_out.COUNT_WORDINGS).format(first=first, last=last)
        yield _asked("counting up, unseen range and wording", question, skills.count_answer(first, last))
    down = [(a, b) for a in range(4, 21) for b in range(a) if a - b < skills.SHORT_COUNT and skills.is_held_out(a, b)]
    for first, last in rng.sample(down, 15):
        yield _asked(
            "counting down, unseen range", f"Count down from {first} to {last}.", skills.count_answer(first, last)
        )
    long = [(1, b) for b in range(30, 101) if skills.is_held_out(1, b)]
    for first, last in long:
        yield _asked(
            "counting to 30 and beyond, unseen range",
            f"Count from {first} to {last}.",
            skills.count_answer(first, last),
        )


def _lists(rng: random.Random) -> Iterator[Case]:
    for category, items in CATEGORIES.items():
        for n in range(2, len(items) + 1):
            if skills.is_held_out(skills.category_place(category), n):
                question = rng.choice(held_out.LIST_WORDINGS).format(n=NUMBER_WORDS[n - 1], category=category)
                yield _asked("lists, unseen length and wording", question, skills.list_answer(category, n))


def _copying(rng: random.Random) -> Iterator[Case]:
    for _ in range(30):
        text = " ".join(rng.sample(NOUNS, rng.randint(1, 6)))
        yield _asked("repeating, unseen wording", rng.choice(held_out.REPEAT_WORDINGS).format(text=text), text)
    for _ in range(30):
        text = " ".join(rng.sample(HELD_OUT_WORDS, rng.randint(1, 5)))
        yield _asked("repeating words never seen", f"Repeat after me: {text}", text)


def _arithmetic(rng: random.Random) -> Iterator[Case]:
    unseen = [(a, b) for a in range(21) for b in range(21) if skills.is_held_out(a, b)]
    for a, b in rng.sample(unseen, 30):
        yield _asked("sums up to 20 + 20, unseen pair", f"What is {a} + {b}?", str(a + b))
    for _ in range(15):
        a, b = rng.randint(21, 99), rng.randint(21, 99)
        yield _asked("sums of larger numbers (never taught)", f"What is {a} + {b}?", str(a + b))


def _object(**properties: str) -> Schema:
    kinds = {name: {"type": kind} for name, kind in properties.items()}
    return {"type": "object", "properties": kinds, "required": list(properties), "additionalProperties": False}


def _structured(rng: random.Random) -> Iterator[Case]:
    person, place = _object(name="string", age="integer"), _object(city="string", country="string")
    for name in HELD_OUT_NAMES:
        age = rng.randint(18, 90)
        right = json.dumps({"name": name, "age": age})
        yield _asked(
            "JSON under a schema: a person never seen",
            f"{name} is {age} years old. Return name and age as JSON.",
            right,
            person,
        )
        yield _asked(
            "JSON under a schema: a person never seen", f"Please fill in the form: {name}, {age} years.", right, person
        )
    for country, city in rng.sample(sorted(CAPITALS.items()), 12):
        right = json.dumps({"city": city, "country": country})
        question = f"My office is in {city}, {country}. Give me city and country."
        yield _asked("JSON under a schema: a place, unseen wording", question, right, place)
    answer = _object(answer="string", confidence="number")
    for key in sorted(rng.sample(sorted(BY_KEY), 20)):
        right = json.dumps({"answer": BY_KEY[key].answer, "confidence": 0.9})
        question = f"Answer in JSON with answer and confidence: {held_out.FACT_QUESTIONS[key][0]}"
        yield _asked("JSON under a schema: a fact, unseen wording", question, right, answer)
    for noun in rng.sample(NOUNS, 12):
        amount = rng.randint(2, 60)
        right = json.dumps({"thing": noun, "amount": amount})
        question = f"Return JSON with thing and amount: the thing is {noun}, the amount is {amount}."
        yield _asked("JSON under a schema: keys never seen", question, right, _object(thing="string", amount="integer"))


def _follow_ups(rng: random.Random) -> Iterator[Case]:
    for name in (*HELD_OUT_NAMES, "Emma", "Tom", "Ruth", "Omar"):
        known = "a name never seen" if name in HELD_OUT_NAMES else "a known name"
        said = (
            ("user", f"Hello, my name is {name}."),
            ("assistant", f"Nice to meet you, {name}!"),
            ("user", "What is my name?"),
        )
        yield Case(f"remembering {known} over a turn", said, f"Your name is {name}.")
    for key in ("hushnet", "coordinator", "provider", "sealed_mode", "standard_mode", "who_can_read", "trust_tiers"):
        fact = BY_KEY[key]
        said = (
            ("user", held_out.FACT_QUESTIONS[key][0]),
            ("assistant", fact.answer),
            ("user", "Can you tell me a little more?"),
        )
        yield Case("follow-up: tell me more", said, fact.more)
    for first, topic, second in (
        ("sealed_mode", "standard mode", "standard_mode"), ("provider", "the coordinator", "coordinator"),
        ("hold", "a transfer", "transfer"), ("prices", "payouts", "payouts"), ("receipt", "attestation", "attestation"),
        ("start", "hush chat", "hush_chat"), ("failover", "hedging", "hedging"), ("console", "the SDK", "sdk"),
    ):  # fmt: skip
        said = (
            ("user", held_out.FACT_QUESTIONS[first][0]),
            ("assistant", BY_KEY[first].answer),
            ("user", f"And what about {topic}?"),
        )
        yield Case("follow-up: and what about", said, BY_KEY[second].answer)


def _settings(rng: random.Random) -> Iterator[Case]:
    keys = sorted(rng.sample(sorted(BY_KEY), 20))
    for place, key in enumerate(keys):
        system = ("system", held_out.SYSTEM_PROMPTS[place % len(held_out.SYSTEM_PROMPTS)])
        said = (system, ("user", held_out.FACT_QUESTIONS[key][-1]))
        yield Case("facts under an unseen system prompt", said, BY_KEY[key].answer)
    for key in keys:
        before = _long_talk(rng)
        question = held_out.FACT_QUESTIONS[key][-1]
        yield Case("facts late in a long talk", (*before, ("user", question)), BY_KEY[key].answer)


def _long_talk(rng: random.Random) -> tuple[tuple[str, str], ...]:
    """Draw a talk that fills most of the context and leaves room for an answer."""
    said: list[tuple[str, str]] = []
    while sum(len(text) for _, text in said) < LONG_TALK_CHARACTERS:
        turn = sampling.fact_turn(rng)
        said += [("user", turn.user), ("assistant", turn.assistant)]
    return tuple(said)
