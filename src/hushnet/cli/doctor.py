"""`hush doctor`: what each part on this machine believes, and why; the exit status is 1 when something is wrong."""

from __future__ import annotations

import os
import shlex
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import typer
from rich.markup import escape

from hushnet.cli import console
from hushnet.cli.options import ApiKey, AsJson, BaseUrl, Home, Trust, client_of
from hushnet.foundation.errors import ConfigurationError, HushnetError
from hushnet.foundation.home import resolve_home
from hushnet.foundation.money import format_usd
from hushnet.sdk.client import Client
from hushnet.sealing.errors import SealingError
from hushnet.sealing.limits import SKEW
from hushnet.sealing.statements import SerialMemory, verify_keys
from hushnet.sealing.suites import PREFERENCE, available_suites

ENGINE_PACKAGES: Final = ("xllamacpp", "psutil")
"""What the built-in engine imports: an engine can be registered where its packages are not installed."""
GOOD, WARNING, WRONG = "ok", "warning", "wrong"
_MARKS = {GOOD: "[green]ok[/]", WARNING: "[yellow]note[/]", WRONG: "[red]wrong[/]"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    part: str
    state: str
    text: str
    hint: str = ""

    def __post_init__(self) -> None:
        """Drop the hint where nothing is to be done."""
        if self.state == GOOD:
            object.__setattr__(self, "hint", "")


def command(
    trust: Trust = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Say what each part believes and why: files, cryptography, coordinator, providers, this machine."""
    findings = [*machine_findings(), *home_findings(resolve_home(home))]
    try:
        with client_of(base_url, api_key, home, trust=trust, timeout_s=10) as client:
            findings += [api_key_finding(client), *coordinator_findings(client)]
    except ConfigurationError as error:
        findings.append(Finding("settings", WRONG, str(error), error.hint()))
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
    yield engines_finding(engine_names(), [name for name in ENGINE_PACKAGES if find_spec(name) is None])
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


def engines_finding(names: Sequence[str], missing: Sequence[str]) -> Finding:
    """Say which engines are registered, and whether the packages that they import are here."""
    text = ", ".join(sorted(names)) or "none"
    if not missing:
        return Finding("engines", GOOD if names else WARNING, text)
    return Finding(
        "engines",
        WARNING,
        f"{text}; not installed: {', '.join(missing)}",
        "pip install 'hushnet[provider]' serves models",
    )


def home_findings(home: Path) -> Iterator[Finding]:
    """Look at the home folder: it can be written, and every file with a key is the owner's alone."""
    if not home.exists():
        yield Finding("home", GOOD, f"{home} (not made yet)")
        return
    is_usable = home.is_dir() and os.access(home, os.R_OK | os.W_OK | os.X_OK)
    yield Finding(
        "home",
        GOOD if is_usable else WRONG,
        str(home) if is_usable else f"{home} can't be written",
        "make it a folder of your own, or choose another with --home or HUSH_HOME",
    )
    for path in sorted(home.glob("*")) if is_usable else ():
        if path.is_file() and path.suffix in {".json", ".toml", ".pem", ".key", ".db"}:
            is_open = stat.S_IMODE(path.stat().st_mode) & 0o077
            if is_open:
                hint = f"chmod 600 {shlex.quote(str(path))}"
                yield Finding("files", WRONG, f"{path.name} can be read by others", hint)


def api_key_finding(client: Client) -> Finding:
    """Say whether there is an API key; nothing of the key itself."""
    if client.settings.api_key:
        return Finding("API key", GOOD, "set")
    return Finding("API key", WARNING, "not set", "pass --api-key, set HUSH_API_KEY, or run `hush up`")


def coordinator_findings(client: Client) -> Iterator[Finding]:
    """Ask the coordinator what it is, then verify what it lists without believing it."""
    address = client.settings.base_url
    try:
        listing = client.transport.run(client.session.get("/v1/sealing/providers?limit=64", is_public=True))[0]
    except HushnetError as error:
        yield Finding("coordinator", WRONG, f"{address}: {error}", error.hint())
        return
    yield network_finding(address, listing.get("network"), ours=client.settings.network)
    yield _clock(listing)
    if client.settings.api_key:
        yield _key(client)
    providers = [entry for entry in listing.get("providers", ()) if isinstance(entry, dict)]
    if not providers:
        yield Finding("providers", WARNING, "none is connected", "`hush provider start` connects a machine")
    verified = [_provider(client, entry) for entry in providers]
    yield from verified
    if verified and not any(finding.state == GOOD for finding in verified):
        yield Finding("providers", WRONG, "every one is refused: nothing can be sealed", "the rows above say why")


def network_finding(address: str, theirs: object, *, ours: str) -> Finding:
    """Compare the network that the coordinator names with the one that statements must be bound to here."""
    if theirs == ours:
        return Finding("coordinator", GOOD, f"{address}, network {ours}")
    return Finding(
        "coordinator",
        WRONG,
        f"{address} is of the network {theirs}, the settings here are for {ours}",
        f"if that is the network you mean, set HUSH_NETWORK={shlex.quote(str(theirs))}",
    )


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
    return Finding("account", GOOD if spendable else WARNING, f"{format_usd(spendable)} to spend")


def _provider(client: Client, entry: dict[str, Any]) -> Finding:
    name = f"provider {str(entry.get('provider'))[:16]}"
    models = ", ".join(str(model) for model in entry.get("models", ())[:4])
    try:
        recipient = verify_keys(entry, client.policy.key_policy(), int(time.time()), SerialMemory())
    except SealingError as error:
        return Finding(name, WARNING, f"{models}: refused ({error.error_code})", refusal_hint(client, error))
    minutes = (recipient.expires_at - int(time.time())) // 60
    receipts = "signs receipts" if recipient.receipt_key else "signs no receipts"
    return Finding(name, GOOD, f"{models}: verified, {recipient.suite.label}, keys for {minutes} more min, {receipts}")


def refusal_hint(client: Client, error: SealingError) -> str:
    """Say what makes a refused provider acceptable, where the person can do something about it."""
    if error.error_code == "statement_wrong_network":
        return f"its keys are for another network than {client.settings.network}: HUSH_NETWORK names the one to trust"
    if error.error_code in {"trust_below_floor", "evidence_missing"}:
        return f"the policy here asks for {client.policy.floor}; --trust names another floor"
    return error.hint() or "nothing is sealed to this provider"


def _print(findings: list[Finding]) -> None:
    table = console.table("part", "", "what", "what to do")
    for finding in findings:
        table.add_row(escape(finding.part), _MARKS[finding.state], escape(finding.text), escape(finding.hint))
    console.out().print(table)
