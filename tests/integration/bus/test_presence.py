"""What one worker knows of the other's providers, and what an operator changes on one and means on all."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from functools import partial
from pathlib import Path

import msgspec
import pytest

from hushnet.attestation.tiers import Tier
from hushnet.coordinator.bus.frames import (
    Beat,
    BudgetsChanged,
    Claimed,
    KeysChanged,
    Present,
    PricesChanged,
    ProviderBarred,
)
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.foundation.ids import AccountId, ApiKeyId, ModelId, ProviderId
from hushnet.wire.frames import Capacity, ModelOffer
from support.fleet import MODEL, Network, ScriptedProvider, document_of, says
from support.mesh import QUICK, RawPeer, folder, until
from support.pair import Worker, pair, worker_of

Both = tuple[Worker, Worker]


def live(worker: Worker, provider: ScriptedProvider) -> LiveProvider:
    found = worker.network.serving.fleet.get(provider.provider_id)
    assert found is not None
    return found


def slots_left(worker: Worker, provider: ScriptedProvider) -> int:
    candidate = worker.network.serving.fleet.view(MODEL).index.get(provider.provider_id)
    return -1 if candidate is None else candidate.slots_left


def twin_of(provider: ScriptedProvider, worker: Worker) -> ScriptedProvider:
    """Return another connection of the same provider, to another worker."""
    twin = ScriptedProvider(worker.network, account=provider.account)
    twin.signer, twin.keyring, twin.statement = provider.signer, provider.keyring, provider.statement
    return twin


async def test_a_provider_is_known_on_the_other_worker_with_all_that_it_has_proved(both: Both) -> None:
    here, there = both
    provider = await there.network.provider(slots=3)
    await here.knows(provider)
    mine, theirs = live(here, provider), live(there, provider)
    assert mine.is_elsewhere
    assert not theirs.is_elsewhere
    assert mine.verified == theirs.verified
    assert mine.owner == theirs.owner
    assert (mine.tier, mine.connected_ms) == (Tier.SELF_SIGNED, theirs.connected_ms)
    assert mine.offers == theirs.offers
    assert slots_left(here, provider) == 3
    answer = await here.network.get("/v1/providers/attestation")
    [entry] = answer.json["providers"]
    assert entry["provider"] == provider.provider_id
    assert entry["last_challenge"]["missed"] == 0
    listed = await here.network.get(f"/v1/sealing/providers?model={MODEL}")
    assert [each["provider"] for each in listed.json["providers"]] == [provider.provider_id]


def shown(worker: Worker, provider: ScriptedProvider) -> dict[str, object]:
    """The candidate as the router of that worker sees it, but for where it is."""
    candidate = worker.network.serving.fleet.view(MODEL).index[provider.provider_id]
    return {**msgspec.structs.asdict(candidate), "is_elsewhere": None}


async def test_a_candidate_is_the_same_on_every_worker(both: Both) -> None:
    here, there = both
    offer = ModelOffer(
        model=MODEL,
        context_tokens=8192,
        slots=4,
        is_loaded=False,
        load_s=7.0,
        features=("tools",),
        is_template_sound=False,
    )
    provider = await there.network.provider(region="de", models=[offer])
    await here.knows(provider)
    assert shown(here, provider) == shown(there, provider)
    strained = report_of(provider, thermal="serious", cpu=0.9, slots=2**20, decode_tokens_s=33.0)
    there.network.gate.heartbeat(provider.provider_id, strained, link_ms=42)
    await until(lambda: shown(here, provider)["link_ms"] == 42)
    assert shown(here, provider) == shown(there, provider)
    assert shown(here, provider)["strain_ms"] != 0
    assert live(here, provider).region == "de"


def report_of(provider: ScriptedProvider, **changes: object) -> Capacity:
    return msgspec.structs.replace(provider.capacity, **changes)


async def test_a_provider_that_flaps_is_set_back_on_every_worker(both: Both) -> None:
    here, there = both
    provider = ScriptedProvider(there.network, account=there.network.new_account())
    for time in range(5):
        provider.closed = None
        await provider.join()
        await here.knows(provider)
        if time < 4:
            provider.close("connection_lost")
            await here.misses(provider)
            for worker in both:
                worker.network.clock.advance(1)
    assert shown(here, provider)["failures_ms"] == shown(there, provider)["failures_ms"] == 4_000
    peer = here.bus.mesh.peer(2)
    assert peer is not None
    peer.drop("test")
    await here.knows(provider)
    assert shown(here, provider)["failures_ms"] == 4_000  # hearing of the same link again is no join


async def test_what_changes_is_heard(both: Both) -> None:
    here, there = both
    provider = await there.network.provider(slots=3)
    await here.knows(provider)
    gate = there.network.gate
    old_keys = live(here, provider).key_ids
    provider.rotate()
    await until(lambda: live(here, provider).verified == live(there, provider).verified)
    assert live(here, provider).key_ids > old_keys
    offer = ModelOffer(model=ModelId("other"), context_tokens=4096, slots=2)
    gate.models_changed(provider.provider_id, [offer])
    await until(lambda: set(live(here, provider).offers) == {ModelId("other")})
    gate.models_changed(provider.provider_id, provider.offers)
    provider.report(active=2)
    await until(lambda: slots_left(here, provider) == 1)
    gate.draining(provider.provider_id)
    await until(lambda: not live(here, provider).is_routable)
    provider.close("drained")
    await here.misses(provider)


async def test_a_worker_that_comes_later_is_told_of_everybody_and_of_older_keys(template: Path, tmp_path: Path) -> None:
    with folder() as path:
        databases = [tmp_path / "1.db", tmp_path / "2.db"]
        for database in databases:
            shutil.copyfile(template, database)
        async with Network.open(databases[0]) as first, worker_of(first, path, 1) as there:
            providers = [await first.provider() for _ in range(5)]
            providers[0].rotate()
            async with Network.open(databases[1]) as second, worker_of(second, path, 2) as here:
                for provider in providers:
                    await here.knows(provider)
                assert live(here, providers[0]).keys == live(there, providers[0]).keys
                assert len(live(here, providers[0]).key_ids) > len(live(here, providers[1]).key_ids)


async def test_open_slots_of_every_worker_are_counted_once_everywhere(both: Both) -> None:
    here, there = both
    provider = await there.network.provider(slots=4)
    await here.knows(provider)
    keys = [await here.network.consumer(), await there.network.consumer()]
    exchanges = [here.network.chat(key=keys[0]), there.network.chat(key=keys[1]), here.network.chat(key=keys[0])]
    await provider.attempt(3)
    await until(lambda: slots_left(here, provider) == slots_left(there, provider) == 1)
    provider.report(active=3)
    await until(lambda: slots_left(here, provider) == slots_left(there, provider) == 1)
    for served in list(provider.served):
        says("x")(served)
    for exchange in exchanges:
        await exchange.finished()
    provider.report(active=0)
    await until(lambda: slots_left(here, provider) == slots_left(there, provider) == 4)


async def test_many_changes_of_one_pass_are_told_once(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = both
    provider = await there.network.provider(slots=4)
    await here.knows(provider)
    told = 0
    fleet = here.network.serving.fleet
    original = fleet.told

    def counting(*arguments: object) -> None:
        nonlocal told
        told += 1
        original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(fleet, "told", counting)
    for active in range(1, 4):
        provider.report(active=active)
    await until(lambda: slots_left(here, provider) == 1)
    assert told == 1


async def test_a_provider_of_ones_own_worker_is_preferred_when_near_equal_and_not_when_slower(both: Both) -> None:
    here, there = both
    near = await here.network.provider(part=says("near"), slots=64)
    far = await there.network.provider(part=says("far"), slots=64)
    await here.knows(far)
    key = await here.network.consumer()
    for _ in range(6):
        await here.network.chat(key=key).finished()
    assert (len(near.served), len(far.served)) == (6, 0)
    near.report(decode_tokens_s=10)
    exchange = await here.network.chat(key=key).finished()
    assert exchange.text == "far"


async def test_a_provider_that_dials_again_on_the_other_worker_replaces_its_old_link(both: Both) -> None:
    here, there = both
    provider = await there.network.provider()
    await here.knows(provider)
    running = there.network.chat(key=await there.network.consumer())
    await provider.attempt()
    again = twin_of(provider, here)
    await again.join()
    await there.knows(provider)
    assert provider.closed == "replaced"
    assert again.closed is None
    assert not live(here, provider).is_elsewhere
    # What ran on the old link is tried again on the new one.
    says("again")(await again.attempt())
    await running.finished()
    assert running.text == "again"


async def test_two_links_of_one_provider_in_the_same_moment_end_as_one_on_every_worker(both: Both) -> None:
    here, there = both
    provider = ScriptedProvider(here.network, account=here.network.new_account())
    again = twin_of(provider, there)
    await asyncio.gather(provider.join(), again.join())
    await until(lambda: (provider.closed or again.closed) == "replaced")
    winner, loser = (again, provider) if provider.closed else (provider, again)
    await until(lambda: live(here, provider).is_elsewhere != live(there, provider).is_elsewhere)
    assert (winner.closed, loser.closed) == (None, "replaced")
    assert winner is again  # admitted in the same millisecond: the greater worker's counts


async def test_a_link_that_is_closed_from_elsewhere_ends_where_it_is(both: Both) -> None:
    here, there = both
    provider = await there.network.provider()
    await here.knows(provider)
    live(here, provider).link.close("token_revoked")
    assert here.network.serving.fleet.get(provider.provider_id) is None
    await until(lambda: provider.closed == "token_revoked")
    assert there.network.serving.fleet.get(provider.provider_id) is None


async def test_a_lost_worker_takes_its_providers_with_it_and_brings_them_back(both: Both) -> None:
    here, there = both
    provider = await there.network.provider()
    await here.knows(provider)
    peer = here.bus.mesh.peer(2)
    assert peer is not None
    peer.drop("test")
    assert here.network.serving.fleet.get(provider.provider_id) is None
    await here.knows(provider)


async def test_challenges_are_sent_by_the_worker_with_the_link_alone(both: Both) -> None:
    here, there = both
    provider = await there.network.provider()
    await here.knows(provider)
    before = len(provider.challenges)
    here.network.advance(400)
    assert len(provider.challenges) == before
    there.network.advance(400)
    assert len(provider.challenges) == before + 1
    provider.ignores_challenges = True
    for _ in range(12):
        there.network.advance(100)
    provider.report()
    await until(lambda: live(here, provider).tier is Tier.NONE)


async def test_a_statement_that_does_not_verify_is_not_believed_from_another_worker_either(
    template: Path, tmp_path: Path
) -> None:
    database = tmp_path / "1.db"
    shutil.copyfile(template, database)
    with folder() as path:
        async with Network.open(database) as network, worker_of(network, path, 1) as worker:
            provider = await network.provider()
            raw = await RawPeer.dial(path, 1, as_worker=2)
            while not isinstance(present := await raw.hear(), Present):
                assert isinstance(present, Beat) or present is not None
            stranger = ScriptedProvider(network, account=network.new_account())
            statement = document_of(stranger.statement.to_json_object())
            claims = {name: getattr(present, name) for name in present.__struct_fields__}
            claims |= {"connected_ms": present.connected_ms + 10, "statement": statement}
            raw.say(Present(**claims))
            raw.say(Present(**{**claims, "provider_id": "f" * 64}))
            own = {**claims, "provider_id": stranger.provider_id}
            raw.say(Present(**own))
            await worker.knows(stranger)
            assert not live(worker, provider).is_elsewhere
            assert network.serving.fleet.get(ProviderId("f" * 64)) is None
            raw.close()


# News.


async def test_news_is_acted_on_before_the_one_who_tells_goes_on(both: Both) -> None:
    here, there = both
    keys = partial(KeysChanged, account_id=AccountId(7), key_id=ApiKeyId(8), is_barred=True)
    await here.bus.tell(keys)
    assert there.news.keys == [(7, 8, True)]
    await here.bus.tell(partial(KeysChanged, account_id=AccountId(7), key_id=None, is_barred=False))
    assert there.news.keys[1:] == [(7, None, False)]
    await here.bus.tell(partial(ProviderBarred, provider_id="a" * 64, reason="abuse"))
    await here.bus.tell(partial(ProviderBarred, provider_id="a" * 64, reason=None))
    assert there.news.suspensions == [("a" * 64, "abuse"), ("a" * 64, None)]
    await here.bus.tell(PricesChanged)
    assert there.news.prices == 1
    assert here.news.prices == 0
    await here.bus.tell(partial(BudgetsChanged, account_id=7))
    assert there.news.budgets == [7]


async def test_metrics_of_all_workers_are_on_the_page_of_any(both: Both) -> None:
    here, there = both
    for bus, page in (
        (here.bus, b"# HELP a b\n# TYPE a gauge\na 1\n"),
        (there.bus, b"# HELP a b\n# TYPE a gauge\na 2\n"),
    ):
        shown = (await bus.metrics(page)).decode()
        assert shown == '# HELP a b\n# TYPE a gauge\na{worker="1"} 1\na{worker="2"} 2\n'


# Envelopes.


async def test_an_envelope_that_is_posted_to_both_workers_at_once_runs_once(both: Both) -> None:
    here, there = both
    first = await here.network.provider(part=says("x"))
    second = await there.network.provider(part=says("x"))
    for worker in both:
        await worker.knows(first, is_elsewhere=worker is there)
        await worker.knows(second, is_elsewhere=worker is here)
    key = await here.network.consumer()
    await there.network.consumer()
    assert there.network.account_of(key) == here.network.account_of(key)
    for _ in range(8):
        sealed = here.network.seal(first)
        exchanges = [worker.network.send_sealed(sealed, key=key) for worker in both]
        statuses = sorted([(await exchange.finished()).status for exchange in exchanges])
        assert statuses == [200, 409]
        late = [await worker.network.send_sealed(sealed, key=key).finished() for worker in both]
        assert [each.status for each in late] == [409, 409]
        assert b"duplicate_envelope" in late[0].body
    assert len(first.served) == 8


async def test_who_remembers_an_envelope_is_replaced_when_it_goes(both: Both) -> None:
    here, there = both
    until_s = here.network.now + 300
    ids = [bytes([number]) * 16 for number in range(32)]
    for envelope_id in ids:
        assert await here.bus.claims.claim(AccountId(1), envelope_id, until=until_s)
    owned = len(there.bus.claims._owned)
    assert 0 < owned < 32  # both remember some
    peer = here.bus.mesh.peer(2)
    assert peer is not None
    peer.drop("test")
    await until(lambda: len(here.bus.claims._owned) == 32)
    await until(lambda: here.bus.connected == 1)
    for envelope_id in ids:
        assert not await there.bus.claims.claim(AccountId(1), envelope_id, until=until_s)
    assert not here.bus.claims.take([Claimed(1, ids[0], until_s)])


async def test_an_envelope_whose_owner_does_not_answer_is_refused_and_the_owner_stays(
    template: Path, tmp_path: Path
) -> None:
    async with pair(template, tmp_path, limits=dataclasses.replace(QUICK, asks_max=0)) as (here, there):
        provider = await here.network.provider(part=says("x"))
        key = await here.network.consumer()
        statuses = set[int]()
        while 503 not in statuses:  # half of all envelopes belong to the other worker
            answer = await here.network.send_sealed(here.network.seal(provider), key=key).finished()
            statuses.add(answer.status)
        assert statuses <= {200, 503}
        assert b'"busy"' in answer.body
        assert (here.bus.connected, there.bus.connected) == (1, 1)


async def test_the_room_of_a_provider_with_plenty_is_told_now_and_then_and_the_last_of_it_at_once(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = both
    provider = await there.network.provider(slots=64)
    await here.knows(provider)
    told: list[int] = []
    fleet = here.network.serving.fleet
    original = fleet.told

    def counting(*arguments: object) -> None:
        original(*arguments)  # type: ignore[arg-type]
        told.append(slots_left(here, provider))

    monkeypatch.setattr(fleet, "told", counting)
    for active in range(1, 21):
        provider.report(active=active)
        await asyncio.sleep(0)
    await until(lambda: slots_left(here, provider) == 44)
    assert len(told) < 10
    told.clear()
    for active in (60, 61, 62):
        provider.report(active=active)
        left = 64 - active
        await until(lambda left=left: slots_left(here, provider) == left)
    assert told == [4, 3, 2]
