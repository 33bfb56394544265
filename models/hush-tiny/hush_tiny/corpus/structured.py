"""Questions whose answer is a JSON object, spaced as llama.cpp's schema grammar lets a model write it."""

import json
import random

from hush_tiny.corpus import skills
from hush_tiny.corpus.facts import FACTS
from hush_tiny.corpus.off_topic import ANSWER as UNKNOWN
from hush_tiny.corpus.off_topic import sample as off_topic
from hush_tiny.corpus.turns import Turn
from hush_tiny.corpus.wording import choose, dress
from hush_tiny.corpus.words import ADJECTIVES, CAPITALS, CATEGORIES, NAMES, NOUNS, NUMBER_WORDS

ASK = (
    "(give me|return|write|extract|produce|output|reply with|answer with|make) (json|a json object|an object|the json) with {keys}",
    "(as|in) json with {keys}",
    "(extract|find|get|read|pick out) {keys} (as json|in json|and answer in json)",
    "(what are|fill in) {keys} (in json|as json)",
    "json: {keys}",
)
JOBS = ("baker", "teacher", "doctor", "sailor", "painter", "farmer", "pilot", "nurse", "lawyer", "singer")
KEYS = ("title", "id", "colour", "size", "owner", "status", "animal", "code", "level", "place", "active", "count")
BARE_ASK = ("JSON", "As JSON.", "Answer in JSON.", "Reply in JSON.", "In JSON, please.")
GOOD = ("great", "wonderful", "excellent", "lovely", "perfect", "amazing", "very good", "fantastic")
BAD = ("terrible", "awful", "horrible", "bad", "very bad", "poor", "disappointing", "broken")
NEUTRAL = ("okay", "average", "normal", "neither good nor bad", "ordinary")


def sample(rng: random.Random) -> Turn:
    """Draw a question answered in JSON."""
    kinds = (_person, _place, _answer, _things, _sentiment, _product, _pairs, _invented)
    return rng.choices(kinds, weights=(5, 4, 4, 3, 2, 3, 3, 1))[0](rng)


def _asked(rng: random.Random, keys: tuple[str, ...], text: str) -> str:
    """Put a request for keys before or after a text, or leave it out, since a schema may be all that asks."""
    names = f"{', '.join(keys[:-1])} and {keys[-1]}" if len(keys) > 1 else keys[0]
    if rng.random() < 0.3:
        names = " and ".join(f"the {key}" for key in keys)
    request = choose(rng, rng.choice(ASK)).replace("{keys}", names)
    request = request[0].upper() + request[1:] if rng.random() < 0.6 else request
    order = rng.random()
    if order < 0.45:
        return f"{request}{rng.choice((': ', '. ', ' from: ', ' for: ', chr(10)))}{text}"
    return f"{text} {request}." if order < 0.75 else f"{text} {rng.choice(BARE_ASK)}"


def _person(rng: random.Random) -> Turn:
    name, age, job = rng.choice(NAMES), rng.randint(1, 99), rng.choice(JOBS)
    number = NUMBER_WORDS[age - 1] if age <= 12 and rng.random() < 0.3 else str(age)
    template = rng.choice((
        "{name} is {age}( years old|).", "(my name is|i am|i'm|this is) {name} and i am {age}( years old|).", "{name}, {age}.",
        "{name} (turned|turns|was) {age}( yesterday| today| last week|).", "(her|his) name is {name} and (she|he) is {age}.",
        "a person (called|named) {name}, (aged|age) {age}.", "(the user|a friend) {name} is {age} years old.",
    ))  # fmt: skip
    text = choose(rng, template).replace("{name}", name).replace("{age}", number)
    text = text[0].upper() + text[1:]
    if rng.random() < 0.25:
        text += choose(rng, f" (She|He|{name}) (is|works as) a {job}.")
        return Turn(_asked(rng, ("name", "age", "job"), text), json.dumps({"name": name, "age": age, "job": job}))
    return Turn(_asked(rng, ("name", "age"), text), json.dumps({"name": name, "age": age}))


