"""A request that is over goes by reference counts: nothing of it waits for the collector, which is seldom and slow."""

from __future__ import annotations

import gc

from hushnet.coordinator.serving.life import Life
from support.fleet import Network, says, until


def leftovers() -> list[str]:
    return [type(each).__name__ for each in gc.get_objects() if isinstance(each, Life)]


async def test_a_request_that_is_over_leaves_nothing_to_the_collector(network: Network) -> None:
    await network.provider(part=says("Hel", "lo"))
    key = await network.consumer()
    gc.collect()
    gc.disable()
    try:
        for stream in (True, False):
            exchange = await network.chat(key=key, stream=stream).finished()
            assert exchange.status == 200
            await network.usage_of(exchange)
            del exchange
        await until(lambda: not leftovers())
    finally:
        gc.enable()
