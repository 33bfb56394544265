"""The home folder and its private files."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from hushnet.foundation.errors import ConfigurationError
from hushnet.foundation.home import make_private_folder, resolve_home, write_private_file


def test_the_flag_wins_over_the_environment(tmp_path: Path) -> None:
    assert resolve_home(tmp_path / "flag", {"HUSH_HOME": "/elsewhere"}) == tmp_path / "flag"
    assert resolve_home(None, {"HUSH_HOME": str(tmp_path)}) == tmp_path


def test_private_files_are_replaced_whole_and_readable_by_the_owner_only(tmp_path: Path) -> None:
    folder = make_private_folder(tmp_path / "a" / "b")
    target = folder / "key"
    write_private_file(target, b"one")
    write_private_file(target, b"two")
    assert target.read_bytes() == b"two"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == ["key"]


def test_a_home_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError) as raised:
        make_private_folder(tmp_path / "file" / "home")
    assert "--home" in raised.value.hint()
