"""What is believed of what a provider says about its machine and its models. Pure: no clock, no other provider.

A report is its author's word. What goes beyond what a machine can be is brought to the nearest that one can be, what says
nothing known is taken for unsaid, and every such correction is a `Doubt`: a word of a closed set for metrics and for the
operator. What is believed once is believed again unchanged, so that another worker may apply the same rules to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from msgspec.structs import replace

from hushnet.coordinator.routing.cost import RATE_MAX, strain_ms
from hushnet.wire.frames import THERMAL_WORDS, Capacity, ModelOffer

STRUCTURED: Final = frozenset({"tools", "json_schema"})
"""Features whose answers have to keep a form: an old agent, or a chat template that came out broken, spoils them silently.
Other words are not judged: a new feature needs no new coordinator (docs/sealing.md section 13)."""

MEMORY_EASY: Final = 0.80
GPU_MEMORY_EASY: Final = 0.95
CPU_EASY: Final = 0.50
"""Use up to here is no strain: engines take nine tenths of a GPU's memory when they start, and half the cores of a machine
that generates on its processor are meant to be busy."""


class Doubt(StrEnum):
    """What of a provider's claims was not believed."""

    SLOTS = "report_slots"
    """More requests at the same time than one machine runs."""
    OVERCOMMITTED = "report_overcommitted"
    """More at work than slots."""
    TOKENS = "report_tokens"
    """A token budget that no machine has, or that no request fits."""
    MEMORY = "report_memory"
    """More free, or more in use, than there is."""
    THERMAL = "report_thermal"
    """A thermal word that is not known."""
    RATE = "report_rate"
    """A speed beyond several times that of the others with the model."""
    LOAD_TIME = "offer_load_time"
    """A model that takes longer to load than anybody waits."""
    TEMPLATE = "offer_template"
    """Its own check says that its chat template breaks conversations with tools."""
    AGENT_OLD = "offer_agent_old"
    """Its agent is older than what the operator trusts with tools."""
    UNSTEADY = "unsteady"
    """It comes and goes."""
    UNSTEADY_REFUSED = "unsteady_refused"
    """It came so often that it was turned away."""


