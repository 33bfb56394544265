"""Wordings with choices: `(what is|explain) hushnet` stands for two sentences; choices nest and may be empty.

`normalise` says when two wordings count as the same, which is how held-out wordings are kept out of training.
"""

import random
import re
from functools import cache
from itertools import product

_OPENERS = (
    "please", "hey", "hi", "hello", "ok", "so", "and", "quick question", "one more question", "can you tell me",
    "could you tell me", "tell me", "i wonder", "do you know",
)  # fmt: skip
_CLOSERS = ("please", "exactly", "thanks", "in one sentence", "briefly", "then", "in short")
_Parsed = tuple["str | tuple[_Parsed, ...]", ...]


@cache
def _parse(template: str) -> _Parsed:
    parsed, rest = _parse_sequence(template, 0)
    if rest != len(template):
        raise ValueError(f"unbalanced choice in {template!r}")
    return parsed


def _parse_sequence(template: str, at: int) -> tuple[_Parsed, int]:
    parts: list[str | tuple[_Parsed, ...]] = []
    while at < len(template) and template[at] not in "|)":
        if template[at] == "(":
            choices: list[_Parsed] = []
            while template[at] != ")":
                choice, at = _parse_sequence(template, at + 1)
                choices.append(choice)
            parts.append(tuple(choices))
            at += 1
        else:
            end = at + 1
            while end < len(template) and template[end] not in "(|)":
                end += 1
            parts.append(template[at:end])
            at = end
    return tuple(parts), at


def choose(rng: random.Random, template: str) -> str:
    """Draw one sentence of a template."""
    return _tidy(_draw(rng, _parse(template)))


def _draw(rng: random.Random, parsed: _Parsed) -> str:
    return "".join(part if isinstance(part, str) else _draw(rng, rng.choice(part)) for part in parsed)


def expand(template: str) -> list[str]:
    """Return every sentence of a template."""
    return [_tidy(text) for text in _expand(_parse(template))]


def _expand(parsed: _Parsed) -> list[str]:
    options = [[part] if isinstance(part, str) else [t for choice in part for t in _expand(choice)] for part in parsed]
    return ["".join(parts) for parts in product(*options)]


def _tidy(text: str) -> str:
    return re.sub(r" +", " ", text).strip()


def normalise(text: str) -> str:
    """Reduce a wording to what makes it new: case, punctuation and polite words around it do not."""
    words = " ".join(re.findall(r"[a-z0-9]+", text.lower().replace("'", "")))
    changed = True
    while changed:
        changed = False
        for opener in _OPENERS:
            if words.startswith(opener + " "):
                words, changed = words.removeprefix(opener + " "), True
        for closer in _CLOSERS:
            if words.endswith(" " + closer):
                words, changed = words.removesuffix(" " + closer), True
    return words


def dress(rng: random.Random, question: str) -> str:
    """Vary what people vary without meaning anything: politeness, case, the question mark, a slip of the finger."""
    if rng.random() < 0.12:
        question = f"{rng.choice(_OPENERS[:10])}{rng.choice((' ', ', ', ': '))}{question}"
    if rng.random() < 0.06:
        question = f"{question} {rng.choice(_CLOSERS)}"
    if rng.random() < 0.65:
        question = question[0].upper() + question[1:]
    question += rng.choices(("?", "", ".", "??", " ?"), weights=(60, 30, 6, 1, 3))[0]
    return _slip(rng, question) if rng.random() < 0.04 else question


def _slip(rng: random.Random, text: str) -> str:
    """Drop, double or swap a letter; a number slipped would be another number."""
    at = rng.randrange(len(text) - 1)
    if not text[at : at + 2].isalpha():
        return text
    before, letter, following, after = text[:at], text[at], text[at + 1], text[at + 2 :]
    return before + rng.choice((following, letter + letter + following, following + letter)) + after
