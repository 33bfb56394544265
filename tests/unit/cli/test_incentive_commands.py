"""`hush invite`, `hush referral`, `hush correct`: what they ask for, and what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hushnet.cli.main import build
from hushnet.cli.money.corrections import parse_amount
from hushnet.cli.route.operator import operator_client
from hushnet.foundation.errors import AccessError, RequestError
from hushnet.sdk.client import Client

INVITE = {"id": "12", "amount_micro_usd": 5_000_000, "uses": 1, "uses_max": 3, "expires_ms": 0, "note": "launch"}
ADJUSTMENT = {
    "id": "u",
    "account_id": 70_000,
    "bucket": "paid",
    "amount_micro_usd": -3_500_000,
    "source": "goodwill",
    "reason": "wire",
    "actor": "key:a",
    "approver": None,
    "state": "pending",
}
REVERSAL = {"id": "9", "kind": "refund", "state": "asked", "amount_micro_usd": 7_500_000, "refund_id": "r"}
DEPOSIT = {
    "id": "12",
    "account_id": 70_000,
    "amount_micro_usd": 20_000_000,
    "state": "paid",
    "checkout": "cs_1",
    "payment_intent": None,
}
BUDGET = {"scope": "account", "amount_micro_usd": 5_000_000, "period": "day", "left_micro_usd": None}
PROGRAMME = {
    "name": "one_key",
    "period": "day",
    "amount_micro_usd": 5_000_000,
    "spent_micro_usd": 3_000_000,
    "left_micro_usd": 2_000_000,
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
        (
            ("correct", "suspense", "70000", "--amount", "20", "--reason", "wire", "--id", "u"),
            {**ADJUSTMENT, "amount_micro_usd": 20_000_000, "source": "suspense"},
            (
                "PUT",
                "/v1/admin/suspense/u",
                {"account_id": 70_000, "amount_micro_usd": 20_000_000, "reason": "wire"},
            ),
            "$20.00 paid, pending",
        ),
        (("correct", "suspense"), {"amount_micro_usd": 5}, ("GET", "/v1/admin/suspense"), "$0.000005 in suspense"),
        (
            ("correct", "refund", "12", "7.50", "--id", "r"),
            REVERSAL,
            ("POST", "/v1/admin/deposits/12/refunds", {"amount_usd": "7.50", "refund_id": "r"}),
            "refund r: $7.50, asked",
        ),
        (
            ("correct", "deposit", "1/2"),
            {**DEPOSIT, "reversals": [REVERSAL]},
            ("GET", "/v1/admin/deposits/1%2F2"),
            "refund r: $7.50, asked",
        ),
        (
            ("budget", "list", "--account", "70000"),
            {"data": []},
            ("GET", "/v1/admin/accounts/70000/budgets"),
            "no budgets",
        ),
        (
            ("budget", "set", "5/day", "--account", "70000"),
            BUDGET,
            ("PUT", "/v1/admin/accounts/70000/budgets", {"period": "day", "amount_usd": "5"}),
            "account budget: $5.00 per day",
        ),
        (
            ("budget", "remove", "day", "--account", "70000"),
            {},
            ("DELETE", "/v1/admin/accounts/70000/budgets?period=day"),
            "removed",
        ),
        (
            ("budget", "programmes"),
            {"data": [PROGRAMME]},
            ("GET", "/v1/admin/programmes"),
            "$2.00",
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


def test_a_budget_is_of_a_key_or_of_an_account(tmp_path: Path) -> None:
    arguments = ["budget", "list", "--key", "k", "--account", "70000", "--api-key", "hk_x_1_x", "--home", str(tmp_path)]
    result = CliRunner().invoke(build(arguments), arguments)
    assert isinstance(result.exception, RequestError)


def test_what_a_key_may_not_do_alone_is_no_matter_of_having_another_key(tmp_path: Path) -> None:
    refusal = AccessError("not alone", code="second_approver", hint="ask another operator")
    with pytest.raises(AccessError) as refused, operator_client(None, "hk_operator_1_x", tmp_path):
        raise refusal
    assert refused.value.hint() == "ask another operator"


def test_that_the_account_in_question_is_closed_says_nothing_against_the_operators_key(tmp_path: Path) -> None:
    refusal = AccessError("this account is closed", code="account_closed", hint="reopen it")
    with pytest.raises(AccessError) as refused, operator_client(None, "hk_operator_1_x", tmp_path):
        raise refusal
    assert refused.value.hint() == "reopen it"
