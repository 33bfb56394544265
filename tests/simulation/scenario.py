"""From a seed to a scenario: who is there, what they want, how the network is, and what goes wrong.

A scenario is drawn by family, so that each kind of trouble also comes alone; to add a kind of trouble, add a field to
`Troubles` and an act to `chaos.ACTS`, and give it a weight in the families that should have it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Final

from hushnet.coordinator.admission.queue import QueueLimits
from hushnet.coordinator.serving.settings import ServingLimits
from hushnet.coordinator.trust.challenges import TrustSettings
from hushnet.foundation.ids import AccountId, ModelId
from simulation.chance import often, spread
from simulation.machine import MachineCondition
from simulation.network import Weather
from simulation.providers import ProviderPlan
from simulation.tricks import TRICKS, Character

FREE_MODEL: Final = ModelId("free")
_MODELS: Final = (ModelId("tiny"), ModelId("large"), FREE_MODEL)
_PROVIDERS_FIRST: Final = 100_000
_CONSUMERS_FIRST: Final = 200_000


@dataclass
class Demand:
    """What consumers want. Rates are a second, shares are of all requests."""

    rate: float = 2.0
    crowds: int = 0
    """Flash crowds: moments at which thirty requests come within a second."""
    sealed: float = 0.3
    streamed: float = 0.8
    hangs_up: float = 0.1
    slow: float = 0.05
    stalled: float = 0.02
    stale_directory: float = 0.1
    long_body: float = 0.02
    words: int = 12


@dataclass
class Troubles:
    """How often each act of `chaos` comes, relative to the others; `rate` is of all together, a second."""

    rate: float = 0.0
    weights: dict[str, float] = field(default_factory=dict)


@dataclass
class Scenario:
    """Everything that a world is made of."""

    seed: int
    family: str
    seconds: float
    providers: list[ProviderPlan]
    weather: dict[int, Weather]
    consumers: dict[AccountId, int]
    """Accounts and the micro-USD they begin with."""
    demand: Demand
    troubles: Troubles
    limits: ServingLimits
    queue_limits: QueueLimits
    trust: TrustSettings
    store_delay_s: float
    is_lasting: bool
    drain_s: float
    is_cut_short: bool
    """The coordinator is stopped while requests run, not once all have ended."""
    is_killed: bool = False
    """The coordinator dies instead: a new one finds what it left in the books."""
    is_fair: bool = False
    """All requests are alike and nothing goes wrong: who is served when can be judged."""
    fair_turns: int = 2
    flooder: AccountId | None = None


_FAMILIES: Final = {
    "calm": 1.0,
    "crowded": 1.0,
    "losses": 2.0,
    "restless": 2.0,
    "hostile": 3.0,
    "ill books": 1.0,
    "everything": 3.0,
    "flood": 1.0,
}

_NETWORK: Final = {"reset": 3.0, "vanish": 1.0}
_MACHINES: Final = {"crash": 2.0, "drain": 1.5, "die": 1.0, "heat": 2.0, "stall": 1.0, "fail": 1.0, "twin": 0.3}
_HOSTILITY: Final = {"lie": 1.0, "forge": 0.5, "ignore challenges": 1.0, "mute": 0.5, "babble": 0.5, "trick": 2.0}
_BOOKS: Final = {"illness": 1.0}
_WEIGHTS: Final[dict[str, dict[str, float]]] = {
    "calm": {},
    "crowded": {},
    "losses": _NETWORK,
    "restless": {**_MACHINES, "reset": 1.0},
    "hostile": {**_HOSTILITY, "reset": 0.5},
    "ill books": {**_BOOKS, "reset": 1.0},
    "everything": {**_NETWORK, **_MACHINES, **_HOSTILITY, "illness": 0.5},
    "flood": {},
}


def scenario_of(seed: int, chance: Random, *, seconds: float | None = None, family: str | None = None) -> Scenario:
    """Draw the scenario of a seed; `seconds` and `family` are drawn as well where they are not given."""
    drawn = chance.choices(list(_FAMILIES), list(_FAMILIES.values()))[0]
    family = family or drawn
    if family == "flood":
        return _flood(seed, chance, seconds or 30.0)
    models = _MODELS[: chance.randint(1, len(_MODELS))]
    most = 2 if family == "crowded" else 8
    providers = [_provider(number, chance, family, chance.choice(models)) for number in range(chance.randint(1, most))]
    consumers = {
        AccountId(_CONSUMERS_FIRST + number): chance.choice((0, 300, *[10_000_000] * 8))
        for number in range(chance.randint(2, 8))
    }
    return Scenario(
        seed=seed,
        family=family,
        seconds=chance.choice((20.0, 40.0, 60.0)) if seconds is None else seconds,
        providers=providers,
        weather={plan.number: _weather(chance) for plan in providers},
        consumers=consumers,
        demand=_demand(chance, rate=len(providers) * (5.0 if family == "crowded" else 0.8)),
        troubles=Troubles(chance.choice((0.1, 0.3, 1.0)) if _WEIGHTS[family] else 0.0, _WEIGHTS[family]),
        limits=_limits(chance),
        queue_limits=QueueLimits(
            waiting_max=chance.choice((4, 64, 512)),
            account_waiting_max=chance.choice((2, 16, 128)),
            waiting_bytes_max=chance.choice((20_000, 1 << 28)),
        ),
        trust=TrustSettings(interval_s=chance.choice((3.0, 10.0)), reply_s_max=2.0, missed_max=3),
        store_delay_s=chance.choice((0.0002, 0.002, 0.02)),
        is_lasting=often(chance, 0.5),
        drain_s=chance.choice((0.0, 1.0, 60.0)),
        is_cut_short=often(chance, 0.5),
        is_killed=often(chance, 0.15),
    )


def _provider(number: int, chance: Random, family: str, model: ModelId) -> ProviderPlan:
    character = Character()
    if family in ("hostile", "everything") and often(chance, 0.4):
        character.tricks = chance.choice((0.1, 0.5, 1.0))
        character.kinds = chance.sample(TRICKS, chance.randint(1, len(TRICKS)))
        character.lies = often(chance, 0.3)
    return ProviderPlan(
        number=number,
        account=AccountId(_PROVIDERS_FIRST + number),
        model=model,
        slots=chance.randint(1, 4),
        queue=chance.choice((0, 2, 8)),
        features=frozenset({"tools"}) if often(chance, 0.5) else frozenset(),
        context_tokens=chance.choice((2048, 8192)),
        drain_s=chance.choice((0.0, 2.0, 30.0)),
        statement_life_s=chance.choice((8, 60, 3600)),
        condition=MachineCondition(decode_s=spread(chance, 0.04), prefill_s=spread(chance, 0.0005)),
        character=character,
    )


def _weather(chance: Random) -> Weather:
    return Weather(
        latency_s=spread(chance, 0.01, factor=3.0),
        jitter=chance.choice((1.05, 1.5, 3.0)),
        bytes_s=chance.choice((20_000.0, 1e6, 1e8)),
        batched=chance.choice((0.0, 0.1, 0.8)),
        batch_s=chance.choice((0.005, 0.05)),
    )


def _demand(chance: Random, *, rate: float) -> Demand:
    return Demand(
        rate=spread(chance, rate),
        crowds=chance.choice((0, 0, 1, 3)),
        sealed=chance.choice((0.0, 0.3, 1.0)),
        streamed=chance.choice((0.0, 0.8, 1.0)),
        hangs_up=chance.choice((0.0, 0.1, 0.5)),
        slow=chance.choice((0.0, 0.1, 0.5)),
        stalled=chance.choice((0.0, 0.05)),
        long_body=chance.choice((0.0, 0.05)),
        words=chance.choice((3, 12, 40)),
    )


def _limits(chance: Random) -> ServingLimits:
    return ServingLimits(
        queue_s_max=chance.choice((3.0, 15.0)),
        request_s_max=chance.choice((8.0, 30.0)),
        first_content_s_max=chance.choice((1.5, 6.0)),
        idle_s_max=chance.choice((1.5, 5.0)),
        attempts_max=chance.randint(1, 4),
        attempts_at_one_max=chance.randint(1, 2),
        window_bytes=chance.choice((2_000, 16 * 1024, 256 * 1024)),
        patience_s=chance.choice((1.0, 5.0)),
        hold_back_records_max=chance.choice((4, 16)),
        last_word_s_max=chance.choice((0.1, 2.0)),
        linger_s_max=chance.choice((0.5, 5.0)),
        hold_margin_s=20.0,
        draft_s=chance.choice((0.5, 5.0)),
    )


def _flood(seed: int, chance: Random, seconds: float) -> Scenario:
    """One account floods one model; others come now and then, with requests of the same size."""
    provider = ProviderPlan(
        number=0,
        account=AccountId(_PROVIDERS_FIRST),
        model=_MODELS[0],
        slots=chance.randint(1, 3),
        queue=8,
        condition=MachineCondition(decode_s=0.05),
    )
    consumers = {AccountId(_CONSUMERS_FIRST + number): 10_000_000 for number in range(chance.randint(2, 5))}
    return Scenario(
        seed=seed,
        family="flood",
        seconds=seconds,
        providers=[provider],
        weather={0: Weather()},
        consumers=consumers,
        demand=Demand(rate=4.0, sealed=0.0, streamed=1.0, hangs_up=0.0, slow=0.0, stalled=0.0, long_body=0.0, words=20),
        troubles=Troubles(),
        limits=ServingLimits(hold_margin_s=20.0, queue_s_max=600.0, request_s_max=600.0),
        queue_limits=QueueLimits(),
        trust=TrustSettings(),
        store_delay_s=0.0002,
        is_lasting=False,
        drain_s=3600.0,
        is_cut_short=False,
        is_fair=True,
        flooder=next(iter(consumers)),
    )
