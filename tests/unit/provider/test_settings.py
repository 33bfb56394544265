"""Flags win over environment, environment over file, file over defaults; what is wrong is named with its source."""

from __future__ import annotations

from pathlib import Path

import pytest

from hushnet.foundation.errors import ConfigurationError
from hushnet.provider.settings import TABLE, ProviderSettings, load_settings


def load(home: Path, *, environ: dict[str, str] | None = None, **flags: object) -> ProviderSettings:
    return load_settings(flags=flags, environ=environ or {}, home=home)


def write(home: Path, text: str) -> None:
    (home / "provider.toml").write_text(text)


def test_nothing_given_gives_the_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path)

    assert settings == ProviderSettings(home=tmp_path, token=settings.token)
    assert (settings.slots, settings.model, settings.coordinator) == (4, None, "http://127.0.0.1:8470")


def test_each_source_wins_over_the_next(tmp_path: Path) -> None:
    write(tmp_path, 'slots = 2\nthreads = 2\nqueue = 2\nmodel = "from-file"')
    settings = load(tmp_path, environ={"HUSH_PROVIDER_SLOTS": "3", "HUSH_PROVIDER_THREADS": "3"}, slots=5, threads=None)

    assert (settings.slots, settings.threads, settings.queue, settings.model) == (5, 3, 2, "from-file")


def test_several_models_come_as_flags_as_one_text_or_as_a_list_of_the_file(tmp_path: Path) -> None:
    wanted = ("one.gguf", "http://127.0.0.1:1/v1#two")
    assert load(tmp_path, model=list(wanted)).models == wanted
    assert load(tmp_path, environ={"HUSH_PROVIDER_MODEL": " one.gguf ;http://127.0.0.1:1/v1#two"}).models == wanted
    write(tmp_path, 'model = ["one.gguf", "http://127.0.0.1:1/v1#two"]')
    assert load(tmp_path).models == wanted
    assert load(tmp_path, model=["three.gguf"]).models == ("three.gguf",)


def test_without_a_model_it_is_the_built_in_one(tmp_path: Path) -> None:
    assert load(tmp_path).models == (None,)


@pytest.mark.parametrize(
    ("text", "size"), [("24GiB", 24 << 30), ("1.5 g", 3 << 29), ("800MB", 800 << 20), ("1000", 1000), ("7kib", 7168)]
)
def test_a_memory_budget_is_a_size(tmp_path: Path, text: str, size: int) -> None:
    assert load(tmp_path, memory_budget=text).memory_budget == size


def test_the_home_folder_is_the_flag_or_the_variable(tmp_path: Path) -> None:
    assert load_settings(flags={}, environ={"HUSH_HOME": "/elsewhere"}, home=tmp_path).home == tmp_path
    assert load_settings(flags={}, environ={"HUSH_HOME": str(tmp_path)}, home=None).home == tmp_path


def test_a_token_comes_from_a_file_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hk_provider_1_abc\n")

    assert load(tmp_path, token_file=tmp_path / "token").token.reveal() == "hk_provider_1_abc"


def test_a_token_file_flag_wins_over_a_token_variable(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file")
    settings = load(tmp_path, environ={"HUSH_PROVIDER_TOKEN": "from-variable"}, token_file=tmp_path / "token")

    assert settings.token.reveal() == "from-file"


def test_a_token_variable_wins_over_a_token_file_of_the_settings_file(tmp_path: Path) -> None:
    write(tmp_path, 'token_file = "/does/not/exist"')

    assert load(tmp_path, environ={"HUSH_PROVIDER_TOKEN": "from-variable"}).token.reveal() == "from-variable"


def test_the_token_is_not_shown(tmp_path: Path) -> None:
    assert "sesame" not in repr(load(tmp_path, token="open-sesame"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("slots", "0"),
        ("slots", "many"),
        ("slots", "1e3"),
        ("queue", "-1"),
        ("drain_s", "-1"),
        ("drain_s", "nan"),
        ("statement_life_s", "100000"),
        ("coordinator", "localhost:8470"),
        ("coordinator", "ftp://host"),
        ("coordinator", "http://user:word@host"),
        ("model", "  "),
        ("model", "one.gguf;;two.gguf"),
        ("model", ";".join(["m"] * 65)),
        ("memory_budget", "much"),
        ("memory_budget", "0"),
        ("memory_budget", "-1GiB"),
        ("idle_unload_s", "-1"),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name_and_source(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{name} \(environment\)"):
        load(tmp_path, environ={f"HUSH_PROVIDER_{name.upper()}": value})


def test_a_bad_token_is_refused_without_showing_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, environ={"HUSH_PROVIDER_TOKEN": "sesame" * 1000})

    assert "sesame" not in str(caught.value) + caught.value.hint()


def test_an_unknown_name_in_the_file_is_a_typing_error_and_says_so(tmp_path: Path) -> None:
    write(tmp_path, "slotz = 4")

    with pytest.raises(ConfigurationError, match="slotz"):
        load(tmp_path)


@pytest.mark.parametrize("text", ["slots =", "slots = true", "slots = [4]", "slots = 2020-01-01", '"\\ud800" = 1'])
def test_a_file_that_is_not_flat_toml_is_refused(tmp_path: Path, text: str) -> None:
    write(tmp_path, text)

    with pytest.raises(ConfigurationError):
        load(tmp_path)


def test_a_missing_token_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        load(tmp_path, token_file=tmp_path / "nowhere")


def test_every_row_of_the_table_has_a_meaning_and_a_variable() -> None:
    assert all(row.meaning and row.variable.startswith("HUSH_PROVIDER_") for row in TABLE)
    assert len({row.name for row in TABLE}) == len(TABLE)


@pytest.mark.parametrize("region", ["DE", "de west", "-de", "x" * 33, "1a"])
def test_a_region_is_a_short_word_or_refused(tmp_path: Path, region: str) -> None:
    assert load(tmp_path).region == ""
    assert load(tmp_path, environ={"HUSH_PROVIDER_REGION": "us-east"}).region == "us-east"
    with pytest.raises(ConfigurationError, match="region"):
        load(tmp_path, region=region)
