"""`hush invite`, `hush referral`, `hush correct`: what they ask for, and what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hushnet.cli.main import build
from hushnet.cli.money.corrections import parse_amount
from hushnet.foundation.errors import RequestError
from hushnet.sdk.client import Client

INVITE = {"id": "12", "amount_micro_usd": 5_000_000, "uses": 1, "uses_max": 3, "expires_ms": 0, "note": "launch"}
ADJUSTMENT = {
    "id": "u",
    "account_id": 70_000,
    "bucket": "paid",
    "amount_micro_usd": -3_500_000,
    "reason": "wire",
    "actor": "key:a",
    "approver": None,
    "state": "pending",
}
CREDIT = {"account_id": 70_000, "promo_micro_usd": 42, "paid_micro_usd": 0, "earnings_micro_usd": 7}


def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *words: str, answer: Any) -> tuple[str, list[Any]]:
    asked: list[Any] = []

    def request(_: Client, *what: Any) -> Any:
        asked.append(what)
        return answer

    monkeypatch.setattr(Client, "request", request)
    arguments = [*words, "--api-key", "hk_x_1_x", "--home", str(tmp_path)]
    result = CliRunner().invoke(build(arguments), arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output, asked


@pytest.mark.parametrize(
    ("words", "answer", "asked", "said"),
    [
        (
            ("invite", "redeem", "ABC"),
            {"amount_micro_usd": 2_500_000, "expires_ms": 1_767_225_600_000, "outcome": "posted"},
            ("POST", "/v1/invites/redeem", {"code": "ABC"}),
            "$2.50 credited, to be spent by 2026-01-01",
        ),
        (
            ("invite", "create", "5", "--uses", "3", "--note", "launch"),
            {**INVITE, "code": "ABCDE-FGHJK"},
            (
                "POST",
                "/v1/admin/invites",
                {"amount_usd": "5", "uses_max": 3, "days": 30, "credit_days": 0, "note": "launch"},
            ),
            "ABCDE-FGHJK",
        ),
        (("invite", "list"), {"data": [INVITE]}, ("GET", "/v1/admin/invites"), "1 of 3"),
        (("invite", "revoke", "1/2"), INVITE, ("DELETE", "/v1/admin/invites/1%2F2"), ""),
        (
            ("referral", "show"),
            {"code": "ABCDE-FGHJK", "referred": 4, "has_referrer": False, "fee_bps": 1_000, "referral_bps": 2_000},
            ("GET", "/v1/referrals"),
            "ABCDE-FGHJK",
        ),
        (
            ("referral", "name", "X"),
            {"has_referrer": True, "outcome": "named"},
            ("PUT", "/v1/referrals/referrer", {"code": "X"}),
            "named",
        ),
        (
            ("correct", "request", "17", "0.000049", "--reason", "garbled", "--provider-at-fault"),
            CREDIT,
            (
                "PUT",
                "/v1/admin/generations/17/credits/1",
                {"amount_micro_usd": 49, "reason": "garbled", "is_provider_at_fault": True},
            ),
            "$0.000042 promo, $0.000007 earnings",
        ),
        (
            ("correct", "balance", "70000", "--amount", "-3.5", "--bucket", "paid", "--reason", "wire", "--id", "u"),
            ADJUSTMENT,
            (
                "PUT",
                "/v1/admin/adjustments/u",
                {"account_id": 70_000, "bucket": "paid", "amount_micro_usd": -3_500_000, "reason": "wire"},
            ),
            "-$3.50 paid, pending",
        ),
        (("correct", "pending"), {"data": [ADJUSTMENT]}, ("GET", "/v1/admin/adjustments"), "wire"),
        (("correct", "approve", "u"), ADJUSTMENT, ("POST", "/v1/admin/adjustments/u/approve"), "pending"),
        (("correct", "refuse", "u"), ADJUSTMENT, ("POST", "/v1/admin/adjustments/u/refuse"), "pending"),
    ],
)
def test_a_command_asks_and_tells(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...], answer: Any, asked: Any, said: str
) -> None:
    output, found = run(monkeypatch, tmp_path, *words, answer=answer)
    assert found == [asked]
    assert said in output


@pytest.mark.parametrize(
    ("text", "micros"), [("1", 1_000_000), ("-3.50", -3_500_000), ("0.000042", 42), ("999999999.999999", 10**15 - 1)]
)
def test_an_amount_is_read_exactly(text: str, micros: int) -> None:
    assert parse_amount(text) == micros


@pytest.mark.parametrize("text", ["", "nan", "1e3", "0.0000001", "--1", "+1", "1,5", "1234567890", "٣", "inf"])
def test_any_other_amount_is_refused(text: str) -> None:
    with pytest.raises(RequestError):
        parse_amount(text)
