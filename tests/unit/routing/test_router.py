"""The router's decisions, case by case."""

from __future__ import annotations

from itertools import islice

import pytest
from msgspec.structs import replace

from hushnet.attestation.tiers import Tier
from hushnet.coordinator.routing.model import (
    Assignment,
    Candidate,
    Entry,
    Preferences,
    Reason,
    Refusal,
    RouteRequest,
    SelfRoute,
    Wait,
)
from hushnet.coordinator.routing.router import COSTED_MAX, COSTED_WISHES_MAX, route
from hushnet.foundation.ids import AccountId, ProviderId
from support.routing import REQUEST, A, B, C, candidate, cost_of, numbered, view


def chosen(*candidates: Candidate, request: RouteRequest = REQUEST) -> ProviderId:
    decision = route(view(*candidates), request, seed=1)
    assert isinstance(decision, Assignment)
    return decision.provider_id


def test_the_faster_provider_is_chosen() -> None:
    assert chosen(candidate(A, decode_tokens_s=10.0), candidate(B, decode_tokens_s=80.0)) == B


def test_the_less_loaded_provider_is_chosen() -> None:
    assert chosen(candidate(A, tokens_ahead=5000), candidate(B)) == B


def test_of_equals_the_provider_that_has_read_the_prefix_is_chosen_whatever_the_seed() -> None:
    request = replace(REQUEST, cached={B: 1})
    decisions = [route(view(candidate(A), candidate(B), candidate(C)), request, seed=seed) for seed in range(9)]

    assert {decision.provider_id for decision in decisions if isinstance(decision, Assignment)} == {B}


def test_a_prefix_that_is_quickly_read_again_does_not_outweigh_a_load() -> None:
    request = replace(REQUEST, cached={B: 30})

    assert chosen(candidate(A), candidate(B, tokens_ahead=5000), request=request) == A


def test_a_provider_with_failures_comes_second() -> None:
    assert chosen(candidate(A, failures_ms=2000), candidate(B)) == B


def test_a_provider_that_was_tried_before_comes_last() -> None:
    request = replace(REQUEST, avoided=frozenset({B}))

    assert chosen(candidate(A, decode_tokens_s=5.0), candidate(B), request=request) == A
    assert chosen(candidate(B), request=request) == B


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tier": Tier.NONE}, Reason.TRUST_UNAVAILABLE),
        ({"features": frozenset()}, Reason.FEATURES_UNAVAILABLE),
        ({"context_tokens": 0}, Reason.CONTEXT_UNAVAILABLE),
    ],
)
def test_a_refusal_names_what_is_missing(changes: dict[str, object], reason: Reason) -> None:
    request = replace(REQUEST, features=frozenset({"tools"}), floor=Tier.SELF_SIGNED)
    lacking = candidate(A, **{"features": frozenset({"tools"}), **changes})

    assert route(view(lacking), request, seed=0) == Refusal(reason, {reason: 1})


def test_an_empty_fleet_refuses_and_a_full_one_waits() -> None:
    assert route(view(), REQUEST, seed=0) == Refusal(Reason.MODEL_UNAVAILABLE, {})
    assert isinstance(route(view(candidate(A, slots_left=0)), REQUEST, seed=0), Wait)


def test_a_token_budget_that_is_used_up_waits_but_never_asks_for_more_than_the_context() -> None:
    small = candidate(A, context_tokens=150, tokens_left=150)

    assert chosen(small) == A
    assert isinstance(route(view(replace(small, tokens_left=149)), REQUEST, seed=0), Wait)


def test_a_wait_says_when_room_is_likely() -> None:
    decision = route(view(candidate(A, slots_left=0, tokens_ahead=1600)), REQUEST, seed=0)

    assert decision == Wait(10.0)


