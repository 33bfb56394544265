"""`hush doctor`: what each part on this machine believes, and why; the exit status is 1 when something is wrong."""

from __future__ import annotations

import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import typer

from hushnet.cli import console
from hushnet.cli.options import ApiKey, AsJson, BaseUrl, Home, Trust, client_of
from hushnet.foundation.errors import HushnetError
from hushnet.sdk.client import Client
from hushnet.sealing.errors import SealingError
from hushnet.sealing.limits import SKEW
from hushnet.sealing.statements import SerialMemory, verify_keys
from hushnet.sealing.suites import PREFERENCE, available_suites

GOOD, WARNING, WRONG = "ok", "warning", "wrong"
_MARKS = {GOOD: "[green]ok[/]", WARNING: "[yellow]note[/]", WRONG: "[red]wrong[/]"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    part: str
    state: str
    text: str
    hint: str = ""


def command(
    trust: Trust = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Say what each part believes and why: files, cryptography, coordinator, providers, this machine."""
    with client_of(base_url, api_key, home, trust=trust, timeout_s=10) as client:
        findings = [*machine_findings(), *file_findings(client), *coordinator_findings(client)]
    if as_json:
        console.print_json([asdict(finding) for finding in findings])
    else:
        _print(findings)
    if any(finding.state == WRONG for finding in findings):
        raise typer.Exit(1)


def machine_findings() -> Iterator[Finding]:
    """Look at the interpreter, the cryptography and the provider's protections."""
    yield Finding("python", GOOD, f"{sys.version.split()[0]} on {sys.platform}")
    available = available_suites()
    labels = ", ".join(suite.label for suite in available)
    missing = [suite.label for suite in PREFERENCE if suite not in available]
    yield Finding(
        "sealing suites",
        WARNING if missing else GOOD,
        labels + (f"; not here: {', '.join(missing)}" if missing else ""),
    )
    try:
        from hushnet.provider.engines.registry import engine_names
        from hushnet.provider.hardening import posture
    except ModuleNotFoundError as error:
        yield Finding(
            "provider", WARNING, f"not installed here ({error.name})", "pip install 'hushnet[provider]' serves models"
        )
        return
    yield Finding("engines", GOOD, ", ".join(sorted(engine_names())) or "none")
    for measure in posture():
        if measure.name == "no_swap":
            text = {"on": "memory is not swapped", "off": "memory may be written to a swap device"}
            state = WARNING if measure.state == "off" else GOOD
            yield Finding(
                "swap",
                state,
                text.get(measure.state, "can't tell whether memory is swapped"),
                "serve from a machine without swap",
            )


def file_findings(client: Client) -> Iterator[Finding]:
    """Look at the home folder: every file with a key must be the owner's alone."""
    home = client.settings.home
    yield Finding("home", GOOD, str(home) if home.exists() else f"{home} (not made yet)")
    for path in sorted(home.glob("*")) if home.is_dir() else ():
        if path.is_file() and path.suffix in {".json", ".toml", ".pem", ".key", ".db"}:
            is_open = stat.S_IMODE(path.stat().st_mode) & 0o077
            if is_open:
                yield Finding("files", WRONG, f"{path.name} can be read by others", f"chmod 600 {path}")
    yield Finding(
        "API key",
        GOOD if client.settings.api_key else WARNING,
        "set" if client.settings.api_key else "not set",
        "" if client.settings.api_key else "pass --api-key, set HUSH_API_KEY, or run `hush up`",
    )


def coordinator_findings(client: Client) -> Iterator[Finding]:
    """Ask the coordinator what it is, then verify what it lists without believing it."""
    address = client.settings.base_url
    try:
        listing = client.transport.run(client.session.get("/v1/sealing/providers?limit=64", is_public=True))[0]
    except HushnetError as error:
        yield Finding("coordinator", WRONG, f"{address}: {error}", error.hint())
        return
    yield Finding("coordinator", GOOD, f"{address}, network {listing.get('network')}")
    yield _clock(listing)
    if client.settings.api_key:
        yield _key(client)
    providers = [entry for entry in listing.get("providers", ()) if isinstance(entry, dict)]
    if not providers:
        yield Finding("providers", WARNING, "none is connected", "`hush provider start` connects a machine")
    for entry in providers:
        yield _provider(client, entry)


def _clock(listing: dict[str, Any]) -> Finding:
    ours, theirs = int(time.time()), listing.get("time")
    if type(theirs) is not int:
        return Finding("clock", WARNING, "the coordinator does not say its time")
    off = abs(ours - theirs)
    hint = "set this machine's clock: envelopes are valid for minutes" if off > SKEW // 2 else ""
    return Finding("clock", WRONG if off > SKEW else WARNING if hint else GOOD, f"{off} s from the coordinator's", hint)


def _key(client: Client) -> Finding:
    try:
        spendable = client.balance()["spendable_micro_usd"]
    except HushnetError as error:
        return Finding("account", WRONG, str(error), error.hint())
    return Finding("account", GOOD if spendable else WARNING, f"{spendable} micro-USD to spend")


def _provider(client: Client, entry: dict[str, Any]) -> Finding:
    name = f"provider {str(entry.get('provider'))[:16]}"
    models = ", ".join(str(model) for model in entry.get("models", ())[:4])
    try:
        recipient = verify_keys(entry, client.policy.key_policy(), int(time.time()), SerialMemory())
    except SealingError as error:
        hint = f"the policy here asks for {client.policy.floor}; nothing is sealed to this provider"
        return Finding(name, WARNING, f"{models}: refused ({error.error_code})", hint)
    minutes = (recipient.expires_at - int(time.time())) // 60
    receipts = "signs receipts" if recipient.receipt_key else "signs no receipts"
    return Finding(name, GOOD, f"{models}: verified, {recipient.suite.label}, keys for {minutes} more min, {receipts}")


def _print(findings: list[Finding]) -> None:
    table = console.table("part", "", "what", "what to do")
    for finding in findings:
        table.add_row(finding.part, _MARKS[finding.state], finding.text, "" if finding.state == GOOD else finding.hint)
    console.out().print(table)
