"""The honest case, in both modes and both forms: what arrives, and what it costs."""

from __future__ import annotations

from hushnet.coordinator.ledger.model import UsageOutcome
from support.fleet import Network, says


async def test_a_streamed_answer_arrives_whole_and_is_charged_by_its_tokens(network: Network) -> None:
    provider = await network.provider(part=says("Hel", "lo"))
    key = await network.consumer()

    exchange = await network.chat(key=key).finished()

    assert exchange.status == 200
    assert exchange.text == "Hello"
    assert exchange.is_done
    record = await network.usage_of(exchange)
    assert (record.usage.tokens_in, record.usage.tokens_out) == (7, 2)
    assert record.cost == 7 + 2 * 4
    assert record.usage.outcome is UsageOutcome.COMPLETED
    assert await network.earned(provider) == 15
