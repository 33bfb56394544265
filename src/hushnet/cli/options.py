"""The options that commands share, and the client that consumer commands make of them, imported only then."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hushnet.sdk.settings import ConsumerSettings, resolve

if TYPE_CHECKING:
    from hushnet.sdk.client import Client

BaseUrl = Annotated[
    str | None, typer.Option("--base-url", help="The coordinator's address (HUSH_BASE_URL).", metavar="URL")
]
ApiKey = Annotated[str | None, typer.Option("--api-key", help="The API key (HUSH_API_KEY).", metavar="KEY")]
Home = Annotated[Path | None, typer.Option("--home", help="Where Hushnet keeps its files (HUSH_HOME).", metavar="DIR")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one line of JSON for a script.")]
Trust = Annotated[
    str | None,
    typer.Option(
        "--trust",
        help="The least trust tier to seal to: none, self_signed, measured, hardware. "
        "Default: measured; self_signed for a coordinator on this machine.",
        metavar="TIER",
    ),
]


def settings_of(base_url: str | None, api_key: str | None, home: Path | None) -> ConsumerSettings:
    """Join flags, environment and the file that `hush up` writes."""
    return resolve(base_url=base_url, api_key=api_key, home=home)


def client_of(
    base_url: str | None,
    api_key: str | None,
    home: Path | None,
    *,
    sealed: bool = True,
    trust: str | None = None,
    route: Mapping[str, Any] | None = None,
    timeout_s: float = 600.0,
) -> Client:
    """Make the client that a command asked for."""
    from hushnet.sdk.client import Client
    from hushnet.sdk.policy import VerificationPolicy

    settings = settings_of(base_url, api_key, home)
    policy = VerificationPolicy(floor=trust)
    return Client(settings=settings, sealed=sealed, policy=policy, route=route, timeout=timeout_s)
