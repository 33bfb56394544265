"""The command line's table: every row loads, help is complete and cheap."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from hushnet.cli.main import COMMANDS, Row, build


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.name)
def test_every_command_of_the_table_loads_and_explains_itself(row: Row) -> None:
    module = importlib.import_module(f"hushnet.cli.{row.module}")
    assert hasattr(module, "app" if row.is_group else "command")
    result = CliRunner().invoke(build([row.name]), [row.name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage" in result.output
    assert " ." not in result.output.replace(" ...", ""), "help text in [brackets] is read as markup and vanishes"


def test_the_list_of_commands_imports_no_part_that_it_only_names() -> None:
    code = (
        "import sys; from hushnet.cli.main import build; build(['--help']); "
        "print([m for m in sys.modules if m.startswith(('hushnet.coordinator', 'hushnet.provider', 'hushnet.sdk', 'httpx'))])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_an_unknown_command_is_refused_with_usage() -> None:
    result = CliRunner().invoke(build(["nonsense"]), ["nonsense"])
    assert result.exit_code == 2
