"""What stands around a coordinator in a simulated world: prices, the owners of provider tokens, and who reads its log."""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

from hushnet.attestation.tiers import Tier
from hushnet.coordinator.fleet.store import Owner
from hushnet.coordinator.ledger.prices import TermsTable
from hushnet.foundation.errors import StorageError
from hushnet.foundation.ids import AccountId, ApiKeyId, ModelId
from hushnet.foundation.money import Price
from hushnet.foundation.redaction import Secret
from simulation.chance import often, spread
from simulation.scenario import FREE_MODEL

if TYPE_CHECKING:
    from simulation.loop import VirtualClock
    from simulation.world import World

PRICE: Final = Price(input=1_000_000, cached=500_000, output=4_000_000, minimum=1)
PRICES_LAST_S: Final = 2.0
"""Shorter than many answers take: discounts change in the middle of them."""
_FREE: Final = Price(input=0, cached=0, output=0, minimum=0)

EXPECTED_ERRORS: Final = frozenset(
    {
        "the coordinator reports a broken rule",
        "an envelope went to another provider than it was made for",
    }
)
"""What hostile providers bring into the log. Anything else that is logged as an error is one."""
ILLNESS_ERRORS: Final = frozenset(
    {
        "the ledger's database is gone",
        "the ledger's lane could not be found",
        "a batch was refused",
        "the disk failed the ledger",
    }
)


@dataclass(frozen=True)
class _Tariff:
    id: int
    price: Price


class Tariffs:
    """One model is free."""

    def tariff_of(self, model: ModelId) -> _Tariff:
        return _Tariff(0, _FREE if model == FREE_MODEL else PRICE)


class Markups:
    """Trust tiers that cost what the seed says, and owners who change their discounts all the time.

    Nothing is drawn from the world's chance, so that no other event depends on prices.
    """

    discounts: Final = (0, 1_000, 5_000, 10_000)

    def __init__(self, seed: int, clock: VirtualClock) -> None:
        chance = Random(seed)
        self.terms = TermsTable(
            fee_bps=chance.choice((0, 500, 9_999)),
            tier_bps=(10_000, *(chance.choice((0, 8_000, 10_000, 15_000)) for _ in range(3))),
            share_bps=(10_000, *(chance.choice((0, 9_000, 10_000)) for _ in range(3))),
        )
        self._seed = seed
        self._clock = clock

    def tier_bps(self, tier: Tier) -> int:
        return self.terms.tier_bps[tier]

    def discount_bps(self, owner: AccountId, model: ModelId) -> int:
        moment = int(self._clock.monotonic_s() / PRICES_LAST_S)
        return Random(f"{self._seed} {owner} {model} {moment}").choice(self.discounts)

    async def change(self, world: World) -> None:
        """Let the fleet see what owners have set, until cancelled."""
        while True:
            await asyncio.sleep(PRICES_LAST_S / 3)
            if not world.is_dead:
                world.serving.fleet.reprice()


class Tokens:
    """Who owns a provider token; the table is sometimes slow, and sometimes away."""

    def __init__(self, chance: Random, failing: float) -> None:
        self._chance = chance
        self._failing = failing

    async def owner_of(self, token: Secret) -> Owner:
        await asyncio.sleep(spread(self._chance, 0.005))
        if often(self._chance, self._failing):
            raise StorageError("the simulated table is away")
        return Owner(AccountId(int(token.reveal().partition("-")[2])), ApiKeyId(1))


class ErrorLog(logging.Handler):
    """Takes every error that is logged, with where it came from, for a broken promise; a dead coordinator makes none."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        word = record.getMessage()
        if self._world.is_dead:
            return
        if word in EXPECTED_ERRORS or (self._world.was_ill and word in ILLNESS_ERRORS):
            return
        where = traceback.format_exc(limit=-3) if sys.exc_info()[0] is not None else ""
        self._world.watch.broke("no errors", f"{record.name}: {word} {where}")
