"""The text of keys, the constant-time comparison, names, and the rate limit."""

from __future__ import annotations

import re

import pytest

from hushnet.coordinator.accounts import rules
from hushnet.coordinator.accounts.model import Scope
from hushnet.foundation.errors import RequestError
from hushnet.foundation.ids import ApiKeyId
from hushnet.foundation.redaction import Secret, redact


@pytest.mark.parametrize("scope", list(Scope))
def test_a_key_reads_back_as_it_was_written(scope: Scope) -> None:
    key_id, secret = rules.new_key_id(), rules.new_secret()
    text = rules.write_key(scope, key_id, secret).reveal()
    assert re.fullmatch(r"hk_[a-z]+_[0-9a-z]+_[A-Za-z0-9_-]{43}", text)
    parsed = rules.parse_key(text)
    assert parsed is not None
    assert (parsed.scope, parsed.id, parsed.secret.reveal()) == (scope, key_id, secret.reveal())


def test_a_key_never_shows_in_repr_or_in_redacted_text() -> None:
    text = rules.write_key(Scope.USER, rules.new_key_id(), rules.new_secret())
    parsed = rules.parse_key(text.reveal())
    assert parsed is not None
    assert parsed.secret.reveal() not in repr(parsed)
    assert redact(f"it was {text.reveal()} there") == "it was hk_*** there"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hk_",
        "hk_user_1_short",
        "hk_root_1_" + "a" * 43,
        "hk_user_A_" + "a" * 43,
        "hk_user_1_" + "a" * 44,
        "hk_user_1_" + "a" * 42 + "=",
        "hk_user_1_" + "é" * 43,
        "hk_user__" + "a" * 43,
        "sk-" + "a" * 48,
        "hk_user_1_" + "a" * 43 + "\n",
    ],
)
def test_what_is_no_key_parses_to_none(text: str) -> None:
    assert rules.parse_key(text) is None


def test_only_the_secret_itself_matches_its_digest() -> None:
    secret = rules.new_secret()
    assert rules.is_secret_of(secret, rules.digest_of(secret))
    assert not rules.is_secret_of(rules.new_secret(), rules.digest_of(secret))
    assert len(rules.digest_of(secret)) == 32


@pytest.mark.parametrize("number", [1, 35, 36, 1295, 2**44])
def test_a_key_id_reads_back_in_base_36(number: int) -> None:
    assert rules.parse_key_id(rules.write_key_id(number)) == number


@pytest.mark.parametrize("text", ["", "A", "-1", "a" * 13, "1 2", "é"])
def test_what_is_no_key_id_parses_to_none(text: str) -> None:
    assert rules.parse_key_id(text) is None


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Basic abc", ""),
        ("abc", ""),
        ("", ""),
        (None, ""),
        ("Bearer", ""),
    ],
)
def test_the_scheme_of_the_header_is_bearer_in_any_case(header: str | None, token: str) -> None:
    assert rules.bearer_of(header) == token


@pytest.mark.parametrize("name", ["a\nb", "\x00", "x" * 65, "a\x9bb"])
def test_a_name_with_control_characters_or_too_long_is_refused(name: str) -> None:
    with pytest.raises(RequestError):
        rules.checked_name(name)


def test_account_ids_leave_the_operators_range_alone_and_are_exact_in_json() -> None:
    ids = {rules.new_account_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(2**16 <= account_id < 2**53 for account_id in ids)


KEY = ApiKeyId(7)


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    limit = rules.RateLimit(rate=2.0, burst=3, keys_max=10)
    assert [limit.take(KEY, 0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert limit.take(KEY, 0.0) == pytest.approx(0.5)
    assert limit.take(KEY, 0.5) == 0.0
    assert limit.take(KEY, 0.5) > 0.0


def test_tokens_come_back_up_to_the_burst_and_no_further() -> None:
    limit = rules.RateLimit(rate=1.0, burst=2, keys_max=10)
    limit.take(KEY, 0.0)
    assert [limit.take(KEY, 1000.0) for _ in range(2)] == [0.0, 0.0]
    assert limit.take(KEY, 1000.0) > 0.0


def test_one_key_does_not_slow_another_down() -> None:
    limit = rules.RateLimit(rate=1.0, burst=1, keys_max=10)
    assert limit.take(KEY, 0.0) == 0.0
    assert limit.take(KEY, 0.0) > 0.0
    assert limit.take(ApiKeyId(8), 0.0) == 0.0


def test_the_rate_limit_remembers_a_bounded_number_of_keys() -> None:
    limit = rules.RateLimit(rate=1.0, burst=1, keys_max=16)
    for number in range(1000):
        limit.take(ApiKeyId(number), 0.0)
    assert len(limit) == 16


def test_a_rate_of_zero_sets_no_limit() -> None:
    limit = rules.RateLimit(rate=0.0, burst=1, keys_max=16)
    assert all(limit.take(KEY, 0.0) == 0.0 for _ in range(100))


def test_a_secret_has_256_bits_from_43_characters() -> None:
    assert {len(rules.new_secret().reveal()) for _ in range(50)} == {43}
    assert isinstance(rules.new_secret(), Secret)
