"""Whatever order Stripe tells things in, and however often: the books end as if each had been told once, in order.

A story is what happens to one owner's deposits at Stripe. It is played twice, for two owners: one is told everything in
order, the other in any order, several times over. Both run through real transactions, inbox and outbox.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from hushnet.coordinator.ledger.chart import Kind, user_account
from hushnet.coordinator.ledger.model import Code, Fact, Leg, Posted
from hushnet.coordinator.payments.deposits.model import Deposit
from hushnet.coordinator.payments.model import EventState, InboxEvent
from hushnet.foundation.errors import AccessError, RequestError
from hushnet.foundation.ids import AccountId
from support.card_money import CardBench, card_bench
from support.ledger import PROVIDER, database_url
from support.money import open_money
from support.stripe_fake import FakeStripe, running_stripe

EXAMPLES = {"sqlite": 25, "postgresql": 6}

Ending = Literal["paid", "debit paid", "debit failed", "debit failed, then paid", "expired", "wrong amount", "open"]
Word = Literal["refund", "pending refund", "failing refund", "our refund", "dispute", "won", "lost", "warning"]
Story = tuple[list[tuple[int, Ending]], int, list[tuple[int, Word, int]]]

ENDINGS: tuple[Ending, ...] = Ending.__args__  # type: ignore[attr-defined]
WORDS: tuple[Word, ...] = Word.__args__  # type: ignore[attr-defined]
# Most deposits are paid and most words are of disputes, so that most stories have something to get wrong.
_ENDINGS = st.sampled_from(ENDINGS + ("paid",) * 12)
_WORDS = st.sampled_from(WORDS + ("won", "lost") * 3)
_DEPOSITS = st.lists(st.tuples(st.integers(100, 5000), _ENDINGS), min_size=1, max_size=3)
_REVERSALS = st.lists(st.tuples(st.integers(0, 2), _WORDS, st.integers(1, 5000)), min_size=1, max_size=4)
STORIES = st.tuples(_DEPOSITS, st.integers(0, 100), _REVERSALS)


class Player:
    """Plays stories on one bench; each owner is used once."""

    def __init__(self, bench: CardBench) -> None:
        self.bench = bench
        self.owner = 100_000

    async def play(self, story: Story, shuffled: random.Random | None) -> tuple[dict[str, int], dict[str, int]]:
        """Return the owner's balances at the end, and what the operator's changed by."""
        self.owner += 1
        owner, before = AccountId(self.owner), await self.bench.operator()
        deposits, spent_percent, reversals = story
        asked = [(await self.bench.ask(cents, owner=owner), ending) for cents, ending in deposits]
        for deposit, ending in asked:
            self._end(deposit.checkout or "", deposit.cents, ending)
        events = self.bench.events()
        await self._tell(events, shuffled)
        await self._spend(owner, spent_percent)
        for place, word, cents in reversals:
            deposit = await self.bench.deposit(asked[place % len(asked)][0].id)
            if deposit.intent is not None:
                await self._reverse(deposit, word, cents)
        late = self.bench.events()
        await self._tell(late + (events if shuffled else []), shuffled)
        after = await self.bench.operator()
        changed = {kind: after.get(kind, 0) - before.get(kind, 0) for kind in {*after, *before}}
        return await self.bench.user(owner), {kind: amount for kind, amount in changed.items() if amount}

    async def _tell(self, events: list[dict[str, Any]], shuffled: random.Random | None) -> None:
        told = list(events)
        if shuffled is not None:
            told += shuffled.choices(events, k=len(events)) if events else []
            shuffled.shuffle(told)
        for event in told:
            self.bench.money.clock.advance(0.001)
            await self.bench.receive([event])
            if shuffled is None or shuffled.random() < 0.5:
                await self.bench.inbox.step()
        await self.bench.settle()

    def _end(self, checkout: str, cents: int, ending: Ending) -> None:
        stripe = self.bench.stripe
        match ending:
            case "paid":
                stripe.pay(checkout)
            case "wrong amount":
                stripe.pay(checkout, cents=cents + 1)
            case "expired":
                stripe.expire(checkout)
            case "open":
                pass
            case _:
                stripe.pay(checkout, is_async=True)
                stripe.settle(checkout, is_paid=ending == "debit paid")
                if ending == "debit failed, then paid":
                    stripe.settle(checkout)

    async def _spend(self, owner: AccountId, percent: int) -> None:
        paid = (await self.bench.user(owner)).get("paid", 0) * percent // 100
        if paid:
            used = Leg(user_account(owner, Kind.PAID), user_account(PROVIDER, Kind.EARNINGS), paid)
            fact = Fact(f"spent:{owner}", Code.ADJUSTMENT, (used,), actor="test", owner=owner)
            assert await self.bench.money.ledger.fact(fact) == Posted()

    async def _reverse(self, deposit: Deposit, word: Word, cents: int) -> None:
        stripe, intent = self.bench.stripe, deposit.intent or ""
        charge_id = stripe.thing("payment_intents", intent)["latest_charge"]
        if charge_id is None:
            return  # never paid
        charge = stripe.thing("charges", charge_id)
        cents = min(cents, charge["amount"] - charge["amount_refunded"])
        if charge["disputed"] or not cents:
            return
        if word == "our refund":
            try:
                key = f"refund-{deposit.id}-{charge['amount_refunded']}"
                await self.bench.rail.deposits.ask_refund(deposit.id, cents, client_key=key, actor="test")
            except (AccessError, RequestError):
                return
            await self.bench.calls.step()
        elif word.endswith("refund"):
            is_pending = word == "pending refund" or cents % 2 == 1
            refund = stripe.refund(intent, cents, status="pending" if is_pending else "succeeded")
            if word != "refund":
                stripe.end_refund(refund, is_paid=word == "pending refund")
        else:
            dispute = stripe.dispute(intent, cents, is_warning=word == "warning")
            if word != "dispute":
                stripe.end_dispute(dispute, "warning_closed" if word == "warning" else word)


@pytest.fixture(params=["sqlite", "postgresql"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[asyncio.Runner, Player, str]]:
    """A bench that many stories share, and the loop it lives in."""
    with running_stripe() as stripe, database_url(request.param, tmp_path) as url, asyncio.Runner() as runner:
        stack = AsyncExitStack()
        bench = runner.run(_open(stack, url, stripe))
        yield runner, Player(bench), request.param
        runner.run(stack.aclose())


async def _open(stack: AsyncExitStack, url: str, stripe: FakeStripe) -> CardBench:
    money = await stack.enter_async_context(open_money(url))
    return await stack.enter_async_context(card_bench(money, stripe))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_any_order_of_any_multiset_of_events_ends_in_the_same_books(stage: tuple[asyncio.Runner, Player, str]) -> None:
    runner, player, kind = stage

    @settings(max_examples=EXAMPLES[kind], phases=[Phase.explicit, Phase.generate])
    @given(story=STORIES, seed=st.integers(0, 2**32))
    def check(story: Story, seed: int) -> None:
        in_order = runner.run(player.play(story, None))
        in_any = runner.run(player.play(story, random.Random(seed)))
        assert in_any == in_order
        events = runner.run(player.bench.money.all_of(InboxEvent))
        assert {event.state for event in events} <= {EventState.APPLIED, EventState.IGNORED}

    check()
