"""The candidates of one model, kept in the order in which a decision looks at them.

Every candidate stands on a rung of a ladder: those with a free slot by what an ordinary request would cost there, on a
ladder for what is left of their token budget; the others by how long they will be busy. On a rung they are grouped by
their traits, so that a filter passes over a whole group at once. A report moves a candidate in constant time; a decision
climbs from the cheapest rung and stops as soon as it has seen enough. Only `everybody` looks at every candidate.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence, Set
from functools import reduce
from itertools import chain
from operator import or_
from typing import Final

from hushnet.coordinator.routing.cost import CROSSING_SHARE, DECODE_UNKNOWN_TOKENS_S, Forecast, forecast, wait_s
from hushnet.coordinator.routing.filters import filter_key, is_beyond, trait_obstacle
from hushnet.coordinator.routing.model import Candidate, RouteRequest, Traits, context_ceiling
from hushnet.coordinator.routing.rates import Rates
from hushnet.foundation.ids import AccountId, ProviderId

RUNGS: Final = 80
"""Four an octave from 32 ms on: the last begins at nine hours."""
_FIRST_BITS: Final = 6
ORDINARY_PROMPT: Final = 400
ORDINARY_OUTPUT: Final = 250
"""Tokens of the request by which candidates are ordered; the request at hand is costed exactly."""
FILTERS_REMEMBERED_MAX: Final = 256
FEW_GROUPS: Final = 256
"""So many groups of a filter are looked up on a rung; of more, the rung's own are walked until enough were seen."""
ROOMS: Final = (256, 1024, 4096, 16_384, 65_536)
"""Tokens left from which on a candidate stands on the next ladder: who has too few for a request is passed over as a group.
Those whose whole context is free, or who know no budget, stand on the last."""


class Place:
    """Where a candidate stands; the router reads `candidate` and `forecast`."""

    __slots__ = ("candidate", "forecast", "group", "ladder", "position", "rung")

    def __init__(self, candidate: Candidate, view: Forecast, group: int, ladder: Ladder, rung: int) -> None:
        self.candidate = candidate
        self.forecast = view
        self.group = group
        self.ladder = ladder
        self.rung = rung
        self.position = 0


class Rung:
    """Groups of places in an order that a decision can begin anywhere in, and that a change mends in constant time."""

    __slots__ = ("_numbers", "_order", "members")

    def __init__(self) -> None:
        self.members: dict[int, list[Place]] = {}
        self._order: list[int] = []
        self._numbers: dict[int, int] = {}

    def enter(self, group: int) -> list[Place]:
        """Add `group`, which is not here; returns where its places go."""
        self._numbers[group] = len(self._order)
        self._order.append(group)
        members = self.members[group] = []
        return members

    def leave(self, group: int) -> None:
        """Take out a group that has no places left; the last takes its number."""
        del self.members[group]
        number, last = self._numbers.pop(group), self._order.pop()
        if last != group:
            self._order[number] = last
            self._numbers[last] = number

    def among(self, groups: Set[int], seed: int) -> Iterator[int]:
        """Iterate over those of `groups` that are here, from where `seed` says; a few are found whatever else is here."""
        count = len(self._order)
        if len(groups) < count and len(groups) <= FEW_GROUPS:
            here = [group for group in groups if group in self.members]
            first = seed % len(here) if here else 0
            yield from here[first:] + here[:first]
            return
        order, first = self._order, seed % count
        for number in range(first - count, first):  # below zero it counts from the end: once around
            if order[number] in groups:
                yield order[number]


class Ladder:
    """Rungs of groups of places; `used` has a bit for every rung that is not empty."""

    __slots__ = ("_rungs", "used")

    def __init__(self) -> None:
        self._rungs = [Rung() for _ in range(RUNGS)]
        self.used = 0

    def add(self, place: Place) -> None:
        """Put `place` on its rung."""
        rung = self._rungs[place.rung]
        members = rung.members.get(place.group)
        if members is None:
            members = rung.enter(place.group)
            self.used |= 1 << place.rung
        place.position = len(members)
        members.append(place)

    def remove(self, place: Place) -> None:
        """Take `place` off its rung; the last of its group takes its position."""
        rung = self._rungs[place.rung]
        members = rung.members[place.group]
        last = members.pop()
        if last is not place:
            members[place.position] = last
            last.position = place.position
        elif not members:
            rung.leave(place.group)
            if not rung.members:
                self.used &= ~(1 << place.rung)

    def at(self, rung: int, groups: Set[int], seed: int) -> Iterator[Place]:
        """Iterate over the places of `groups` on one rung; `seed` says where each group begins."""
        here = self._rungs[rung]
        for group in here.among(groups, seed):
            members = here.members[group]
            count = len(members)
            for offset in range(count):
                yield members[(seed + offset) % count]


