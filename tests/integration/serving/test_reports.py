"""What providers say about themselves, as the coordinator takes it: nobody pays for another's lies or restlessness."""

from __future__ import annotations

from hushnet.coordinator.fleet.link import Admitted, Rejected
from hushnet.coordinator.fleet.steadiness import JOINS_FREE, JOINS_MAX, WINDOW_S
from hushnet.coordinator.routing.model import Candidate
from hushnet.wire.frames import Capacity, ModelOffer
from support.fleet import MODEL, Network, ScriptedProvider, says


def candidate(network: Network, provider: ScriptedProvider) -> Candidate:
    return network.serving.fleet.view(MODEL).index[provider.provider_id]


def counted(network: Network) -> list[str]:
    """Count the doubts of this network's gate from now on."""
    doubts: list[str] = []
    network.gate._on_doubt = doubts.append
    return doubts


async def flap(provider: ScriptedProvider) -> Admitted | Rejected:
    """Join anew, as an agent does that has just fallen."""
    provider.closed = None
    provider.coordinator.clock.advance(0.05)  # type: ignore[attr-defined]
    outcome = await provider.join()
    if isinstance(outcome, Admitted):
        provider.close("connection_lost")
    return outcome


async def test_region_strain_and_the_links_round_trip_reach_the_router(network: Network) -> None:
    provider = await network.provider(region="us-east")
    network.gate.heartbeat(provider.provider_id, Capacity(slots=4, active=1, thermal="serious", cpu=1.0), link_ms=35)

    found = candidate(network, provider)

    assert found.traits.region == "us-east"
    assert found.strain_ms == 8_000 + 1_500
    assert found.link_ms == 35
    assert found.slots_left == 3


async def test_a_model_that_is_not_loaded_costs_its_loading(network: Network) -> None:
    offer = ModelOffer(model=MODEL, context_tokens=8192, slots=4, is_loaded=False, load_s=2.5)
    provider = await network.provider(models=[offer])

    assert candidate(network, provider).load_ms == 2_500


async def test_doubts_are_counted_once_as_long_as_the_same_lie_is_told(network: Network) -> None:
    doubts = counted(network)
    provider = await network.provider()
    for _ in range(5):
        provider.report(slots=2**20, thermal="glowing")
    assert sorted(doubts) == ["report_slots", "report_thermal"]
    provider.report(slots=4, thermal="")
    provider.report(slots=2**20)
    assert doubts.count("report_slots") == 2

    live = network.serving.fleet.get(provider.provider_id)
    assert live is not None
    assert live.findings == {"report_slots": 2, "report_thermal": 1}
    assert candidate(network, provider).slots_left <= 1024


async def test_tools_of_a_provider_whose_own_check_failed_are_not_offered_to_anybody(network: Network) -> None:
    broken = ModelOffer(model=MODEL, context_tokens=8192, slots=4, features=("tools",), is_template_sound=False)
    await network.provider(models=[broken], part=says("never"))
    key = await network.consumer()

    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    refused = await network.chat(key=key, tools=[tool]).finished()
    plain = await network.chat(key=key).finished()

    assert refused.status == 400
    assert plain.status == 200


async def test_whoever_shows_anothers_statement_is_not_taken_for_it(network: Network) -> None:
    honest = await network.provider()
    before = candidate(network, honest)
    thief = ScriptedProvider(network, account=network.new_account())
    own_key = thief.signer
    thief.keyring, thief.statement = honest.keyring, honest.statement
    nonce = b"n" * 32
    registration = thief.register(nonce)
    assert thief.signer is own_key

    outcome = await network.gate.admit(registration, nonce=nonce, link=thief, peer="127.0.0.1")

    assert isinstance(outcome, Rejected)
    assert outcome.code == "challenge_failed"
    assert candidate(network, honest) is before
    assert network.serving.fleet.joins(honest.provider_id) == 1


async def test_a_statement_from_the_future_does_not_join(network: Network) -> None:
    early = ScriptedProvider(network, account=network.new_account())
    early.statement = early.keyring.rotate(network.now + 1_000)

    outcome = await early.join()

    assert isinstance(outcome, Rejected)
    assert outcome.code == "statement_not_yet_valid"
    assert "clock" in outcome.hint


async def test_a_provider_that_flaps_comes_after_one_that_stays_until_it_has_stayed_too(network: Network) -> None:
    doubts = counted(network)
    steady = await network.provider(part=says("steady"), decode_tokens_s=20.0)
    restless = ScriptedProvider(network, account=network.new_account(), part=says("restless"), decode_tokens_s=60.0)
    for _ in range(JOINS_FREE + 3):
        await flap(restless)
        network.clock.advance(1)
    restless.closed = None
    assert isinstance(await restless.join(), Admitted)
    key = await network.consumer()

    assert (await network.chat(key=key).finished()).text == "steady"
    assert candidate(network, restless).failures_ms > 0
    assert candidate(network, steady).failures_ms == 0
    assert doubts == ["unsteady"] * 4
    live = network.serving.fleet.get(restless.provider_id)
    assert live is not None
    assert network.serving.fleet.doubts(live) == {"unsteady"}
    assert network.serving.fleet.joins(restless.provider_id) == JOINS_FREE + 4

    network.clock.advance(WINDOW_S + 1)
    restless.report()
    assert candidate(network, restless).failures_ms == 0
    assert (await network.chat(key=key).finished()).text == "restless"


async def test_a_provider_that_joins_without_end_is_turned_away_for_a_while_and_nobody_else(network: Network) -> None:
    doubts = counted(network)
    restless = ScriptedProvider(network, account=network.new_account())
    outcomes = [await flap(restless) for _ in range(JOINS_MAX + 5)]

    assert all(isinstance(outcome, Admitted) for outcome in outcomes[:JOINS_MAX])
    assert all(isinstance(outcome, Rejected) and outcome.code == "unsteady" for outcome in outcomes[JOINS_MAX:])
    assert doubts.count("unsteady_refused") == 5
    sibling = await network.provider(account=restless.account)
    assert candidate(network, sibling).failures_ms == 0

    network.clock.advance(WINDOW_S + 1)
    assert isinstance(await flap(restless), Admitted)
