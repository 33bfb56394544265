"""The tree over what is owed: every leaf proves, no altered one does, and its bytes are those of the specification."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushnet.coordinator.ledger.books.closing import Gathered, closed
from hushnet.coordinator.ledger.books.days import DayBalance, DayRow
from hushnet.coordinator.ledger.books.liabilities import (
    PROMO_ASSET,
    OwnerProof,
    day_secret,
    liabilities,
    owner_nonce,
    proofs_of,
    tree_of,
)
from hushnet.coordinator.ledger.books.published import proof_document, root_document
from hushnet.coordinator.ledger.books.tree import EMPTY_ROOT, SUM_MAX, Node, Step, Tree, climb, leaf, parent
from hushnet.coordinator.ledger.chart import USD, Kind, operator_account, user_account
from hushnet.identity.keys import IdentityKey
from hushnet.sdk.proofs import ProofError, verify_proof, verify_root

DAY = 20_000
SECRET = day_secret(b"m" * 32, DAY)
KEY = IdentityKey.generate()
OWNER = 70_000


def balances(*amounts: int) -> list[DayBalance]:
    """An owner each, with that much paid in."""
    return [DayBalance(user_account(OWNER + index, Kind.PAID), amount, 0, 0) for index, amount in enumerate(amounts)]


def document_of(tree: Tree) -> dict[str, object]:
    row = DayRow(DAY, 1, (), tree.root.hash, len(tree), tree.root.sum, None)
    return root_document(row, network="net", key=KEY)


@given(st.lists(st.integers(1, 10**15), min_size=1, max_size=40), st.data())
def test_every_leaf_proves_and_no_altered_leaf_does(amounts: list[int], data: st.DataObject) -> None:
    rows = balances(*amounts)
    tree = tree_of(rows, SECRET)
    says = verify_root(document_of(tree), public_key=KEY.public_key.hex())
    assert says["sum"] == sum(amounts)
    for index, row in enumerate(rows):
        (proof,) = proofs_of(tree, [row], SECRET)
        shown = proof_document(proof)
        assert verify_proof(shown, owner=OWNER + index, root=says) == row.balance
        assert climb(leaf(USD, OWNER + index, proof.nonce, row.balance), proof.path) == tree.root
    index = data.draw(st.integers(0, len(rows) - 1))
    (proof,) = proofs_of(tree, [rows[index]], SECRET)
    for altered in altered_proofs(proof):
        with pytest.raises(ProofError):
            verify_proof(proof_document(altered), owner=OWNER + index, root=says)
    with pytest.raises(ProofError):
        verify_proof(proof_document(proof), owner=OWNER + index + 1, root=says)


def altered_proofs(proof: OwnerProof) -> list[OwnerProof]:
    """Every way in which one part of a proof may be other than it is."""
    first_bit = bytes([proof.nonce[0] ^ 1]) + proof.nonce[1:]
    altered = [
        replace(proof, balance=proof.balance + 1),
        replace(proof, balance=0),
        replace(proof, asset=PROMO_ASSET),
        replace(proof, nonce=first_bit),
        replace(proof, path=(*proof.path, Step(False, EMPTY_ROOT, 0))),
    ]
    for at, step in enumerate(proof.path):
        wrong = (
            step._replace(sum=step.sum + 1),
            step._replace(sum=-step.sum),
            step._replace(is_left=not step.is_left),
            step._replace(hash=bytes([step.hash[0] ^ 1]) + step.hash[1:]),
        )
        before, after = proof.path[:at], proof.path[at + 1 :]
        altered += [replace(proof, path=(*before, each, *after)) for each in wrong]
        altered.append(replace(proof, path=before + after))
    return altered


def test_a_leaf_and_a_node_are_the_bytes_of_the_specification() -> None:
    nonce = owner_nonce(SECRET, OWNER)
    tag = hashlib.sha256(b"hush-owner" + struct.pack(">Q", OWNER)).digest()
    packed = b"\x00USD\x00" + tag + nonce + struct.pack(">Q", 5)
    assert leaf(USD, OWNER, nonce, 5) == Node(hashlib.sha256(packed).digest(), 5)
    left, right = Node(b"l" * 32, 3), Node(b"r" * 32, 4)
    both = b"\x01" + left.hash + struct.pack(">Q", 3) + right.hash + struct.pack(">Q", 4)
    assert parent(left, right) == Node(hashlib.sha256(both).digest(), 7)


def test_an_empty_tree_has_the_root_of_nothing() -> None:
    assert Tree([]).root == Node(hashlib.sha256(b"\x02").digest(), 0)
    assert Tree([]).path(b"x" * 32) is None


def test_a_lone_node_moves_up_unchanged() -> None:
    nodes = sorted(Node(bytes([byte]) * 32, byte) for byte in (1, 2, 3))
    assert Tree(nodes).root == parent(parent(nodes[0], nodes[1]), nodes[2])
    assert Tree(nodes).path(nodes[2].hash) == (Step(True, *parent(nodes[0], nodes[1])),)


def test_a_sum_beyond_bounds_makes_no_tree() -> None:
    with pytest.raises(OverflowError):
        Tree([Node(b"a" * 32, SUM_MAX), Node(b"b" * 32, 1)])
    assert climb(Node(b"a" * 32, SUM_MAX), [Step(False, b"b" * 32, 1)]) is None


def test_promo_is_an_asset_of_its_own_and_what_is_below_zero_is_not_netted() -> None:
    rows = [
        DayBalance(operator_account(Kind.STRIPE), 0, 900, 0),
        DayBalance(user_account(OWNER, Kind.PROMO), 50, 20, 10),
        DayBalance(user_account(OWNER, Kind.PAID), 100, 40, 0),
        DayBalance(user_account(OWNER, Kind.EARNINGS), 7, 0, 0),
        DayBalance(user_account(OWNER, Kind.IN_TRANSIT), 2, 0, 0),
        DayBalance(user_account(OWNER, Kind.FROZEN), 1, 0, 0),
        DayBalance(user_account(OWNER, Kind.OWED), 0, 500, 0),
        DayBalance(user_account(OWNER + 1, Kind.PAID), 9, 9, 0),
        DayBalance(user_account(OWNER + 2, Kind.PAID), 4, 9, 0),
        DayBalance(user_account(OWNER + 2, Kind.EARNINGS), 3, 0, 0),
    ]
    assert list(liabilities(rows)) == [(OWNER, USD, 70), (OWNER, PROMO_ASSET, 30), (OWNER + 2, USD, 3)]


def test_a_day_with_an_overdrawn_account_closes_and_says_so() -> None:
    overdrawn = DayBalance(user_account(OWNER, Kind.PAID), 4, 9, 0)
    row, _ = closed(Gathered(DAY, (), None, moved=[overdrawn], current=[overdrawn]), secret=SECRET, at_ms=1)
    assert row.findings == (f"B2 account {overdrawn.account}: balance -5",)
    assert row.leaves == 0


def test_a_root_of_another_key_or_with_another_number_is_refused() -> None:
    document = document_of(tree_of(balances(5, 6), SECRET))
    with pytest.raises(ProofError, match="not signed"):
        verify_root(document, public_key=IdentityKey.generate().public_key.hex())
    signed = dict(document["signed"])  # type: ignore[call-overload] - JSON
    signed["payload"] = "e30="
    with pytest.raises(ProofError, match="not signed"):
        verify_root({**document, "signed": signed})
    with pytest.raises(ProofError, match="malformed"):
        verify_root({})
