"""The identity file is made once, complete, 0600, and refused when others could have touched it."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hushnet.foundation.errors import ConfigurationError
from hushnet.provider.identity import KEY_FILE, load_identity, load_or_create_identity, sole_provider


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / "provider"


def test_the_first_start_makes_a_private_key_file_and_later_starts_read_it(folder: Path) -> None:
    first = load_or_create_identity(folder)
    state = (folder / KEY_FILE).stat()

    assert stat.S_IMODE(state.st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert load_or_create_identity(folder).provider_id == first.provider_id == load_identity(folder).provider_id
    assert [path.name for path in folder.iterdir()] == [KEY_FILE]


def test_a_strict_or_loose_umask_changes_nothing(folder: Path) -> None:
    before = os.umask(0o777)
    try:
        folder.parent.mkdir()
        folder.parent.chmod(0o700)
        folder.mkdir()
        folder.chmod(0o700)
        load_or_create_identity(folder)
    finally:
        os.umask(before)

    assert stat.S_IMODE((folder / KEY_FILE).stat().st_mode) == 0o600


def test_starts_at_the_same_time_agree_on_one_key(folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda _: load_or_create_identity(folder).provider_id, range(16)))

    assert len(ids) == 1
    assert [path.name for path in folder.iterdir()] == [KEY_FILE]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o660, 0o644, 0o777])
def test_a_key_that_others_may_touch_is_refused_with_a_way_out(folder: Path, mode: int) -> None:
    load_or_create_identity(folder)
    (folder / KEY_FILE).chmod(mode)

    with pytest.raises(ConfigurationError, match="readable or writable by others") as caught:
        load_or_create_identity(folder)

    assert "chmod 600" in caught.value.hint()
    assert stat.S_IMODE((folder / KEY_FILE).stat().st_mode) == mode


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_may_write_is_refused(folder: Path, mode: int) -> None:
    load_or_create_identity(folder)
    folder.chmod(mode)

    with pytest.raises(ConfigurationError, match="others can replace files"):
        load_identity(folder)


def test_a_link_in_the_place_of_the_key_is_refused(folder: Path, tmp_path: Path) -> None:
    load_or_create_identity(tmp_path / "other")
    folder.mkdir(parents=True)
    (folder / KEY_FILE).symlink_to(tmp_path / "other" / KEY_FILE)

    with pytest.raises(ConfigurationError, match="cannot open"):
        load_or_create_identity(folder)


def test_a_dangling_link_is_refused_and_nothing_is_written_through_it(folder: Path, tmp_path: Path) -> None:
    folder.mkdir(parents=True)
    (folder / KEY_FILE).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ConfigurationError):
        load_or_create_identity(folder)

    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_something_else_in_the_place_of_the_key_is_refused(folder: Path, make: object) -> None:
    folder.mkdir(parents=True)
    make(folder / KEY_FILE)  # type: ignore[operator]

    with pytest.raises(ConfigurationError):
        load_or_create_identity(folder)


def test_a_damaged_key_is_refused_and_kept(folder: Path) -> None:
    load_or_create_identity(folder)
    (folder / KEY_FILE).write_bytes(b"half a ke")

    with pytest.raises(ConfigurationError, match="no usable identity key"):
        load_or_create_identity(folder)

    assert (folder / KEY_FILE).read_bytes() == b"half a ke"


def test_reading_an_identity_never_makes_one(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="no provider identity"):
        load_identity(folder)

    assert not folder.exists()


def test_a_folder_that_cannot_be_made_is_an_error_for_a_person(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")

    with pytest.raises(ConfigurationError, match="cannot make"):
        load_or_create_identity(tmp_path / "home" / "provider")


def test_one_provider_at_a_time_holds_the_folder(folder: Path) -> None:
    with sole_provider(folder), pytest.raises(ConfigurationError, match="another provider"), sole_provider(folder):
        pass

    with sole_provider(folder):
        pass
