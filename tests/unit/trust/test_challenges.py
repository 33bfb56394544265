"""The book of challenges: when one is due, what counts as an answer, what silence costs."""

from __future__ import annotations

from itertools import count

import pytest

from hushnet.attestation.policy import ChallengeRecord
from hushnet.attestation.tiers import Tier
from hushnet.coordinator.trust.challenges import ChallengeBook
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.ids import ProviderId
from hushnet.sealing.statements import SerialMemory, VerifiedStatement, verify_statement
from hushnet.wire.challenge import challenge_message
from support.sealing import NETWORK, NOW, BenchProvider


class Bench:
    """A book, a clock and one provider."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW * 1000)
        numbers = count()
        self.book = ChallengeBook(self.clock, entropy=lambda size: next(numbers).to_bytes(size, "big"))
        self.provider = BenchProvider()
        self.provider_id = ProviderId(self.provider.provider_id.hex())
        self.statement = self.verified()

    def verified(self) -> VerifiedStatement:
        return verify_statement(
            self.provider.statement, network=NETWORK, now=NOW, provider_id=None, serials=SerialMemory()
        )

    def sign(self, nonce: bytes) -> bytes:
        message = challenge_message(
            NETWORK, provider_id=self.provider.provider_id, nonce=nonce, statement_digest=self.statement.digest
        )
        return self.provider.signer.sign(message)

    def admit(self) -> None:
        nonce = b"n" * 32
        assert self.book.admit(self.statement, nonce=nonce, signature=self.sign(nonce)) is not None

    def nonce_after(self, seconds: float) -> bytes:
        self.clock.advance(seconds)
        (due,), _ = self.book.due()
        assert due.provider_id == self.provider_id
        return due.nonce


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.admit()
    return bench


def test_registration_is_the_first_answered_challenge(bench: Bench) -> None:
    assert bench.book.verdict(bench.provider_id).tier is Tier.SELF_SIGNED
    assert bench.book.record(bench.provider_id).answered_at == NOW


def test_a_wrong_registration_signature_changes_nothing() -> None:
    bench = Bench()

    assert bench.book.admit(bench.statement, nonce=b"n" * 32, signature=bench.sign(b"m" * 32)) is None
    assert bench.book.due() == ([], [])


def test_a_challenge_is_due_every_five_minutes_with_a_nonce_of_its_own(bench: Bench) -> None:
    bench.clock.advance(299)
    assert bench.book.due() == ([], [])
    first = bench.nonce_after(1)
    assert bench.book.due() == ([], [])
    bench.book.answer(bench.provider_id, first, bench.sign(first))

    second = bench.nonce_after(300)

    assert first != second


def test_a_right_answer_is_remembered(bench: Bench) -> None:
    nonce = bench.nonce_after(300)

    verdict = bench.book.answer(bench.provider_id, nonce, bench.sign(nonce))

    assert verdict is not None
    assert verdict.tier is Tier.SELF_SIGNED
    assert bench.book.record(bench.provider_id).answered_at == NOW + 300


def test_two_misses_are_forgiven_and_the_third_is_not(bench: Bench) -> None:
    bench.nonce_after(300)
    tiers = []
    for _ in range(3):
        bench.clock.advance(30)
        _, missed = bench.book.due()
        assert missed == [bench.provider_id]
        tiers.append(bench.book.verdict(bench.provider_id).tier)

    assert tiers == [Tier.SELF_SIGNED, Tier.SELF_SIGNED, Tier.NONE]


def test_an_answer_after_the_third_miss_restores_trust(bench: Bench) -> None:
    bench.nonce_after(300)
    for _ in range(2):
        bench.nonce_after(30)
    nonce = bench.nonce_after(30)
    assert bench.book.verdict(bench.provider_id).tier is Tier.NONE

    verdict = bench.book.answer(bench.provider_id, nonce, bench.sign(nonce))

    assert verdict is not None
    assert verdict.tier is Tier.SELF_SIGNED
    assert bench.book.record(bench.provider_id).missed == 0


def test_a_late_answer_is_a_miss(bench: Bench) -> None:
    nonce = bench.nonce_after(300)
    bench.nonce_after(30)

    assert bench.book.answer(bench.provider_id, nonce, bench.sign(nonce)) is None
    assert bench.book.record(bench.provider_id).missed == 1


def test_an_answer_counts_once(bench: Bench) -> None:
    nonce = bench.nonce_after(300)
    bench.book.answer(bench.provider_id, nonce, bench.sign(nonce))

    assert bench.book.answer(bench.provider_id, nonce, bench.sign(nonce)) is None


@pytest.mark.parametrize("signature", [bytes(64), b"x" * 64])
def test_a_wrong_signature_costs_all_trust_at_once(bench: Bench, signature: bytes) -> None:
    nonce = bench.nonce_after(300)

    verdict = bench.book.answer(bench.provider_id, nonce, signature)

    assert verdict is not None
    assert verdict.tier is Tier.NONE


def test_after_a_wrong_signature_another_chance_comes(bench: Bench) -> None:
    nonce = bench.nonce_after(300)
    bench.book.answer(bench.provider_id, nonce, bytes(64))
    again = bench.nonce_after(30)

    verdict = bench.book.answer(bench.provider_id, again, bench.sign(again))

    assert verdict is not None
    assert verdict.tier is Tier.SELF_SIGNED


def test_after_a_rotation_only_the_new_statement_is_signed_for(bench: Bench) -> None:
    nonce = bench.nonce_after(300)
    old = bench.sign(nonce)
    bench.provider.statement = bench.provider.keyring.rotate(NOW + 300)
    bench.statement = verify_statement(
        bench.provider.statement, network=NETWORK, now=NOW + 300, provider_id=None, serials=SerialMemory()
    )
    bench.book.restate(bench.statement)

    verdict = bench.book.answer(bench.provider_id, nonce, old)

    assert verdict is not None
    assert verdict.tier is Tier.NONE


def test_a_provider_that_is_gone_is_not_challenged(bench: Bench) -> None:
    bench.book.forget(bench.provider_id)
    bench.clock.advance(1000)

    assert bench.book.due() == ([], [])
    assert bench.book.answer(bench.provider_id, b"n" * 32, bytes(64)) is None


def test_a_provider_of_another_worker_is_judged_by_what_it_answered_there_and_challenged_by_nobody_here() -> None:
    bench = Bench()
    tier = bench.book.adopt(bench.statement, ChallengeRecord(answered_at=NOW, missed=0)).tier
    assert tier is Tier.SELF_SIGNED
    assert bench.book.record(bench.provider_id) == ChallengeRecord(answered_at=NOW, missed=0)
    bench.clock.advance(10_000)
    assert bench.book.due() == ([], [])
    assert bench.book.adopt(bench.statement, ChallengeRecord(answered_at=NOW, missed=3)).tier is Tier.NONE
    assert bench.book.verdict(bench.provider_id).tier is Tier.NONE


def test_a_provider_that_moves_to_another_worker_is_challenged_here_no_more_and_back_again() -> None:
    bench = Bench()
    bench.admit()
    bench.book.adopt(bench.statement, ChallengeRecord(answered_at=NOW, missed=0))
    bench.clock.advance(400)
    assert bench.book.due() == ([], [])
    bench.admit()
    assert bench.nonce_after(400)
    bench.book.forget(bench.provider_id)
    with pytest.raises(KeyError):
        bench.book.verdict(bench.provider_id)
