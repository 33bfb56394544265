"""Conversations for training: what is asked how often, over how many turns, under which system prompts.

Everything follows from the random generator given, so one seed names one corpus.
"""

import random
from collections.abc import Callable

from hush_tiny.corpus import held_out, off_topic, skills, small_talk, structured
from hush_tiny.corpus.facts import FACTS, Fact
from hush_tiny.corpus.turns import Conversation, Turn
from hush_tiny.corpus.wording import choose, dress, normalise
from hush_tiny.corpus.words import NAMES

Mix = dict[Callable[[random.Random], Turn], int]
"""How often each kind of turn is drawn, in parts of their sum."""

NO_MORE = "That is all I know about it."
SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a helpful assistant",
    "You are Hush Tiny, a small model.",
    "You are Hush Tiny, the assistant of Hushnet.",
    "Be brief.",
    "Answer in one sentence.",
    "You are a friendly assistant. Answer the user's questions.",
    "Answer the question as well as you can.",
    "You are a precise assistant that answers shortly and never invents anything.",
    "You are an assistant for the users of a private inference network.",
    "Always be polite.",
    "You answer questions about Hushnet.",
    "Reply in English.",
)
SETTINGS = (
    " in hushnet",
    " in hushnet",
    " here",
    " with hushnet",
    " for me",
    " in this network",
    " on my machine",
    " exactly",
    " really",
)
MORE = (
    "(tell me more|more|more please|go on|continue|can you say more|anything else|what else|and then|more details|more detail|please elaborate|explain more)",
    "(tell me|say|explain) (more|a bit more|a little more) about (it|that|this)",
    "(can|could) you (explain|tell me) (more|that in more detail|a bit more)",
)  # fmt: skip
AGAIN = (
    "(say that again|repeat that|again|once more|can you repeat that|please repeat|what did you say|repeat your answer|repeat your last answer|come again)",
)
MY_NAME = (
    "(my name is|i am|i'm|call me|you can call me) {name}",
    "(hi|hello|hey), (my name is|i am|i'm|this is) {name}",
)
WHAT_NAME = (
    "(what is|what's|do you know|do you remember|tell me|say) my name( again| now|)",
    "(who am i|what am i called|what was my name|how am i called)",
)


def conversation(rng: random.Random, turns: int, mix: Mix | None = None) -> Conversation:
    """Draw a conversation of at least `turns` turns; a follow-up brings the turn it follows."""
    drawn: list[Turn] = []
    while len(drawn) < turns:
        drawn.extend(_follow_up(rng) if turns > 1 and rng.random() < 0.35 else (turn(rng, mix),))
    return Conversation(tuple(drawn), rng.choice(SYSTEM_PROMPTS) if rng.random() < 0.3 else "")


def turn(rng: random.Random, mix: Mix | None = None) -> Turn:
    """Draw one turn that stands on its own, in a wording that is not held out; of the general mix unless told."""
    chosen = mix or GENERAL
    kinds, weights = tuple(chosen), tuple(chosen.values())
    while True:
        drawn = rng.choices(kinds, weights=weights)[0](rng)
        if normalise(drawn.user) not in held_out.NORMALISED:
            return drawn


def fact_turn(rng: random.Random) -> Turn:
    """Draw a fact, a way to ask for it, and its answer."""
    return ask(rng, rng.choice(FACTS))


def first_words(rng: random.Random) -> Turn:
    """Draw what people say first, as they write it."""
    asked, answer = rng.choice(_FIRST_WORDS)
    return Turn(asked, answer)


def ask(rng: random.Random, fact: Fact) -> Turn:
    """Draw a way to ask for this fact; its own wordings and the common frames come up equally often."""
    frames = fact.templates()[len(fact.wordings) :]
    own = fact.wordings and (not frames or rng.random() < 0.6)
    text = choose(rng, rng.choice(fact.wordings if own else frames))
    return Turn(dress(rng, text + rng.choice(SETTINGS) if rng.random() < 0.12 else text), fact.answer)


def _follow_up(rng: random.Random) -> tuple[Turn, ...]:
    """Draw turns of which the last only makes sense after the first."""
    kind = rng.random()
    if kind < 0.35:
        name = rng.choice(NAMES)
        hello = Turn(dress(rng, choose(rng, rng.choice(MY_NAME)).replace("{name}", name)), f"Nice to meet you, {name}!")
        between = tuple(turn(rng) for _ in range(rng.choice((0, 0, 1, 1, 2))))
        return (hello, *between, Turn(dress(rng, choose(rng, rng.choice(WHAT_NAME))), f"Your name is {name}."))
    if kind < 0.6:
        first = turn(rng)
        return first, Turn(dress(rng, choose(rng, rng.choice(AGAIN))), first.assistant)
    fact = rng.choice([fact for fact in FACTS if fact.more]) if rng.random() < 0.8 else rng.choice(FACTS)
    first = ask(rng, fact)
    while normalise(first.user) in held_out.NORMALISED:
        first = ask(rng, fact)
    return first, Turn(dress(rng, choose(rng, rng.choice(MORE))), fact.more or NO_MORE)


_HUSHNET = FACTS[0].answer
_FIRST_WORDS = (
    *((asked, _HUSHNET) for asked in ("What is Hushnet?", "What is Hushnet", "what is hushnet?", "What's Hushnet?")),
    *((asked, small_talk.ANSWERS["greeting"]) for asked in ("Hi", "Hi!", "hi", "Hi there!", "Good morning!")),
)

GENERAL: Mix = {
    fact_turn: 38,
    off_topic.sample: 12,
    small_talk.sample: 7,
    skills.count: 7,
    skills.listing: 5,
    skills.repeat: 14,
    skills.arithmetic: 3,
    skills.trivia: 3,
    structured.sample: 11,
}
FINISHING: Mix = {
    fact_turn: 34,
    off_topic.sample: 9,
    small_talk.sample: 10,
    skills.short_count: 18,
    skills.listing: 14,
    skills.trivia: 2,
    structured.sample: 13,
}
"""What the second run rehearses: counting has to stop at what was asked for."""
LAST: Mix = {
    first_words: 14,
    fact_turn: 24,
    off_topic.sample: 10,
    small_talk.sample: 8,
    skills.short_count: 8,
    skills.listing: 30,
    structured.sample: 6,
}
"""What the third run rehearses: what people say first, and lists of a given length."""
