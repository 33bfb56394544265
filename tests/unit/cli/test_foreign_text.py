"""Names, notes and reasons are somebody else's words: a command prints them as they are and never reads them as markup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hushnet.cli.main import build
from hushnet.sdk.client import Client

WORDS = "[/] [bold]we [red]said so[/red]"
KEY = {"id": "k1", "name": WORDS, "scope": "user", "created_ms": 0}
INVITE = {"id": "12", "amount_micro_usd": 1, "uses": 1, "uses_max": 3, "expires_ms": 0, "note": WORDS}
FINDING = {"id": "1", "at_ms": 0, "kind": "word", "subject": "s", "detail": WORDS, "resolved_ms": None}
ACCOUNT = {"account_id": 70_000, "name": WORDS, "closed_ms": None, "balance": {"paid_micro_usd": 1}}
ADJUSTMENT = {
    "id": "u",
    "account_id": 70_000,
    "bucket": "paid",
    "amount_micro_usd": 1,
    "source": "goodwill",
    "reason": WORDS,
    "actor": "key:a",
    "approver": None,
    "state": "pending",
}


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("keys", "list"), {"data": [KEY]}),
        (("invite", "list"), {"data": [INVITE]}),
        (("findings", "list"), {"data": [FINDING]}),
        (("correct", "pending"), {"data": [ADJUSTMENT]}),
        (("account", "show", "70000"), ACCOUNT),
    ],
)
def test_what_others_wrote_is_shown_as_they_wrote_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...], answer: Any
) -> None:
    monkeypatch.setattr(Client, "request", lambda *_: answer)
    arguments = [*words, "--api-key", "hk_x_1_x", "--home", str(tmp_path)]
    result = CliRunner().invoke(build(arguments), arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    assert WORDS in result.output
