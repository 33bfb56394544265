"""Settings: flags over environment over file over defaults, and errors that name the setting."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from hushnet.coordinator.settings import CoordinatorSettings, load_settings, render_markdown, settings_table
from hushnet.coordinator.settings.table import flags_of, shown, value_of
from hushnet.foundation.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[3]


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(tmp_path: Path) -> None:
    file = tmp_path / "coordinator.toml"
    file.write_text('network = "from-file"\n[http]\nport = 1001\nkeep_alive_s = 7\nconnections_max = 9\n')
    environ = {"HUSH_HTTP_PORT": "1002", "HUSH_HTTP_KEEP_ALIVE_S": "8"}
    settings = load_settings(flags={"http.port": 1003, "link.port": None}, environ=environ, file=file)
    assert settings.http.port == 1003
    assert settings.http.keep_alive_s == 8.0
    assert settings.http.connections_max == 9
    assert settings.network == "from-file"
    assert settings.link.port == 8471


def test_the_file_in_the_home_directory_is_found(tmp_path: Path) -> None:
    (tmp_path / "coordinator.toml").write_text("[log]\nlevel = 'debug'\n")
    assert load_settings(environ={"HUSH_HOME": str(tmp_path)}).log.level == "debug"
    assert load_settings(flags={"home": tmp_path}).log.level == "debug"


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        load_settings(file=tmp_path / "none.toml")
    with pytest.raises(ConfigurationError, match="does not exist"):
        load_settings(environ={"HUSH_CONFIG": str(tmp_path / "none.toml")})


def test_the_database_and_the_network_follow_home_and_host(tmp_path: Path) -> None:
    local = load_settings(flags={"home": tmp_path})
    assert local.database.reveal() == f"sqlite:///{tmp_path}/coordinator.db"
    assert local.network == "hushnet-local"
    assert load_settings(flags={"home": tmp_path, "http.host": "0.0.0.0"}).network == "hushnet-main"
    assert load_settings(flags={"home": tmp_path, "http.host": "::1"}).network == "hushnet-local"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("http.port", "65536"),
        ("http.port", "-1"),
        ("http.port", "eighty"),
        ("http.port", True),
        ("http.port", 1.0),
        ("http.keep_alive_s", "nan"),
        ("http.keep_alive_s", "inf"),
        ("http.drain_s_max", "-0.1"),
        ("log.level", "loud"),
        ("log.access", "maybe"),
        ("database", "mysql://u@h/n"),
        ("network", "No Spaces"),
        ("http.public_url", "ftp://x"),
        ("price.input", 10**10 + 1),
    ],
)
def test_a_bad_value_names_its_setting(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"setting {name} from"):
        load_settings(flags={name: value})


def test_an_unknown_name_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    file = tmp_path / "coordinator.toml"
    file.write_text("[http]\nprot = 1\n")
    with pytest.raises(ConfigurationError, match=r"http\.prot") as caught:
        load_settings(file=file)
    assert "http.port" in caught.value.hint()
    with pytest.raises(ConfigurationError, match=r"http\.prot"):
        load_settings(flags={"http.prot": 1})


def test_a_file_that_is_not_toml_is_refused_without_its_text(tmp_path: Path) -> None:
    file = tmp_path / "coordinator.toml"
    file.write_text("database = 'postgresql://u:hunter2@h/n\n")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(file=file)
    assert "hunter2" not in str(caught.value) + caught.value.hint()


def test_a_cached_price_above_the_input_price_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"price\.cached"):
        load_settings(flags={"price.input": 1, "price.cached": 2})


def test_a_password_in_the_database_url_is_never_shown() -> None:
    settings = load_settings(flags={"database": "postgresql://u:hunter2@h/n"})
    assert "hunter2" not in repr(settings)
    assert shown(settings.database) == "postgresql://***"
    with pytest.raises(ConfigurationError) as caught:
        load_settings(flags={"database": "postgresql://u:hunter2@h/n with space"})
    assert "hunter2" not in str(caught.value) + caught.value.hint()


def test_every_setting_has_a_meaning_bounds_a_variable_and_a_value() -> None:
    settings = CoordinatorSettings()
    names = [row.name for row in settings_table()]
    assert len(set(names)) == len(names)
    flags = [row.flag for row in settings_table() if row.flag]
    assert len(set(flags)) == len(flags)
    for row in settings_table():
        assert row.meaning
        assert row.env.startswith("HUSH_")
        value = value_of(settings, row.name)
        assert isinstance(value, row.kind)
        if row.kind in (int, float):
            assert row.low is not None
            assert row.high is not None
            assert row.low <= row.default <= row.high


def test_every_field_of_the_tree_is_in_the_table() -> None:
    def names(owner: object, prefix: str = "") -> list[str]:
        found: list[str] = []
        for item in dataclasses.fields(owner):  # type: ignore[arg-type]
            value = getattr(owner, item.name)
            if dataclasses.is_dataclass(value):
                found += names(value, f"{prefix}{item.name}.")
            else:
                found.append(prefix + item.name)
        return found

    assert names(CoordinatorSettings()) == [row.name for row in settings_table()]


def test_the_page_of_settings_has_not_drifted() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == render_markdown(), "run `make docs`"


def test_several_workers_need_a_database_that_several_processes_write() -> None:
    with pytest.raises(ConfigurationError, match="SQLite") as caught:
        load_settings(flags={"workers": 2})
    assert caught.value.error_code == "workers_need_postgres"
    assert "postgresql://" in caught.value.hint()
    settings = load_settings(flags={"workers": 2, "database": "postgresql://user:secret@host/name"})
    assert settings.workers == 2


def test_settings_that_are_handed_on_come_out_the_same() -> None:
    given = {"workers": 3, "database": "postgresql://user:secret@host/name", "http.port": 0, "log.access": True}
    settings = load_settings(flags={**given, "price.input": 7, "price.cached": 3})
    handed = json.loads(json.dumps(flags_of(settings)))
    assert flags_of(load_settings(flags=handed)) == flags_of(settings)
    assert handed["database"] == given["database"]
    assert load_settings(flags=handed).log.access


def test_pinned_models_are_read_from_one_line() -> None:
    pins = load_settings(flags={"serving.pinned_models": "hush-tiny=2, owner/big:7b=1"}).serving.pins()
    assert pins == {"hush-tiny": 2, "owner/big:7b": 1}
    assert load_settings().serving.pins() == {}


@pytest.mark.parametrize("text", ["hush-tiny", "=2", "hush-tiny=", "hush-tiny=many", "a=1,,b=2", "a b=1"])
def test_a_pin_without_a_model_or_a_count_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"serving\.pinned_models"):
        load_settings(flags={"serving.pinned_models": text})
