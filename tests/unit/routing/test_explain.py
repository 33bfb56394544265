"""Explanations of single decisions: the words and figures that an operator reads, and which are shown when not all fit."""

from __future__ import annotations

from msgspec.structs import replace

from hushnet.attestation.tiers import Tier
from hushnet.coordinator.routing.explain import Survey, explain
from hushnet.coordinator.routing.explanation import Note, Outcome
from hushnet.coordinator.routing.model import Entry, Preferences, Reason, SelfRoute, Term
from hushnet.coordinator.routing.router import COSTED_MAX
from hushnet.coordinator.routing.summary import GROUPS_SHOWN_MAX, Tally
from hushnet.foundation.ids import AccountId, ModelId
from support.routing import REQUEST, A, B, C, candidate, numbered, view


def test_a_loser_by_cost_shows_by_how_much_and_which_part() -> None:
    told = explain(view(candidate(A), candidate(B, tokens_ahead=2000)), REQUEST, seed=0)
    winner, loser = told.candidates

    assert (winner.provider_id, winner.reason, winner.behind_ms) == (A, None, None)
    assert winner.terms == {Term.PREFILL: 85, Term.DECODE: 2500}
    assert (loser.reason, loser.behind_ms, loser.note) == (Reason.COST, 12_500, None)
    assert loser.terms[Term.QUEUE] == 12_500
    assert loser.facts.tokens_ahead == 2000


def test_near_equals_are_tied_and_each_seed_takes_one() -> None:
    fleet = view(candidate(A), candidate(B), candidate(C))
    told = [explain(fleet, REQUEST, seed=seed) for seed in range(3)]

    assert {each.provider_id for each in told} == {A, B, C}
    assert all(loser.note is Note.TIED for each in told for loser in each.candidates[1:])


def test_an_empty_fleet_is_explained_too() -> None:
    told = explain(view(), REQUEST, seed=0)

    assert (told.outcome, told.reason, told.total) == (Outcome.REFUSED, Reason.MODEL_UNAVAILABLE, 0)
    assert told.candidates == ()


def test_a_busy_fleet_shows_what_everybody_would_cost() -> None:
    told = explain(view(candidate(A, slots_left=0, tokens_ahead=400)), REQUEST, seed=0)

    assert (told.outcome, told.lost) == (Outcome.WAITING, {Reason.BUSY: 1})
    assert told.after_s is not None
    assert told.candidates[0].cost_ms > 0


def test_own_machines_first_is_said_of_the_cheaper_others() -> None:
    request = replace(REQUEST, preferences=Preferences(own=SelfRoute(AccountId(7), is_only=False)))
    told = explain(view(candidate(A, decode_tokens_s=5.0, owner=AccountId(7)), candidate(B)), request, seed=0)

    assert told.provider_id == A
    assert (told.candidates[1].reason, told.candidates[1].note) == (Reason.PROVIDER_UNAVAILABLE, Note.OWN_FIRST)
    assert told.candidates[1].behind_ms is None


def test_a_sealed_request_says_who_is_not_named_and_whose_key_is_gone() -> None:
    key, old = b"k" * 16, b"o" * 16
    fleet = view(candidate(A, key_ids=frozenset({key})), candidate(B, key_ids=frozenset({key})), candidate(C))
    told = explain(fleet, replace(REQUEST, recipients={A: Entry(0, key), C: Entry(1, old)}), seed=0)

    assert told.provider_id == A
    assert {each.provider_id: each.reason for each in told.candidates[1:]} == {
        B: Reason.RECIPIENTS_UNAVAILABLE,
        C: Reason.KEYS_STALE,
    }


