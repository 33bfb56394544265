"""The documents tell the truth: paths exist, links resolve, commands are real."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from hushnet.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "models/**/*.md")
    for path in ROOT.glob(pattern)
    if ".venv" not in path.parts
)
SOURCE = ROOT / "src" / "hushnet"


def words_in_code(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", text)


def test_every_file_that_the_architecture_names_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    named = [word for word in words_in_code(text) if re.fullmatch(r"[a-z_]+(/[a-z_]+)*(\.py|/)", word)]
    assert len(named) > 20
    homes = (SOURCE, SOURCE / "coordinator", ROOT)
    missing = [name for name in named if not any((home / name).exists() for home in homes)]
    assert missing == []


def test_the_architecture_names_every_package() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    packages = {path.parent.relative_to(SOURCE) for path in SOURCE.rglob("__init__.py")} - {Path()}
    top = {package.parts[0] for package in packages} | {
        f"coordinator/{package.parts[1]}"
        for package in packages
        if package.parts[0] == "coordinator" and len(package.parts) > 1
    }
    assert [name for name in sorted(top) if f"{name.rpartition('/')[2]}/" not in text] == []


def test_the_architecture_fits_on_a_page() -> None:
    assert (ROOT / "ARCHITECTURE.md").read_text().count("\n") <= 130


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_resolves(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text()):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_hush_command_in_a_document_exists(document: Path) -> None:
    names = {row.name for row in COMMANDS}
    for used in re.findall(r"(?:^|[`\s/])hush ([a-z]+)\b", document.read_text(), re.MULTILINE):
        assert used in names, used


def test_every_make_target_that_the_readme_uses_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = set(re.findall(r"^make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert used
    assert used <= targets


def test_make_alone_lists_every_target() -> None:
    listed = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for target in ("setup", "up", "demo", "test", "check", "bench", "model", "docs"):
        assert f"make {target} " in listed


def test_the_sdk_installs_nothing_of_the_coordinator_or_the_engines() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    light = {re.split(r"[<>=\[]", name)[0] for name in project["dependencies"]}
    assert light == {"cryptography", "httpx", "msgspec", "platformdirs", "pynacl", "rich", "typer"}


def test_the_locks_carry_hashes_and_name_no_index() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text()
        assert "--hash=sha256:" in text
        assert "://" not in text
        assert "index" not in re.sub(r"^[a-z0-9-]+==.*$", "", text, flags=re.MULTILINE)