def test_a_sealed_request_keeps_to_keys_that_still_open() -> None:
    old, new = b"o" * 16, b"n" * 16
    fleet = view(candidate(A, key_ids=frozenset({new})), candidate(B, key_ids=frozenset({old})))
    request = replace(REQUEST, recipients={A: Entry(0, old), B: Entry(1, old)})

    decision = route(fleet, request, seed=0)

    assert isinstance(decision, Assignment)
    assert (decision.provider_id, decision.entry) == (B, 1)
    assert route(fleet, replace(request, recipients={A: Entry(0, b"x" * 16)}), seed=0) == Refusal(Reason.KEYS_STALE)


def test_equal_recipients_go_by_the_sealers_order() -> None:
    key = b"k" * 16
    fleet = view(*(candidate(each, key_ids=frozenset({key})) for each in (A, B, C)))
    request = replace(REQUEST, recipients={C: Entry(0, key), A: Entry(1, key), B: Entry(2, key)})

    decision = route(fleet, request, seed=7)

    assert isinstance(decision, Assignment)
    assert (decision.provider_id, decision.entry) == (C, 0)


def test_a_large_fleet_is_not_looked_at_as_a_whole() -> None:
    fleet = view(*(candidate(numbered(number)) for number in range(10_000)))

    decisions = [route(fleet, REQUEST, seed=seed * 7919) for seed in range(50)]

    assert all(isinstance(each, Assignment) and each.examined == COSTED_MAX for each in decisions)
    assert len({each.provider_id for each in decisions if isinstance(each, Assignment)}) > 25


def test_a_request_with_wishes_is_weighed_at_more_providers() -> None:
    fleet = view(*(candidate(numbered(number)) for number in range(100)))
    request = replace(REQUEST, preferences=Preferences(ignore=frozenset({A})))

    decision = route(fleet, request, seed=5)

    assert isinstance(decision, Assignment)
    assert decision.examined == COSTED_WISHES_MAX > COSTED_MAX


def test_in_a_large_fleet_a_kept_prefix_is_found_unless_its_provider_is_full_or_will_not_do() -> None:
    def decided(**changes: object) -> ProviderId:
        keeper = candidate(A, prefill_tokens_s=40.0, **changes)
        others = (candidate(numbered(number), prefill_tokens_s=40.0) for number in range(100))
        request = replace(REQUEST, prompt_tokens_max=3000, cached={A: 1000}, floor=Tier.SELF_SIGNED)
        decision = route(view(keeper, *others), request, seed=5)
        assert isinstance(decision, Assignment)
        return decision.provider_id

    assert decided(decode_tokens_s=35.0) == A
    assert decided(slots_left=0) != A
    assert decided(tier=Tier.NONE) != A


def test_of_equal_providers_the_one_that_has_read_the_prompt_is_chosen_whatever_the_seed() -> None:
    fleet = view(*(candidate(each, prefill_tokens_s=10_000.0) for each in (A, B, C)))
    request = replace(REQUEST, cached={B: 30})

    decisions = [route(fleet, request, seed=seed) for seed in range(9)]

    assert {each.provider_id for each in decisions if isinstance(each, Assignment)} == {B}


def test_a_large_fleet_with_one_free_provider_finds_it() -> None:
    free = candidate(numbered(321))
    fleet = view(*(candidate(numbered(number), slots_left=0) for number in range(500) if number != 321), free)

    assert route(fleet, REQUEST, seed=5) == route(view(free), REQUEST, seed=0)


def test_of_equal_providers_the_one_of_this_worker_is_chosen_whatever_the_seed() -> None:
    here, there = candidate(A), candidate(B, is_elsewhere=True)
    for seed in range(16):
        for slow in (1.0, 40.0, 400.0):
            pair = [replace(each, decode_tokens_s=slow) for each in (there, here)]
            decision = route(view(*pair), REQUEST, seed=seed)
            assert isinstance(decision, Assignment)
            assert decision.provider_id == A


def test_a_clearly_better_provider_of_another_worker_still_wins() -> None:
    assert chosen(candidate(A), candidate(B, decode_tokens_s=80.0, is_elsewhere=True)) == B


def test_a_provider_of_another_worker_serves_when_nobody_here_has_room() -> None:
    assert chosen(candidate(A, slots_left=0), candidate(B, is_elsewhere=True)) == B


