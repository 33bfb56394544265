"""Rows of tokens for training: conversations packed side by side, each a segment of its own."""

import random
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from hush_tiny.chat import END, SPECIAL_TOKENS, START, pieces
from hush_tiny.corpus.sampling import Mix, conversation
from hush_tiny.corpus.turns import Conversation

GIVE_UP_AFTER = 12
REHEARSED_TOKENS_MIN = 2
REHEARSED_TOKENS_MAX = 24


@dataclass(frozen=True)
class Layout:
    """The size of a batch, and how many turns its conversations have."""

    rows: int
    length: int
    turns: tuple[int, ...]


SHORT = Layout(rows=16, length=128, turns=(1,))
MIDDLE = Layout(rows=8, length=256, turns=(1, 2, 2, 3))
LONG = Layout(rows=2, length=1024, turns=(4, 6, 8, 12, 16))
CYCLE = (SHORT,) * 7 + (MIDDLE,) * 2 + (SHORT,) * 7 + (MIDDLE,) * 3 + (LONG,)


@dataclass(frozen=True)
class Batch:
    """Arrays of (rows, length): int32 tokens and segments, and how much each token counts when it must be predicted.

    A token counts 0 where a user speaks, and less the longer its answer is, so that a copied word or a sum is not
    drowned by facts that are long and soon known by heart.
    """

    tokens: np.ndarray
    segments: np.ndarray
    weights: np.ndarray


class Packer:
    """Draws conversations and packs them; what does not fit one batch waits for a later or longer one."""

    def __init__(self, tokenizer: Tokenizer, seed: int, *, mix: Mix | None = None, decisive: float = 1.0) -> None:
        """Draw from `mix`; tokens that end an answer, or go on after a comma, count `decisive` times as much."""
        self._tokenizer = tokenizer
        self._mix = mix
        self._decisive = decisive
        self._random = random.Random(seed)
        self._before = tokenizer.encode(f"{START}user\n").ids
        self._between = tokenizer.encode(f"{END}\n{START}assistant\n").ids
        self._end = tokenizer.token_to_id(END)
        self._ordinary = range(len(SPECIAL_TOKENS), tokenizer.get_vocab_size())
        self._waiting: list[tuple[list[int], list[float]]] = []

    def batch(self, layout: Layout) -> Batch:
        """Fill one batch: what waits first, then fresh conversations until several in a row find no room."""
        tokens = np.zeros((layout.rows, layout.length), np.int32)
        segments = np.zeros_like(tokens)
        weights = np.zeros(tokens.shape, np.float32)
        used = [0] * layout.rows
        candidates, self._waiting = self._waiting, []
        refused = 0
        while refused < GIVE_UP_AFTER:
            fresh = not candidates
            ids, counts = self._draw(layout) if fresh else candidates.pop()
            row = next((row for row in range(layout.rows) if used[row] + len(ids) <= layout.length), None)
            if row is None:
                refused += fresh
                self._waiting.append((ids, counts))
                continue
            place = slice(used[row], used[row] + len(ids))
            segments[row, place] = segments[row].max() + 1
            tokens[row, place], weights[row, place] = ids, counts
            used[row] += len(ids)
        self._waiting = self._waiting[-256:]
        return Batch(tokens, segments, weights)

    def rehearsal(self, layout: Layout) -> Batch:
        """Fill one batch with random tokens to be said again: copying is learned in minutes when all of it is copying."""
        tokens = np.zeros((layout.rows, layout.length), np.int32)
        segments = np.zeros_like(tokens)
        weights = np.zeros(tokens.shape, np.float32)
        for row in range(layout.rows):
            used = 0
            while (
                room := layout.length - used - len(self._before) - len(self._between) - 1
            ) >= 2 * REHEARSED_TOKENS_MIN:
                said = self._random.choices(
                    self._ordinary, k=self._random.randint(REHEARSED_TOKENS_MIN, min(room // 2, REHEARSED_TOKENS_MAX))
                )
                ids = [*self._before, *said, *self._between, *said, self._end]
                place = slice(used, used + len(ids))
                tokens[row, place], segments[row, place] = ids, segments[row].max() + 1
                weights[row, used + len(ids) - len(said) - 1 : used + len(ids)] = 1.0
                used += len(ids)
        return Batch(tokens, segments, weights)

    def _draw(self, layout: Layout) -> tuple[list[int], list[float]]:
        while True:
            talk = conversation(self._random, self._random.choice(layout.turns), self._mix)
            encoded = encode(self._tokenizer, talk, decisive=self._decisive)
            if len(encoded[0]) <= LONG.length:
                return encoded


def encode(tokenizer: Tokenizer, talk: Conversation, *, decisive: float = 1.0) -> tuple[list[int], list[float]]:
    """Return the tokens of a conversation and the weight of each."""
    deciding = {tokenizer.token_to_id(END), tokenizer.token_to_id(",")}
    ids: list[int] = []
    weights: list[float] = []
    for text, is_learned in pieces(talk):
        piece = tokenizer.encode(text).ids
        ids += piece
        each = len(piece) ** -0.5 if is_learned else 0.0
        weights += [each * (decisive if token in deciding else 1.0) for token in piece]
    return ids, weights
