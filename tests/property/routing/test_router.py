"""Laws of the router, whatever the fleet looks like."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hushnet.attestation.tiers import Tier
from hushnet.coordinator.routing.cost import cost_ms
from hushnet.coordinator.routing.model import (
    Assignment,
    Candidate,
    Entry,
    FleetView,
    Reason,
    Refusal,
    RouteRequest,
    Wait,
)
from hushnet.coordinator.routing.router import TIE_MS, TIE_SHARE, WAIT_S_MAX, WAIT_S_MIN, has_room, obstacle, route
from hushnet.foundation.ids import ModelId, ProviderId

FEATURES = st.frozensets(st.sampled_from(["tools", "vision", "json_schema"]), max_size=3)
IDS = [ProviderId(f"{number:064x}") for number in range(12)]
KEYS = [bytes([number]) * 16 for number in range(8)]
SEEDS = st.integers(0, 2**64)


@st.composite
def candidates(draw: st.DrawFn, provider_id: ProviderId) -> Candidate:
    slots = draw(st.integers(1, 8))
    return Candidate(
        provider_id=provider_id,
        tier=draw(st.sampled_from(Tier)),
        features=draw(FEATURES),
        context_tokens=draw(st.integers(0, 8192)),
        key_ids=draw(st.frozensets(st.sampled_from(KEYS), max_size=3)),
        slots=slots,
        slots_left=draw(st.integers(0, slots)),
        tokens_ahead=draw(st.integers(0, 100_000)),
        tokens_left=draw(st.none() | st.integers(0, 100_000)),
        decode_tokens_s=draw(st.floats(0, 1000)),
        prefill_tokens_s=draw(st.floats(0, 1000)),
        penalty_ms=draw(st.integers(0, 10_000)),
        is_elsewhere=draw(st.booleans()),
    )


@st.composite
def views(draw: st.DrawFn) -> FleetView:
    ids = draw(st.lists(st.sampled_from(IDS), unique=True, max_size=8))
    fleet = {provider_id: draw(candidates(provider_id)) for provider_id in ids}
    return FleetView(fleet, frozenset().union(*(each.key_ids for each in fleet.values())))


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
        excluded=draw(st.frozensets(st.sampled_from(IDS), max_size=4)),
        avoided=draw(st.frozensets(st.sampled_from(IDS), max_size=4)),
    )


def eligible(view: FleetView, request: RouteRequest) -> list[Candidate]:
    found = [each for each in view.candidates.values() if obstacle(each, request) is None]
    if request.recipients is not None:
        found = [
            each
            for each in found
            if each.provider_id in request.recipients and request.recipients[each.provider_id].key_id in each.key_ids
        ]
    return found


@given(views(), requests() | requests(is_sealed=True), SEEDS)
def test_the_choice_passes_every_filter_and_has_room(view: FleetView, request: RouteRequest, seed: int) -> None:
    decision = route(view, request, seed=seed)

    if isinstance(decision, Assignment):
        chosen = view.candidates[decision.provider_id]
        assert chosen in eligible(view, request)
        assert has_room(chosen, request)
        assert request.features <= chosen.features
        assert chosen.tier >= request.floor
        assert chosen.provider_id not in request.excluded


@given(views(), requests() | requests(is_sealed=True), SEEDS)
def test_nobody_who_passes_is_cheaper_by_more_than_a_tie(view: FleetView, request: RouteRequest, seed: int) -> None:
    decision = route(view, request, seed=seed)

    if isinstance(decision, Assignment):
        costs = [cost_ms(each, request) for each in eligible(view, request) if has_room(each, request)]
        assert decision.cost_ms <= min(costs) + max(TIE_MS, int(min(costs) * TIE_SHARE))


@given(views(), requests() | requests(is_sealed=True), SEEDS)
def test_a_request_waits_exactly_when_somebody_could_serve_it_and_nobody_has_room(
    view: FleetView, request: RouteRequest, seed: int
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
def test_the_same_question_has_the_same_answer(view: FleetView, request: RouteRequest, seed: int) -> None:
    assert route(view, request, seed=seed) == route(view, request, seed=seed)


@given(views(), requests(is_sealed=True), SEEDS)
def test_a_sealed_request_goes_to_one_of_its_entries_only(view: FleetView, request: RouteRequest, seed: int) -> None:
    decision = route(view, request, seed=seed)
    assert request.recipients is not None

    if isinstance(decision, Assignment):
        assert decision.entry == request.recipients[decision.provider_id].index
    if isinstance(decision, Refusal):
        knows_none = not any(entry.key_id in view.key_ids for entry in request.recipients.values())
        assert (decision.reason is Reason.KEYS_STALE) is knows_none


@given(views(), requests(), SEEDS, st.sampled_from(IDS))
def test_an_avoided_provider_serves_only_when_nobody_else_can(
    view: FleetView, request: RouteRequest, seed: int, avoided: ProviderId
) -> None:
    request = replace(request, avoided=frozenset({avoided}))
    decision = route(view, request, seed=seed)

    if isinstance(decision, Assignment) and decision.provider_id == avoided:
        others = [each for each in eligible(view, request) if each.provider_id != avoided]
        best = min((cost_ms(each, request) for each in others if has_room(each, request)), default=None)
        assert best is None or best >= cost_ms(view.candidates[avoided], request) // 2


@given(candidates(IDS[0]), requests(), st.integers(0, 1000))
def test_cost_never_falls_with_load_or_bounds(candidate: Candidate, request: RouteRequest, more: int) -> None:
    base = cost_ms(candidate, request)

    assert base >= 0
    assert cost_ms(replace(candidate, tokens_ahead=candidate.tokens_ahead + more), request) >= base
    assert cost_ms(replace(candidate, penalty_ms=candidate.penalty_ms + more), request) >= base
    assert cost_ms(replace(candidate, slots_left=0), request) >= base
    assert cost_ms(candidate, replace(request, prompt_tokens_max=request.prompt_tokens_max + more)) >= base
    assert cost_ms(candidate, replace(request, output_tokens_max=request.output_tokens_max + more)) >= base


@given(st.lists(SEEDS, min_size=60, max_size=60, unique=True))
def test_equal_providers_share_the_work(seeds: list[int]) -> None:
    fleet = {each: Candidate(provider_id=each, context_tokens=4096, slots=4, slots_left=4) for each in IDS[:3]}
    request = RouteRequest(model=ModelId("m"), prompt_tokens_max=10, output_tokens_max=10)

    chosen = [route(FleetView(fleet), request, seed=number) for number in range(len(seeds))]

    assert {each.provider_id for each in chosen if isinstance(each, Assignment)} == set(IDS[:3])
