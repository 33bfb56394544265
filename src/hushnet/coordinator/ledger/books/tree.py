"""A Merkle-sum tree: one hash over what is owed to everybody, and a short proof of each part (docs/books.md).

Both children's sums go into the parent's hash: were it the total alone, a negative sum could hide in a branch.
Leaves are sorted by hash, so that their order tells nothing. A lone right-most node moves up unchanged.
"""

from __future__ import annotations

import hashlib
import struct
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

SUM_MAX: Final = 2**63 - 1
EMPTY_ROOT: Final = hashlib.sha256(b"\x02").digest()
"""The root of a tree without leaves; its sum is 0."""

_HASH_BYTES: Final = 32
_U64 = struct.Struct(">Q")
_NODE = struct.Struct(">c32sQ32sQ")


class Node(NamedTuple):
    """A hash and the sum of the balances below it."""

    hash: bytes
    sum: int


class Step(NamedTuple):
    """One sibling on the way from a leaf to the root; `is_left` says on which side it stands."""

    is_left: bool
    hash: bytes
    sum: int


def leaf(asset: str, owner: int, nonce: bytes, balance: int) -> Node:
    """Return the leaf of one owner's balance of one asset, in units of 1..2**63-1."""
    tag = hashlib.sha256(b"hush-owner" + _U64.pack(owner)).digest()
    content = b"\x00" + asset.encode("ascii") + b"\x00" + tag + nonce + _U64.pack(balance)
    return Node(hashlib.sha256(content).digest(), balance)


def parent(left: Node, right: Node) -> Node:
    """Join two nodes."""
    packed = _NODE.pack(b"\x01", left.hash, left.sum, right.hash, right.sum)
    return Node(hashlib.sha256(packed).digest(), left.sum + right.sum)


@dataclass(frozen=True, slots=True)
class _Level:
    """Nodes side by side, 40 bytes each: a million owners fit where a million objects would not."""

    hashes: bytes
    sums: array[int]

    def __len__(self) -> int:
        return len(self.sums)

    def node(self, index: int) -> Node:
        return Node(self.hashes[index * _HASH_BYTES : (index + 1) * _HASH_BYTES], self.sums[index])


class Tree:
    """All leaves and what is above them; raises `OverflowError` when their sum is beyond 2**63-1."""

    def __init__(self, leaves: Iterable[Node]) -> None:
        level = _level(sorted(leaves))
        if sum(level.sums) > SUM_MAX:
            raise OverflowError("the sum of all balances is out of bounds")
        self._levels = [level]
        while len(level) > 1:
            level = _level(_joined(level))
            self._levels.append(level)

    def __len__(self) -> int:
        return len(self._levels[0])

    @property
    def root(self) -> Node:
        top = self._levels[-1]
        return top.node(0) if len(top) else Node(EMPTY_ROOT, 0)

    def path(self, leaf_hash: bytes) -> tuple[Step, ...] | None:
        """Return the siblings from a leaf to the root, lowest first; None when there is no such leaf."""
        index = self._index(leaf_hash)
        if index is None:
            return None
        steps = []
        for level in self._levels[:-1]:
            sibling = index ^ 1
            if sibling < len(level):
                steps.append(Step(sibling < index, *level.node(sibling)))
            index >>= 1
        return tuple(steps)

    def _index(self, leaf_hash: bytes) -> int | None:
        leaves = self._levels[0]
        low, high = 0, len(leaves)
        while low < high:
            middle = (low + high) // 2
            if leaves.node(middle).hash < leaf_hash:
                low = middle + 1
            else:
                high = middle
        return low if low < len(leaves) and leaves.node(low).hash == leaf_hash else None


def climb(node: Node, path: Iterable[Step]) -> Node | None:
    """Return the root that a leaf and its path lead to; None when a sum on the way is out of bounds."""
    for step in path:
        sibling = Node(step.hash, step.sum)
        if not 0 <= step.sum <= SUM_MAX - node.sum:
            return None
        node = parent(sibling, node) if step.is_left else parent(node, sibling)
    return node


def _level(nodes: Iterable[Node]) -> _Level:
    hashes, sums = bytearray(), array("Q")
    for node in nodes:
        hashes += node.hash
        sums.append(node.sum)
    return _Level(bytes(hashes), sums)


def _joined(level: _Level) -> Iterable[Node]:
    for index in range(0, len(level) - 1, 2):
        yield parent(level.node(index), level.node(index + 1))
    if len(level) % 2:
        yield level.node(len(level) - 1)
