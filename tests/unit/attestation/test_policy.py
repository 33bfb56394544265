"""Policies compose: the lowest part decides, and no finding hides another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hushnet.attestation.policy import (
    CHALLENGE_AGE_S_MAX,
    CHALLENGES_MISSED_MAX,
    AllOf,
    AnyOf,
    ChallengeAnswered,
    ChallengeRecord,
    Dossier,
    ProviderPinned,
    StatementVerifies,
    link_policy,
    listing_policy,
)
from hushnet.attestation.tiers import Tier, tier_of
from hushnet.attestation.verdict import FindingCode, Verdict
from hushnet.foundation.errors import TrustError

NOW = 1_763_690_000
PROVIDER = bytes(range(32))
GOOD = Dossier(
    provider_id=PROVIDER,
    statement_digest=bytes(32),
    is_statement_verified=True,
    challenge=ChallengeRecord(answered_at=NOW),
)


def codes(verdict: Verdict) -> list[FindingCode]:
    return [finding.code for finding in verdict.findings]


def test_tiers_are_ordered_and_named() -> None:
    assert [tier_of(name) for name in ("none", "self_signed", "measured", "hardware")] == sorted(Tier)
    assert Tier.SELF_SIGNED.label == "self_signed"


def test_an_unknown_tier_name_is_refused() -> None:
    with pytest.raises(TrustError) as caught:
        tier_of("platinum")

    assert caught.value.error_code == "unknown_tier"


def test_a_key_that_answers_on_its_link_is_self_signed() -> None:
    assert link_policy().judge(GOOD, now=NOW) == Verdict(Tier.SELF_SIGNED)


def test_a_statement_that_did_not_verify_leaves_nothing() -> None:
    verdict = link_policy().judge(replace(GOOD, is_statement_verified=False), now=NOW)

    assert verdict.tier is Tier.NONE
    assert codes(verdict) == [FindingCode.STATEMENT_NOT_VERIFIED]


@pytest.mark.parametrize("challenge", [None, ChallengeRecord(), ChallengeRecord(missed=1)])
def test_a_link_that_never_answered_is_not_trusted(challenge: ChallengeRecord | None) -> None:
    verdict = link_policy().judge(replace(GOOD, challenge=challenge), now=NOW)

    assert (verdict.tier, codes(verdict)) == (Tier.NONE, [FindingCode.CHALLENGE_UNANSWERED])


@pytest.mark.parametrize(("missed", "tier"), [(CHALLENGES_MISSED_MAX - 1, Tier.SELF_SIGNED), (3, Tier.NONE)])
def test_three_misses_in_a_row_end_the_trust(missed: int, tier: Tier) -> None:
    challenge = ChallengeRecord(answered_at=NOW, missed=missed)

    assert link_policy().judge(replace(GOOD, challenge=challenge), now=NOW).tier is tier


@pytest.mark.parametrize(
    ("age", "tier"), [(CHALLENGE_AGE_S_MAX, Tier.SELF_SIGNED), (CHALLENGE_AGE_S_MAX + 1, Tier.NONE)]
)
def test_an_old_answer_stops_counting(age: int, tier: Tier) -> None:
    assert link_policy().judge(GOOD, now=NOW + age).tier is tier


def test_every_failed_check_is_found_not_only_the_last() -> None:
    challenge = ChallengeRecord(answered_at=NOW - 10_000, missed=5)
    verdict = link_policy().judge(replace(GOOD, is_statement_verified=False, challenge=challenge), now=NOW)

    assert codes(verdict) == [
        FindingCode.STATEMENT_NOT_VERIFIED,
        FindingCode.CHALLENGES_MISSED,
        FindingCode.CHALLENGE_STALE,
    ]


def test_a_consumer_needs_no_challenge_and_takes_the_default_floor() -> None:
    assert listing_policy().judge(replace(GOOD, challenge=None), now=NOW) == Verdict(Tier.SELF_SIGNED)


def test_a_floor_without_evidence_says_what_is_missing() -> None:
    verdict = listing_policy(floor=Tier.MEASURED).judge(GOOD, now=NOW)

    assert verdict.tier is Tier.NONE
    assert codes(verdict) == [FindingCode.EVIDENCE_MISSING, FindingCode.TRUST_BELOW_FLOOR]


def test_a_stranger_is_refused_where_providers_are_pinned() -> None:
    pinned = listing_policy(pins=frozenset({PROVIDER}))

    assert pinned.judge(GOOD, now=NOW).tier is Tier.SELF_SIGNED
    stranger = pinned.judge(replace(GOOD, provider_id=bytes(32)), now=NOW)
    assert codes(stranger) == [FindingCode.PROVIDER_NOT_PINNED, FindingCode.TRUST_BELOW_FLOOR]


def test_any_of_takes_the_best_part_and_all_of_nothing_trusts_nobody() -> None:
    stranger = ProviderPinned(frozenset())

    assert AnyOf((stranger, StatementVerifies())).judge(GOOD, now=NOW).tier is Tier.HARDWARE
    assert AllOf((stranger, ChallengeAnswered())).judge(GOOD, now=NOW).tier is Tier.NONE
    assert AllOf(()).judge(GOOD, now=NOW).tier is Tier.NONE


def test_a_verdict_is_published_with_every_finding_in_words() -> None:
    published = link_policy().judge(replace(GOOD, challenge=None), now=NOW).to_json_object()

    assert published == {
        "tier": "none",
        "findings": [
            {
                "code": "challenge_unanswered",
                "subject": "",
                "detail": "It has not answered a challenge on this link yet.",
            }
        ],
        "claims": [],
    }


def test_every_finding_has_a_sentence() -> None:
    from hushnet.attestation.verdict import Finding

    assert all(Finding(code).sentence.endswith(".") for code in FindingCode)
