"""What a start imports, seen from outside: rails that nothing configures, and what other commands need, cost it nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from support.network import Process, hush

TOLD = {"PYTHONPROFILEIMPORTTIME": "1"}
"""The interpreter then writes a line to stderr for each module that it imports."""
RAILS = frozenset({"stripe", "bip_utils", "coincurve", "eth_account", "eth_keys", "x402", "web3"})
"""Packages for rails of money."""
CLIENTS = frozenset({"httpx", "rich", "openai"})
"""Packages for asking others and for people at a terminal."""


def imported(lines: Iterable[str]) -> frozenset[str]:
    """Return the names of the modules that these lines tell of."""
    return frozenset(line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:"))


def imported_by_serving(home: Path, env: Mapping[str, str] | None = None) -> frozenset[str]:
    process = Process(
        home, "coordinator", "serve", "--json", "--port", "0", "--link-port", "0", env={**TOLD, **(env or {})}
    )
    assert process.stop() == 0
    names = imported(process.log.read_text().splitlines())
    assert "hushnet.coordinator.app.rails" in names
    return names


def test_a_coordinator_without_rails_imports_none_of_their_packages(tmp_path: Path) -> None:
    names = imported_by_serving(tmp_path)
    assert not names & (RAILS | CLIENTS)
    assert "hushnet.sdk.client" not in names


def test_a_rail_is_imported_where_it_is_configured(tmp_path: Path) -> None:
    keys = {"HUSH_STRIPE_SECRET_KEY": "sk_test_1", "HUSH_STRIPE_WEBHOOK_SECRETS": "whsec_1"}
    names = imported_by_serving(tmp_path, {**keys, "HUSH_STRIPE_API_BASE": "http://127.0.0.1:9"})
    assert {"stripe", "httpx"} <= names
    assert not names & {"bip_utils", "x402"}


def test_a_coordinator_whose_schema_is_current_imports_no_migrations_and_no_other_database(tmp_path: Path) -> None:
    assert "alembic" in imported_by_serving(tmp_path)
    assert not imported_by_serving(tmp_path) & {"alembic", "sqlalchemy.dialects.postgresql"}


def test_the_page_of_commands_imports_no_rail_and_no_coordinator(tmp_path: Path) -> None:
    page = hush(tmp_path, "--help", env=TOLD)
    assert page.returncode == 0
    names = imported(page.stderr.splitlines())
    assert "hushnet.cli.main" in names
    assert not names & (RAILS | {"httpx", "openai", "sqlalchemy", "starlette"})
    assert not {name for name in names if name.startswith(("hushnet.coordinator", "hushnet.provider", "hushnet.sdk"))}
