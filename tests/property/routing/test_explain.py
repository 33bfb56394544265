"""Laws of explanations, whatever the fleet looks like: they tell what the router did, of everybody, in figures that add up."""

from __future__ import annotations

from collections import Counter

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hushnet.attestation.tiers import Tier
from hushnet.coordinator.routing.cost import cost_ms, forecast
from hushnet.coordinator.routing.explain import explain
from hushnet.coordinator.routing.explanation import Explanation, Note, Outcome
from hushnet.coordinator.routing.filters import has_room, obstacle
from hushnet.coordinator.routing.model import (
    Assignment,
    Candidate,
    Entry,
    Preferences,
    Reason,
    Refusal,
    RouteRequest,
    SelfRoute,
    Traits,
    Wait,
    context_floor,
)
from hushnet.coordinator.routing.router import EXACT_MAX, View, route
from hushnet.foundation.ids import AccountId, ModelId, ProviderId
from hushnet.foundation.money import Price
from support.routing import numbered, view

IDS = [numbered(number) for number in range(40)]
KEYS = [bytes([number]) * 16 for number in range(4)]
FEATURES = st.frozensets(st.sampled_from(["tools", "vision"]))
REGIONS = st.sampled_from(["", "de", "us"])
SEEDS = st.integers(0, 2**32)


@st.composite
def prototypes(draw: st.DrawFn) -> Candidate:
    context_tokens = draw(st.integers(0, 8192))
    traits = Traits(
        tier=draw(st.sampled_from([Tier.SELF_SIGNED, Tier.MEASURED])),
        features=draw(FEATURES),
        region=draw(REGIONS),
        discount_bps=draw(st.sampled_from([0, 2500])),
        context_floor=context_floor(context_tokens),
    )
    return Candidate(
        provider_id=IDS[0],
        traits=traits,
        owner=AccountId(draw(st.integers(1, 3))),
        agent_version=draw(st.sampled_from(["1.0", "2.0"])),
        context_tokens=context_tokens,
        key_ids=draw(st.frozensets(st.sampled_from(KEYS), max_size=2)),
        slots=4,
        slots_left=draw(st.integers(0, 4)),
        tokens_ahead=draw(st.integers(0, 100_000)),
        tokens_left=draw(st.none() | st.integers(0, 100_000)),
        decode_tokens_s=draw(st.floats(0, 1000)),
        prefill_tokens_s=draw(st.floats(0, 1000)),
        load_ms=draw(st.sampled_from([0, 4_000])),
        strain_ms=draw(st.integers(0, 9_000)),
        failures_ms=draw(st.integers(0, 10_000)),
        is_elsewhere=draw(st.booleans()),
    )


@st.composite
def views(draw: st.DrawFn) -> View:
    kinds = draw(st.lists(prototypes(), min_size=1, max_size=6))
    size = draw(st.integers(0, len(IDS)))
    return view(*(replace(kinds[number % len(kinds)], provider_id=IDS[number]) for number in range(size)))


@st.composite
def requests(draw: st.DrawFn) -> RouteRequest:
    ids = st.frozensets(st.sampled_from(IDS), max_size=4)
    recipients = None
    if draw(st.booleans()):
        recipients = {
            each: Entry(index, draw(st.sampled_from(KEYS))) for index, each in enumerate(sorted(draw(ids) | {IDS[0]}))
        }
    preferences = Preferences(
        only=draw(st.just(frozenset[ProviderId]()) | ids),
        ignore=draw(ids),
        regions=draw(st.frozensets(st.sampled_from(["de", "us"]), max_size=1)),
        price_max=draw(st.none() | st.just(Price(input=10, cached=0, output=10))),
        ms_per_micro_usd=draw(st.sampled_from([0.0, 50.0])),
        own=draw(st.none() | st.builds(SelfRoute, st.just(AccountId(1)), st.booleans())),
    )
    return RouteRequest(
        model=ModelId("m"),
        prompt_tokens_max=draw(st.integers(1, 16_384)),
        output_tokens_max=draw(st.integers(1, 16_384)),
        features=draw(FEATURES),
        floor=draw(st.sampled_from([Tier.NONE, Tier.MEASURED])),
        price=Price(input=11, cached=5, output=11),
        recipients=recipients,
        excluded=draw(ids),
        avoided=draw(ids),
        avoided_versions=draw(st.frozensets(st.sampled_from(["1.0"]))),
        cached=draw(st.dictionaries(st.sampled_from(IDS), st.integers(0, 5000), max_size=3)),
        preferences=preferences,
    )


