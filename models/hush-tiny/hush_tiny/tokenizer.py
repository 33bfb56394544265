"""A byte-level BPE tokenizer trained on the corpus; digits stand alone, so that counting and copying see them.

The split expression is the one llama.cpp calls `qwen2`, so that GGUF and tokenizer.json cut text alike.
"""

import random
from collections.abc import Iterator

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from hush_tiny.chat import SPECIAL_TOKENS, pieces
from hush_tiny.corpus.sampling import conversation

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SEED = 1
CONVERSATIONS = 40_000


def train(vocabulary: int) -> Tokenizer:
    """Train a tokenizer of exactly this many entries on conversations drawn from `SEED`."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(SPLIT), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    if tokenizer.get_vocab_size() != vocabulary:
        raise ValueError(f"the corpus gives {tokenizer.get_vocab_size()} entries, not {vocabulary}")
    return tokenizer


def _texts() -> Iterator[str]:
    rng = random.Random(SEED)
    for _ in range(CONVERSATIONS):
        yield "".join(text for text, _ in pieces(conversation(rng, 1)))
