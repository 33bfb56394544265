"""Who is there and fit to serve, look by look, and what the looks of one epoch add up to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hushnet.attestation.tiers import Tier
from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.foundation.ids import AccountId, ProviderId


@dataclass(frozen=True, slots=True)
class Present:
    """A machine that is there: whose it is, and how much memory it has."""

    machine: ProviderId
    owner: AccountId
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Attended:
    """A machine's part of an epoch: at how many looks it was there, and the least memory that it reported."""

    machine: ProviderId
    owner: AccountId
    memory_bytes: int
    present: int


@dataclass(frozen=True, slots=True)
class Epoch:
    """What was seen of an epoch that is over."""

    number: int
    looks: int
    attended: tuple[Attended, ...]


def fit(fleet: Fleet, *, trust: Tier) -> Iterator[Present]:
    """Yield the machines that stand by: routable and trusted enough, with a model loaded, neither full nor too hot."""
    for provider in fleet.providers():
        if provider.is_routable and provider.tier >= trust and _is_ready(provider):
            capacity = provider.load.capacity
            yield Present(provider.provider_id, provider.owner.account_id, capacity.memory_bytes_total)


def _is_ready(provider: LiveProvider) -> bool:
    capacity = provider.load.capacity
    has_memory = capacity.memory_bytes_free * 5 >= capacity.memory_bytes_total > 0
    return has_memory and capacity.thermal != "critical" and any(each.is_loaded for each in provider.offers.values())


class Attendance:
    """Counts the looks of the epoch that runs."""

    def __init__(self) -> None:
        self._epoch = -1
        self._looks = 0
        self._seen: dict[tuple[ProviderId, AccountId], tuple[int, int]] = {}

    def look(self, epoch: int, present: Iterable[Present]) -> Epoch | None:
        """Count one look in `epoch`; returns the epoch before when this look is the first of a new one.

        A machine that changes hands in an epoch was there only in part for either owner.
        """
        ended = self._ended() if epoch != self._epoch and self._looks else None
        if epoch != self._epoch:
            self._epoch, self._looks, self._seen = epoch, 0, {}
        self._looks += 1
        for each in present:
            key = (each.machine, each.owner)
            count, memory = self._seen.get(key, (0, each.memory_bytes))
            self._seen[key] = count + 1, min(memory, each.memory_bytes)
        return ended

    def _ended(self) -> Epoch:
        attended = tuple(
            Attended(machine, owner, memory, count) for (machine, owner), (count, memory) in self._seen.items()
        )
        return Epoch(self._epoch, self._looks, attended)
