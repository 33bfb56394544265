"""`hush coordinator settings` and the flags that every subcommand shares."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from hushnet.cli import coordinator
from hushnet.coordinator.settings import settings_table
from hushnet.foundation.errors import ConfigurationError


def run(home: Path, *arguments: str) -> Result:
    environ = {"HUSH_HOME": str(home), "HUSH_LINK_PORT": "9001", "COLUMNS": "200"}
    return CliRunner().invoke(coordinator.app, ["settings", *arguments], env=environ)


def test_settings_shows_every_value_in_force_and_no_password(tmp_path: Path) -> None:
    result = run(tmp_path, "--json", "--set", "http.port=9000", "--database", "postgresql://u:hunter2@h/n")
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert set(shown) == {row.name for row in settings_table()}
    assert (shown["http.port"], shown["link.port"], shown["home"]) == ("9000", "9001", str(tmp_path))
    assert "hunter2" not in result.output


def test_settings_for_people_is_a_table(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.exit_code == 0, result.output
    assert "http.port" in result.stdout


@pytest.mark.parametrize("text", ["http.port", "http.prot=1", "http.port=x"])
def test_a_bad_set_is_a_configuration_error(tmp_path: Path, text: str) -> None:
    result = run(tmp_path, "--set", text)
    assert isinstance(result.exception, ConfigurationError)


def test_every_flag_of_the_table_is_an_option_of_serve() -> None:
    group = typer.main.get_command(coordinator.app)
    serve = group.commands["serve"]  # type: ignore[attr-defined]
    options = {name for parameter in serve.params for name in parameter.opts}
    assert {row.flag for row in settings_table() if row.flag} <= options
