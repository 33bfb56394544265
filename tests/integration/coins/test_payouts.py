"""Coins out: settlement batches through a gateway or by hand, with limits, lost answers and late news, on both databases."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection, inspect, text

from hushnet.coordinator.payments.calls import Calls
from hushnet.coordinator.payments.coins.addresses import check_address
from hushnet.coordinator.payments.coins.assets import pair_named
from hushnet.coordinator.payments.coins.by_hand import BATCH_TYPE, batch_document, waiting_by_hand
from hushnet.coordinator.payments.coins.intake import CoinEvents
from hushnet.coordinator.payments.coins.rail import ByHand, GatewayRail, payout_told
from hushnet.coordinator.payments.coins.rates import FixedRates
from hushnet.coordinator.payments.coins.settlement import Batch, BatchLimits, Settlement, SettlementDay
from hushnet.coordinator.payments.coins.units import format_units
from hushnet.coordinator.payments.inbox import Inbox
from hushnet.coordinator.payments.payouts.asking import Terms, Wish, request_payout
from hushnet.coordinator.payments.payouts.coin_rail import coin_callers
from hushnet.coordinator.payments.payouts.model import Payout, PayoutMethod, PayoutState
from hushnet.coordinator.payments.payouts.moves import Happened, advance
from hushnet.coordinator.payments.payouts.transitions import PayoutEvent
from hushnet.foundation.ids import AccountId
from hushnet.identity.keys import IdentityKey
from hushnet.sealing.encoding import pae
from support.coin_gateways.addresses import address_of
from support.coin_gateways.server import Fault
from support.coin_world import RATES, CoinWorld
from support.ledger import CONSUMER

NET = 25_000_000
BTC = pair_named("BTC.bitcoin")


@dataclass
class PayoutWorld:
    """BTC is paid out by BTCPay, USDC on Base by hand."""

    coins: CoinWorld
    rail: GatewayRail
    calls: Calls
    inbox: Inbox
    rates: FixedRates

    def settlement(self, **limits: int) -> Settlement:
        money = self.coins.money
        return Settlement(money.store, money.clock, self.rail, rates=self.rates, limits=BatchLimits(**limits))

    async def request(self, owner: AccountId = CONSUMER, pair: str = "BTC.bitcoin", gross: int = NET) -> Payout:
        """Let an owner have old earnings and a payout method, and ask for a payout."""
        money, to = self.coins.money, address_of(pair_named(pair), owner % 200)
        await money.books.give(owner, earnings=gross)
        await money.books.advance(25 * 3600)
        asset, _, network = pair.partition(".")
        method = PayoutMethod(owner, owner, "coin", asset, network, to.address, to.tag, True, 0, None, 0)

        def work(tx: object) -> Payout:
            tx.rows(PayoutMethod).add(method)  # type: ignore[attr-defined]
            return request_payout(tx, Wish(owner, f"w{owner}", gross), Terms())  # type: ignore[arg-type]

        payout = await money.store.transact(work)
        await money.books.advance(61)
        return payout

    async def payout(self, payout_id: int) -> Payout:
        (found,) = await self.coins.money.store.read(lambda view: view.rows(Payout).find(id=payout_id))
        return found

    async def send(self, **limits: int) -> Batch:
        """Run a batch and make its calls."""
        batch = await self.settlement(**limits).run()
        while await self.calls.step():
            pass
        return batch

    async def told(self, gateway_id: str, state: str, **members: object) -> None:
        """Let BTCPay change a payout's state and tell of it."""
        fake = self.coins.btcpay_server
        fake.payouts[gateway_id] |= {"state": state, **members}
        body = fake.event("PayoutUpdated", payoutId=gateway_id, payoutState=state)
        webhook = self.coins.btcpay.read(body)
        await self.inbox.receive("btcpay", webhook.event, kind=webhook.kind, subject=webhook.subject, body=body)
        await self.inbox.step()


@asynccontextmanager
async def _joined(world: CoinWorld) -> AsyncIterator[PayoutWorld]:
    money = world.money
    rail = GatewayRail(world.btcpay.for_payouts({"BTC.bitcoin": "BTC-CHAIN"}), ByHand({"USDC.base": "USDC.base"}))
    rates = FixedRates(RATES)
    told = partial(payout_told, world.btcpay)
    events = CoinEvents(money.store, money.clock, world.btcpay, rates=rates, payouts=told)
    calls = Calls(money.store, money.clock, coin_callers(money.store, rail), jitter=lambda: 0.5)
    yield PayoutWorld(world, rail, calls, Inbox(money.store, money.clock, {"btcpay": events}), rates)