def test_of_a_large_fleet_the_cheapest_and_one_of_each_reason_are_listed() -> None:
    able = [candidate(numbered(number), tokens_ahead=number * 10) for number in range(60)]
    busy = [candidate(numbered(100 + number), slots_left=0) for number in range(30)]
    plain = [candidate(numbered(200 + number), tier=Tier.NONE) for number in range(10)]
    told = explain(view(*able, *busy, *plain), replace(REQUEST, floor=Tier.SELF_SIGNED), seed=1, limit=8)
    reasons = [each.reason for each in told.candidates]

    assert reasons == [None, *[Reason.COST] * 5, Reason.BUSY, Reason.TRUST_UNAVAILABLE]
    assert [each.cost_ms for each in told.candidates[1:6]] == sorted(each.cost_ms for each in told.candidates[1:6])
    assert told.unlisted == {Reason.COST: 54, Reason.BUSY: 29, Reason.TRUST_UNAVAILABLE: 9}


def test_with_room_for_one_the_chosen_is_listed() -> None:
    told = explain(view(*(candidate(numbered(number)) for number in range(30))), REQUEST, seed=5, limit=1)

    assert [each.provider_id for each in told.candidates] == [told.provider_id]


def test_a_cheaper_one_that_the_decision_did_not_come_to_is_said_to_be_unseen() -> None:
    # Ordinary requests are long to write: these rank last by that, though this prompt's readers are the fastest of all.
    request = replace(REQUEST, prompt_tokens_max=3_000, output_tokens_max=1)
    plain = [candidate(numbered(number)) for number in range(COSTED_MAX + 20)]
    reader = candidate(numbered(99), decode_tokens_s=10.0, prefill_tokens_s=20_000.0)
    told = explain(view(*plain, reader), request, seed=0, limit=60)
    passed_over = next(each for each in told.candidates if each.provider_id == reader.provider_id)

    assert told.provider_id != reader.provider_id
    assert (passed_over.reason, passed_over.note) == (Reason.COST, Note.UNSEEN)
    assert passed_over.behind_ms is not None
    assert passed_over.behind_ms < 0


def test_a_look_in_parts_finds_the_same_though_the_fleet_changes_meanwhile() -> None:
    fleet = view(*(candidate(numbered(number), tokens_ahead=number) for number in range(40)))
    whole = explain(fleet, REQUEST, seed=3, limit=40)
    survey = Survey(fleet, REQUEST, seed=3, limit=40)
    for number in range(0, survey.total, 7):
        survey.look(7)
        fleet.index.remove(numbered(number))
        fleet.index.put(candidate(numbered(number + 1), slots_left=0))

    assert survey.explanation() == whole


def test_a_summary_counts_slots_tokens_and_kinds() -> None:
    fleet = view(
        candidate(A, slots_left=3, tokens_left=1000, region="de"),
        candidate(B, slots_left=0, tokens_left=50, region="de", is_elsewhere=True),
        candidate(C, region="us", decode_tokens_s=0.0),
    )
    tally = Tally(ModelId("m"), fleet.index)
    tally.add(fleet.index.values())
    found = tally.summary()

    assert (found.candidates, found.ready, found.full, found.elsewhere) == (3, 2, 1, 1)
    assert (found.slots, found.slots_free, found.tokens_free) == (12, 7, 1050)
    assert 36 <= found.decode_tokens_s <= 44
    assert [(each.region, each.candidates, each.ready) for each in found.groups] == [("de", 2, 1), ("us", 1, 1)]
    assert found.groups_unlisted == 0


def test_a_summary_of_many_kinds_shows_the_largest() -> None:
    fleet = view(
        *(candidate(numbered(number), build=f"{number:064x}") for number in range(GROUPS_SHOWN_MAX + 5)),
        *(candidate(numbered(900 + number), build="f" * 64) for number in range(3)),
    )
    tally = Tally(ModelId("m"), fleet.index)
    tally.add(fleet.index.values())
    found = tally.summary()

    assert len(found.groups) == GROUPS_SHOWN_MAX
    assert found.groups[0].candidates == 3
    assert found.groups_unlisted == 6
    assert found.tokens_free is None
