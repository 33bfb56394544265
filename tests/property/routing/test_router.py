"""Laws of the router, whatever the fleet looks like."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hushnet.attestation.tiers import Tier
from hushnet.coordinator.routing.cost import cost_ms
from hushnet.coordinator.routing.filters import has_room, obstacle
from hushnet.coordinator.routing.model import (
    NO_PREFERENCES,
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
from hushnet.coordinator.routing.router import TIE_MS, TIE_SHARE, WAIT_S_MAX, WAIT_S_MIN, View, route
from hushnet.foundation.ids import AccountId, ModelId, ProviderId
from hushnet.foundation.money import Price
from support.routing import candidate, cost_of, view

FEATURES = st.frozensets(st.sampled_from(["tools", "vision", "json_schema"]), max_size=3)
IDS = [ProviderId(f"{number:064x}") for number in range(12)]
KEYS = [bytes([number]) * 16 for number in range(8)]
SEEDS = st.integers(0, 2**64)
OWNERS = [AccountId(number) for number in range(3)]
REGIONS = ["", "de", "us"]
PRICES = st.builds(Price, st.integers(0, 2_000_000), st.just(0), st.integers(0, 2_000_000))
PREFERENCES = st.just(NO_PREFERENCES) | st.builds(
    Preferences,
    only=st.frozensets(st.sampled_from(IDS), max_size=8),
    ignore=st.frozensets(st.sampled_from(IDS), max_size=2),
    regions=st.just(frozenset[str]()) | st.frozensets(st.sampled_from(REGIONS), min_size=1),
    price_max=st.none() | PRICES,
    ms_per_micro_usd=st.sampled_from((0.0, 1000.0)),
    own=st.none() | st.builds(SelfRoute, st.sampled_from(OWNERS), st.just(True)),
)


@st.composite
def candidates(draw: st.DrawFn, provider_id: ProviderId) -> Candidate:
    slots = draw(st.integers(1, 8))
    context_tokens = draw(st.integers(0, 8192))
    traits = Traits(
        tier=draw(st.sampled_from(Tier)),
        features=draw(FEATURES),
        region=draw(st.sampled_from(REGIONS)),
        discount_bps=draw(st.sampled_from((0, 5_000))),
        context_floor=context_floor(context_tokens),
    )
    return Candidate(
        provider_id=provider_id,
        owner=draw(st.sampled_from(OWNERS)),
        traits=traits,
        context_tokens=context_tokens,
        key_ids=draw(st.frozensets(st.sampled_from(KEYS), max_size=3)),
        slots=slots,
        slots_left=draw(st.integers(0, slots)),
        tokens_ahead=draw(st.integers(0, 100_000)),
        tokens_left=draw(st.none() | st.integers(0, 100_000)),
        decode_tokens_s=draw(st.floats(0, 1000)),
        prefill_tokens_s=draw(st.floats(0, 1000)),
        failures_ms=draw(st.integers(0, 10_000)),
        is_elsewhere=draw(st.booleans()),
    )


@st.composite
def views(draw: st.DrawFn) -> View:
    ids = draw(st.lists(st.sampled_from(IDS), unique=True, max_size=8))
    return view(*(draw(candidates(provider_id)) for provider_id in ids))


@st.composite
def requests(draw: st.DrawFn, *, is_sealed: bool = False) -> RouteRequest:
    recipients = None
    if is_sealed:
        ids = draw(st.lists(st.sampled_from(IDS), unique=True, min_size=1, max_size=8))
        recipients = {each: Entry(index, draw(st.sampled_from(KEYS))) for index, each in enumerate(ids)}
    return RouteRequest(
        model=ModelId("m"),
        prompt_tokens_max=draw(st.integers(1, 16_384)),
        output_tokens_max=draw(st.integers(1, 16_384)),
        features=draw(FEATURES),
        floor=draw(st.sampled_from(Tier)),
        recipients=recipients,
        cached=draw(st.dictionaries(st.sampled_from(IDS), st.integers(0, 16_384), max_size=4)),
        preferences=draw(PREFERENCES),
        price=draw(st.none() | PRICES),
        excluded=draw(st.frozensets(st.sampled_from(IDS), max_size=4)),
        avoided=draw(st.frozensets(st.sampled_from(IDS), max_size=4)),
    )


def eligible(view: View, request: RouteRequest) -> list[Candidate]:
    found = [each for each in view.index.values() if obstacle(each, request) is None]
    if request.recipients is not None:
        found = [
            each
            for each in found
            if each.provider_id in request.recipients and request.recipients[each.provider_id].key_id in each.key_ids
        ]
    return found


@given(views(), requests() | requests(is_sealed=True), SEEDS)
def test_the_choice_passes_every_filter_and_has_room(view: View, request: RouteRequest, seed: int) -> None:
    decision = route(view, request, seed=seed)

    if isinstance(decision, Assignment):
        chosen = view.index[decision.provider_id]
        assert chosen in eligible(view, request)
        assert has_room(chosen, request)
        assert request.features <= chosen.traits.features
        assert chosen.traits.tier >= request.floor
        assert chosen.provider_id not in request.excluded


@given(views(), requests() | requests(is_sealed=True), SEEDS)
def test_nobody_who_passes_is_cheaper_by_more_than_a_tie(view: View, request: RouteRequest, seed: int) -> None:
    decision = route(view, request, seed=seed)

    if isinstance(decision, Assignment):
        # At the forecasts of the last reports: who reports no rate is taken for what the median was then.
        able = {each.provider_id for each in eligible(view, request) if has_room(each, request)}
        costs = [cost_ms(place.candidate, place.forecast, request) for place in view.index.places(able)]
        assert decision.cost_ms <= min(costs) + max(TIE_MS, int(min(costs) * TIE_SHARE))


def test_who_reports_no_rate_is_taken_for_the_median_at_its_last_report() -> None:
    unknown, fast = candidate(IDS[0], decode_tokens_s=0.0), candidate(IDS[1], decode_tokens_s=200.0, slots_left=0)
    request = RouteRequest(model=ModelId("m"), prompt_tokens_max=100, output_tokens_max=100)
    fleet = view(unknown, fast)
    before = route(fleet, request, seed=0)

    fleet.index.put(unknown)
    after = route(fleet, request, seed=0)

    assert isinstance(before, Assignment)
    assert isinstance(after, Assignment)
    assert after.cost_ms < before.cost_ms


@given(views(), requests() | requests(is_sealed=True), SEEDS)
def test_a_request_waits_exactly_when_somebody_could_serve_it_and_nobody_has_room(
    view: View, request: RouteRequest, seed: int
) -> None:
    decision = route(view, request, seed=seed)
    able = eligible(view, request)
    ready = [each for each in able if has_room(each, request)]

    assert isinstance(decision, Assignment) is bool(ready)
    assert isinstance(decision, Wait) is bool(able and not ready)
    assert isinstance(decision, Refusal) is not able
    if isinstance(decision, Wait):
        assert WAIT_S_MIN <= decision.after_s <= WAIT_S_MAX


@given(views(), requests() | requests(is_sealed=True), SEEDS)
def test_the_same_question_has_the_same_answer(view: View, request: RouteRequest, seed: int) -> None:
    assert route(view, request, seed=seed) == route(view, request, seed=seed)


@given(views(), requests(is_sealed=True), SEEDS)
def test_a_sealed_request_goes_to_one_of_its_entries_only(view: View, request: RouteRequest, seed: int) -> None:
    decision = route(view, request, seed=seed)
    assert request.recipients is not None

    if isinstance(decision, Assignment):
        assert decision.entry == request.recipients[decision.provider_id].index
    if isinstance(decision, Refusal):
        knows_none = not any(entry.key_id in view.key_ids for entry in request.recipients.values())
        assert (decision.reason is Reason.KEYS_STALE) is knows_none


@given(views(), requests(), SEEDS, st.sampled_from(IDS))
def test_an_avoided_provider_serves_only_when_nobody_else_can(
    view: View, request: RouteRequest, seed: int, avoided: ProviderId
) -> None:
    request = replace(request, avoided=frozenset({avoided}))
    decision = route(view, request, seed=seed)

    if isinstance(decision, Assignment) and decision.provider_id == avoided:
        others = [each for each in eligible(view, request) if each.provider_id != avoided]
        best = min((cost_of(view, each, request) for each in others if has_room(each, request)), default=None)
        assert best is None or best >= cost_of(view, view.index[avoided], request) // 2


@given(candidates(IDS[0]), requests(), st.integers(0, 1000))
def test_cost_never_falls_with_load_or_bounds(candidate: Candidate, request: RouteRequest, more: int) -> None:
    def cost(**changes: int) -> int:
        changed = replace(candidate, **changes)
        return cost_of(view(changed), changed, request)

    base = cost()

    assert base >= 0
    for field in ("tokens_ahead", "failures_ms", "record_ms", "strain_ms", "link_ms", "load_ms"):
        assert cost(**{field: getattr(candidate, field) + more}) >= base
    assert cost(slots_left=0) >= base
    for field in ("prompt_tokens_max", "output_tokens_max"):
        larger = replace(request, **{field: getattr(request, field) + more})
        assert cost_of(view(candidate), candidate, larger) >= base


@given(candidates(IDS[0]), requests())
def test_what_concerns_others_changes_no_cost(candidate: Candidate, request: RouteRequest) -> None:
    plain = replace(request, avoided=frozenset(), excluded=frozenset(), cached={})
    base = cost_of(view(candidate), candidate, plain)

    for changes in ({"avoided": frozenset({IDS[1]})}, {"cached": {IDS[1]: 50}}, {"avoided_versions": frozenset({"x"})}):
        assert cost_of(view(candidate), candidate, replace(plain, **changes)) == base


@given(st.lists(SEEDS, min_size=60, max_size=60, unique=True))
def test_equal_providers_share_the_work(seeds: list[int]) -> None:
    fleet = view(*(candidate(each) for each in IDS[:3]))
    request = RouteRequest(model=ModelId("m"), prompt_tokens_max=10, output_tokens_max=10)

    chosen = [route(fleet, request, seed=number) for number in range(len(seeds))]

    assert {each.provider_id for each in chosen if isinstance(each, Assignment)} == set(IDS[:3])
