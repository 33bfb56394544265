"""A byte-level BPE tokenizer trained on the corpus, made for a model that must copy.

Digits stand alone. Spaces and quotes are kept apart from the word they touch, so that a word is the same tokens after
a space, after a quote and at the start of an answer; only frequent words of the corpus that nobody copies get a second
entry that takes the space in. Engines cut text by the expression that llama.cpp calls `qwen2`.
"""

import json
import random
import re
from collections import Counter

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from hush_tiny.chat import SPECIAL_TOKENS, pieces
from hush_tiny.corpus.sampling import conversation
from hush_tiny.corpus.words import COPIED

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TRAINING_SPLIT = r"\p{L}+|\p{N}|\s|[^\s\p{L}\p{N}]+"
SEED = 1
CONVERSATIONS = 40_000
SPACED_WORDS = 320
SPACED_SHORT_WORDS = frozenset(("is", "of", "it", "my", "do", "we"))
_SPACE = "Ġ"


def train(vocabulary: int) -> Tokenizer:
    """Train a tokenizer of exactly this many entries on conversations drawn from `SEED`."""
    texts = _texts()
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = _cut(TRAINING_SPLIT)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - SPACED_WORDS,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bare.train_from_iterator(texts, trainer)
    learned = json.loads(bare.to_str())["model"]
    entries: dict[str, int] = learned["vocab"]
    merges = [tuple(merge) for merge in learned["merges"]]
    for word in _spaced_words(texts, entries):
        entries[_SPACE + word] = len(entries)
        merges.append((_SPACE, word))
    if len(entries) != vocabulary:
        raise ValueError(f"the corpus gives {len(entries)} entries, not {vocabulary}")
    tokenizer = Tokenizer(models.BPE(vocab=entries, merges=merges))
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.pre_tokenizer = _cut(SPLIT)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _spaced_words(texts: list[str], entries: dict[str, int]) -> list[str]:
    """Return the most frequent whole words worth an entry with their space, most frequent first."""
    counted = Counter(word for text in texts for word in re.findall(r" ([A-Za-z]+)", text))
    worthy = (
        word
        for word, _ in sorted(counted.items(), key=lambda item: (-item[1], item[0]))
        if word in entries and word not in COPIED and (len(word) > 2 or word in SPACED_SHORT_WORDS)
    )
    return [word for word, _ in zip(worthy, range(SPACED_WORDS), strict=False)]


def _cut(expression: str) -> pre_tokenizers.PreTokenizer:
    split = pre_tokenizers.Split(Regex(expression), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _texts() -> list[str]:
    rng = random.Random(SEED)
    drawn = (conversation(rng, 1) for _ in range(CONVERSATIONS))
    return ["".join(text for text, _ in pieces(talk)) for talk in drawn]
