"""Processes that send a payout over a fake Stripe and fetch it back, until the named fault kills them.

Run as `python payout_victim.py`: for each line `URL STRIPE_URL FAULT` on stdin it forks a process that sets `HUSH_FAULT`
and takes one payout through its whole life, and answers with a line: the process's exit status.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Final

import asyncpg
from sqlalchemy.dialects import postgresql, sqlite

from hushnet.coordinator.ledger.faults import faults_from
from hushnet.coordinator.ledger.service import Ledger
from hushnet.coordinator.payments.calls import Calls
from hushnet.coordinator.payments.inbox import Inbox
from hushnet.coordinator.payments.payouts.asking import Terms, Wish
from hushnet.coordinator.payments.payouts.events import KINDS, PayoutEvents
from hushnet.coordinator.payments.payouts.model import STRIPE, PayoutMethod
from hushnet.coordinator.payments.payouts.service import Payouts
from hushnet.coordinator.payments.payouts.stripe_rail import stripe_callers
from hushnet.coordinator.payments.payouts.sweep import PayoutWorker, StripeWitness
from hushnet.coordinator.payments.stripe import transport
from hushnet.coordinator.payments.stripe.connect import StripeConnect
from hushnet.coordinator.payments.stripe.events import CONNECT, StripeEvents
from hushnet.coordinator.payments.stripe.gateway import StripeGateway
from hushnet.coordinator.payments.stripe.objects import Named
from hushnet.coordinator.storage import (
    Database,
    database_postgres,
    database_sqlite,
    ledger_postgres,
    ledger_sqlite,
    open_ledger_store,
)
from hushnet.coordinator.storage.ledger_store import SqlLedgerStore
from hushnet.coordinator.storage.money import SqlMoneyStore
from hushnet.foundation.clock import SystemClock
from hushnet.foundation.ids import AccountId
from hushnet.foundation.redaction import Secret

WARM = (asyncpg, postgresql, sqlite, database_postgres, database_sqlite, ledger_postgres, ledger_sqlite, transport)
"""Imported before the first fork, so that no victim spends its short life on imports."""

OWNER: Final = AccountId(80_000)
GROSS: Final = 25_000_000
CLIENT: Final = "c1"
TERMS: Final = Terms(cool_down_ms=0, send_after_ms=0)
KEY: Final = "sk_test_fake"


async def use(url: str, stripe_url: str) -> None:
    database, clock, reach = await Database.open(url), SystemClock(), faults_from(os.environ)
    ledger_store = open_ledger_store(database, reach=reach)
    assert isinstance(ledger_store, SqlLedgerStore)
    ledger = await Ledger.open(ledger_store, clock)
    store = SqlMoneyStore(database, ledger_store, ledger, clock)
    gateway = StripeGateway(Secret(KEY), api_base=stripe_url, timeout_s=30)
    connect = StripeConnect(gateway, country="US", return_url="https://a.test", refresh_url="https://b.test")
    calls = Calls(store, clock, stripe_callers(store, connect), reach=reach)
    events = StripeEvents(dict.fromkeys(KINDS, PayoutEvents(connect, connect, cool_down_ms=0)))
    inbox = Inbox(store, clock, {CONNECT: events}, reach=reach)
    payouts = Payouts(store, terms=TERMS)
    worker = PayoutWorker(store, clock, terms=TERMS, witnesses={STRIPE: StripeWitness(connect)})

    asked = await payouts.request(Wish(OWNER, CLIENT, GROSS))
    await worker.send_requested()
    await calls.step()  # the transfer
    await calls.step()  # the payout
    payout = await payouts.payout(OWNER, asked.id)
    (method,) = await store.read(lambda view: view.rows(PayoutMethod).find(owner=OWNER))
    at, id_ = {"stripe_account": method.address}, str(payout.payout)
    await gateway.write(lambda v1: v1.payouts.cancel_async(id_, None, at), Named)
    thing = {"id": id_, "amount": payout.net // 10_000, "currency": "usd", "metadata": {"hush_payout": str(payout.id)}}
    body = {"id": "evt_victim", "type": "payout.canceled", "account": method.address, "data": {"object": thing}}
    await inbox.receive(CONNECT, "evt_victim", kind="payout.canceled", subject=id_, body=json.dumps(body).encode())
    await inbox.step()
    await calls.step()  # the reversal
    await gateway.aclose()
    await ledger.aclose()
    await database.aclose()


def run_victim(url: str, stripe_url: str, fault: str) -> int:
    """Fork, let the child live until its fault, and return its exit status."""
    child = os.fork()
    if child == 0:
        os.environ["HUSH_FAULT"] = fault
        asyncio.run(use(url, stripe_url))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    for line in sys.stdin:
        print(run_victim(*line.split()), flush=True)
