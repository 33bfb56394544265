"""Whatever a provider reports, its candidate is sane, and nobody else's changes."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from hushnet.attestation.tiers import Tier
from hushnet.coordinator.fleet.beliefs import BeliefPolicy
from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.coordinator.fleet.load import Load
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.coordinator.fleet.store import Owner
from hushnet.coordinator.routing.cost import AVOIDED_MS, cost_ms, forecast
from hushnet.coordinator.routing.model import Assignment, RouteRequest
from hushnet.coordinator.routing.router import route
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.ids import AccountId, ApiKeyId, ModelId, ProviderId
from hushnet.sealing.statements import SerialMemory, verify_statement
from hushnet.wire.codec import decode_provider_frame, encode_control
from hushnet.wire.frames import Capacity, Heartbeat, ModelCapacity, ModelOffer
from support.links import NETWORK, identity
from support.routing import numbered

M, N = ModelId("m"), ModelId("n")
REQUEST = RouteRequest(model=M, prompt_tokens_max=3_000, output_tokens_max=500)
STATEMENT = identity().statement()
VERIFIED = verify_statement(STATEMENT, network=NETWORK, now=1_763_690_001, provider_id=None, serials=SerialMemory())

counts = st.integers(0, 2**20) | st.sampled_from([0, 1, 2**20])
tokens = st.integers(0, 2**40) | st.sampled_from([0, 1, 2**40])
memory = st.integers(0, 2**60)
rates = st.floats(0.0, 1e7, allow_subnormal=True) | st.sampled_from([0.0, 5e-324, 1e7])
parts = st.builds(
    ModelCapacity,
    model=st.sampled_from([M, N]),
    slots=counts,
    active=counts,
    queued=counts,
    decode_tokens_s=rates,
    prefill_tokens_s=rates,
)
reports = st.builds(
    Capacity,
    slots=counts,
    active=counts,
    queued=counts,
    tokens_active=tokens,
    tokens_queued=tokens,
    tokens_max=tokens,
    decode_tokens_s=rates,
    prefill_tokens_s=rates,
    memory_bytes_free=memory,
    memory_bytes_total=memory,
    load=st.floats(0.0, 1000.0),
    cpu=st.floats(0.0, 1.0),
    gpu_memory_bytes_used=memory,
    gpu_memory_bytes_total=memory,
    thermal=st.from_regex(r"\A[a-z_]{0,32}\Z") | st.sampled_from(["fair", "serious", "critical"]),
    per_model=st.lists(parts, max_size=4).map(tuple),
)
offers = st.builds(
    ModelOffer,
    model=st.just(M),
    context_tokens=st.integers(1, 2**24),
    features=st.lists(st.sampled_from(["tools", "json_schema", "vision", "odd"]), max_size=4).map(tuple),
    slots=st.integers(1, 4096),
    is_loaded=st.booleans(),
    load_s=st.floats(0.0, 86_400.0),
    is_template_sound=st.sampled_from([None, True, False]),
)


def joined(fleet: Fleet, number: int, *, capacity: Capacity, models: Sequence[ModelOffer]) -> LiveProvider:
    provider = LiveProvider(
        provider_id=numbered(number),
        owner=Owner(AccountId(number), ApiKeyId(number)),
        link=None,  # type: ignore[arg-type]  # nothing is dispatched
        agent_version="1.0",
        statement=STATEMENT,
        verified=VERIFIED,
        tier=Tier.SELF_SIGNED,
        load=Load(capacity),
        connected_ms=number,
        policy=fleet.policy,
    )
    provider.offer(models)
    fleet.join(provider)
    return provider


def honest(decode: float) -> Capacity:
    return Capacity(slots=4, active=0, decode_tokens_s=decode, prefill_tokens_s=10 * decode)


PLAIN = ModelOffer(model=M, context_tokens=8192, slots=4)


@settings(deadline=None, max_examples=80)
@given(report=reports, offer=offers, taken=st.integers(0, 3))
def test_a_candidate_is_sane_whatever_was_reported(report: Capacity, offer: ModelOffer, taken: int) -> None:
    again = decode_provider_frame(encode_control(Heartbeat(capacity=report)))
    assert isinstance(again, Heartbeat)  # within the frame's bounds, so a peer may send it
    fleet = Fleet(ManualClock())
    provider = joined(fleet, 1, capacity=report, models=[offer])
    for _ in range(taken):
        fleet.take(provider.provider_id, REQUEST)
    fleet.reported(provider, again.capacity)

    candidate = fleet.view(M).index[provider.provider_id]

    limits = BeliefPolicy()
    assert 0 <= candidate.slots_left <= candidate.slots <= limits.slots_max
    assert candidate.tokens_left is None or 0 <= candidate.tokens_left <= limits.tokens_max
    terms = (candidate.load_ms, candidate.link_ms, candidate.strain_ms, candidate.failures_ms, candidate.record_ms)
    assert all(term >= 0 for term in terms)
    view = forecast(candidate)
    assert all(isfinite(part) and part >= 0 for part in msgspec.structs.astuple(view))
    assert 0 <= cost_ms(candidate, view, REQUEST) < AVOIDED_MS


@settings(deadline=None, max_examples=40)
@given(
    lies=st.lists(reports, min_size=1, max_size=5),
    offer=offers,
    speeds=st.lists(st.floats(30.0, 100.0), min_size=6, max_size=8),
)
def test_a_liar_changes_nobody_elses_candidate(lies: list[Capacity], offer: ModelOffer, speeds: list[float]) -> None:
    fleet = Fleet(ManualClock())
    others = [
        joined(fleet, number, capacity=honest(speed), models=[PLAIN]) for number, speed in enumerate(speeds, start=2)
    ]
    before = {each.provider_id: fleet.view(M).index[each.provider_id] for each in others}
    liar = joined(fleet, 1, capacity=lies[0], models=[offer])
    for lie in lies:
        fleet.reported(liar, lie)
        for each in others:
            fleet.reported(each, each.load.capacity)

    for each in others:
        assert fleet.view(M).index[each.provider_id] == before[each.provider_id]
        assert not fleet.doubts(each)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32), speeds=st.lists(st.floats(30.0, 60.0), min_size=5, max_size=9))
def test_whoever_claims_boundless_speed_does_not_get_everything(seed: int, speeds: list[float]) -> None:
    fleet = Fleet(ManualClock())
    for number, speed in enumerate(speeds, start=2):
        joined(fleet, number, capacity=msgspec.structs.replace(honest(speed), slots=64), models=[_wide(64)])
    endless = Capacity(slots=2**20, active=0, decode_tokens_s=1e7, prefill_tokens_s=1e7)
    liar = joined(fleet, 1, capacity=endless, models=[_wide(4096)])
    fleet.reported(liar, endless)

    chosen: list[ProviderId] = []
    for number in range(60):
        decision = route(fleet.view(M), REQUEST, seed=seed + number)
        assert isinstance(decision, Assignment)
        chosen.append(decision.provider_id)
        fleet.take(decision.provider_id, REQUEST)

    assert chosen.count(liar.provider_id) < 40
    assert len(set(chosen)) > 2


def _wide(slots: int) -> ModelOffer:
    return ModelOffer(model=M, context_tokens=8192, slots=slots)


def test_the_speed_of_a_liar_is_bounded_by_what_the_others_show() -> None:
    fleet = Fleet(ManualClock())
    for number in range(2, 9):
        joined(fleet, number, capacity=honest(40.0), models=[PLAIN])
    liar = joined(fleet, 1, capacity=Capacity(slots=4, active=0, decode_tokens_s=1e7), models=[PLAIN])

    rate: Any = fleet.view(M).index[liar.provider_id].decode_tokens_s

    assert 40.0 < rate < 5 * 40.0
    assert fleet.doubts(liar) == {"report_rate"}
