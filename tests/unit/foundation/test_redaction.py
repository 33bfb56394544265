"""Secrets stay out of text."""

from __future__ import annotations

import logging
import pickle

import pytest

from hushnet.foundation.redaction import RedactingFilter, Secret, redact

KEY = "hk_user_1z_" + "A1b2C3d4" * 5


def test_a_secret_shows_only_when_it_is_asked_to() -> None:
    secret = Secret(KEY)
    assert KEY not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == KEY


def test_a_secret_is_not_serialised() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret(KEY))


@pytest.mark.parametrize(
    "text", [f"key {KEY} was refused", f"Authorization: Bearer {KEY}", "authorization: bearer abcdefgh12345678"]
)
def test_what_looks_like_a_key_is_removed(text: str) -> None:
    cleaned = redact(text)
    assert KEY not in cleaned
    assert "abcdefgh12345678" not in cleaned
    assert "***" in cleaned


def test_the_log_filter_removes_keys_from_arguments_too() -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "refused %s", (KEY,), None)
    assert RedactingFilter().filter(record)
    assert KEY not in record.getMessage()
