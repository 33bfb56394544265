"""What discounts and trust tiers make of a request: of where it goes, what is held, what it costs, who gets what."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hushnet.attestation.tiers import Tier
from hushnet.coordinator.fleet.link import Admitted
from hushnet.coordinator.ledger.prices import TermsTable
from hushnet.dialects import openai_chat
from hushnet.foundation.ids import AccountId, ModelId
from support.exchange import Exchange
from support.fleet import LIMITS, MODEL, Network, ScriptedProvider, ServedAttempt, says

TIERS = (10_000, 10_000, 15_000, 20_000)
SHARES = (10_000, 8_000, 9_000, 10_000)
TABLE = TermsTable(fee_bps=1_000, referral_bps=5_000, tier_bps=TIERS, share_bps=SHARES)
FULL = 7 + 4
"""What a prompt of seven tokens and an answer of one cost."""


@dataclass
class Told:
    """Markups that a test changes."""

    discounts: dict[tuple[AccountId, ModelId], int] = field(default_factory=dict)

    def tier_bps(self, tier: Tier) -> int:
        return TIERS[tier]

    def discount_bps(self, owner: AccountId, model: ModelId) -> int:
        return self.discounts.get((owner, model), 0)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def priced(database_path: Path, told: Told) -> AsyncIterator[Network]:
    limits = type(LIMITS)(last_word_s_max=0.3, close_retry_s=0.01, terms=TABLE)
    async with Network.open(database_path, limits=limits, markups=told) as network:
        yield network


def give(network: Network, told: Told, account: AccountId, bps: int) -> None:
    """Let an account give a discount from now on."""
    told.discounts[account, MODEL] = bps
    network.serving.fleet.reprice()


def judge(network: Network, provider: ScriptedProvider, tier: Tier) -> None:
    """Let a provider have proved that tier."""
    live = network.serving.fleet.get(provider.provider_id)
    assert live is not None
    network.serving.fleet.judged(live, tier)


async def cost_at(network: Network, provider: ScriptedProvider) -> int:
    key = await network.consumer()
    exchange = await network.chat(key=key, route={"only": [provider.provider_id]}).finished()
    assert exchange.status == 200, exchange.body
    return (await network.usage_of(exchange)).cost


async def begun(network: Network, provider: ScriptedProvider, key: str) -> tuple[Exchange, ServedAttempt]:
    """Let a provider say one word of an answer."""
    exchange = network.chat(key=key)
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("hi")
    attempt.usage()
    await exchange.said("hi")
    return exchange, attempt


async def test_a_providers_discount_applies_to_its_linked_machines(priced: Network, told: Told) -> None:
    owner = priced.new_account()
    mine = [await priced.provider(account=owner, part=says("hi")) for _ in range(2)]
    other = await priced.provider(part=says("hi"))
    give(priced, told, owner, 5_000)
    joined_later = await priced.provider(account=owner, part=says("hi"))

    assert [await cost_at(priced, each) for each in (*mine, joined_later, other)] == [6, 6, 6, FULL]


async def test_a_discount_that_ends_during_an_answer_is_still_given(priced: Network, told: Told) -> None:
    provider = await priced.provider()
    give(priced, told, provider.account, 5_000)
    exchange, attempt = await begun(priced, provider, await priced.consumer())
    give(priced, told, provider.account, 0)
    attempt.end()
    await exchange.finished()

    assert (await priced.usage_of(exchange)).cost == 6
    provider.part = says("hi")
    assert await cost_at(priced, provider) == FULL


async def test_a_tier_that_rises_during_an_answer_costs_nothing_more(priced: Network) -> None:
    provider = await priced.provider()
    exchange, attempt = await begun(priced, provider, await priced.consumer())
    judge(priced, provider, Tier.HARDWARE)
    attempt.end()
    await exchange.finished()

    record = await priced.usage_of(exchange)
    assert (record.cost, record.usage.tier) == (FULL, Tier.SELF_SIGNED)


@pytest.mark.parametrize(
    ("tier", "parts"), [(Tier.SELF_SIGNED, (8, 3)), (Tier.MEASURED, (14, 3)), (Tier.HARDWARE, (20, 2))]
)
async def test_a_tier_moves_the_price_and_the_providers_share(
    priced: Network, tier: Tier, parts: tuple[int, int]
) -> None:
    """Eleven micro-USD times the tier, rounded up; a fee of a tenth, rounded down; of the rest the tier's share."""
    provider = await priced.provider(part=says("hi"))
    judge(priced, provider, tier)
    exchange = await priced.chat(key=await priced.consumer()).finished()

    record = await priced.usage_of(exchange)
    assert (record.to_provider, record.to_platform) == parts
    assert record.cost == sum(parts)


