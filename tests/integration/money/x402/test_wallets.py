"""The operator bars wallets and lets them pay again: in the books on both databases, over HTTP, on the command line."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from typer.testing import CliRunner

from hushnet.cli.main import build as build_cli
from hushnet.coordinator.payments.x402.model import X402Payment
from hushnet.coordinator.payments.x402.purchases import Denied
from hushnet.coordinator.payments.x402.wallets import payer_named, seen, set_barred
from support.control import network
from support.x402_shop import AMOUNT, Shop, payment_by

NOWHERE = "http://127.0.0.1:9"
OTHER = bytes([1]) * 32
STRANGER = "0x" + "aB" * 20


async def test_a_barred_wallet_buys_nothing_until_it_is_let_pay_again(shop: Shop) -> None:
    bought = await shop.bought(await payment_by(shop.account))
    store = shop.money.store
    payer = await store.read(lambda view: payer_named(view, str(bought.request)))
    assert payer == shop.payer
    # From the year 2032 on a request's id has 19 digits.
    await store.transact(lambda tx: tx.rows(X402Payment).save(replace(bought.row, request=1 << 60)))
    assert await store.read(lambda view: payer_named(view, str(1 << 60))) == payer
    await store.transact(lambda tx: tx.rows(X402Payment).save(bought.row))
    first = await store.transact(lambda tx: set_barred(tx, payer, True))
    await shop.pass_time(5)
    assert await store.transact(lambda tx: set_barred(tx, payer, True)) == first
    assert await shop.buy(await payment_by(shop.account), digest=OTHER) == Denied("payer_barred")
    assert shop.earned == AMOUNT
    await shop.close(bought, 10)
    await store.transact(lambda tx: set_barred(tx, payer, False))
    await shop.bought(await payment_by(shop.account), digest=OTHER)
    assert await store.read(lambda view: seen(view, STRANGER.lower())) is None


async def test_the_operator_bars_wallets(tmp_path: Path) -> None:
    on = {"x402__facilitator": NOWHERE, "x402__node": NOWHERE, "x402__pay_to": "0x" + "1" * 40}
    async with network(tmp_path, **on) as net:
        path = f"/v1/admin/x402/wallets/{STRANGER}"
        shown = (await net.operator.get(path)).json()
        assert (shown["wallet"], shown["account"], shown["barred_ms"]) == (STRANGER.lower(), "", None)
        barred = (await net.operator.post(path, json={"barred": True})).json()
        assert barred["barred_ms"] is not None
        assert (await net.operator.get(path)).json() == barred
        assert (await net.operator.post(path, json={"barred": False})).json()["barred_ms"] is None
        for name in ("7", "0x12", "x", "9" * 19):
            answer = await net.operator.get(f"/v1/admin/x402/wallets/{name}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "out_of_range")
        ann = await net.account("ann")
        assert (await ann.http.post(path, json={"barred": True})).status_code == 403
        common = ["--base-url", net.coordinator.base_url, "--api-key", net.operator_key, "--home", str(tmp_path)]
        for word, state in (("bar", "is barred"), ("show", "is barred"), ("unbar", "may pay")):
            arguments = ["wallet", word, STRANGER]
            run = await asyncio.to_thread(CliRunner().invoke, build_cli(arguments), [*arguments, *common])
            assert (run.exit_code, f"{STRANGER.lower()} {state}" in run.output.replace("\n", " ")) == (0, True)
