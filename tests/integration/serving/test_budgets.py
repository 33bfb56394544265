"""Budgets on the way of a request: every route, mode and form asks for them, and what is refused reaches no provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from hushnet.coordinator.budgets import CapScope, Period
from hushnet.coordinator.ledger.model import Held, Hold, HoldOutcome
from hushnet.foundation.errors import StorageError
from hushnet.foundation.money import format_usd
from support.fleet import Exchange, Network, ScriptedProvider, says
from support.postgres import fresh_database

WORST = 100 * 4 + 2000
"""More than a request of this module may cost: 100 tokens out at 4 each, and the prompt."""
SENDS: dict[str, Callable[[Network, ScriptedProvider, str], Exchange]] = {
    "a stream": lambda net, _, key: net.chat(key=key),
    "a whole answer": lambda net, _, key: net.chat(key=key, stream=False),
    "a told stream": lambda net, _, key: net.chat(key=key, headers={"hushnet-queue-updates": "true"}),
    "a sealed stream": lambda net, provider, key: net.send_sealed(net.seal(provider), key=key),
    "sealed events": lambda net, provider, key: net.send_sealed(net.seal(provider), key=key, is_binary=False),
    "a sealed whole answer": lambda net, provider, key: net.send_sealed(net.seal(provider, stream=False), key=key),
}


@pytest.fixture
async def bounded(database_path: Path) -> AsyncIterator[Network]:
    async with Network.open(database_path, is_bounded=True) as network:
        yield network


async def put(network: Network, key: str, ceiling: int, *, period: Period = Period.DAY) -> None:
    """Give a key a budget."""
    caller = network.desk.callers[key]
    await network.budgets.put(caller.account_id, CapScope.KEY, caller.key_id, {period: ceiling})


class Holds:
    """The ledger of a network, with the ids that it has held written down."""

    def __init__(self, network: Network) -> None:
        self.ids: list[int] = []
        self.caps: list[int] = []
        self._hold = network.ledger.hold
        network.ledger.hold = self.hold  # type: ignore[method-assign]

    async def hold(self, hold: Hold) -> HoldOutcome:
        outcome = await self._hold(hold)
        if isinstance(outcome, Held):
            self.ids.append(hold.id)
            self.caps.append(len(hold.caps))
        return outcome


@pytest.mark.parametrize("send", SENDS.values(), ids=SENDS.keys())
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_no_route_reaches_a_provider_without_a_hold(
    database_path: Path, kind: str, send: Callable[[Network, ScriptedProvider, str], Exchange]
) -> None:
    async with AsyncExitStack() as stack:
        at: Path | str = database_path if kind == "sqlite" else stack.enter_context(fresh_database())
        network = await stack.enter_async_context(Network.open(at, is_bounded=True))
        holds = Holds(network)
        at_dispatch: list[int] = []
        provider = await network.provider(part=lambda attempt: (at_dispatch.append(len(holds.ids)), says("x")(attempt)))
        rich, poor, capped = await network.consumer(), await network.consumer(0), await network.consumer()
        await put(network, rich, WORST * 10)
        await put(network, capped, 0)

        served = await send(network, provider, rich).finished()
        assert served.status == 200, served.body
        assert (holds.ids, holds.caps, at_dispatch) == ([int(served.headers["hushnet-request-id"])], [1], [1])
        for key, code in ((poor, b"insufficient_funds"), (capped, b"insufficient_quota")):
            refused = await send(network, provider, key).finished()
            assert refused.status == 402, refused.body
            assert code in refused.body
        assert len(provider.served) == len(holds.ids) == 1


async def test_a_refusal_tells_the_keys_holder_which_budget_what_is_left_and_the_reset(bounded: Network) -> None:
    key = await bounded.consumer()
    provider = await bounded.provider(part=says("x"))
    await put(bounded, key, WORST)
    assert (await bounded.chat(key=key).finished()).status == 200
    await bounded.settled()
    caller = bounded.desk.callers[key]
    (budget,) = await bounded.budgets.budgets_of((CapScope.KEY, caller.key_id))
    assert 0 < budget.spent == (await bounded.usage(key))[0].cost

    refused = await bounded.chat(key=key, max_tokens=4000).finished()

    error = refused.json["error"]
    assert (refused.status, error["code"], error["type"]) == (402, "insufficient_quota", "insufficient_quota")
    assert f"this key's budget of $0.0024 a day has {format_usd(WORST - budget.spent)} left" in error["message"]
    assert "it resets at 2025-11-22T00:00:00Z" in error["message"]
    assert len(provider.served) == 1


async def test_what_one_request_may_cost_is_refused_before_anything_is_held(bounded: Network) -> None:
    key = await bounded.consumer()
    await bounded.provider(part=says("x"))
    await put(bounded, key, 1000, period=Period.REQUEST)
    holds = Holds(bounded)

    refused = await bounded.chat(key=key, max_tokens=4000).finished()

    assert (refused.status, refused.json["error"]["code"]) == (402, "insufficient_quota")
    assert "a budget allows $0.001 a request" in refused.json["error"]["message"]
    assert holds.ids == []
    assert (await bounded.chat(key=key, max_tokens=10).finished()).status == 200
    assert holds.caps == [0]


async def test_what_costs_nothing_counts_against_no_budget(bounded: Network) -> None:
    key = await bounded.consumer()
    provider = await bounded.provider(account=bounded.account_of(key), part=says("x"))
    await put(bounded, key, 0)

    served = await bounded.chat(key=key, route={"own": "only"}).finished()

    assert served.status == 200, served.body
    assert len(provider.served) == 1


async def test_a_budget_is_free_again_when_nobody_served(bounded: Network) -> None:
    key = await bounded.consumer()
    provider = await bounded.provider(slots=1)
    await put(bounded, key, WORST)
    exchange = bounded.chat(key=key)
    attempt = await provider.attempt()
    exchange.hang_up()
    await exchange.finished()
    attempt.finish()
    await bounded.settled()

    (budget,) = await bounded.budgets.budgets_of((CapScope.KEY, bounded.desk.callers[key].key_id))
    assert (budget.spent, budget.held) == (0, 0)


async def test_a_request_whose_budgets_can_not_be_read_is_not_served(bounded: Network) -> None:
    key = await bounded.consumer()
    provider = await bounded.provider(part=says("x"))

    async def broken(_: object, __: object) -> None:
        raise StorageError("the database failed")

    bounded.budgets.allowance = broken  # type: ignore[method-assign, assignment]

    refused = await bounded.chat(key=key).finished()

    assert (refused.status, refused.json["error"]["code"]) == (503, "busy")
    assert provider.served == []
