"""Coins out: settlement batches through a gateway or by hand, with limits, lost answers and late news, on both databases."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection, inspect, text

from hushnet.coordinator.payments.calls import Calls
from hushnet.coordinator.payments.coins.addresses import check_address
from hushnet.coordinator.payments.coins.assets import pair_named
from hushnet.coordinator.payments.coins.by_hand import BATCH_TYPE, batch_document, waiting_by_hand
from hushnet.coordinator.payments.coins.rail import ByHand, GatewayRail
from hushnet.coordinator.payments.coins.settlement import Batch, Settlement, SettlementDay
from hushnet.coordinator.payments.coins.units import format_units
from hushnet.coordinator.payments.payouts.coin_rail import coin_callers
from hushnet.coordinator.payments.payouts.model import PayoutMethod, PayoutState
from hushnet.coordinator.payments.payouts.moves import Happened, advance
from hushnet.coordinator.payments.payouts.sweep import CoinWitness
from hushnet.coordinator.payments.payouts.transitions import PayoutEvent
from hushnet.foundation.ids import AccountId
from hushnet.identity.keys import IdentityKey
from hushnet.sealing.encoding import pae
from support.coin_gateways.addresses import address_of
from support.coin_gateways.server import Fault
from support.coin_world import CoinWorld
from support.ledger import CONSUMER

NET = 25_000_000
BTC = pair_named("BTC.bitcoin")


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


async def test_a_payout_reaches_confirmed(world: CoinWorld) -> None:
    asked = await world.request_payout()
    batch = await world.send()
    assert [item.payout for item in batch.items] == [asked.id]
    sent = await world.payout(asked.id)
    assert (sent.state, sent.units, sent.rate) == (PayoutState.IN_TRANSIT, 40_826, 61_234_560_000)
    (made,) = world.btcpay_server.payouts.values()
    assert (made["originalAmount"], made["state"]) == ("0.00040826", "AwaitingPayment")
    assert made["destination"] == address_of(BTC, CONSUMER % 200).address
    for state in ("InProgress", "Completed", "Completed"):
        await world.payout_news(made["id"], state, paymentProof={"proofType": "chain", "id": "tx1"})
    done = await world.payout(asked.id)
    assert (done.state, done.txid) == (PayoutState.PAID, "tx1")
    balances = await world.balances()
    assert (balances["fx"], balances["coin:BTC.bitcoin"]) == (NET, 40_826)
    assert "in_transit" not in balances


async def test_dry_run_writes_nothing(world: CoinWorld) -> None:
    asked = await world.request_payout()
    before = await snapshot(world)
    planned = await world.settlement().plan()
    assert [(item.payout, item.units) for item in planned.items] == [(asked.id, 40_826)]
    assert await snapshot(world) == before
    assert world.btcpay_server.asked == []
    await world.settlement().run()
    assert await snapshot(world) != before


async def test_a_batch_keeps_its_limits_and_takes_the_oldest(world: CoinWorld) -> None:
    owners = [AccountId(70_000 + n) for n in range(4)]
    asked = [(await world.request_payout(owner)).id for owner in owners]
    assert [item.payout for item in (await world.settlement(payouts_max=2).plan()).items] == asked[:2]
    first = await world.send(usd_max=NET * 3 - 1, day_usd_max=NET * 3)
    assert [item.payout for item in first.items] == asked[:2]
    assert first.left_out == ((asked[2], "limit_reached"), (asked[3], "limit_reached"))
    second = await world.send(usd_max=NET * 2, day_usd_max=NET * 3)
    assert [item.payout for item in second.items] == asked[2:3]
    assert (await world.send(usd_max=NET * 2, day_usd_max=NET * 3)).items == ()
    await world.money.books.advance(24 * 3600)
    assert [item.payout for item in (await world.send(usd_max=NET, day_usd_max=NET)).items] == asked[3:]
    assert sum(day.usd for day in await world.money.all_of(SettlementDay)) == NET * 4


async def test_batches_at_once_pass_no_limit(world: CoinWorld) -> None:
    asked = [(await world.request_payout(AccountId(70_000 + n))).id for n in range(3)]
    planned = await world.settlement(day_usd_max=NET * 2).plan()
    assert len(planned.items) == 2
    settlement = world.settlement(day_usd_max=NET * 2)
    stale = Batch(items=tuple(replace(planned.items[0], payout=payout) for payout in asked))
    claimed = [
        await world.money.store.transact(partial(_claim, settlement, item)) for item in (*stale.items, *stale.items)
    ]
    assert claimed == [True, True, False, False, False, False]


def _claim(settlement: Settlement, item: object, tx: object) -> bool:
    return settlement._claim(tx, item)  # type: ignore[arg-type]


async def test_a_payout_above_the_limits_is_told_to_a_person(world: CoinWorld) -> None:
    asked = await world.request_payout()
    batch = await world.send(usd_max=NET - 10_000)
    assert (batch.items, batch.left_out) == ((), ((asked.id, "above_limit"),))
    assert await world.findings() == ["coin_payout_left_out"]
    assert (await world.payout(asked.id)).state is PayoutState.REQUESTED


async def test_a_payout_without_a_rate_or_a_gateway_stays(world: CoinWorld) -> None:
    asked = await world.request_payout()
    world.rates.clear()
    assert (await world.send()).left_out == ((asked.id, "no_rate"),)
    world.rail.gateways.clear()
    assert (await world.send()).left_out == ((asked.id, "no_gateway"),)


async def test_a_payout_may_be_cancelled_before_it_is_sent(world: CoinWorld) -> None:
    asked = await world.request_payout()
    planned = (await world.settlement().plan()).items
    cancelled = Happened(event=PayoutEvent.CANCELLED)
    await world.money.store.transact(lambda tx: advance(tx, asked.id, cancelled, actor="owner"))
    settlement = world.settlement()
    assert not await world.money.store.transact(partial(_claim, settlement, planned[0]))
    assert (await world.send()).items == ()


@pytest.mark.parametrize("kind", ["drop_after", "drop_before", "garbage", 500, 503])
async def test_lost_answers_send_once(kind: str | int, world: CoinWorld) -> None:
    asked = await world.request_payout()
    world.btcpay_server.faults += [Fault("payouts", kind, "POST"), Fault("payouts/Pay1", kind, "POST")]
    await world.send()
    for _ in range(6):
        await world.money.books.advance(60)
        while await world.calls.step():
            pass
    assert (await world.payout(asked.id)).state is PayoutState.IN_TRANSIT
    states = [made["state"] for made in world.btcpay_server.payouts.values()]
    assert states.count("AwaitingPayment") == 1


async def test_a_refused_payout_gives_the_money_back(world: CoinWorld) -> None:
    asked = await world.request_payout()
    world.btcpay_server.spoil = {"originalAmount": "9"}
    await world.send()
    assert (await world.payout(asked.id)).state is PayoutState.RETURNED
    assert await world.balances() == {"earnings": NET, "reward_expense": -NET}


async def test_a_payout_that_the_gateway_cancels_is_returned_once(world: CoinWorld) -> None:
    asked = await world.request_payout()
    await world.send()
    await world.payout_news("Pay1", "Cancelled")
    await world.payout_news("Pay1", "Cancelled")
    assert (await world.payout(asked.id)).state is PayoutState.RETURNED
    assert (await world.balances())["earnings"] == NET


async def test_any_order_of_payout_news_ends_in_the_same_books(world: CoinWorld) -> None:
    orders = list(itertools.permutations(["AwaitingPayment", "InProgress", "Completed"]))
    for n, order in enumerate(orders):
        asked = await world.request_payout(AccountId(70_000 + n))
        await world.send()
        for state in (*order, order[0]):
            await world.payout_news(f"Pay{n + 1}", state)
        await world.payout_news(f"Pay{n + 1}", "Completed")
        assert (await world.payout(asked.id)).state is PayoutState.PAID
    assert (await world.balances())["fx"] == NET * len(orders)


async def test_news_of_a_strangers_payout_is_ignored(world: CoinWorld) -> None:
    fake = world.btcpay_server
    fake.payouts["PayX"] = {"id": "PayX", "state": "Completed", "metadata": {}}
    await world.payout_news("PayX", "Completed")
    fake.payouts["PayY"] = {"id": "PayY", "state": "Completed", "metadata": {"hush_reference": "payout:2"}}
    await world.payout_news("PayY", "Completed")
    assert sorted(word for _, word in await world.events()) == ["not_ours", "unknown_payout"]
    assert await world.findings() == ["unknown_payout"]


async def test_payouts_by_hand_are_in_one_signed_file_until_they_are_confirmed(world: CoinWorld) -> None:
    asked = await world.request_payout(pair="USDC.base")
    await world.send()
    assert (await world.payout(asked.id)).state is PayoutState.IN_TRANSIT
    orders = await world.money.store.read(waiting_by_hand)
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
    await world.money.store.transact(lambda tx: advance(tx, asked.id, confirmed, actor="operator"))
    assert await world.money.store.read(waiting_by_hand) == []
    assert (await world.balances())["fx"] == NET


async def test_what_a_gateway_took_is_not_sent_by_hand_too(world: CoinWorld) -> None:
    """A pair that goes by hand from now on: what was ordered before is the gateway's, and would be paid twice."""
    await world.request_payout()
    await world.send()
    world.rail.gateways |= GatewayRail(ByHand({"BTC.bitcoin": "BTC.bitcoin"})).gateways
    assert await world.money.store.read(waiting_by_hand) == []


