"""Which coordinator, which key: precedence, and keys that never travel to another address."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from hushnet.foundation.errors import ConfigurationError
from hushnet.sdk.policy import VerificationPolicy
from hushnet.sdk.settings import is_loopback, normalise_base_url, resolve, store


def test_flags_win_over_environment_over_file(tmp_path: Path) -> None:
    store(resolve(base_url="http://127.0.0.1:1", api_key="hk_user_1_file", home=tmp_path, environ={}))
    from_file = resolve(home=tmp_path, environ={})
    assert (from_file.base_url, from_file.require_key().reveal()) == ("http://127.0.0.1:1", "hk_user_1_file")
    environ = {"HUSH_BASE_URL": "http://127.0.0.1:2", "HUSH_API_KEY": "hk_user_2_env"}
    from_environment = resolve(home=tmp_path, environ=environ)
    assert (from_environment.base_url, from_environment.require_key().reveal()) == (
        "http://127.0.0.1:2",
        "hk_user_2_env",
    )
    flagged = resolve(base_url="http://127.0.0.1:3", api_key="hk_user_3_flag", home=tmp_path, environ=environ)
    assert (flagged.base_url, flagged.require_key().reveal()) == ("http://127.0.0.1:3", "hk_user_3_flag")


def test_the_stored_key_is_not_sent_to_another_coordinator(tmp_path: Path) -> None:
    store(resolve(base_url="http://127.0.0.1:1", api_key="hk_user_1_file", home=tmp_path, environ={}))
    assert resolve(base_url="https://hush.example", home=tmp_path, environ={}).api_key is None


def test_the_stored_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    store(resolve(base_url="http://127.0.0.1:1", api_key="hk_user_1_file", home=tmp_path, environ={}))
    assert stat.S_IMODE((tmp_path / "consumer.toml").stat().st_mode) == 0o600


def test_a_missing_key_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        resolve(home=tmp_path, environ={}).require_key()
    assert "HUSH_API_KEY" in raised.value.hint()


@pytest.mark.parametrize("text", ["http://h:1/", "http://h:1/v1", "http://h:1/v1/"])
def test_the_address_is_taken_with_and_without_its_version(text: str) -> None:
    assert normalise_base_url(text) == "http://h:1"


@pytest.mark.parametrize("text", ["", "h:1", "ftp://h", "http://", "http://u:p@h/", "http://h/?x=1", "http://h:99999"])
def test_what_is_not_an_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        normalise_base_url(text)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:1", True),
        ("http://127.9.9.9", True),
        ("http://localhost:1", True),
        ("http://[::1]:1", True),
        ("https://hush.example", False),
        ("http://localhost.example", False),
        ("http://10.0.0.1", False),
    ],
)
def test_loopback_is_this_machine_and_nothing_else(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected


def test_the_default_floor_is_measured_except_on_this_machine() -> None:
    assert VerificationPolicy().for_address("http://127.0.0.1:8470").floor == "self_signed"
    assert VerificationPolicy().for_address("https://hush.example").floor == "measured"


@pytest.mark.parametrize("options", [{"floor": "gold"}, {"recipients": 0}, {"recipients": 9}])
def test_a_policy_that_makes_no_sense_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        VerificationPolicy(**options)  # type: ignore[arg-type]


def test_a_key_that_is_stored_for_another_address_is_said_to_be(tmp_path: Path) -> None:
    store(resolve(base_url="http://127.0.0.1:1", api_key="hk_user_1_file", home=tmp_path, environ={}))
    with pytest.raises(ConfigurationError, match=r"belongs to http://127\.0\.0\.1:1") as raised:
        resolve(base_url="https://hush.example", home=tmp_path, environ={}).require_key()
    assert "--api-key" in raised.value.hint()


def test_where_the_key_came_from_is_remembered(tmp_path: Path) -> None:
    store(resolve(base_url="http://127.0.0.1:1", api_key="hk_user_1_file", home=tmp_path, environ={}))
    assert resolve(home=tmp_path, environ={}).key_source == str(tmp_path / "consumer.toml")
    assert resolve(home=tmp_path, environ={"HUSH_API_KEY": "hk_user_2_env"}).key_source == "HUSH_API_KEY"
    assert resolve(api_key="hk_user_3_flag", home=tmp_path, environ={}).key_source == "--api-key"
