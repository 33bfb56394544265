"""The peers: random, round-robin, least-loaded, two choices. All of them know exactly which slots they have filled."""

from __future__ import annotations

import random

from bench.routing.machines import Asked, Engine, Machine


class Free:
    """The machines with a free slot, in no order, with the work that was dispatched to each."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(f"policy {seed}")
        self.slots: list[int] = []
        self.open: list[int] = []
        self.numbers: list[int] = []
        self._position: list[int] = []

    def join(self, machine: Machine) -> None:
        self.slots.append(machine.slots)
        self.open.append(0)
        self._position.append(len(self.numbers))
        self.numbers.append(machine.number)

    def opened(self, number: int, asked: Asked) -> None:
        self.open[number] += 1
        if self.open[number] == self.slots[number]:
            last, place = self.numbers.pop(), self._position[number]
            if last != number:
                self.numbers[place] = last
                self._position[last] = place

    def closed(self, number: int, asked: Asked) -> None:
        if self.open[number] == self.slots[number]:
            self._position[number] = len(self.numbers)
            self.numbers.append(number)
        self.open[number] -= 1

    def reported(self, engine: Engine) -> None: ...

    def has_room(self, number: int) -> bool:
        return self.open[number] < self.slots[number]


class Random(Free):
    """Any machine with a free slot."""

    def choose(self, asked: Asked) -> int | None:
        return self.random.choice(self.numbers) if self.numbers else None


class RoundRobin(Free):
    """The next machine, in a fixed order, that has a free slot."""

    _last = -1

    def choose(self, asked: Asked) -> int | None:
        if not self.numbers:
            return None
        count = len(self.slots)
        for step in range(1, count + 1):
            number = (self._last + step) % count
            if self.has_room(number):
                self._last = number
                return number
        raise AssertionError("a machine with a free slot has none")


class PowerOfTwo(Free):
    """Of two random machines with a free slot the one with fewer open requests."""

    def choose(self, asked: Asked) -> int | None:
        if not self.numbers:
            return None
        first, second = self.random.choice(self.numbers), self.random.choice(self.numbers)
        return first if self.open[first] <= self.open[second] else second


class LeastLoaded(Free):
    """Of all machines with a free slot one with the fewest open requests."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._levels: list[dict[int, None]] = []

    def join(self, machine: Machine) -> None:
        super().join(machine)
        while len(self._levels) <= machine.slots:
            self._levels.append({})
        self._levels[0][machine.number] = None

    def opened(self, number: int, asked: Asked) -> None:
        self._move(number, by=1)
        super().opened(number, asked)

    def closed(self, number: int, asked: Asked) -> None:
        self._move(number, by=-1)
        super().closed(number, asked)

    def choose(self, asked: Asked) -> int | None:
        for level in self._levels:
            for number in level:
                if self.has_room(number):
                    return number
        return None

    def _move(self, number: int, *, by: int) -> None:
        # Dictionaries keep the order of arrival: among equals the one that has been at this level longest.
        del self._levels[self.open[number]][number]
        self._levels[self.open[number] + by][number] = None