async def test_two_processes_that_send_one_order_pay_it_once(world: CoinWorld) -> None:
    """The first is stopped before it makes its payout until its lease is over and the second has sent the order."""
    asked = await world.request_payout()
    await world.settlement().run()
    reached, go_on = asyncio.Event(), asyncio.Event()
    call, is_stopped = world.btcpay._http.call, True

    async def stopped(method: str, path: str, document: Mapping[str, Any] | None = None) -> Any:
        nonlocal is_stopped
        if is_stopped and method == "POST":
            is_stopped = False
            reached.set()
            await go_on.wait()
        return await call(method, path, document)

    world.btcpay._http.call = stopped  # type: ignore[method-assign]
    first = asyncio.create_task(world.calls.step())
    await reached.wait()
    await world.money.books.advance(61)
    await world.settle_calls()
    assert (await world.payout(asked.id)).state is PayoutState.IN_TRANSIT
    go_on.set()
    await first
    assert sorted(made["state"] for made in world.btcpay_server.payouts.values()) == ["AwaitingPayment", "Cancelled"]
    (lost,) = [one["id"] for one in world.btcpay_server.payouts.values() if one["state"] == "Cancelled"]
    await world.payout_news(lost, "Cancelled")
    assert (await world.payout(asked.id)).state is PayoutState.IN_TRANSIT


