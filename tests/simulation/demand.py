"""Consumers come: at random moments, in crowds, from accounts that can pay and from some that can't."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hushnet.foundation.ids import AccountId, ModelId
from hushnet.sealing.statements import Recipient
from simulation.chance import often, spread
from simulation.consumers import Wish

if TYPE_CHECKING:
    from simulation.world import World

_CROWD = 30


async def come(world: World) -> None:
    """Let consumers come until cancelled."""
    crowds = asyncio.create_task(_crowds(world), name="crowds")
    directory = asyncio.create_task(_directory(world), name="directory")
    numbers = iter(range(1 << 30))
    try:
        while True:
            await asyncio.sleep(world.chance.expovariate(world.plan.demand.rate))
            world.arrive(_wish(world, next(numbers)))
    finally:
        for task in (crowds, directory):
            task.cancel()
        await asyncio.gather(crowds, directory, return_exceptions=True)


async def _crowds(world: World) -> None:
    plan = world.plan
    if plan.flooder is not None:
        await asyncio.sleep(3.0)
        for number in range(100):
            world.arrive(_wish(world, number, crowd="f", account=plan.flooder))
        return
    for crowd in range(plan.demand.crowds):
        await asyncio.sleep(world.chance.uniform(0.0, plan.seconds / plan.demand.crowds))
        for number in range(_CROWD):
            await asyncio.sleep(world.chance.random() / _CROWD)
            world.arrive(_wish(world, number, crowd=f"c{crowd}-"))


async def _directory(world: World) -> None:
    """Consumers look at the list of providers now and then; what they saw may be old when they seal to it."""
    while True:
        fleet = world.serving.fleet
        world.listed = {model: [live.verified.recipient() for live in fleet.serving(model)] for model in fleet.models()}
        await asyncio.sleep(world.chance.choice((5.0, 20.0)))


def _wish(world: World, number: int, *, crowd: str = "r", account: AccountId | None = None) -> Wish:
    chance, plan = world.chance, world.plan
    demand = plan.demand
    model = chance.choice(plan.providers).model
    accounts = [each for each in plan.consumers if each != plan.flooder]
    words = max(1, min(int(spread(chance, demand.words)), 400)) if not plan.is_fair else demand.words
    recipients = _recipients(world, model) if often(chance, demand.sealed) else ()
    return Wish(
        tag=f"{crowd}{number}",
        account=account or chance.choice(accounts),
        model=model if plan.is_fair or not often(chance, 0.01) else ModelId("nobody-has-it"),
        words=words,
        bound=words + chance.choice((0, 5)),
        is_sealed=bool(recipients),
        is_stream=often(chance, demand.streamed),
        is_binary=often(chance, 0.5),
        is_direct=often(chance, 0.5),
        recipients=recipients,
        padding=chance.choice((0, 3_000, 70_000, 400_000)) if often(chance, demand.long_body) else 0,
        patience_s=spread(chance, 1.0, factor=3.0) if often(chance, demand.hangs_up) else _last_patience(world),
        hangs_up_after_bytes=chance.randrange(4000) if often(chance, demand.hangs_up) else None,
        pace_bytes_s=_pace(world),
    )


def _pace(world: World) -> float | None:
    chance, demand = world.chance, world.plan.demand
    if often(chance, demand.stalled):
        return 0.0
    return spread(chance, 20_000.0, factor=3.0) if often(chance, demand.slow) else None


def _last_patience(world: World) -> float | None:
    """Nobody waits longer than a while after the coordinator should have given up by itself."""
    return None if world.plan.is_fair else world.limits.total_s_max + 30.0


def _recipients(world: World, model: ModelId) -> Sequence[Recipient]:
    chance = world.chance
    if often(chance, world.plan.demand.stale_directory):
        known = world.listed.get(model, ())
    else:
        known = [live.verified.recipient() for live in world.serving.fleet.serving(model)]
    return chance.sample(list(known), min(len(known), chance.randint(1, 3)))
