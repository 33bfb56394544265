"""Rows of tokens for training: conversations packed side by side, each a segment of its own."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from hush_tiny.chat import pieces
from hush_tiny.corpus.sampling import conversation
from hush_tiny.corpus.turns import Conversation

GIVE_UP_AFTER = 12


@dataclass(frozen=True)
class Layout:
    """The size of a batch, and how many turns its conversations have."""

    rows: int
    length: int
    turns: tuple[int, ...]


SHORT = Layout(rows=32, length=128, turns=(1,))
MIDDLE = Layout(rows=16, length=256, turns=(1, 2, 2, 3))
LONG = Layout(rows=4, length=1024, turns=(4, 6, 8, 12, 16))
CYCLE = (SHORT,) * 7 + (MIDDLE,) * 2 + (SHORT,) * 7 + (MIDDLE,) * 3 + (LONG,)


@dataclass(frozen=True)
class Batch:
    """int32 arrays of (rows, length); `learned` is 1.0 where a token must be predicted from those before it."""

    tokens: np.ndarray
    segments: np.ndarray
    learned: np.ndarray


class Packer:
    """Draws conversations and packs them; what does not fit one batch waits for a later or longer one."""

    def __init__(self, tokenizer: Tokenizer, seed: int) -> None:
        self._encode: Callable[[Conversation], tuple[list[int], list[bool]]] = lambda talk: encode(tokenizer, talk)
        self._random = random.Random(seed)
        self._waiting: list[tuple[list[int], list[bool]]] = []

    def batch(self, layout: Layout) -> Batch:
        """Fill one batch: what waits first, then fresh conversations until several in a row find no room."""
        tokens = np.zeros((layout.rows, layout.length), np.int32)
        segments = np.zeros_like(tokens)
        learned = np.zeros(tokens.shape, np.float32)
        used = [0] * layout.rows
        candidates, self._waiting = self._waiting, []
        refused = 0
        while refused < GIVE_UP_AFTER:
            fresh = not candidates
            ids, marks = self._draw(layout) if fresh else candidates.pop()
            row = next((row for row in range(layout.rows) if used[row] + len(ids) <= layout.length), None)
            if row is None:
                refused += fresh
                self._waiting.append((ids, marks))
                continue
            place = slice(used[row], used[row] + len(ids))
            segments[row, place] = segments[row].max() + 1
            tokens[row, place], learned[row, place] = ids, marks
            used[row] += len(ids)
        self._waiting = self._waiting[-256:]
        return Batch(tokens, segments, learned)

    def _draw(self, layout: Layout) -> tuple[list[int], list[bool]]:
        while True:
            encoded = self._encode(conversation(self._random, self._random.choice(layout.turns)))
            if len(encoded[0]) <= LONG.length:
                return encoded


def encode(tokenizer: Tokenizer, talk: Conversation) -> tuple[list[int], list[bool]]:
    """Return the tokens of a conversation, and for each whether the model must learn to write it."""
    ids: list[int] = []
    marks: list[bool] = []
    for text, is_learned in pieces(talk):
        piece = tokenizer.encode(text).ids
        ids += piece
        marks += [is_learned] * len(piece)
    return ids, marks
