"""What a request has learned from its attempts: whom the next one asks, and what is said when nobody is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hushnet.attestation.tiers import Tier
from hushnet.coordinator.routing.model import Entry
from hushnet.coordinator.serving.attempt import AttemptEnd, Ending
from hushnet.coordinator.serving.model import Facts, Mode
from hushnet.coordinator.serving.rules.tries import Tries
from hushnet.coordinator.serving.settings import ServingLimits
from hushnet.foundation.ids import ModelId, ProviderId
from hushnet.sealing.errors import WireCode

LIMITS = ServingLimits()
LOST = AttemptEnd(Ending.LINK_LOST, is_committed=False)


@dataclass(frozen=True)
class Provider:
    """As much of a live provider as tries look at."""

    provider_id: ProviderId
    agent_version: str


FACTS = Facts(
    model=ModelId("m"),
    is_stream=True,
    output_tokens_max=1,
    prompt_tokens_max=1,
    features=frozenset(),
    floor=Tier.NONE,
)


@dataclass(frozen=True)
class Body:
    """As much of a body."""

    recipients: dict[ProviderId, Entry] | None = None
    facts: Facts = FACTS


A: Any = Provider(ProviderId("a"), "1.0")
B: Any = Provider(ProviderId("b"), "2.0")
BODY: Any = Body()
WRAPPED_FOR_TWO: Any = Body({ProviderId("a"): Entry(0, b""), ProviderId("b"): Entry(1, b"")})


def refused(code: WireCode) -> AttemptEnd:
    return AttemptEnd(Ending.REFUSED, is_committed=False, code=code)


def test_the_version_of_an_agent_at_fault_is_avoided() -> None:
    tries = Tries()
    tries.learn(LOST, A, Mode.STANDARD, LIMITS)

    assert tries.route_request(BODY).avoided_versions == {"1.0"}


def test_want_of_room_says_nothing_of_a_version() -> None:
    tries = Tries()
    tries.learn(refused(WireCode.CAPACITY), A, Mode.STANDARD, LIMITS)

    asked = tries.route_request(BODY)
    assert (asked.avoided, asked.avoided_versions) == ({"a"}, frozenset())


def test_a_backup_asks_for_somebody_new() -> None:
    tries = Tries()
    tries.learn(LOST, A, Mode.STANDARD, LIMITS)

    asked = tries.backup_request(BODY, B)
    assert asked.excluded == {"a", "b"}
    assert asked.avoided_versions == {"1.0", "2.0"}
    assert tries.route_request(BODY).excluded == frozenset(), "a retry may go back where nobody else is"


def test_a_final_verdict_stands_whatever_comes_after_it() -> None:
    tries = Tries(made=2)
    tries.learn(refused(WireCode.BAD_ENVELOPE), A, Mode.SEALED, LIMITS)
    tries.learn(refused(WireCode.CAPACITY), B, Mode.SEALED, LIMITS)

    assert tries.last is not None
    assert tries.last.code == "bad_envelope"
    assert not tries.may_go_on(BODY, LIMITS)


def test_an_envelope_allows_as_many_attempts_as_it_has_entries() -> None:
    assert Tries(made=1).may_go_on(WRAPPED_FOR_TWO, LIMITS)
    assert not Tries(made=2).may_go_on(WRAPPED_FOR_TWO, LIMITS)
    assert Tries(made=2).may_go_on(BODY, LIMITS)
    assert not Tries(made=LIMITS.attempts_max).may_go_on(BODY, LIMITS)


def test_refusals_for_want_of_room_use_up_no_attempts_but_are_bounded() -> None:
    limits = ServingLimits(attempts_max=3, refusals_max=4, attempts_at_one_max=9)
    tries = Tries()
    for _ in range(3):
        tries.made += 1
        tries.learn(refused(WireCode.CAPACITY), A, Mode.STANDARD, limits)
        assert tries.may_go_on(BODY, limits)

    tries.made += 1
    tries.learn(refused(WireCode.CAPACITY), A, Mode.STANDARD, limits)
    assert not tries.may_go_on(BODY, limits)


def test_refusals_do_not_give_back_the_attempts_that_failed() -> None:
    tries = Tries()
    for end in (LOST, refused(WireCode.CAPACITY), LOST, LOST):
        assert tries.may_go_on(BODY, LIMITS)
        tries.made += 1
        tries.learn(end, A, Mode.STANDARD, LIMITS)

    assert not tries.may_go_on(BODY, LIMITS)
