"""What an operator says of Stripe: whole or refused, and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from hushnet.coordinator.settings import CoordinatorSettings, load_settings
from hushnet.coordinator.settings.table import settings_table, shown, value_of
from hushnet.foundation.errors import ConfigurationError

KEY, HOOK = "sk_test_canary", "whsec_canary"


def load(tmp_path: Path, **settings: object) -> CoordinatorSettings:
    flags = {f"stripe.{name}": value for name, value in settings.items()}
    return load_settings(flags={"home": tmp_path, **flags})


def test_it_is_off_until_there_is_a_key(tmp_path: Path) -> None:
    assert not load(tmp_path).stripe.is_on
    assert load(tmp_path, secret_key=KEY, webhook_secrets=HOOK).stripe.is_on


def test_a_key_without_webhooks_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        load(tmp_path, secret_key=KEY)


def test_several_secrets_are_good_at_once(tmp_path: Path) -> None:
    stripe = load(tmp_path, secret_key=KEY, webhook_secrets="whsec_a, whsec_b").stripe
    assert [one.reveal() for one in stripe.account_secrets] == ["whsec_a", "whsec_b"]
    assert stripe.connect_secrets == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("secret_key", "pk_test_public"),
        ("webhook_secrets", "canary"),
        ("webhook_secrets", "whsec_a,"),
        ("api_base", "ftp://x"),
        ("deposit_cents_min", 49),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(ConfigurationError):
        load(tmp_path, **{name: value})


def test_least_and_largest_deposit_fit(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        load(tmp_path, deposit_cents_min=501, deposit_cents_max=500)


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    settings = load(tmp_path, secret_key=KEY, webhook_secrets=HOOK, connect_webhook_secrets=HOOK)
    texts = [shown(value_of(settings, row.name)) for row in settings_table()]
    assert "canary" not in "".join([*texts, repr(settings)])