NOTHING: Final[frozenset[Doubt]] = frozenset()
Release: TypeAlias = tuple[tuple[int, ...], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class BeliefPolicy:
    """What a machine can be, and what the operator asks of an agent."""

    slots_max: int = 1024
    """Servers for many GPUs run a few hundred sequences at the same time."""
    tokens_min: int = 256
    """A budget below this serves nobody; it is taken for unknown, and the provider refuses for itself."""
    tokens_max: int = 2**27
    """130 million tokens of cache are more than ten terabytes."""
    prefill_over_decode_max: float = 100.0
    """Reading is compute-bound and writing memory-bound; the best ratios that engines show are some tens."""
    load_s_unknown: float = 30.0
    """A model that is not loaded, of a provider that cannot tell how long that takes."""
    load_s_max: float = 3600.0
    tools_agent_version_min: str = ""
    """The oldest agent that is believed to keep a form; empty: any."""


DEFAULT_POLICY: Final = BeliefPolicy()


def believed_capacity(capacity: Capacity, policy: BeliefPolicy) -> tuple[Capacity, frozenset[Doubt]]:
    """Return what to reckon with instead of `capacity`: the same object when all of it can be true."""
    if _can_be_true(capacity, policy):
        return capacity, NOTHING
    changes: dict[str, object] = {}
    doubts: set[Doubt] = set()
    slots = capacity.slots
    if slots > policy.slots_max:
        slots = changes["slots"] = policy.slots_max
        doubts.add(Doubt.SLOTS)
    if capacity.active > slots:
        changes["active"] = slots
        doubts.add(Doubt.OVERCOMMITTED)
    if 0 < capacity.tokens_max < policy.tokens_min:
        changes["tokens_max"] = 0
        doubts.add(Doubt.TOKENS)
    for name in ("tokens_max", "tokens_active", "tokens_queued"):
        if getattr(capacity, name) > policy.tokens_max:
            changes[name] = policy.tokens_max
            doubts.add(Doubt.TOKENS)
    if capacity.memory_bytes_free > capacity.memory_bytes_total:
        changes["memory_bytes_free"] = capacity.memory_bytes_total
        doubts.add(Doubt.MEMORY)
    if capacity.gpu_memory_bytes_used > capacity.gpu_memory_bytes_total:
        changes["gpu_memory_bytes_used"] = capacity.gpu_memory_bytes_total
        doubts.add(Doubt.MEMORY)
    if capacity.thermal and capacity.thermal not in THERMAL_WORDS:
        changes["thermal"] = ""
        doubts.add(Doubt.THERMAL)
    return replace(capacity, **changes), frozenset(doubts)


def believed_offer(
    offer: ModelOffer, policy: BeliefPolicy, *, agent_version: str
) -> tuple[ModelOffer, frozenset[Doubt]]:
    """Return what to reckon with instead of `offer`, of an agent of that version."""
    changes: dict[str, object] = {}
    doubts: set[Doubt] = set()
    if offer.slots > policy.slots_max:
        changes["slots"] = policy.slots_max
        doubts.add(Doubt.SLOTS)
    if offer.load_s > policy.load_s_max:
        changes["load_s"] = policy.load_s_max
        doubts.add(Doubt.LOAD_TIME)
    if not STRUCTURED.isdisjoint(offer.features):
        is_broken = offer.is_template_sound is False
        is_old = not is_at_least(agent_version, policy.tools_agent_version_min)
        if is_broken or is_old:
            changes["features"] = tuple(word for word in offer.features if word not in STRUCTURED)
            doubts.add(Doubt.TEMPLATE if is_broken else Doubt.AGENT_OLD)
    return (replace(offer, **changes), frozenset(doubts)) if changes else (offer, NOTHING)


def believed_rates(
    decode: float, prefill: float, policy: BeliefPolicy, *, decode_max: float, decode_typical: float
) -> tuple[float, float]:
    """Return the rates to reckon with, in tokens a second; 0 stays unknown.

    `decode_max` and `decode_typical` are what the model's other providers make likely (`routing.index`). A claim beyond
    that is worth as much as the claim of that much: it may be tried first, and its record then says how fast it is.
    """
    ratio = policy.prefill_over_decode_max
    if 0.0 < decode <= decode_max and decode <= RATE_MAX and prefill <= decode * ratio and prefill <= RATE_MAX:
        return decode, prefill
    decode = min(decode, decode_max, RATE_MAX)
    return decode, min(prefill, (decode or decode_typical) * ratio, RATE_MAX)


def believed_load_ms(offer: ModelOffer, policy: BeliefPolicy) -> int:
    """Return how long a request waits for `offer` to be loaded, 0 where it is."""
    if offer.is_loaded:
        return 0
    return int(1000 * min(offer.load_s or policy.load_s_unknown, policy.load_s_max))


def believed_strain_ms(capacity: Capacity) -> int:
    """Return what the state of the machine adds to the cost of a request there."""
    if _is_at_ease(capacity):
        return 0
    return strain_ms(
        memory=_pressure(
            capacity.memory_bytes_total - capacity.memory_bytes_free, capacity.memory_bytes_total, MEMORY_EASY
        ),
        cpu=_beyond(capacity.cpu, CPU_EASY),
        gpu_memory=_pressure(capacity.gpu_memory_bytes_used, capacity.gpu_memory_bytes_total, GPU_MEMORY_EASY),
        thermal=capacity.thermal,
    )


def is_at_least(version: str, floor: str) -> bool:
    """Say whether an agent's version is `floor` or later; one that cannot be read is older than any floor."""
    return not floor or _release(version) >= _release(floor)


_COOL: Final = ("", "nominal")
_RELEASE: Final = re.compile(r"v?(\d{1,9}(?:\.\d{1,9}){0,7})(.*)", re.ASCII)
_SAME: Final = ("", "+")
_LATER: Final = (".post", "-post", "post")


def _release(version: str) -> Release:
    """Read the numbers of a version: what comes before the release itself is 0, the release 1, what comes after it 2."""
    found = _RELEASE.fullmatch(version)
    if found is None:
        return (), 0
    numbers = tuple(int(part) for part in found[1].split("."))
    while numbers and not numbers[-1]:
        numbers = numbers[:-1]
    if found[2].startswith(_LATER):
        return numbers, 2
    return numbers, int(found[2][:1] in _SAME)


def _can_be_true(capacity: Capacity, policy: BeliefPolicy) -> bool:
    """Look at a report in one go: nearly all are honest, and a fleet sends thousands a second."""
    most = policy.tokens_max
    return (
        capacity.active <= capacity.slots <= policy.slots_max
        and (not capacity.tokens_max or policy.tokens_min <= capacity.tokens_max <= most)
        and capacity.tokens_active <= most
        and capacity.tokens_queued <= most
        and capacity.memory_bytes_free <= capacity.memory_bytes_total
        and capacity.gpu_memory_bytes_used <= capacity.gpu_memory_bytes_total
        and (not capacity.thermal or capacity.thermal in THERMAL_WORDS)
    )


def _is_at_ease(capacity: Capacity) -> bool:
    total = capacity.memory_bytes_total
    return (
        capacity.cpu <= CPU_EASY
        and total - capacity.memory_bytes_free <= total * MEMORY_EASY
        and capacity.gpu_memory_bytes_used <= capacity.gpu_memory_bytes_total * GPU_MEMORY_EASY
        and capacity.thermal in _COOL
    )


def _pressure(used: int, total: int, easy: float) -> float:
    return _beyond(used / total, easy) if total else 0.0


def _beyond(share: float, easy: float) -> float:
    """Return how far `share` is on its way from `easy` to 1."""
    return max(share - easy, 0.0) / (1.0 - easy)