def climb(ladders: Sequence[Ladder], groups: Set[int], seed: int) -> Iterator[Place]:
    """Iterate over the places of `groups` on all `ladders`, from the lowest rung; on a rung `seed` says where to begin."""
    ladders = [ladder for ladder in ladders if ladder.used]
    used = reduce(or_, (ladder.used for ladder in ladders), 0)
    first = seed % len(ladders) if ladders else 0
    ladders = ladders[first:] + ladders[:first]
    while used:
        low = used & -used
        used ^= low
        for ladder in ladders:
            if ladder.used & low:
                yield from ladder.at(low.bit_length() - 1, groups, seed)


class _Filtered:
    """The groups that one filter lets through, as far as it has looked."""

    __slots__ = ("groups", "looked_at")

    def __init__(self) -> None:
        self.groups: set[int] = set()
        self.looked_at = 0


class ModelIndex(Mapping[ProviderId, Candidate]):
    """The offers of one model: a mapping of its candidates that knows in which order to look at them."""

    def __init__(self) -> None:
        self.full = Ladder()
        self._ready = [Ladder() for _ in range(len(ROOMS) + 2)]
        self._places: dict[ProviderId, Place] = {}
        self._group_of: dict[Traits, int] = {}
        self._groups: dict[int, Traits] = {}
        self._sizes: dict[int, int] = {}
        self._next_group = 0
        self._contexts: Counter[int] = Counter()
        self._context_min = 0
        self._filters: OrderedDict[Hashable, _Filtered] = OrderedDict()
        self._owners: dict[AccountId, set[ProviderId]] = {}
        self._rates = Rates()

    # The mapping.

    def __getitem__(self, provider_id: ProviderId) -> Candidate:
        return self._places[provider_id].candidate

    def __iter__(self) -> Iterator[ProviderId]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    # Changes.

    def put(self, candidate: Candidate) -> None:
        """Take a candidate in, or what has changed of it."""
        place = self._places.get(candidate.provider_id)
        if place is None:
            self._rates.add(candidate.decode_tokens_s)
            self._owners.setdefault(candidate.owner, set()).add(candidate.provider_id)
            self._places[candidate.provider_id] = self._placed(candidate, self._enter(candidate.traits))
            return
        before = place.candidate
        if before.decode_tokens_s != candidate.decode_tokens_s:
            self._rates.remove(before.decode_tokens_s)
            self._rates.add(candidate.decode_tokens_s)
        if before.owner != candidate.owner:
            self._disown(before)
            self._owners.setdefault(candidate.owner, set()).add(candidate.provider_id)
        view, ladder, rung = self._standing(candidate)
        if before.traits is candidate.traits or before.traits == candidate.traits:
            if ladder is place.ladder and rung == place.rung:
                place.candidate, place.forecast = candidate, view
                return
            place.ladder.remove(place)
        else:
            place.ladder.remove(place)
            self._exit(place.group)
            place.group = self._enter(candidate.traits)
        place.candidate, place.forecast, place.ladder, place.rung = candidate, view, ladder, rung
        ladder.add(place)

    def remove(self, provider_id: ProviderId) -> None:
        """Take a candidate out; without effect when it is not there."""
        place = self._places.pop(provider_id, None)
        if place is None:
            return
        place.ladder.remove(place)
        self._exit(place.group)
        self._rates.remove(place.candidate.decode_tokens_s)
        self._disown(place.candidate)

    # What a decision asks.

    def places(self, provider_ids: Iterable[ProviderId]) -> Iterator[Place]:
        """Iterate over the places of those of `provider_ids` that are here."""
        for provider_id in provider_ids:
            place = self._places.get(provider_id)
            if place is not None:
                yield place

    def ready(self, groups: Set[int], seed: int, *, tokens: int) -> Iterator[Place]:
        """Iterate over those of `groups` with a free slot: first who surely has `tokens` left, then who may have."""
        sure = bisect_left(ROOMS, tokens) + 1 if tokens else 0
        return chain(climb(self._ready[sure:], groups, seed), climb(self._ready[:sure], groups, seed))

    def everybody(self) -> Iterator[Place]:
        """Iterate over all places: for small fleets, and for explanations."""
        return iter(self._places.values())

    def owned_by(self, account: AccountId) -> Set[ProviderId]:
        """Return the providers of one account."""
        return self._owners.get(account, frozenset())

    def passing(self, request: RouteRequest, *, tokens: int = 0) -> Set[int]:
        """Return the groups whose traits let `request` through and whose context is sure to take `tokens`.

        Worked out once for all requests that ask the same.
        """
        tokens = context_ceiling(tokens) if tokens > self._context_min else 0
        key = (tokens, filter_key(request))
        known = self._filters.get(key)
        if known is None:
            known = self._filters[key] = _Filtered()
            if len(self._filters) > FILTERS_REMEMBERED_MAX:
                self._filters.popitem(last=False)
        else:
            self._filters.move_to_end(key)
        if known.looked_at < self._next_group:
            self._look(known, request, tokens)
        return known.groups

    def groups(self) -> Iterator[tuple[Traits, int]]:
        """Iterate over all groups with their sizes."""
        for group, traits in self._groups.items():
            yield traits, self._sizes[group]

    def size_of(self, groups: Set[int]) -> int:
        """Return how many candidates are in `groups`."""
        return len(self._places) if len(groups) == len(self._groups) else sum(self._sizes[group] for group in groups)

    def is_beyond(self, groups: Set[int], tokens: int) -> bool:
        """Say whether a request of `tokens` is sure to be too large for everybody in `groups`."""
        return all(is_beyond(self._groups[group], tokens) for group in groups)

    @property
    def decode_median(self) -> float:
        """The median of the reported decode rates, and the default where nobody reports one."""
        return self._rates.median() or DECODE_UNKNOWN_TOKENS_S

    @property
    def decode_believed_max(self) -> float:
        """The decode rate that a provider of this model is believed to reach at most."""
        return self._rates.believed_max()

    # Inside.

    def _standing(self, candidate: Candidate) -> tuple[Forecast, Ladder, int]:
        view = forecast(candidate, decode_unknown=self.decode_median if not candidate.decode_tokens_s else 1.0)
        if candidate.slots_left < 1:
            return view, self.full, rung_of(1000.0 * wait_s(candidate))
        ordinary = view.fixed_ms + ORDINARY_PROMPT * view.prompt_ms + ORDINARY_OUTPUT * view.output_ms
        ladder = self._ready[_room_of(candidate)]
        return view, ladder, rung_of(ordinary * (1.0 + CROSSING_SHARE) if candidate.is_elsewhere else ordinary)

    def _placed(self, candidate: Candidate, group: int) -> Place:
        view, ladder, rung = self._standing(candidate)
        place = Place(candidate, view, group, ladder, rung)
        ladder.add(place)
        return place

    def _enter(self, traits: Traits) -> int:
        group = self._group_of.get(traits)
        if group is None:
            group = self._group_of[traits] = self._next_group
            self._next_group += 1
            self._groups[group] = traits
            self._sizes[group] = 0
            self._contexts[traits.context_floor] += 1
            self._context_min = min(self._contexts)
        self._sizes[group] += 1
        return group

    def _exit(self, group: int) -> None:
        self._sizes[group] -= 1
        if not self._sizes[group]:
            del self._sizes[group]
            traits = self._groups.pop(group)
            del self._group_of[traits]
            self._contexts -= Counter((traits.context_floor,))
            self._context_min = min(self._contexts, default=0)
            for known in self._filters.values():
                known.groups.discard(group)

    def _disown(self, candidate: Candidate) -> None:
        owned = self._owners[candidate.owner]
        owned.discard(candidate.provider_id)
        if not owned:
            del self._owners[candidate.owner]

    def _look(self, known: _Filtered, request: RouteRequest, tokens: int) -> None:
        """Look at the groups that are new since the filter was last asked; their numbers only grow."""
        new = range(known.looked_at, self._next_group)
        if tokens and not known.looked_at:
            # Needs of context are many and filters few: what passes without the need is mostly known.
            known.groups = {group for group in self.passing(request) if self._groups[group].context_floor >= tokens}
        else:
            for group in new if len(new) < len(self._groups) else self._groups:
                traits = self._groups.get(group)
                if traits is not None and traits.context_floor >= tokens and trait_obstacle(traits, request) is None:
                    known.groups.add(group)
        known.looked_at = self._next_group


def _room_of(candidate: Candidate) -> int:
    left = candidate.tokens_left
    return len(ROOMS) + 1 if left is None or left >= candidate.context_tokens else bisect_right(ROOMS, left)


def rung_of(milliseconds: float) -> int:
    """Return the rung of a cost: four steps an octave above 32 ms."""
    value = int(milliseconds) + (1 << _FIRST_BITS - 1)
    bits = value.bit_length()
    return min(4 * (bits - _FIRST_BITS) + (value >> bits - 3 & 3), RUNGS - 1)
