"""Fixed values as one deterministic rule: texts that begin alike share their beginning."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any, Final

from hushnet.provider.engines.grammar.rules import TEXT_BYTES_MAX, Rules, UnsupportedSchema, literal

FORKS_MAX: Final = 256
"""How often one text may part from others on its way."""


def json_text(value: Any) -> str:
    """Return the compact spelling of a JSON value."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def any_of_texts(texts: list[str], rules: Rules) -> str:
    """Return the name of a rule that writes exactly one of `texts`."""
    if sum(map(len, texts)) > TEXT_BYTES_MAX:
        raise UnsupportedSchema("the schema is too large")
    return _fork(sorted(set(texts)), rules, 0)


def _fork(texts: list[str], rules: Rules, depth: int) -> str:
    """Write sorted, distinct texts: the common beginning, then one branch a next character."""
    if depth > FORKS_MAX:
        raise UnsupportedSchema("the schema has too many values that begin alike")
    first, last = texts[0], texts[-1]
    shared = next((at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    branches = [text[shared:] for text in texts]
    options = [
        _fork(list(group), rules, depth + 1) if character else '""'
        for character, group in groupby(branches, key=lambda text: text[:1])
    ]
    if len(options) == 1:
        return rules.add(literal(first))
    return rules.add(f"{literal(first[:shared])} ({' | '.join(options)})")
