"""Where chance comes from: everything that asks for randomness while a world runs gets it from the world's seed.

Keys that OpenSSL makes stay truly random: their bytes are never shown and never change a length, so no event depends on
them. Whatever the machine would tell (its memory, its load) comes from the seed as well.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from unittest import mock

from hushnet.provider import agent
from hushnet.provider.hardware import Load


@contextmanager
def seeded(chance: Random) -> Iterator[None]:
    """Take the place of the machine's own sources of randomness."""
    before = random.getstate()
    random.seed(chance.getrandbits(64))
    small = Random(chance.getrandbits(64))

    def read_load() -> Load:
        return Load(
            memory_bytes_free=small.randrange(1 << 30, 1 << 34), memory_bytes_total=1 << 34, load=small.random() * 2
        )

    sources = {
        "token_bytes": lambda size=32: small.randbytes(size),
        "token_hex": lambda size=32: small.randbytes(size).hex(),
        "randbelow": small.randrange,
        "randbits": small.getrandbits,
    }
    try:
        with mock.patch.multiple(secrets, **sources), mock.patch.object(agent, "read_load", read_load):
            yield
    finally:
        random.setstate(before)


def spread(chance: Random, median: float, *, factor: float = 2.0) -> float:
    """Return a positive number around `median`, mostly within `factor` of it either way, now and then far beyond."""
    return median * factor ** chance.gauss(0.0, 1.0)


def often(chance: Random, share: float) -> bool:
    """Say yes in `share` of all cases."""
    return chance.random() < share
