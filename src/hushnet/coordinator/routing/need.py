"""What a plan works out for one model: on how many machines it should be loaded, and how many can be counted on. Pure.

That a model is loaded is its machine's word. Rules: the machines of one account count for half of what is wanted at most,
or for as many as have served the model; what an account has beyond that neither keeps others from loading nor lets them
idle out. And nobody idles out below what the demand fills with machines that have served.
"""

from __future__ import annotations

from hushnet.coordinator.routing.holdings import Machine, ModelState, Why
from hushnet.foundation.ids import AccountId, ModelId


class Need:
    """The figures of one model; a plan moves them on with each machine that it chooses."""

    __slots__ = (
        "_beyond",
        "_gone",
        "_owners",
        "_share",
        "coming",
        "filled",
        "leaving",
        "model",
        "pin",
        "proven",
        "queue",
        "rate",
        "target",
        "warm",
    )

    def __init__(
        self, model: ModelId, state: ModelState, *, coming: int, pin: int, rate: float, filled: int, target: int
    ) -> None:
        """Take what the fleet has; `filled` is what the demand wants, `target` that or the pin."""
        self.model = model
        self.warm = state.warm
        self.proven = state.warm if state.proven is None else state.proven
        self.queue = state.queue
        self.coming = coming
        self.leaving = 0
        self.pin = pin
        self.rate = rate
        self.filled = filled
        self.target = target
        self._share = share = target // 2 if target > 1 else target
        self._owners = state.owners
        self._gone: dict[AccountId, int] = {}
        self._beyond = sum([held.warm - max(share, held.proven) for held in state.owners.values() if held.warm > share])

    @property
    def counted(self) -> int:
        """How many machines that have it loaded are counted on."""
        return max(self.warm - self._beyond, 0)

    @property
    def missing(self) -> int:
        return self.target - self.counted - self.coming

    @property
    def why(self) -> Why:
        if self.counted + self.coming < self.pin:
            return Why.PIN
        return Why.QUEUE if self.queue else Why.DEMAND

    def is_helped_by(self, machine: Machine) -> bool:
        """Say whether one more that `machine` loads brings the model nearer to its target."""
        if self.warm + self.coming < self.target or machine.owner is None:
            return True
        return self._margin(machine.owner) > 0

    def is_enough_without(self, machine: Machine, floor: int) -> bool:
        """Say whether `floor` machines are left that are counted on, without `machine`."""
        if self.warm <= floor or (not self._is_beyond(machine.owner) and self.counted <= floor):
            return False
        return self.proven - machine.holdings[self.model].is_proven >= min(self.filled, floor)

    def let_go(self, owner: AccountId | None, *, is_proven: bool) -> None:
        """Count a machine out that is asked to free it."""
        self.leaving += 1
        self.warm = max(self.warm - 1, 0)
        self.proven = max(self.proven - is_proven, 0)
        if self._is_beyond(owner):
            self._beyond -= 1
        if owner is not None:
            self._gone[owner] = self._gone.get(owner, 0) + 1

    def may_yield(self, machine: Machine, wanted: Need) -> bool:
        """Say whether `machine` may give it up for `wanted`: a surplus always, the last one only to a greater need."""
        if self.model == wanted.model or not self.is_enough_without(machine, self.pin):
            return False
        if self.is_enough_without(machine, self.target):
            return True
        return wanted.counted + wanted.coming == 0 and not self.queue and self.rate < wanted.rate

    def _is_beyond(self, owner: AccountId | None) -> bool:
        return owner is not None and self._margin(owner) < 0

    def _margin(self, owner: AccountId) -> int:
        """Return how many machines more of an account would be counted on; negative: how many are not."""
        held = self._owners.get(owner)
        if held is None:
            return self._share
        return max(self._share, held.proven) - held.warm + self._gone.get(owner, 0)
