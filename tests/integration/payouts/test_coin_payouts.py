"""Payouts in coins: what a gateway says of an order, in any order, and what only a person can say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from hushnet.coordinator.ledger.chart import Kind, coin_account, operator_account, user_account
from hushnet.coordinator.payments.calls import Absent, Again, Calls, CannotTell, Done, Refused, Seen, Sent, Unknown
from hushnet.coordinator.payments.model import Call, CallState
from hushnet.coordinator.payments.payouts.asking import Wish
from hushnet.coordinator.payments.payouts.coin_rail import CoinOrder, StillWanted, claim_coins, coin_callers
from hushnet.coordinator.payments.payouts.methods import Place
from hushnet.coordinator.payments.payouts.model import COIN, Payout, PayoutState
from hushnet.coordinator.payments.payouts.service import Payouts, Resolution
from hushnet.coordinator.payments.payouts.sweep import CoinWitness, LedgerAccount, PayoutWorker
from support.ledger import PROVIDER
from support.money import OpenMoney
from support.payout_desk import DAY_S, EARNED, TERMS, USD

S = PayoutState
GROSS, UNITS = 25 * USD, 24_990_000
ACCEPTED, CONFIRMED, LOST = (Done({"status": s, "txid": "0xab"}) for s in ("accepted", "confirmed", "lost"))


@dataclass
class ScriptedGateway:
    """A gateway that answers as it is told, and remembers what it was asked to send."""

    sends: list[Sent] = field(default_factory=list)
    sees: list[Seen] = field(default_factory=list)
    orders: list[CoinOrder] = field(default_factory=list)

    async def send(self, order: CoinOrder, *, is_wanted: StillWanted) -> Sent:
        self.orders.append(order)
        return self.sends.pop(0)

    async def look_up(self, order: CoinOrder) -> Seen:
        return self.sees.pop(0)


@dataclass
class CoinDesk:
    """Payouts in coins of one operator."""

    money: OpenMoney
    gateway: ScriptedGateway
    payouts: Payouts
    calls: Calls
    worker: PayoutWorker

    async def claimed(self, *sends: Sent, sees: Sequence[Seen] = ()) -> Payout:
        """A payout whose quote is fixed, before the gateway that will answer so."""
        await self.money.books.give(PROVIDER, earnings=EARNED)
        await self.money.books.advance(DAY_S + 1)
        await self.payouts.add_coin_method(PROVIDER, "USDC", "base", "0xAB", None)
        payout = await self.payouts.request(Wish(PROVIDER, "c1", GROSS))
        assert await self.worker.send_requested() == 0, "batches claim coins, not the worker"
        claim = {"units": UNITS, "rate": USD, "gateway": "scripted", "actor": "batch"}
        await self.money.store.transact(lambda tx: claim_coins(tx, payout.id, **claim))
        self.gateway.sends, self.gateway.sees = list(sends), list(sees)
        return payout

    async def settle(self) -> None:
        for _ in range(100):
            open_states = (CallState.DUE, CallState.SENDING, CallState.LOOK_UP)
            if not [call for call in await self.money.all_of(Call) if call.state in open_states]:
                return
            await self.calls.step()
            await self.money.books.advance(60)
        raise AssertionError("it never came to rest")

    async def state(self, payout: Payout) -> PayoutState:
        return (await self.payouts.payout(PROVIDER, payout.id)).state

    async def balances(self) -> tuple[int, int, int, int, int]:
        """Earnings, in_transit, fx, coin and fx_coin."""
        rows = {row.id & ~0xFF if row.owner == 0 else row.id: row for row in await self.money.all_of(LedgerAccount)}
        mine = (user_account(PROVIDER, kind) for kind in (Kind.EARNINGS, Kind.IN_TRANSIT))
        coins = (coin_account("USDC", "base", "coin"), coin_account("USDC", "base", "fx_coin"))
        wanted = [rows.get(id_) for id_ in (*mine, operator_account(Kind.FX), *coins)]
        one, two, three, four, five = (0 if row is None else row.credits - row.debits for row in wanted)
        return one, two, three, four, five


WHOLE = (EARNED, 0, 0, 0, 0)
PAID = (EARNED - GROSS, 0, GROSS, UNITS, -UNITS)


@pytest.fixture
def coins(money: OpenMoney) -> CoinDesk:
    gateway, store, clock = ScriptedGateway(), money.store, money.clock
    payouts = Payouts(store, terms=TERMS, check=lambda asset, network, at, tag: Place(COIN, asset, network, at, tag))
    calls = Calls(store, clock, coin_callers(store, gateway), jitter=lambda: 0.0)
    worker = PayoutWorker(store, clock, terms=TERMS, witnesses={COIN: CoinWitness(gateway)})
    return CoinDesk(money, gateway, payouts, calls, worker)


@pytest.mark.parametrize(
    ("sends", "sees", "end"),
    [
        ([CONFIRMED], [], S.PAID),
        ([Again("busy"), Unknown("reset"), CONFIRMED], [], S.PAID),
        ([Unknown("http_500")] * 3, [CONFIRMED], S.PAID),
        ([*[Unknown("http_500")] * 3, CONFIRMED], [Absent()], S.PAID),
        ([Refused("no_funds")], [], S.RETURNED),
        ([*[Unknown("http_500")] * 3], [CannotTell(), LOST], S.RETURNED),
    ],
)
async def test_coins_arrive_once_or_the_money_is_back(
    coins: CoinDesk, sends: list[Sent], sees: list[Seen], end: PayoutState
) -> None:
    payout = await coins.claimed(*sends, sees=sees)
    await coins.settle()
    assert await coins.state(payout) is end
    assert await coins.balances() == (PAID if end is S.PAID else WHOLE)
    assert {order.reference for order in coins.gateway.orders} == {f"payout:{payout.id}"}
    assert coins.gateway.sends == coins.gateway.sees == []
    assert await coins.worker.compare() == []


@pytest.mark.parametrize(("seen", "end"), [(CONFIRMED, S.PAID), (LOST, S.RETURNED), (Absent(), S.IN_TRANSIT)])
async def test_coins_that_take_too_long_are_asked_about(coins: CoinDesk, seen: Seen, end: PayoutState) -> None:
    payout = await coins.claimed(ACCEPTED)
    await coins.settle()
    assert await coins.state(payout) is S.IN_TRANSIT
    await coins.money.books.advance(8 * DAY_S)
    coins.gateway.sees = [seen]
    await coins.worker.ask_overdue()
    assert await coins.state(payout) is end
    assert await coins.worker.compare() == []


@pytest.mark.parametrize(("word", "expected"), [(Resolution.PAID, PAID), (Resolution.RETURNED, WHOLE)])
async def test_a_person_decides_where_the_gateway_cannot_tell(
    coins: CoinDesk, word: Resolution, expected: tuple[int, ...]
) -> None:
    """Afterwards the call looks before it sends, and does not send."""
    payout = await coins.claimed(Unknown("reset"), sees=[Absent()])
    await coins.calls.step()
    await coins.payouts.resolve(payout.id, word, actor="operator:1", txid="0xab")
    await coins.money.books.advance(60)
    await coins.settle()
    assert await coins.balances() == expected
    assert len(coins.gateway.orders) == 1


async def test_coins_that_move_after_they_were_given_back_are_a_finding(coins: CoinDesk) -> None:
    payout = await coins.claimed(Unknown("reset"), sees=[CONFIRMED])
    await coins.calls.step()
    await coins.payouts.resolve(payout.id, Resolution.RETURNED, actor="operator:1")
    await coins.settle()
    assert await coins.state(payout) is S.RETURNED
    (puzzle,) = await coins.payouts.puzzles()
    assert puzzle.findings[0].kind == "payout_contradiction"
