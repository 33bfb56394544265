"""Render the generated references: `python tools/docs.py` writes them, `--check` fails when one has drifted."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
os.environ |= {"COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1", "TERM": "dumb"}

_CLI_HEAD = """# Commands

Rendered from the commands themselves by `make docs`. `hush COMMAND --help` prints the same.
"""


def main() -> int:
    """Write or check every reference; return the exit status."""
    is_check = "--check" in sys.argv[1:]
    drifted = []
    for name, render in references().items():
        path, text = ROOT / "docs" / name, render()
        if path.exists() and path.read_text() == text:
            continue
        drifted.append(name)
        if not is_check:
            path.write_text(text)
    print(f"docs: {', '.join(drifted) or 'nothing'} {'drifted; run make docs' if is_check and drifted else 'rendered'}")
    return 1 if is_check and drifted else 0


def references() -> dict[str, Callable[[], str]]:
    """Return the renderer of each generated page."""
    import openapi
    from hushnet.coordinator.api import problems
    from hushnet.coordinator.serving import transitions
    from hushnet.coordinator.settings import table
    from hushnet.wire import reference as wire

    return {
        "settings.md": table.render_markdown,
        "errors.md": problems.render_markdown,
        "request-life.md": transitions.render_page,
        "wire.md": lambda: wire.render_into((ROOT / "docs" / "wire.md").read_text()),
        "cli.md": render_cli,
        "../src/hushnet/coordinator/api/openapi/openapi.json": openapi.render,
    }


def render_cli() -> str:
    """Return every command's help."""
    from hushnet.cli.main import COMMANDS

    parts = [_CLI_HEAD, _help(())]
    for row in COMMANDS:
        parts += [_help(path) for path in _paths(row.name)]
    return "\n".join(parts)


def _paths(name: str) -> Iterator[tuple[str, ...]]:
    import typer

    from hushnet.cli.main import build

    yield (name,)
    command = typer.main.get_command(build([name]))
    inner = getattr(getattr(command, "commands", {}).get(name), "commands", {})
    for sub, found in sorted(inner.items()):
        if not found.hidden:
            yield (name, sub)


def _help(path: tuple[str, ...]) -> str:
    from typer.testing import CliRunner

    from hushnet.cli.main import build

    result = CliRunner().invoke(build(path), [*path, "--help"], prog_name="hush", terminal_width=100)
    if result.exit_code:
        raise RuntimeError(f"hush {' '.join(path)} --help failed: {result.output}")
    text = "\n".join(line.rstrip() for line in result.output.strip("\n").splitlines())
    return f"## hush {' '.join(path)}".rstrip() + f"\n\n```text\n{text}\n```\n"


if __name__ == "__main__":
    sys.exit(main())
