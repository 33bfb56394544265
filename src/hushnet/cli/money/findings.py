"""`hush findings`: what does not add up and waits for the operator."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import typer

from hushnet.cli import console
from hushnet.cli.options import AsJson, BaseUrl, Home
from hushnet.cli.route.operator import OperatorKey, operator_client

app = typer.Typer()


@app.command("list")
def list_findings(
    is_all: Annotated[bool, typer.Option("--all", help="Also those that are resolved, newest first.")] = False,
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List what does not add up: payments nobody can attribute, refused reversals, calls in doubt."""
    with operator_client(base_url, api_key, home) as client:
        found = client.request("GET", f"/v1/admin/findings{'?all=true' if is_all else ''}")["data"]
    if as_json:
        console.print_json(found)
        return
    if not found:
        console.out().print("nothing to look at")
        return
    table = console.table("id", "since", "kind", "subject", "detail", "state", whole=frozenset({"id", "since"}))
    for row in found:
        state = "open" if row["resolved_ms"] is None else f"resolved {_time(row['resolved_ms'])}"
        words = map(console.plain, (row["kind"], row["subject"], row["detail"]))
        table.add_row(row["id"], _time(row["at_ms"]), *words, state)
    console.print_table(table)


@app.command("resolve")
def resolve(
    finding: Annotated[str, typer.Argument(help="The finding's id.")],
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
) -> None:
    """Note that a finding has been dealt with."""
    with operator_client(base_url, api_key, home) as client:
        client.request("POST", f"/v1/admin/findings/{quote(finding, safe='')}/resolve")
    console.err().print(f"finding {finding} is resolved", markup=False)


@app.command("payments")
def payments(base_url: BaseUrl = None, api_key: OperatorKey = None, home: Home = None, as_json: AsJson = False) -> None:
    """List events and calls that are not over, with what they wait for."""
    with operator_client(base_url, api_key, home) as client:
        found = client.request("GET", "/v1/admin/payments/open")
    if as_json:
        console.print_json(found)
        return
    if not found["events"] and not found["calls"]:
        console.out().print("nothing waits")
        return
    table = console.table("what", "of", "state", "tries", "next", "waits for", numeric=frozenset({"tries"}))
    for event in found["events"]:
        name = console.plain(f"{event['kind']} {event['event']}")
        table.add_row(
            name,
            event["source"],
            event["state"],
            str(event["attempts"]),
            _next(event),
            console.plain(event["error"] or "-"),
        )
    for call in found["calls"]:
        name = console.plain(f"{call['action']} {call['subject']}")
        table.add_row(name, call["rail"], call["state"], str(call["tries"]), _next(call), call["outcome"] or "-")
    console.print_table(table)


@app.command("retry")
def retry(
    source: Annotated[str, typer.Argument(help="The event's source, as `hush findings payments` shows it.")],
    event: Annotated[str, typer.Argument(help="The event's id.")],
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
) -> None:
    """Give a stuck event another round of tries."""
    with operator_client(base_url, api_key, home) as client:
        client.request("POST", f"/v1/admin/payments/events/{quote(source, safe='')}/{quote(event, safe='')}/retry")
    console.err().print(f"event {event} is tried again", markup=False)


def _next(row: dict[str, Any]) -> str:
    return "-" if row["state"] == "stuck" else _time(row["next_ms"])


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
