"""Processes that take a deposit in by card and refund a part of it, until the named fault kills them.

Run as `python deposit_victim.py`: for each line `URL STRIPE NOW_MS FAULT` on stdin it forks a process that lives through
the whole story from wherever the database stands, with `HUSH_FAULT` set to FAULT (`-` for none), and answers with a line:
the process's exit status. Stripe's customer pays through the fake's own door.
"""

from __future__ import annotations

import asyncio
import os
import sys

import asyncpg
import httpx
from sqlalchemy.dialects import postgresql, sqlite

from hushnet.coordinator.ledger.faults import faults_from
from hushnet.coordinator.payments.calls import Calls
from hushnet.coordinator.payments.deposits.assembly import build_deposits
from hushnet.coordinator.payments.deposits.model import Deposit, DepositLimits
from hushnet.coordinator.payments.deposits.service import DepositWish
from hushnet.coordinator.payments.inbox import Inbox
from hushnet.coordinator.payments.model import Call, CallState, EventState, InboxEvent
from hushnet.coordinator.payments.stripe import transport
from hushnet.coordinator.payments.stripe.events import ACCOUNT, StripeEvents
from hushnet.coordinator.payments.stripe.gateway import StripeGateway
from hushnet.coordinator.storage import database_postgres, database_sqlite, ledger_postgres, ledger_sqlite
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.ids import AccountId
from hushnet.foundation.redaction import Secret
from support.money import OpenMoney, open_money
from support.stripe_fake.webhooks import body_of

WARM = (asyncpg, postgresql, sqlite, database_postgres, database_sqlite, ledger_postgres, ledger_sqlite, transport)
"""Imported before the first fork, so that no victim spends its short life on imports."""

OWNER = AccountId(70_000)
CENTS, REFUNDED_CENTS = 2000, 500
_ROUNDS = 200


async def live(url: str, stripe_url: str, now_ms: int) -> None:
    """Ask for a deposit, pay it, apply what Stripe tells, refund a part; each step as one would who does not know."""
    reach = faults_from(os.environ)
    async with open_money(url, clock=ManualClock(now_ms), reach=reach) as money, httpx.AsyncClient() as door:
        gateway = StripeGateway(Secret("sk_test_fake"), api_base=stripe_url)
        rail = build_deposits(money.store, gateway, money.clock, limits=DepositLimits(), wake_calls=lambda: None)
        inbox = Inbox(money.store, money.clock, {ACCOUNT: StripeEvents(rail.handlers)}, reach=reach)
        calls = Calls(money.store, money.clock, rail.callers, reach=reach, jitter=lambda: 0.5)
        wish = DepositWish(CENTS, "one", "https://example.com/ok")
        made, _ = await rail.deposits.create(OWNER, wish, done_url="https://example.com/done")
        await drive(money, inbox, calls)
        deposit = await money.store.read(lambda view: view.rows(Deposit).get(made.id))
        assert deposit is not None
        await door.post(f"{stripe_url}/_test/pay/{deposit.checkout}")
        await tell(door, stripe_url, money, inbox)
        await drive(money, inbox, calls)
        await rail.deposits.ask_refund(made.id, REFUNDED_CENTS, client_key="back", actor="victim")
        await drive(money, inbox, calls)
        await tell(door, stripe_url, money, inbox)
        await drive(money, inbox, calls)
        await gateway.aclose()


async def tell(door: httpx.AsyncClient, stripe_url: str, money: OpenMoney, inbox: Inbox) -> None:
    """Let Stripe tell what it has had no answer to."""
    known = {row.event for row in await money.all_of(InboxEvent)}
    for event in (await door.get(f"{stripe_url}/_test/events")).json():
        if event["id"] not in known:
            subject = event["data"]["object"]["id"]
            await inbox.receive(ACCOUNT, event["id"], kind=event["type"], subject=subject, body=body_of(event))


async def drive(money: OpenMoney, inbox: Inbox, calls: Calls) -> None:
    """Run both queues, time included, until neither has anything left to do."""
    open_calls, open_events = (
        (CallState.DUE, CallState.SENDING, CallState.LOOK_UP),
        (EventState.NEW, EventState.WAITING),
    )
    for _ in range(_ROUNDS):
        if await calls.step() + await inbox.step():
            continue
        due = [one.next_ms for one in await money.store.read(lambda view: view.rows(Call).find(state=open_calls))]
        due += [
            one.next_ms for one in await money.store.read(lambda view: view.rows(InboxEvent).find(state=open_events))
        ]
        if not due:
            return
        await money.books.advance(max(min(due) - money.clock.now_ms(), 0) / 1000 + 0.001)
    raise AssertionError("inbox or outbox never came to rest")


def run_victim(url: str, stripe_url: str, now_ms: str, fault: str) -> int:
    """Fork, let the child live until its fault or its end, and return its exit status."""
    child = os.fork()
    if child == 0:
        if fault != "-":
            os.environ["HUSH_FAULT"] = fault
        asyncio.run(live(url, stripe_url, int(now_ms)))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    for line in sys.stdin:
        print(run_victim(*line.split()), flush=True)