async def test_a_cancelled_payout_gives_no_money_back_while_its_order_is_being_sent(world: CoinWorld) -> None:
    asked = await world.request_payout()
    world.btcpay_server.faults += [Fault("payouts/Pay1", "drop_before", "POST")]
    await world.send()
    await world.payout_news("Pay1", "Cancelled")
    assert (await world.payout(asked.id)).state is PayoutState.SENDING
    await world.money.books.advance(60)
    await world.settle_calls()
    assert (await world.payout(asked.id)).state is PayoutState.RETURNED
    await world.settle_inbox()
    assert (await world.balances())["earnings"] == NET


async def test_a_send_of_unknown_outcome_stays_with_its_gateway(world: CoinWorld) -> None:
    """Its answer is lost and its pair goes by hand from then on: whoever asks the operator's hands would pay it twice."""
    asked = await world.request_payout()
    world.btcpay_server.faults += [Fault("payouts/Pay1", "drop_after", "POST")]
    await world.send()
    by_hand = GatewayRail(ByHand({"BTC.bitcoin": "BTC.bitcoin"}))
    elsewhere = Calls(world.money.store, world.money.clock, coin_callers(world.money.store, by_hand))
    await world.money.books.advance(60)
    await elsewhere.step()
    assert (await world.payout(asked.id)).state is PayoutState.SENDING
    assert await world.money.store.read(waiting_by_hand) == []
    witness = CoinWitness(by_hand)
    (method,) = await world.money.all_of(PayoutMethod)
    assert await witness.ask(await world.payout(asked.id), method) == []
    assert await world.findings() == ["coin_gateway_gone"]
    await world.money.books.advance(3600)
    await world.settle_calls()
    assert (await world.payout(asked.id)).state is PayoutState.IN_TRANSIT
    assert [made["state"] for made in world.btcpay_server.payouts.values()] == ["AwaitingPayment"]


async def test_an_order_stays_in_the_operators_hands(world: CoinWorld) -> None:
    payout = await world.request_payout(pair="USDC.base")
    await world.send()
    world.rail.gateways |= GatewayRail(world.btcpay.for_payouts({"USDC.base": "USDC"})).gateways
    orders = await world.money.store.read(waiting_by_hand)
    assert [order.payout for order in orders] == [payout.id]
