"""What the operator sees of money that does not add up, over HTTP and on the command line."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from hushnet.coordinator.payments.calls import enqueue
from hushnet.coordinator.payments.model import EventState, InboxEvent, note_finding
from support.control import Network, network
from support.network import hush


async def note(net: Network, kind: str, subject: str = "deposit:1", detail: str = "20 EUR for 20 USD") -> None:
    await net.coordinator.money.store.transact(lambda tx: note_finding(tx, kind, subject, detail))


async def stuck(net: Network) -> None:
    event = InboxEvent(
        source="stripe", event="evt_1", kind="charge.refunded", subject="pi_1", body=b"{}",
        state=EventState.STUCK, attempts=24, next_ms=0, received_ms=0, error="no_deposit",
    )  # fmt: skip
    await net.coordinator.money.store.transact(lambda tx: tx.rows(InboxEvent).add(event))


async def test_a_finding_is_listed_until_it_is_resolved(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        await note(net, "wrong_currency")
        (found,) = (await net.operator.get("/v1/admin/findings")).json()["data"]
        assert (found["kind"], found["subject"], found["detail"]) == (
            "wrong_currency",
            "deposit:1",
            "20 EUR for 20 USD",
        )
        for _ in range(2):
            resolved = (await net.operator.post(f"/v1/admin/findings/{found['id']}/resolve")).json()
            assert resolved["resolved_ms"] is not None
        assert (await net.operator.get("/v1/admin/findings")).json()["data"] == []
        assert (await net.operator.get("/v1/admin/findings?all=true")).json()["data"] == [resolved]


async def test_findings_are_for_operators(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann = await net.account("ann")
        paths = ("/v1/admin/findings", "/v1/admin/payments/open")
        assert [(await ann.http.get(path)).status_code for path in paths] == [403, 403]
        assert (await ann.http.post("/v1/admin/findings/1/resolve")).status_code == 403
        assert (await net.public.get("/v1/admin/findings")).status_code == 401


async def test_what_is_not_there_is_said_so(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        for finding in ("1", "x", "99999999999999999999", "9223372036854775808"):
            answer = await net.operator.post(f"/v1/admin/findings/{finding}/resolve")
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "finding_not_found")
        answer = await net.operator.post("/v1/admin/payments/events/stripe/evt_9/retry")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "event_not_found")


async def test_a_stuck_event_and_an_open_call_are_shown_and_the_event_is_tried_again(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        await stuck(net)
        await net.coordinator.money.store.transact(lambda tx: enqueue(tx, "nobody", "transfer", 7, {}))
        found = (await net.operator.get("/v1/admin/payments/open")).json()
        (event,), (call,) = found["events"], found["calls"]
        assert (event["state"], event["error"], event["attempts"]) == ("stuck", "no_deposit", 24)
        assert (call["rail"], call["action"], call["subject"], call["state"]) == ("nobody", "transfer", "7", "due")
        assert "body" not in event
        assert "request" not in call

        again = await net.operator.post("/v1/admin/payments/events/stripe/evt_1/retry")
        assert again.json()["state"] == "new"
        (event,) = (await net.operator.get("/v1/admin/payments/open")).json()["events"]
        assert (event["state"], event["attempts"]) == ("new", 0)


async def test_the_command_line_shows_and_resolves_them(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        await note(net, "wrong_currency")
        await stuck(net)
        access = ("--base-url", net.coordinator.base_url, "--api-key", net.operator_key)

        async def run(*arguments: str) -> str:
            done = await asyncio.to_thread(hush, tmp_path, "findings", *arguments, *access)
            assert done.returncode == 0, done.stderr
            return done.stdout

        (found,) = json.loads(await run("list", "--json"))
        assert "wrong_currency" in await run("list")
        assert "no_deposit" in await run("payments")
        await run("retry", "stripe", "evt_1")
        await run("resolve", found["id"])
        assert "nothing to look at" in await run("list")
        assert "resolved" in await run("list", "--all")


async def test_the_metrics_count_what_waits(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        await note(net, "wrong_currency")
        await stuck(net)
        await net.coordinator.money.store.transact(lambda tx: enqueue(tx, "nobody", "transfer", 7, {}))
        await net.coordinator.money.watch.look()
        shown = (await net.public.get("/metrics")).text
    for line in ("hush_money_findings_open 1.0", "hush_payment_events_stuck 1.0", "hush_payment_calls_due 1.0"):
        assert line in shown