@pytest.fixture
async def out(world: CoinWorld) -> AsyncIterator[PayoutWorld]:
    async with _joined(world) as joined:
        yield joined


async def snapshot(world: CoinWorld) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table but those that only say who is alive."""

    def read(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
        names = inspect(connection).get_table_names()
        return {
            name: sorted(tuple(map(str, row)) for row in connection.execute(text(f'SELECT * FROM "{name}"')))
            for name in names
            if name not in ("ledger_lanes", "alembic_version")
        }

    database = world.money.books.database
    assert database is not None
    return await database.read(read)


async def test_a_payout_reaches_confirmed(out: PayoutWorld) -> None:
    asked = await out.request()
    batch = await out.send()
    assert [item.payout for item in batch.items] == [asked.id]
    sent = await out.payout(asked.id)
    assert (sent.state, sent.units, sent.rate) == (PayoutState.IN_TRANSIT, 40_826, 61_234_560_000)
    (made,) = out.coins.btcpay_server.payouts.values()
    assert (made["originalAmount"], made["state"]) == ("0.00040826", "AwaitingPayment")
    assert made["destination"] == address_of(BTC, CONSUMER % 200).address
    for state in ("InProgress", "Completed", "Completed"):
        await out.told(made["id"], state, paymentProof={"proofType": "chain", "id": "tx1"})
    done = await out.payout(asked.id)
    assert (done.state, done.txid) == (PayoutState.PAID, "tx1")
    balances = await out.coins.balances()
    assert (balances["fx"], balances["coin:BTC.bitcoin"]) == (NET, 40_826)
    assert "in_transit" not in balances


async def test_dry_run_writes_nothing(out: PayoutWorld) -> None:
    asked = await out.request()
    before = await snapshot(out.coins)
    planned = await out.settlement().plan()
    assert [(item.payout, item.units) for item in planned.items] == [(asked.id, 40_826)]
    assert await snapshot(out.coins) == before
    assert out.coins.btcpay_server.asked == []
    await out.settlement().run()
    assert await snapshot(out.coins) != before


async def test_a_batch_keeps_its_limits_and_takes_the_oldest(out: PayoutWorld) -> None:
    owners = [AccountId(70_000 + n) for n in range(4)]
    asked = [(await out.request(owner)).id for owner in owners]
    assert [item.payout for item in (await out.settlement(payouts_max=2).plan()).items] == asked[:2]
    first = await out.send(usd_max=NET * 3 - 1, day_usd_max=NET * 3)
    assert [item.payout for item in first.items] == asked[:2]
    assert first.left_out == ((asked[2], "limit_reached"), (asked[3], "limit_reached"))
    second = await out.send(usd_max=NET * 2, day_usd_max=NET * 3)
    assert [item.payout for item in second.items] == asked[2:3]
    assert (await out.send(usd_max=NET * 2, day_usd_max=NET * 3)).items == ()
    await out.coins.money.books.advance(24 * 3600)
    assert [item.payout for item in (await out.send(usd_max=NET, day_usd_max=NET)).items] == asked[3:]
    assert sum(day.usd for day in await out.coins.money.all_of(SettlementDay)) == NET * 4


async def test_batches_at_once_pass_no_limit(out: PayoutWorld) -> None:
    asked = [(await out.request(AccountId(70_000 + n))).id for n in range(3)]
    planned = await out.settlement(day_usd_max=NET * 2).plan()
    assert len(planned.items) == 2
    settlement = out.settlement(day_usd_max=NET * 2)
    stale = Batch(items=tuple(replace(planned.items[0], payout=payout) for payout in asked))
    claimed = [
        await out.coins.money.store.transact(partial(_claim, settlement, item)) for item in (*stale.items, *stale.items)
    ]
    assert claimed == [True, True, False, False, False, False]


def _claim(settlement: Settlement, item: object, tx: object) -> bool:
    return settlement._claim(tx, item)  # type: ignore[arg-type]


async def test_a_payout_above_the_limits_is_told_to_a_person(out: PayoutWorld) -> None:
    asked = await out.request()
    batch = await out.send(usd_max=NET - 10_000)
    assert (batch.items, batch.left_out) == ((), ((asked.id, "above_limit"),))
    assert await out.coins.findings() == ["coin_payout_left_out"]
    assert (await out.payout(asked.id)).state is PayoutState.REQUESTED


async def test_a_payout_without_a_rate_or_a_gateway_stays(out: PayoutWorld) -> None:
    asked = await out.request()
    out.rates = FixedRates({})
    assert (await out.send()).left_out == ((asked.id, "no_rate"),)
    out.rail.gateways.clear()
    assert (await out.send()).left_out == ((asked.id, "no_gateway"),)


async def test_a_payout_may_be_cancelled_before_it_is_sent(out: PayoutWorld) -> None:
    asked = await out.request()
    planned = (await out.settlement().plan()).items
    cancelled = Happened(event=PayoutEvent.CANCELLED)
    await out.coins.money.store.transact(lambda tx: advance(tx, asked.id, cancelled, actor="owner"))
    settlement = out.settlement()
    assert not await out.coins.money.store.transact(partial(_claim, settlement, planned[0]))
    assert (await out.send()).items == ()


@pytest.mark.parametrize("kind", ["drop_after", "drop_before", "garbage", 500, 503])
async def test_lost_answers_send_once(kind: str | int, out: PayoutWorld) -> None:
    asked = await out.request()
    out.coins.btcpay_server.faults += [Fault("payouts", kind, "POST"), Fault("payouts/Pay1", kind, "POST")]
    await out.send()
    for _ in range(6):
        await out.coins.money.books.advance(60)
        while await out.calls.step():
            pass
    assert (await out.payout(asked.id)).state is PayoutState.IN_TRANSIT
    states = [made["state"] for made in out.coins.btcpay_server.payouts.values()]
    assert states.count("AwaitingPayment") == 1


async def test_a_refused_payout_gives_the_money_back(out: PayoutWorld) -> None:
    asked = await out.request()
    out.coins.btcpay_server.spoil = {"originalAmount": "9"}
    await out.send()
    assert (await out.payout(asked.id)).state is PayoutState.RETURNED
    assert await out.coins.balances() == {"earnings": NET, "reward_expense": -NET}


async def test_a_payout_that_the_gateway_cancels_is_returned_once(out: PayoutWorld) -> None:
    asked = await out.request()
    await out.send()
    await out.told("Pay1", "Cancelled")
    await out.told("Pay1", "Cancelled")
    assert (await out.payout(asked.id)).state is PayoutState.RETURNED
    assert (await out.coins.balances())["earnings"] == NET


async def test_any_order_of_payout_news_ends_in_the_same_books(out: PayoutWorld) -> None:
    orders = list(itertools.permutations(["AwaitingPayment", "InProgress", "Completed"]))
    for n, order in enumerate(orders):
        asked = await out.request(AccountId(70_000 + n))
        await out.send()
        for state in (*order, order[0]):
            await out.told(f"Pay{n + 1}", state)
        await out.told(f"Pay{n + 1}", "Completed")
        assert (await out.payout(asked.id)).state is PayoutState.PAID
    assert (await out.coins.balances())["fx"] == NET * len(orders)


async def test_news_of_a_strangers_payout_is_ignored(out: PayoutWorld) -> None:
    fake = out.coins.btcpay_server
    fake.payouts["PayX"] = {"id": "PayX", "state": "Completed", "metadata": {}}
    await out.told("PayX", "Completed")
    fake.payouts["PayY"] = {"id": "PayY", "state": "Completed", "metadata": {"hush_reference": "payout:2"}}
    await out.told("PayY", "Completed")
    assert sorted(word for _, word in await out.coins.events()) == ["not_ours", "unknown_payout"]
    assert await out.coins.findings() == ["unknown_payout"]


async def test_payouts_by_hand_are_in_one_signed_file_until_they_are_confirmed(out: PayoutWorld) -> None:
    asked = await out.request(pair="USDC.base")
    await out.send()
    assert (await out.payout(asked.id)).state is PayoutState.IN_TRANSIT
    orders = await out.coins.money.store.read(lambda view: waiting_by_hand(view, out.rail))
    key = IdentityKey.generate()
    document = batch_document(orders, network="test", made_ms=7, key=key)
    payload = base64.b64decode(document["signed"]["payload"])
    (signature,) = document["signed"]["signatures"]
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(document["public_key"]))
    public.verify(base64.b64decode(signature["sig"]), pae(BATCH_TYPE, payload))
    to = check_address(pair_named("USDC.base"), orders[0].address)
    assert (
        json.loads(payload)["payouts"]
        == document["payouts"]
        == [
            {
                "payout": str(asked.id),
                "reference": f"payout:{asked.id}",
                "asset": "USDC",
                "network": "base",
                "amount": format_units(25_000_000, 6),
                "address": to.address,
                "destination_tag": None,
            }
        ]
    )
    confirmed = Happened(event=PayoutEvent.COINS_CONFIRMED, txid="0xabc")
    await out.coins.money.store.transact(lambda tx: advance(tx, asked.id, confirmed, actor="operator"))
    assert await out.coins.money.store.read(lambda view: waiting_by_hand(view, out.rail)) == []
    assert (await out.coins.balances())["fx"] == NET
