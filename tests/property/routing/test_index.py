"""The index against a plain dictionary: whatever happened to it, it knows the same candidates in the same groups."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from hushnet.attestation.tiers import Tier
from hushnet.coordinator.routing.filters import has_room, is_beyond, obstacle, own_obstacle, trait_obstacle
from hushnet.coordinator.routing.index import RUNGS, ModelIndex, Rung, climb, rung_of
from hushnet.coordinator.routing.model import (
    Assignment,
    Candidate,
    Preferences,
    Reason,
    Refusal,
    RouteRequest,
    Traits,
    Wait,
    context_ceiling,
    context_floor,
)
from hushnet.coordinator.routing.rates import Rates
from hushnet.coordinator.routing.router import EXACT_MAX, route
from hushnet.foundation.ids import AccountId, ProviderId
from support.routing import REQUEST, numbered, view

IDS = [numbered(number) for number in range(9)]
FEATURES = st.frozensets(st.sampled_from(["tools", "vision"]))
REGIONS = st.sampled_from(["", "de", "us"])
TRAITS = st.builds(
    Traits,
    tier=st.sampled_from([Tier.SELF_SIGNED, Tier.MEASURED]),
    features=FEATURES,
    region=REGIONS,
    context_floor=st.sampled_from([1024, 4096]),
    tokens_floor=st.sampled_from([0, 0, 512, 2048]),
)


@st.composite
def candidates(draw: st.DrawFn, provider_id: ProviderId) -> Candidate:
    traits = draw(TRAITS)
    budget = traits.tokens_floor
    tokens_max = draw(st.integers(budget, 2 * budget - 1)) if budget else None
    return Candidate(
        provider_id=provider_id,
        traits=traits,
        owner=AccountId(draw(st.integers(1, 3))),
        context_tokens=traits.context_floor,
        slots=4,
        slots_left=draw(st.integers(0, 4)),
        tokens_ahead=draw(st.integers(0, 10_000)),
        tokens_left=draw((st.just(tokens_max) if tokens_max else st.none()) | st.integers(0, 400)),
        tokens_max=tokens_max,
        decode_tokens_s=draw(st.sampled_from([0.0, 0.05, 7.0, 40.0, 3000.0])),
    )


REQUESTS = st.builds(
    RouteRequest,
    model=st.just(REQUEST.model),
    prompt_tokens_max=st.integers(1, 4000),
    output_tokens_max=st.integers(1, 200),
    features=FEATURES,
    floor=st.sampled_from([Tier.NONE, Tier.MEASURED]),
    excluded=st.frozensets(st.sampled_from(IDS), max_size=2),
    preferences=st.builds(
        Preferences,
        regions=st.frozensets(st.sampled_from(["de", "us"]), max_size=1),
        ignore=st.frozensets(st.sampled_from(IDS), max_size=2),
    ),
)


class IndexMachine(RuleBasedStateMachine):
    """Puts, changes and removals, in any order, with questions in between so that answers are remembered."""

    def __init__(self) -> None:
        super().__init__()
        self.index = ModelIndex()
        self.known: dict[ProviderId, Candidate] = {}

    @rule(data=st.data(), provider_id=st.sampled_from(IDS))
    def put(self, data: st.DataObject, provider_id: ProviderId) -> None:
        self.known[provider_id] = candidate = data.draw(candidates(provider_id))
        self.index.put(candidate)

    @rule(data=st.data(), provider_id=st.sampled_from(IDS))
    def report(self, data: st.DataObject, provider_id: ProviderId) -> None:
        known = self.known.get(provider_id)
        if known is not None:
            left, ahead = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 100_000))
            self.known[provider_id] = replace(known, slots_left=left, tokens_ahead=ahead)
            self.index.put(self.known[provider_id])

    @rule(provider_id=st.sampled_from(IDS))
    def remove(self, provider_id: ProviderId) -> None:
        self.known.pop(provider_id, None)
        self.index.remove(provider_id)

    @rule(request=REQUESTS)
    def ask(self, request: RouteRequest) -> None:
        passing = self.index.passing(request)
        found = {place.candidate.provider_id for place in self.index.everybody() if place.group in passing}
        assert found == {each for each, known in self.known.items() if trait_obstacle(known.traits, request) is None}
        assert self.index.size_of(passing) == len(found)

    @rule(request=REQUESTS, tokens=st.integers(0, 8192))
    def ask_for_a_context(self, request: RouteRequest, tokens: int) -> None:
        fitting = self.index.passing(request, tokens=tokens)
        found = {place.candidate.provider_id for place in self.index.everybody() if place.group in fitting}
        assert found == {
            each
            for each, known in self.known.items()
            if known.traits.context_floor >= context_ceiling(tokens) and trait_obstacle(known.traits, request) is None
        }

    @invariant()
    def it_knows_everybody_once(self) -> None:
        assert dict(self.index) == self.known
        everything = set(self.index.passing(REQUEST))
        for seed in (0, 1, 12345):
            ready = [place.candidate.provider_id for place in self.index.ready(everything, seed, tokens=2 * seed)]
            full = [place.candidate.provider_id for place in climb((self.index.full,), everything, seed)]
            assert sorted(ready) == sorted(each for each, known in self.known.items() if known.slots_left)
            assert sorted(full) == sorted(each for each, known in self.known.items() if not known.slots_left)

    @invariant()
    def it_climbs_from_the_cheapest_rung(self) -> None:
        everything = set(self.index.passing(REQUEST))
        rungs = [place.rung for place in self.index.ready(everything, 7, tokens=0)]
        assert rungs == sorted(rungs)

    @invariant()
    def it_knows_the_owners(self) -> None:
        for account in (1, 2, 3):
            owned = {each for each, known in self.known.items() if known.owner == account}
            assert self.index.owned_by(AccountId(account)) == owned

    @invariant()
    def the_sizes_add_up(self) -> None:
        assert sum(size for _, size in self.index.groups()) == len(self.known)


TestIndex = IndexMachine.TestCase


@given(st.data(), st.integers(EXACT_MAX + 1, 60), REQUESTS, st.integers(0, 2**32))
def test_a_large_fleet_is_answered_like_a_small_one(
    data: st.DataObject, size: int, request: RouteRequest, seed: int
) -> None:
    prototypes = [data.draw(candidates(IDS[0])) for _ in range(4)]
    fleet = view(*(replace(prototypes[n % 4], provider_id=numbered(n)) for n in range(size)))
    decision = route(fleet, request, seed=seed)
    able = [each for each in fleet.index.values() if obstacle(each, request) is None]
    ready = [each for each in able if has_room(each, request)]

    assert isinstance(decision, Assignment) is bool(ready)
    assert isinstance(decision, Wait) is bool(able and not ready)
    assert isinstance(decision, Refusal) is not able
    if isinstance(decision, Assignment):
        assert decision.provider_id in {each.provider_id for each in ready}
    if isinstance(decision, Refusal):
        assert sum(decision.passed.values()) == size
        assert decision.reason is not Reason.MODEL_UNAVAILABLE


@given(st.lists(st.floats(0.1, 10_000), min_size=1, max_size=60), st.data())
def test_the_median_of_rates_is_near_the_true_one(rates: list[float], data: st.DataObject) -> None:
    counted = Rates()
    for rate in rates:
        counted.add(rate)
    gone = data.draw(st.lists(st.sampled_from(rates), unique=True, max_size=len(rates) - 1))
    left = list(rates)
    for rate in gone:
        counted.remove(rate)
        left.remove(rate)
    left.sort()
    fresh = Rates()
    for rate in left:
        fresh.add(rate)

    true = left[(len(left) - 1) // 2]

    assert 0.8 * true - 0.1 <= fresh.median() <= 1.25 * true + 0.1
    assert counted._counts == fresh._counts


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_a_rung_never_falls_as_the_cost_grows(one: float, other: float) -> None:
    low, high = sorted((one, other))

    assert 0 <= rung_of(low) <= rung_of(high) < RUNGS


@given(st.integers(0, 2**24), st.integers(0, 2**24))
def test_a_context_that_covers_a_need_still_does_when_both_are_rounded(context: int, need: int) -> None:
    assert context_floor(context) <= context < context_floor(context) * 1.34 + 8
    if context_floor(context) >= context_ceiling(need):
        assert context >= need


@given(st.data(), st.integers(1, 10_000))
def test_what_is_beyond_the_traits_is_beyond_every_provider_that_has_them(data: st.DataObject, tokens: int) -> None:
    each = data.draw(candidates(IDS[0]))
    request = replace(REQUEST, prompt_tokens_max=tokens, output_tokens_max=0)

    if is_beyond(each.traits, tokens):
        assert own_obstacle(each, request) is Reason.CONTEXT_UNAVAILABLE
    if each.tokens_max is not None and tokens >= 2 * each.tokens_max <= each.context_tokens:
        assert is_beyond(each.traits, tokens)


@given(st.lists(st.integers(0, 30), min_size=1), st.sets(st.integers(0, 400), max_size=350), st.integers(0, 2**32))
def test_a_rung_yields_each_of_its_groups_that_are_asked_for_once(
    changes: list[int], asked: set[int], seed: int
) -> None:
    rung, here = Rung(), set[int]()
    for group in changes:
        (rung.leave if group in here else rung.enter)(group)
        here ^= {group}
    if here:
        assert sorted(rung.among(asked, seed)) == sorted(here & asked)
        assert {next(rung.among(here, start)) for start in range(len(here))} == here