async def test_a_hold_covers_the_dearest_tier_that_may_serve(priced: Network, told: Told) -> None:
    provider = await priced.provider(part=says("hi"))
    give(priced, told, provider.account, 5_000)
    exchange = await priced.chat(key=await priced.consumer(), max_tokens=100).finished()
    bound = openai_chat.prompt_bytes_bound(openai_chat.decode_request(provider.served[0].opened.data))

    assert (await priced.usage_of(exchange)).held == 2 * (bound * 1 + 100 * 4)


async def test_a_price_ceiling_is_held_against_tier_and_discount(priced: Network, told: Told) -> None:
    """The model costs one dollar for a million input tokens, four for output; at a hardware tier twice that."""
    dear, cheap = await priced.provider(part=says("hi")), await priced.provider(part=says("hi"))
    judge(priced, dear, Tier.HARDWARE)
    give(priced, told, cheap.account, 2_500)
    key = await priced.consumer()

    async def asked(output: str) -> tuple[int, str]:
        exchange = await priced.chat(key=key, route={"price_max": {"output": output}}).finished()
        return exchange.status, exchange.headers.get("hushnet-provider", "")

    assert await asked("3.00") == (200, cheap.provider_id)
    assert (await asked("2.99"))[0] == 422
    give(priced, told, dear.account, 8_750)
    assert await asked("1.00") == (200, dear.provider_id)


async def test_a_draft_is_reckoned_and_divided_as_the_settlement_is(
    priced: Network, told: Told, database_path: Path, tmp_path: Path
) -> None:
    provider = await priced.provider()
    judge(priced, provider, Tier.HARDWARE)
    give(priced, told, provider.account, 2_500)
    exchange, attempt = await begun(priced, provider, await priced.consumer())
    priced.advance(LIMITS.draft_s + 1)
    await priced.ledger.save_drafts()
    crashed = tmp_path / "crashed.db"
    _copy(database_path, crashed)
    attempt.end()
    await exchange.finished()
    settled = await priced.usage_of(exchange)

    async with Network.open(crashed, is_checked=False) as restarted:
        swept = await restarted.ledger.usage_record(settled.id)
        assert swept is not None
        assert (swept.cost, swept.to_provider, swept.to_platform) == (17, 16, 1)
        assert (swept.cost, swept.to_provider) == (settled.cost, settled.to_provider)
        await restarted.assert_balanced()


async def test_a_provider_without_an_account_is_not_routed_paid_requests(priced: Network) -> None:
    """The token decides whose a provider is; one that names nobody gets no requests, whatever it offers."""
    provider = ScriptedProvider(priced, account=priced.new_account(), part=says("hi"))
    outcome = await provider.join(token="provider-0")
    key = await priced.consumer()

    exchange = await priced.chat(key=key).finished()

    assert isinstance(outcome, Admitted)
    assert exchange.json["error"]["code"] == "model_not_found"
    assert provider.served == []
    assert await priced.usage(key) == []


def _copy(source: Path, target: Path) -> None:
    """Copy a database as a crash would leave it: the file and its log."""
    for suffix in ("", "-wal"):
        if (found := source.with_name(source.name + suffix)).exists():
            shutil.copyfile(found, target.with_name(target.name + suffix))
