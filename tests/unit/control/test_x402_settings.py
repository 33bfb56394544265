"""The settings of pay per use: off by default, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hushnet.coordinator.settings import load_settings
from hushnet.foundation.errors import ConfigurationError

PAY_TO = "0xA1A1a1a1A1A1A1A1A1a1a1a1a1a1A1A1a1A1a1a1"
WHOLE = {
    "x402.facilitator": "https://facilitator.example",
    "x402.node": "https://node.example/canary",
    "x402.pay_to": PAY_TO,
}


def load(tmp_path: Path, **flags: Any) -> Any:
    return load_settings(flags={"home": tmp_path, **flags}).x402


def test_pay_per_use_is_off_unless_a_facilitator_is_named(tmp_path: Path) -> None:
    assert not load(tmp_path).is_on
    assert load(tmp_path, **WHOLE).is_on


@pytest.mark.parametrize("missing", ["x402.node", "x402.pay_to"])
def test_a_facilitator_alone_is_refused(tmp_path: Path, missing: str) -> None:
    with pytest.raises(ConfigurationError):
        load(tmp_path, **{name: value for name, value in WHOLE.items() if name != missing})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x402.pay_to", "0x66"),
        ("x402.network", "eip155:1"),
        ("x402.facilitator", "ftp://facilitator.example"),
        ("x402.window_s", 5),
        ("x402.upto_facilitator", "someone"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(ConfigurationError):
        load(tmp_path, **{**WHOLE, name: value})


def test_the_nodes_url_and_the_token_are_secrets(tmp_path: Path) -> None:
    shown = repr(load(tmp_path, **WHOLE, **{"x402.facilitator_token": "canary"}))
    assert "canary" not in shown