@pytest.mark.parametrize("tokens_left", [256, 3000])
def test_providers_with_free_slots_and_no_token_budget_hide_nobody(tokens_left: int) -> None:
    roomy = [candidate(numbered(number), context_tokens=32_768) for number in range(300)]
    cramped = [
        candidate(numbered(1000 + n), context_tokens=32_768, tokens_left=tokens_left, decode_tokens_s=400.0)
        for n in range(300)
    ]
    fleet = view(*roomy, *cramped)
    request = replace(REQUEST, prompt_tokens_max=4 * tokens_left)

    decisions = [route(fleet, request, seed=seed * 7919) for seed in range(50)]

    assert all(isinstance(each, Assignment) and each.examined == COSTED_MAX for each in decisions)


def test_a_provider_whose_budget_may_just_do_is_found_in_a_large_fleet() -> None:
    free = candidate(numbered(321), tokens_left=201)
    fleet = view(*(candidate(numbered(number), tokens_left=90) for number in range(100)), free)

    assert route(fleet, REQUEST, seed=5) == Assignment(free.provider_id, None, cost_of(fleet, free, REQUEST), None, 101)


@pytest.mark.parametrize("is_only", [True, False])
def test_of_many_machines_of_ones_own_the_few_free_ones_are_found(is_only: bool) -> None:
    account = AccountId(7)
    request = replace(REQUEST, preferences=Preferences(own=SelfRoute(account, is_only)))
    busy = [candidate(numbered(number), owner=account, slots_left=0) for number in range(600)]
    fleet = view(*busy)
    (*_, last) = fleet.index.places(fleet.index.owned_by(account))
    fleet.index.put(replace(last.candidate, slots_left=1))

    decision = route(fleet, request, seed=5)

    assert isinstance(decision, Assignment)
    assert decision.provider_id == last.candidate.provider_id


def test_of_many_providers_that_a_request_names_the_one_with_room_is_found() -> None:
    fleet = view(*(candidate(numbered(number), slots_left=0) for number in range(600)))
    request = replace(REQUEST, preferences=Preferences(only=frozenset(fleet.index)))
    (*_, last) = fleet.index.places(request.preferences.only)
    fleet.index.put(replace(last.candidate, slots_left=1))

    decision = route(fleet, request, seed=5)

    assert isinstance(decision, Assignment)
    assert decision.provider_id == last.candidate.provider_id


@pytest.mark.parametrize("size", [24, 25, 300])
def test_a_request_beyond_everybodys_token_budget_is_refused_whatever_the_size_of_the_fleet(size: int) -> None:
    fleet = view(
        *(candidate(numbered(n), context_tokens=32_768, tokens_left=4096, tokens_max=4096) for n in range(size))
    )

    assert route(fleet, replace(REQUEST, prompt_tokens_max=9000), seed=1) == Refusal(
        Reason.CONTEXT_UNAVAILABLE, {Reason.CONTEXT_UNAVAILABLE: size}
    )


def test_a_request_that_only_a_busy_provider_has_the_budget_for_waits_in_a_large_fleet() -> None:
    small = [candidate(numbered(n), context_tokens=32_768, tokens_left=4096, tokens_max=4096) for n in range(400)]
    busy = candidate(A, context_tokens=32_768, tokens_left=0, tokens_max=32_768)

    assert isinstance(route(view(*small, busy), replace(REQUEST, prompt_tokens_max=9000), seed=1), Wait)


def test_a_decision_walks_no_group_that_it_does_not_need() -> None:
    class Counting(set[int]):
        asked = 0

        def __contains__(self, group: object) -> bool:
            self.asked += 1
            return super().__contains__(group)

    fleet = view(*(candidate(numbered(number), build=f"{number:064x}") for number in range(2000)))
    groups = Counting(fleet.index.passing(REQUEST))

    found = list(islice(fleet.index.ready(groups, 12345, tokens=200), COSTED_MAX))

    assert len(found) == COSTED_MAX == groups.asked
