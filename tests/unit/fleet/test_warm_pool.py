"""The warm pool is not led by what a provider says, nor by whoever asks it: one worker's fleet, without links."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hushnet.coordinator.fleet.fleet import Fleet, Slot
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.coordinator.fleet.warm_pool import NO_MEMORY, WarmPool
from hushnet.coordinator.routing.model import RouteRequest
from hushnet.coordinator.routing.warmth import WarmLimits, WarmPolicy
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.ids import ModelId, ProviderId
from hushnet.wire.frames import Capacity, ModelOffer
from support.live_fleet import SilentLink, live

HOT, OTHER = ModelId("hot"), ModelId("other")
LIMITS = WarmLimits()


class ListeningLink(SilentLink):
    """A link that remembers what the pool wishes; nobody does it."""

    def __init__(self, provider_id: ProviderId) -> None:
        super().__init__(provider_id)
        self.wishes: list[tuple[str, ModelId]] = []

    def load_model(self, model: ModelId) -> None:
        self.wishes.append(("load", model))

    def unload_model(self, model: ModelId) -> None:
        self.wishes.append(("unload", model))


class Scene:
    """A fleet, its pool, and a clock that is moved by hand."""

    def __init__(self, limits: WarmLimits | None = None, **pins: int) -> None:
        self.clock = ManualClock()
        self.fleet = Fleet(self.clock)
        self.policy = WarmPolicy(limits, {ModelId(name): count for name, count in pins.items()})
        self.counts: Counter[tuple[str, str]] = Counter()
        self.queue: Counter[ModelId] = Counter()
        self.pool = WarmPool(self.fleet, self.clock, self.policy, waiting=self.queue.__getitem__, telemetry=self)

    def warmth(self, *, kind: str, reason: str) -> None:
        self.counts[kind, reason] += 1

    def joins(self, number: int, *offers: ModelOffer) -> tuple[LiveProvider, ListeningLink]:
        """Let a provider join; three numbers in a row have one owner."""
        provider = live(number, offers, Capacity(slots=64, active=0))
        link = ListeningLink(provider.provider_id)
        provider.link = link
        self.fleet.join(provider)
        return provider, link

    def takes(self, provider: LiveProvider, model: ModelId = HOT) -> Slot:
        """Send a request there."""
        slot = self.fleet.take(
            provider.provider_id, RouteRequest(model=model, prompt_tokens_max=10, output_tokens_max=10)
        )
        self.pool.placed(slot)
        return slot

    def tick(self, seconds: int = 1) -> None:
        for _ in range(seconds):
            self.clock.advance(1.0)
            self.pool.tick()


def offer(model: ModelId = HOT, *, is_loaded: bool = True, load_s: float = 20.0) -> ModelOffer:
    return ModelOffer(model=model, context_tokens=4096, slots=4, is_loaded=is_loaded, load_s=load_s)


def wishes(links: Sequence[ListeningLink]) -> list[tuple[str, ModelId]]:
    return [wish for link in links for wish in link.wishes]


def test_a_refusal_of_a_provider_that_drains_is_not_remembered_when_it_is_back() -> None:
    scene = Scene(hot=1)
    leaving, _ = scene.joins(1, offer(is_loaded=False))
    scene.fleet.drained(leaving)
    leaving.loads_failed[HOT] = NO_MEMORY
    scene.fleet.refresh(leaving)
    scene.fleet.leave(leaving)
    _, link = scene.joins(1, offer(is_loaded=False))
    scene.tick()

    assert link.wishes == [("load", HOT)]


def test_an_unload_is_asked_for_once_and_again_only_after_a_pause_that_grows() -> None:
    scene = Scene(WarmLimits(dwell_s=10.0, unload_s=30.0, back_off_s=30.0))
    provider, link = scene.joins(1, offer())
    scene.tick(39)  # ten until it may go, and 29 of waiting for it
    assert link.wishes == [("unload", HOT)]
    scene.tick(31)  # late, and after the pause
    assert link.wishes == [("unload", HOT)] * 2
    scene.tick(89)
    assert len(link.wishes) == 2
    assert scene.counts == {("unload", "idle"): 2}

    scene.fleet.offered(provider, [offer(is_loaded=False)])
    scene.fleet.offered(provider, [offer()])
    scene.tick(10)
    assert len(link.wishes) == 3


def test_an_unload_that_is_under_way_counts_against_the_ramp_until_it_is_heard_of() -> None:
    scene = Scene(WarmLimits(dwell_s=10.0, ramp_max=2))
    providers = [scene.joins(number, offer()) for number in range(5)]
    scene.tick(20)
    asked = [provider for provider, link in providers if link.wishes]
    assert len(asked) == 2

    scene.fleet.offered(asked[0], [offer(is_loaded=False)])
    scene.tick()
    assert len(wishes([link for _, link in providers])) == 3


def test_a_request_that_an_unload_may_overtake_has_the_time_to_load_again() -> None:
    scene = Scene(WarmLimits(dwell_s=10.0, unload_s=30.0))
    provider, link = scene.joins(1, offer(load_s=60.0))
    scene.tick(10)
    assert link.wishes == [("unload", HOT)]

    slot = scene.takes(provider)
    assert (slot.is_cold, slot.load_s) == (True, 60.0)
    assert scene.policy.pending == {}  # nothing has been heard yet of its being freed
    slot.release()


def test_a_model_is_taken_for_loaded_again_when_it_was_or_when_its_unload_did_not_come() -> None:
    scene = Scene(WarmLimits(dwell_s=10.0, unload_s=30.0))
    freed, _ = scene.joins(1, offer())
    kept, _ = scene.joins(4, offer())
    scene.tick(10)
    scene.fleet.offered(freed, [offer(is_loaded=False)])
    scene.fleet.offered(freed, [offer()])
    assert not scene.takes(freed).is_cold
    assert scene.takes(kept).is_cold

    scene.clock.advance(30.0)
    assert not scene.takes(kept).is_cold


def test_who_is_sent_requests_for_many_cold_models_and_loads_none_keeps_nobody_else_from_loading() -> None:
    scene = Scene(hot=2)
    models = [ModelId(f"e{number}") for number in range(64)]
    idler, _ = scene.joins(0, *(offer(model, is_loaded=False, load_s=40.0) for model in models))
    honest = [scene.joins(number, offer(is_loaded=False))[1] for number in (3, 6, 9)]
    for model in models:
        scene.takes(idler, model).release()
    scene.tick()

    assert wishes(honest) == [("load", HOT)] * 2
    assert scene.pool.loading == 3  # its own counts once, however much it was sent


def test_requests_sent_to_who_has_just_failed_promise_nothing() -> None:
    scene = Scene(hot=1)
    idler, _ = scene.joins(0, offer(is_loaded=False, load_s=5.0))
    scene.takes(idler).release()
    scene.tick(15)  # three times five seconds have passed, and it has failed
    scene.takes(idler).release()
    _, link = scene.joins(3, offer(is_loaded=False, load_s=50.0))
    scene.tick()

    assert link.wishes == [("load", HOT)]


def test_the_machines_of_one_owner_have_a_quarter_of_the_loads_that_are_asked_for() -> None:
    models = [ModelId(f"m{number}") for number in range(8)]
    scene = Scene(WarmLimits(pending_max=4, pending_of_owner_max=1), **dict.fromkeys(models, 1))
    of_one = [scene.joins(number, offer(models[number], is_loaded=False))[1] for number in range(3)]
    other = scene.joins(3, offer(models[3], is_loaded=False))[1]
    scene.tick(5)

    assert len(wishes(of_one)) == 1
    assert other.wishes == [("load", models[3])]


def test_loads_for_requests_of_one_owner_count_as_coming_up_to_its_bound() -> None:
    scene = Scene(WarmLimits(pending_of_owner_max=1), hot=2)
    for number in range(3):
        scene.takes(scene.joins(number, offer(is_loaded=False))[0]).release()
    _, link = scene.joins(3, offer(is_loaded=False))
    scene.tick()

    assert link.wishes == [("load", HOT)]


def test_requests_for_names_that_nobody_offers_are_not_counted_and_displace_no_demand() -> None:
    scene = Scene(WarmLimits(models_max=2))
    scene.joins(1, offer(), offer(OTHER, is_loaded=False))
    scene.pool.arrived(HOT)
    for number in range(3):
        scene.pool.arrived(ModelId(f"made up {number}"))
    scene.pool.arrived(OTHER)

    assert list(scene.policy.asked_for) == [HOT, OTHER]


def test_a_model_that_nobody_offers_any_more_is_forgotten() -> None:
    scene = Scene()
    first, _ = scene.joins(1, offer(), offer(OTHER))
    second, _ = scene.joins(2, offer())
    scene.pool.arrived(HOT)
    scene.pool.arrived(OTHER)
    scene.fleet.offered(first, [offer()])
    assert list(scene.policy.asked_for) == [HOT]

    scene.fleet.leave(first)
    assert list(scene.policy.asked_for) == [HOT]
    scene.fleet.leave(second)
    assert list(scene.policy.asked_for) == []


def asks(scene: Scene, seconds: int) -> None:
    """Let two requests a second come."""
    for _ in range(seconds):
        scene.pool.arrived(HOT)
        scene.pool.arrived(HOT)
        scene.tick()


def serves(scene: Scene, provider: LiveProvider) -> None:
    slot = scene.takes(provider)
    slot.release()
    scene.pool.served(slot, 5.0)


def test_machines_of_one_owner_that_say_they_have_a_model_keep_others_from_loading_half_of_what_is_wanted() -> None:
    scene = Scene(hot=4)
    for number in range(1, 3):
        scene.joins(number, offer())
    scene.joins(0, offer())
    cold = [scene.joins(number, offer(is_loaded=False))[1] for number in (3, 6, 9)]
    scene.tick(5)

    assert len(wishes(cold)) == 2


def test_an_owner_whose_machines_have_served_counts_for_all_of_them() -> None:
    scene = Scene(hot=3)
    for number in range(3):
        serves(scene, scene.joins(number, offer())[0])
    _, cold = scene.joins(3, offer(is_loaded=False))
    scene.tick(5)

    assert cold.wishes == []


def test_an_owner_with_all_the_machines_loads_what_is_wanted_and_no_more() -> None:
    scene = Scene(hot=2)
    scene.joins(0, offer())
    links = [scene.joins(number, offer(is_loaded=False)) for number in (1, 2)]
    scene.tick()
    asked = [provider for provider, link in links if link.wishes]
    scene.fleet.offered(asked[0], [offer()])
    scene.tick(60)

    assert wishes([link for _, link in links]) == [("load", HOT)]


def test_who_rests_after_failures_does_not_count_as_having_a_model_loaded() -> None:
    scene = Scene(hot=1)
    failing, _ = scene.joins(0, offer())
    _, cold = scene.joins(3, offer(is_loaded=False))
    scene.tick()
    assert cold.wishes == []

    for _ in range(2):
        scene.fleet.note_failed(failing, HOT)
    scene.tick(5)
    assert cold.wishes == [("load", HOT)]


def test_who_has_served_does_not_idle_out_because_others_say_they_have_the_model_too() -> None:
    scene = Scene(WarmLimits(dwell_s=10.0))
    honest = [scene.joins(number, offer()) for number in (0, 3)]
    for provider, _ in honest:
        serves(scene, provider)
    liars = [scene.joins(number, offer())[1] for number in range(6, 30, 3)]
    asks(scene, 30)

    assert wishes([link for _, link in honest]) == []
    assert wishes(liars) == []  # nor do these, until others can be counted on


def test_what_demand_does_not_want_idles_out_served_or_not() -> None:
    scene = Scene(WarmLimits(dwell_s=10.0))
    provider, link = scene.joins(0, offer())
    _, other = scene.joins(3, offer())
    serves(scene, provider)
    scene.tick(10)

    assert wishes([link, other]) == [("unload", HOT)] * 2
