"""What goes wrong in a world, act by act. Every act picks its victim with the world's chance and is over by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from simulation.chance import spread
from simulation.providers import SimulatedProvider
from simulation.tricks import TRICKS

if TYPE_CHECKING:
    from simulation.world import World

Act = Callable[["World", SimulatedProvider], Awaitable[None]]


async def _reset(world: World, victim: SimulatedProvider) -> None:
    if victim.link is not None and victim.link.is_up:
        victim.link.reset()


async def _vanish(world: World, victim: SimulatedProvider) -> None:
    if victim.link is not None and victim.link.is_up:
        victim.link.vanish()


async def _crash(world: World, victim: SimulatedProvider) -> None:
    if victim.is_up:
        await victim.crash()
        await world.pause(5.0)
        world.boot(victim)


async def _drain(world: World, victim: SimulatedProvider) -> None:
    if victim.is_up:
        victim.drain()
        await victim.stopped()
        await world.pause(3.0)
        world.boot(victim)


async def _die(world: World, victim: SimulatedProvider) -> None:
    victim.plan.condition.is_dead = True


async def _heat(world: World, victim: SimulatedProvider) -> None:
    victim.plan.condition.heat = spread(world.chance, 3.0)
    await world.pause(8.0)
    victim.plan.condition.heat = 1.0


async def _stall(world: World, victim: SimulatedProvider) -> None:
    victim.plan.condition.stalls = 0.5
    await world.pause(5.0)
    victim.plan.condition.stalls = 0.0


async def _fail(world: World, victim: SimulatedProvider) -> None:
    victim.plan.condition.fails = 0.5
    await world.pause(5.0)
    victim.plan.condition.fails = 0.0


async def _twin(world: World, victim: SimulatedProvider) -> None:
    """A second agent with the same identity takes the first one's place, and both go on dialling."""
    twin = world.twin_of(victim)
    world.boot(twin)
    await world.pause(4.0)
    await twin.crash()


async def _lie(world: World, victim: SimulatedProvider) -> None:
    victim.plan.character.lies = True
    await world.pause(10.0)
    victim.plan.character.lies = False


async def _forge(world: World, victim: SimulatedProvider) -> None:
    victim.plan.character.forges = True
    await world.pause(10.0)
    victim.plan.character.forges = False


async def _ignore(world: World, victim: SimulatedProvider) -> None:
    victim.plan.character.ignores_challenges = True
    await world.pause(15.0)
    victim.plan.character.ignores_challenges = False


async def _mute(world: World, victim: SimulatedProvider) -> None:
    victim.plan.character.mute_heartbeats = world.chance.choice((0.5, 1.0))
    await world.pause(12.0)
    victim.plan.character.mute_heartbeats = 0.0


async def _babble(world: World, victim: SimulatedProvider) -> None:
    victim.plan.character.babble = world.chance.choice((0.02, 0.3))
    await world.pause(3.0)
    victim.plan.character.babble = 0.0


async def _trick(world: World, victim: SimulatedProvider) -> None:
    character = victim.plan.character
    before = character.tricks, character.kinds
    character.tricks, character.kinds = 1.0, (world.chance.choice(TRICKS),)
    await world.pause(4.0)
    character.tricks, character.kinds = before


async def _illness(world: World, victim: SimulatedProvider) -> None:
    world.make_books_ill(world.chance.choice((0.05, 0.5, 1.0)))
    await world.pause(2.0)
    world.make_books_ill(0.0)


ACTS: Final[dict[str, Act]] = {
    "reset": _reset,
    "vanish": _vanish,
    "crash": _crash,
    "drain": _drain,
    "die": _die,
    "heat": _heat,
    "stall": _stall,
    "fail": _fail,
    "twin": _twin,
    "lie": _lie,
    "forge": _forge,
    "ignore challenges": _ignore,
    "mute": _mute,
    "babble": _babble,
    "trick": _trick,
    "illness": _illness,
}


async def wreak(world: World) -> None:
    """Let one thing after another go wrong until cancelled."""
    troubles = world.plan.troubles
    if not troubles.rate or not troubles.weights:
        return
    running: set[asyncio.Task[None]] = set()
    try:
        while True:
            await asyncio.sleep(world.chance.expovariate(troubles.rate))
            name = world.chance.choices(list(troubles.weights), list(troubles.weights.values()))[0]
            victim = world.chance.choice(world.providers)
            world.watch.note(f"{victim!r}: {name}")
            task = asyncio.create_task(_played(ACTS[name], world, victim), name=f"chaos-{name}")
            running.add(task)
            task.add_done_callback(running.discard)
    finally:
        for task in sorted(running, key=lambda each: each.get_name()):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _played(act: Act, world: World, victim: SimulatedProvider) -> None:
    await act(world, victim)
