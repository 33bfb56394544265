"""Counting, listing, repeating, adding, and a few fixed facts.

Parameters held out of training follow a rule, so that evaluation can ask for ranges, lists and sums never trained on.
"""

import random

from hush_tiny.corpus.turns import Turn
from hush_tiny.corpus.wording import choose, dress
from hush_tiny.corpus.words import (
    ADJECTIVES,
    CAPITALS,
    CATEGORIES,
    CATEGORY_NAMES,
    NAMES,
    NOUNS,
    NUMBER_WORDS,
    VERBS,
    invent,
)

SHORT_COUNT = 14
LONG_COUNT = 100

COUNT_UP = (
    "count (from|up from) {first} (to|up to|until|till) {last}",
    "(can|could|would|will) you (please |)count from {first} (to|up to) {last}",
    "(list|write|give me|name|print|show|say) (the |all |all the |)numbers (from|between) {first} (to|and|until) {last}",
    "numbers from {first} to {last}",
    "(start|begin) (at|with) {first} and count (to|up to) {last}",
    "please count {first} to {last}",
)
COUNT_FROM_ONE = (
    "count (to|up to|until) {last}",
    "(can|could) you count (to|up to) {last}",
    "count from one to {last}",
)
COUNT_DOWN = (
    "count (down|backwards|back) from {first} to {last}",
    "(can|could) you count (down|backwards) from {first} to {last}",
    "(list|write|give me) the numbers from {first} down to {last}",
)
LIST = (
    "(list|name|give me|tell me|write|write down|show me|say|print) {n} {category}",
    "(can|could|would) you (list|name|give me|tell me) {n} {category}",
    "(i need|i want|i would like) {n} {category}",
    "(give me|write|make|i need) a list of {n} {category}",
    "{n} {category}",
    "(what are|which are) {n} {category}",
    "do you know {n} {category}",
)
NUMBERED = (" as a numbered list", ", numbered", " in a numbered list")
BULLETS = (" as bullet points", " as a bullet list", " in bullets")
REPEAT = (
    "(repeat|repeat after me|say|say exactly|echo|copy|write|write exactly|print|output|reply with|answer with): {text}",
    '(repeat|repeat after me|say|echo|copy|write|print|reply with|answer with) "{text}"',
    "(repeat after me|please repeat|repeat these words|say after me|say the words|repeat the words|echo the words) {text}",
    '(can|could) you (repeat|say|echo|write) "{text}"',
    "(repeat|copy|echo) (this|the following|this text|the following text|this sentence): {text}",
    'say the (word|words|phrase|text) "{text}"',
)
SUM = (
    "(what is|what's|compute|calculate|how much is|tell me|work out|) {a} (+|plus) {b}",
    "(add|sum) {a} and {b}",
    "what is the sum of {a} and {b}",
    "{a}+{b}",
    "{a} + {b} =",
)
DIFFERENCE = ("(what is|what's|compute|calculate|how much is|) {a} (-|minus) {b}", "subtract {b} from {a}", "{a}-{b}")
FIXED = {
    "How many days are in a week?": ("how many days (are in|has|does|are there in) a week( have|)", "A week has seven days."),
    "How many months are in a year?": ("how many months (are in|has|does|are there in) a year( have|)", "A year has twelve months."),
    "How many hours are in a day?": ("how many hours (are in|has|does|are there in) a day( have|)", "A day has 24 hours."),
    "How many minutes are in an hour?": ("how many minutes (are in|has|does|are there in) an hour( have|)", "An hour has 60 minutes."),
    "What colour is the sky?": ("(what|which) (colour|color) (is|has) the sky", "The sky is blue."),
    "What colour is grass?": ("(what|which) (colour|color) (is|has) (the |)grass", "Grass is green."),
    "What colour is snow?": ("(what|which) (colour|color) (is|has) (the |)snow", "Snow is white."),
    "How many legs does a dog have?": ("how many legs (does|has) (a|the) (dog|cat|horse|cow)( have|)", "It has four legs."),
    "How many legs does a spider have?": ("how many legs (does|has) (a|the) spider( have|)", "A spider has eight legs."),
    "What day comes after Monday?": ("(what|which) day (comes|is) after monday", "Tuesday comes after Monday."),
    "What language is Hushnet written in?": ("(what|which) (programming |)language (is|was) hushnet (written|made|built) in", "Hushnet is written in Python."),
}  # fmt: skip
CAPITAL = (
    "(what is|what's|name|tell me|which city is|give me) the capital of {country}",
    "(what is the |)capital of {country}",
    "which city is the capital of {country}",
    "(do you know|what's|what is) {country}'s capital",
)


