"""Models that providers of another worker have: counted where they are loaded, asked for by nobody but their own worker."""

from __future__ import annotations

from hushnet.coordinator.routing.model import RouteRequest
from hushnet.wire.frames import ModelOffer
from support.fleet import MODEL, says
from support.mesh import until
from support.pair import Worker

COLD = ModelOffer(model=MODEL, context_tokens=8192, slots=4, is_loaded=False, load_s=20.0)
WARM = ModelOffer(model=MODEL, context_tokens=8192, slots=4, load_s=20.0)


async def test_a_cold_start_at_a_provider_of_the_other_worker_is_told_and_nobody_is_asked_to_load_again(
    both: tuple[Worker, Worker],
) -> None:
    here, there = both
    provider = await there.network.provider(models=[COLD], part=says("hello"))
    await here.knows(provider)
    exchange = await here.network.chat(key=await here.network.consumer()).finished()
    here.network.serving.service.pool.tick()

    assert exchange.text == "hello"
    assert exchange.headers["hushnet-cold-start"] == "true"
    assert provider.wishes == []
    assert here.network.serving.service.pool.loading == 0


async def test_a_model_that_is_loaded_at_another_worker_is_not_cold(both: tuple[Worker, Worker]) -> None:
    here, there = both
    mine = await here.network.provider(models=[COLD])
    pool = here.network.serving.service.pool
    assert pool.is_cold(MODEL)
    theirs = await there.network.provider(models=[COLD])
    await here.knows(theirs)
    assert pool.is_cold(MODEL)

    there.network.gate.models_changed(theirs.provider_id, [WARM])
    await until(lambda: not pool.is_cold(MODEL))
    pool.waits(MODEL)
    assert mine.wishes == []

    theirs.close("closing")
    await until(lambda: pool.is_cold(MODEL))
    pool.waits(MODEL)
    assert mine.wishes == []  # nobody has asked for it
    pool.arrived(MODEL)
    pool.tick()
    assert mine.wishes == [("load", MODEL)]
    slot = here.network.serving.fleet.take(
        mine.provider_id, RouteRequest(model=MODEL, prompt_tokens_max=1, output_tokens_max=1)
    )
    assert slot.is_cold
    slot.release()
