"""What is owed to owners on a closed day, as leaves of the published tree.

An owner's leaf of an asset hides the balance behind a nonce that only the owner is told. Promo credit is an asset of its
own (`USD-promo`): it is spendable and never paid out. A debt (`owed`) is never netted against what others are owed.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple

from hushnet.coordinator.ledger.books.days import DayBalance
from hushnet.coordinator.ledger.books.tree import Node, Step, Tree, leaf
from hushnet.coordinator.ledger.chart import OPERATOR_ACCOUNT_LIMIT, USD, Kind

PROMO_ASSET: Final = "USD-promo"
_NONCE_BYTES: Final = 16
_COUNTED: Final = frozenset({Kind.PAID, Kind.EARNINGS, Kind.IN_TRANSIT, Kind.FROZEN})
_KIND_MASK: Final = 0xF


class Liability(NamedTuple):
    """What one owner is owed of one asset, above 0."""

    owner: int
    asset: str
    balance: int


@dataclass(frozen=True, slots=True)
class OwnerProof:
    """What an owner needs to find its balance in the root: its nonce, and the path of its leaf."""

    asset: str
    balance: int
    nonce: bytes
    path: tuple[Step, ...]


def day_secret(master: bytes, day: int) -> bytes:
    """Return the 32 bytes from which a day's nonces are made; whoever has them can open every leaf of that day."""
    return hmac.digest(master, b"hush-day" + struct.pack(">Q", day), "sha256")


def owner_nonce(secret: bytes, owner: int) -> bytes:
    """Return the 16 bytes that hide an owner's leaves on the secret's day."""
    return hmac.digest(secret, struct.pack(">Q", owner), "sha256")[:_NONCE_BYTES]


def liabilities(balances: Iterable[DayBalance]) -> Iterator[Liability]:
    """Sum balances, ascending by account, to what each owner is owed; nothing, or less, is left out and nets nothing."""
    users = (row for row in balances if row.account >= OPERATOR_ACCOUNT_LIMIT)
    for owner, rows in groupby(users, key=lambda row: row.account >> 4):
        usd = promo = 0
        for row in rows:
            kind = row.account & _KIND_MASK
            if kind in _COUNTED:
                usd += max(0, row.balance)
            elif kind == Kind.PROMO:
                promo += row.balance
        if usd > 0:
            yield Liability(owner, USD, usd)
        if promo > 0:
            yield Liability(owner, PROMO_ASSET, promo)


def leaf_of(liability: Liability, secret: bytes) -> Node:
    """Return the leaf that stands for a liability in the tree of the secret's day."""
    return leaf(liability.asset, liability.owner, owner_nonce(secret, liability.owner), liability.balance)


def tree_of(balances: Iterable[DayBalance], secret: bytes) -> Tree:
    """Build a day's tree from its balances, ascending by account."""
    return Tree(leaf_of(liability, secret) for liability in liabilities(balances))


def proofs_of(tree: Tree, balances: Iterable[DayBalance], secret: bytes) -> list[OwnerProof]:
    """Prove each liability in `balances`, which are one owner's; none when the tree was made of others."""
    found = []
    for liability in liabilities(balances):
        path = tree.path(leaf_of(liability, secret).hash)
        if path is not None:
            nonce = owner_nonce(secret, liability.owner)
            found.append(OwnerProof(liability.asset, liability.balance, nonce, path))
    return found
