"""`hush ledger prove` and `verify`: that a balance is in a published root, and that an export is whole, for anybody."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from hushnet.cli import console
from hushnet.cli.ledger.app import DatabaseUrl, Day, app, day_number, progress, reader_of, settings_of
from hushnet.cli.ledger.check import print_findings
from hushnet.cli.ledger.days import keeper_of
from hushnet.cli.options import ApiKey, AsJson, BaseUrl, Home, client_of
from hushnet.coordinator.ledger.books.check import Finding
from hushnet.coordinator.ledger.books.days import day_text
from hushnet.coordinator.ledger.books.published import proof_document, root_fields
from hushnet.coordinator.settings import CoordinatorSettings
from hushnet.coordinator.storage.books.exporting import ExportedBooks
from hushnet.coordinator.storage.books.verifying import verify_export
from hushnet.foundation.errors import ConfigurationError
from hushnet.foundation.ids import AccountId
from hushnet.foundation.money import format_usd
from hushnet.sdk.proofs import ProofError, verify_proof, verify_root

_BYTES_MAX = 1 << 22

PublicKey = Annotated[
    str | None,
    typer.Option("--public-key", help="The coordinator's key as you know it, 64 hex digits.", metavar="HEX"),
]


@app.command("prove")
def prove(
    owner: Annotated[
        int | None, typer.Option("--owner", help="Prove this account's, from the database (operators).", metavar="ID")
    ] = None,
    day: Day = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    database: DatabaseUrl = None,
) -> None:
    """Print the proof that your balance is in a day's root: one line of JSON, for `hush ledger verify` or your own check."""
    if owner is not None:
        console.print_json(asyncio.run(_proof(settings_of(home, database), owner, day_number(day))))
        return
    number = day_number(day)
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        path = "/v1/ledger/proof" + ("" if number is None else f"?day={day_text(number)}")
        console.print_json(client.request("GET", path))


@app.command("verify")
def verify(
    path: Annotated[Path, typer.Argument(help="A folder of `export`, or a file with a proof or a root.")],
    public_key: PublicKey = None,
    as_json: AsJson = False,
) -> None:
    """Verify without trusting the coordinator: a folder that `export` wrote, a proof of `prove`, or a root of `root`.

    Of a folder every balance, day and root is computed again, and the audit chain. The exit status is 1 when anything
    is wrong.
    """
    if path.is_dir():
        with progress("verifying the export"):
            findings = verified_folder(path, public_key)
        if as_json:
            console.print_json([[each.invariant, each.subject, each.detail] for each in findings])
        else:
            print_findings(findings)
        if findings:
            raise typer.Exit(1)
        return
    shown = verified_document(_document(path), public_key)
    if as_json:
        console.print_json(shown)
        return
    root = shown["root"]
    console.out().print(f"[green]verified[/]  {root['day']}  root {root['root']}")
    for asset, balance in shown["balances"].items():
        console.out().print(f"{format_usd(balance)} of {asset} is in it")
    console.out().print(f"[dim]signed by {shown['public_key']}; {format_usd(root['sum'])} owed to owners[/]")


def verified_folder(folder: Path, public_key: str | None) -> list[Finding]:
    """Verify an export and the signatures of its roots."""
    books = ExportedBooks(folder)
    findings = verify_export(books)
    for row, line in books.days():
        try:
            says = verify_root(line.published, public_key=public_key)
        except ProofError as error:
            findings.append(Finding("root", day_text(row.day), str(error)))
            continue
        if says != root_fields(row, network=books.manifest.network):
            findings.append(Finding("root", day_text(row.day), "what is signed is not the day that is stored"))
    return findings


def verified_document(document: Mapping[str, Any], public_key: str | None) -> dict[str, Any]:
    """Verify a proof or a root; raises `ProofError`. Returns what the root says, and the balances that are in it."""
    signed = document if "signed" in document else document.get("root")
    if not isinstance(signed, dict):
        raise ProofError("this is neither a proof nor a root")
    says = verify_root(signed, public_key=public_key)
    balances = {}
    for proof in document.get("proofs", ()):
        balances[str(proof.get("asset"))] = verify_proof(proof, owner=int(document["owner"]), root=says)
    return {"root": says, "public_key": public_key or signed["public_key"], "balances": balances}


def _document(path: Path) -> Mapping[str, Any]:
    with path.open("rb") as source:
        text = source.read(_BYTES_MAX)
    try:
        found = msgspec.json.decode(text)
    except msgspec.MsgspecError:
        found = None
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path} is no JSON document", hint="`hush ledger prove` and `root` print one")
    return found


async def _proof(settings: CoordinatorSettings, owner: int, day: int | None) -> dict[str, object]:
    async with reader_of(settings) as reader:
        keeper = keeper_of(settings, reader, is_new=False)
        row = await keeper.day(day)
        proofs = [proof_document(proof) for proof in await keeper.proofs(row, AccountId(owner))]
        return {"object": "ledger.proof", "owner": owner, "proofs": proofs, "root": await keeper.root(row.day)}