def _place(rng: random.Random) -> Turn:
    country = rng.choice(tuple(CAPITALS))
    city = CAPITALS[country]
    template = rng.choice((
        "(i live|she lives|we live|he works|they met|i was born|i am) in {city}, {country}.", "{city}, {country}.",
        "{city} is (a city |the capital |)(in|of) {country}.", "(the|what is the|give me the) capital of {country}.",
        "(we flew|i went|i travelled|she moved) to {city} in {country}.", "{country} has a city called {city}.",
    ))  # fmt: skip
    text = choose(rng, template).replace("{city}", city).replace("{country}", country)
    return Turn(
        _asked(rng, ("city", "country"), text[0].upper() + text[1:]), json.dumps({"city": city, "country": country})
    )


def _answer(rng: random.Random) -> Turn:
    if rng.random() < 0.3:
        question, answer, confidence = off_topic(rng).user, UNKNOWN, 0.1
    else:
        fact = rng.choice(FACTS)
        question, answer, confidence = dress(rng, choose(rng, rng.choice(fact.templates()))), fact.answer, 0.9
    keys = ("answer", "confidence") if rng.random() < 0.7 else ("answer",)
    value = {"answer": answer, "confidence": confidence} if len(keys) == 2 else {"answer": answer}
    return Turn(_asked(rng, keys, question), json.dumps(value))


def _things(rng: random.Random) -> Turn:
    category = rng.choice(tuple(CATEGORIES))
    n = rng.randint(2, min(6, len(CATEGORIES[category])))
    key = rng.choice((category, category, "items", "list"))
    text = f"{rng.choice(('List', 'Name', 'Give me'))} {rng.choice((str(n), NUMBER_WORDS[n - 1]))} {category}."
    return Turn(_asked(rng, (key,), text), json.dumps({key: list(CATEGORIES[category][:n])}))


def _sentiment(rng: random.Random) -> Turn:
    label, words = rng.choice((("positive", GOOD), ("negative", BAD), ("neutral", NEUTRAL)))
    text = choose(rng, f"(the|this|my) ({'|'.join(NOUNS)}) (is|was|looks) {rng.choice(words)}.")
    return Turn(_asked(rng, ("sentiment",), text[0].upper() + text[1:]), json.dumps({"sentiment": label}))


def _product(rng: random.Random) -> Turn:
    product, price, count = rng.choice(NOUNS), rng.randint(1, 99), rng.randint(1, 20)
    if rng.random() < 0.4:
        text = f"{rng.choice(('I want', 'I need', 'Please send me', 'Order'))} {count} {product}s."
        return Turn(_asked(rng, ("item", "quantity"), text), json.dumps({"item": product, "quantity": count}))
    text = choose(rng, f"(the|a|this) {product} (costs|is|sells for) {price} dollars.")
    return Turn(
        _asked(rng, ("product", "price"), text[0].upper() + text[1:]), json.dumps({"product": product, "price": price})
    )


def _pairs(rng: random.Random) -> Turn:
    """Draw arbitrary keys and values, so that keys of a schema never seen have a pattern to follow."""
    keys = rng.sample((*KEYS, *NOUNS[:40]), rng.randint(1, 3))
    values = [_value(rng) for _ in keys]
    said = [json.dumps(value) if isinstance(value, (bool, int)) else value for value in values]
    text = rng.choice((", ", "; ", " and ")).join(
        f"{key}{rng.choice((' is ', ': ', ' = '))}{value}" for key, value in zip(keys, said, strict=True)
    )
    return Turn(_asked(rng, tuple(keys), text + "."), json.dumps(dict(zip(keys, values, strict=True))))


def _value(rng: random.Random) -> str | int | bool:
    kind = rng.random()
    if kind < 0.25:
        return rng.randint(0, 999)
    if kind < 0.35:
        return rng.random() < 0.5
    return skills.phrase(rng).strip(".!").lower() if kind < 0.5 else rng.choice(rng.choice((NOUNS, ADJECTIVES, NAMES)))


def _invented(rng: random.Random) -> Turn:
    """Ask for an example object, with nothing to extract."""
    text, value = rng.choice((
        (choose(rng, "(give me|make up|invent|describe|return) (a person|an example person|a user)"), {"name": "Emma", "age": 34}),
        (choose(rng, "(give me|name|return|pick) (a city|a place|an example city)"), {"city": "Paris", "country": "France"}),
        (choose(rng, "(give me|name|return|pick) (a colour|a color)"), {"colour": "red"}),
    ))  # fmt: skip
    return Turn(f"{text} {rng.choice(('as JSON.', 'in JSON', 'as a JSON object'))}", json.dumps(value))
