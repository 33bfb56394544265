"""`hush pricing`: prices as people read them, and discounts as they type them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hushnet.cli.main import build
from hushnet.cli.money.pricing import parse_percent
from hushnet.foundation.errors import RequestError
from hushnet.sdk.client import Client

PRICE = {"input": 100_000, "cached": 50_000, "output": 400_000, "minimum": 1}
PRICING = {
    "default": PRICE,
    "fee_bps": 250,
    "tiers": [{"trust": "hardware", "price_bps": 12_500, "share_bps": 10_000}],
    "data": [
        {
            "model": "org/dear",
            "price": {**PRICE, "output": 9_000_000},
            "announced": [{"price": PRICE, "from_ms": 1_767_225_600_000}],
            "discount_bps_max": 1_250,
        }
    ],
}


def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *words: str, answer: Any) -> tuple[str, list[Any]]:
    asked: list[Any] = []

    def request(_: Client, *what: Any) -> Any:
        asked.append(what)
        return answer

    monkeypatch.setattr(Client, "request", request)
    arguments = ["pricing", *words, "--api-key", "hk_user_1_x", "--home", str(tmp_path)]
    result = CliRunner().invoke(build(arguments), arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output, asked


def test_prices_announcements_discounts_tiers_and_the_fee_are_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    output, asked = run(monkeypatch, tmp_path, answer=PRICING)
    assert asked == [("GET", "/v1/pricing")]
    for shown in ("org/dear", "$9.00", "12.5 %", "2026-01-01 00:00 UTC", "any other", "125 % of the price", "2.5 %"):
        assert shown in output


def test_a_discount_is_typed_in_per_cent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    row = {"model": "m", "bps": 1_250, "from_ms": 1, "is_in_force": True}
    output, asked = run(monkeypatch, tmp_path, "discount", "12.5%", "--model", "m", answer=row)
    assert asked == [("PUT", "/v1/provider/discounts", {"model": "m", "bps": 1_250, "from_ms": None})]
    assert "12.5 %" in output


def test_without_a_number_the_discounts_are_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _, asked = run(monkeypatch, tmp_path, "discount", answer={"data": []})
    assert asked == [("GET", "/v1/provider/discounts")]


@pytest.mark.parametrize(
    ("text", "bps"), [("0", 0), ("7", 700), ("12.5", 1_250), ("0.01%", 1), ("100", 10_000), ("100.00%", 10_000)]
)
def test_a_percentage_is_read_exactly(text: str, bps: int) -> None:
    assert parse_percent(text) == bps


@pytest.mark.parametrize("text", ["", "-1", "101", "100.01", "1.234", "1e1", "nan", "١", "1,5", "5 %"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(RequestError):
        parse_percent(text)