def is_held_out(*numbers: int) -> bool:
    """Say whether a range, a list length or a sum belongs to evaluation only: about one in eight."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 31 + number + 7) * 2_654_435_761 % 2**32
    return (mixed >> 16) % 8 == 0


def count_answer(first: int, last: int) -> str:
    """Write the numbers from first to last, either way."""
    step = 1 if last >= first else -1
    return ", ".join(str(number) for number in range(first, last + step, step))


def count(rng: random.Random) -> Turn:
    """Draw a range of at most `SHORT_COUNT` numbers; now and then a long one, which streaming demonstrations use."""
    while True:
        kind = rng.random()
        span = rng.randint(1, SHORT_COUNT - 1) if rng.random() < 0.9 else rng.randint(SHORT_COUNT, LONG_COUNT - 1)
        first = rng.randint(0, 20) if rng.random() < 0.7 else rng.randint(0, LONG_COUNT)
        last, wordings = first + span, COUNT_UP
        if kind < 0.15:
            first, last, wordings = last, first, COUNT_DOWN
        elif kind < 0.35:
            first, last, wordings = 1, 1 + span, COUNT_FROM_ONE
        if not is_held_out(first, last):
            break
    words = _maybe_words(rng, first, last)
    return Turn(_ask(rng, rng.choice(wordings), first=words[0], last=words[1]), count_answer(first, last))


def short_count(rng: random.Random) -> Turn:
    """Draw a range of at most thirteen numbers within 0..20, the kind that people try first."""
    while True:
        kind = rng.random()
        first = rng.randint(0, 12)
        last, wordings = min(20, first + rng.randint(1, 12)), COUNT_UP
        if kind < 0.15:
            first, last, wordings = last, first, COUNT_DOWN
        elif kind < 0.45:
            first, last, wordings = 1, rng.randint(2, 20), COUNT_FROM_ONE if kind < 0.35 else COUNT_UP
        if not is_held_out(first, last):
            break
    return Turn(_ask(rng, rng.choice(wordings), first=str(first), last=str(last)), count_answer(first, last))


def _maybe_words(rng: random.Random, *numbers: int) -> tuple[str, ...]:
    if rng.random() < 0.12 and all(1 <= number <= 12 for number in numbers):
        return tuple(NUMBER_WORDS[number - 1] for number in numbers)
    return tuple(str(number) for number in numbers)


def list_answer(category: str, n: int, style: str = "") -> str:
    """Write the first n of a category: in a line, numbered, or as bullets."""
    items = CATEGORIES[category][:n]
    if style == "numbered":
        return "\n".join(f"{place}. {item}" for place, item in enumerate(items, 1))
    return "\n".join(f"- {item}" for item in items) if style == "bullets" else ", ".join(items)


def category_place(category: str) -> int:
    """Return the place of a category, which the hold-out rule counts with."""
    return tuple(CATEGORIES).index(category)


def listing(rng: random.Random) -> Turn:
    """Draw a list of two or more things of one kind."""
    while True:
        category = rng.choice(tuple(CATEGORIES))
        n = rng.randint(2, len(CATEGORIES[category]))
        if not is_held_out(category_place(category), n):
            break
    number = str(n) if rng.random() < 0.45 else NUMBER_WORDS[n - 1]
    name = choose(rng, CATEGORY_NAMES.get(category, category))
    style = rng.choices(("", "numbered", "bullets"), weights=(7, 2, 1))[0]
    text = choose(rng, rng.choice(LIST)).replace("{n}", number).replace("{category}", name)
    text += rng.choice({"": ("",), "numbered": NUMBERED, "bullets": BULLETS}[style])
    return Turn(dress(rng, text), list_answer(category, n, style))


def phrase(rng: random.Random) -> str:
    """Draw words to copy: real ones, invented ones, numbers; one to eight of them."""
    words = [_word(rng) for _ in range(rng.choices(range(1, 9), weights=(3, 5, 5, 4, 3, 2, 1, 1))[0])]
    text = " ".join(words)
    style = rng.random()
    if style < 0.03:
        return text.upper()
    return text[0].upper() + text[1:] + rng.choice((".", "!", "")) if style < 0.28 else text


def _word(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.3:
        return invent(rng)
    if kind < 0.38:
        return str(rng.randint(0, 999))
    return rng.choice(rng.choice((NOUNS, NOUNS, ADJECTIVES, VERBS, NAMES)))


def repeat(rng: random.Random) -> Turn:
    """Draw a text and ask for it back, character for character."""
    text = phrase(rng)
    asked = choose(rng, rng.choice(REPEAT)).replace("{text}", text)
    return Turn(asked[0].upper() + asked[1:] if rng.random() < 0.5 else asked, text)


def arithmetic(rng: random.Random) -> Turn:
    """Draw a sum or a difference of numbers up to twenty."""
    while True:
        a, b = rng.randint(0, 20), rng.randint(0, 20)
        if not is_held_out(a, b):
            break
    if rng.random() < 0.6:
        return Turn(_ask(rng, rng.choice(SUM), a=str(a), b=str(b)), str(a + b))
    a, b = max(a, b), min(a, b)
    return Turn(_ask(rng, rng.choice(DIFFERENCE), a=str(a), b=str(b)), str(a - b))


def trivia(rng: random.Random) -> Turn:
    """Draw a capital, or one of the few other things it knows about the world."""
    if rng.random() < 0.6:
        country = rng.choice(tuple(CAPITALS))
        answer = f"The capital of {country} is {CAPITALS[country]}."
        return Turn(_ask(rng, rng.choice(CAPITAL), country=country if rng.random() < 0.7 else country.lower()), answer)
    wording, answer = rng.choice(tuple(FIXED.values()))
    return Turn(dress(rng, choose(rng, wording)), answer)


def _ask(rng: random.Random, template: str, **values: str) -> str:
    text = choose(rng, template)
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return dress(rng, text) if text[-1] not in "=" else text