@given(views(), requests(), SEEDS, st.integers(1, 50))
def test_the_decision_is_the_routers(fleet: View, request: RouteRequest, seed: int, limit: int) -> None:
    decision = route(fleet, request, seed=seed)
    told = explain(fleet, request, seed=seed, limit=limit)

    match decision:
        case Assignment():
            assert told.outcome is Outcome.ASSIGNED
            figures = (decision.provider_id, decision.cost_ms, decision.next_ms, decision.examined)
            assert (told.provider_id, told.cost_ms, told.next_ms, told.examined) == figures
            assert [each.provider_id for each in told.candidates if each.is_chosen] == [decision.provider_id]
            assert told.candidates[0].cost_ms == decision.cost_ms
        case Wait():
            assert (told.outcome, told.after_s) == (Outcome.WAITING, decision.after_s)
            assert not any(each.is_chosen for each in told.candidates)
        case Refusal():
            assert (told.outcome, told.reason) == (Outcome.REFUSED, decision.reason)
            assert not any(each.is_chosen for each in told.candidates)


@given(views(), requests(), SEEDS, st.integers(1, 50))
def test_everybody_is_listed_once_or_counted(fleet: View, request: RouteRequest, seed: int, limit: int) -> None:
    told = explain(fleet, request, seed=seed, limit=limit)
    ids = [each.provider_id for each in told.candidates]
    reasons = Counter(each.reason for each in told.candidates if each.reason is not None)

    assert len(ids) == len(set(ids)) <= limit
    assert set(ids) <= set(fleet.index)
    assert len(ids) + sum(told.unlisted.values()) == told.total == len(fleet.index)
    assert Counter(told.lost) == reasons + Counter(told.unlisted)
    assert len(ids) == min(limit, told.total)


@given(views(), requests(), SEEDS)
def test_the_parts_of_every_cost_add_up_to_it(fleet: View, request: RouteRequest, seed: int) -> None:
    for each in explain(fleet, request, seed=seed, limit=50).candidates:
        candidate = fleet.index[each.provider_id]
        known = forecast(candidate, decode_unknown=fleet.index.decode_median)

        assert abs(sum(each.terms.values()) - each.cost_ms) <= len(each.terms) + 1
        if candidate.decode_tokens_s:
            assert each.cost_ms == cost_ms(candidate, known, request)


@given(views(), requests(), SEEDS)
def test_a_loser_has_a_reason_that_holds(fleet: View, request: RouteRequest, seed: int) -> None:
    told = explain(fleet, request, seed=seed, limit=50)

    for each in told.candidates:
        candidate = fleet.index[each.provider_id]
        assert (each.reason is None) is each.is_chosen
        if each.reason in (Reason.COST, None):
            assert obstacle(candidate, request) is None
            assert has_room(candidate, request)
        elif each.reason is Reason.BUSY:
            assert not has_room(candidate, request)
        elif each.reason is Reason.RECIPIENTS_UNAVAILABLE:
            assert request.recipients is not None
            assert each.provider_id not in request.recipients
        elif each.reason is Reason.KEYS_STALE:
            assert request.recipients is not None
            assert request.recipients[each.provider_id].key_id not in candidate.key_ids
        elif each.note is Note.OWN_FIRST:
            assert told.provider_id is not None
            assert request.preferences.own is not None
            assert fleet.index[told.provider_id].owner == request.preferences.own.account != candidate.owner
        else:
            assert each.reason is obstacle(candidate, request)


@given(views(), requests(), SEEDS)
def test_a_refusal_names_the_reasons_of_everybody(fleet: View, request: RouteRequest, seed: int) -> None:
    request = replace(request, recipients=None, preferences=replace(request.preferences, own=None, only=frozenset()))
    decision = route(fleet, request, seed=seed)

    if isinstance(decision, Refusal):
        lost = explain(fleet, request, seed=seed, limit=1).lost
        assert sum(lost.values()) == sum(decision.passed.values())
        if len(fleet.index) <= EXACT_MAX:  # of several reasons of one candidate, a large fleet's groups count another
            assert lost == decision.passed


@given(views(), requests(), SEEDS)
def test_nobody_cheaper_is_passed_over_without_a_word(fleet: View, request: RouteRequest, seed: int) -> None:
    told = explain(fleet, request, seed=seed, limit=50)

    for each in told.candidates:
        if each.reason is Reason.COST and told.cost_ms is not None:
            assert each.behind_ms == each.cost_ms - told.cost_ms
            assert each.behind_ms > 0 or each.note in (Note.TIED, Note.UNSEEN)
            if len(fleet.index) <= EXACT_MAX:
                assert each.note is not Note.UNSEEN


@given(views(), requests(), SEEDS)
def test_it_serialises_and_comes_back(fleet: View, request: RouteRequest, seed: int) -> None:
    told = explain(fleet, request, seed=seed, limit=5)

    assert msgspec.json.decode(msgspec.json.encode(told), type=Explanation) == told
