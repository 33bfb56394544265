"""`hush keys`: what it refuses before and after it asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hushnet.cli import keys
from hushnet.foundation.errors import RequestError
from hushnet.sdk.client import Client


def test_a_scope_is_one_of_two(tmp_path: Path) -> None:
    result = CliRunner().invoke(keys.app, ["create", "--scope", "admin", "--home", str(tmp_path)])
    assert result.exit_code == 2
    assert "provider" in result.output


def test_an_unknown_id_leads_to_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise RequestError("this account has no such key", code="key_not_found")

    monkeypatch.setattr(Client, "request", refuse)
    result = CliRunner().invoke(keys.app, ["revoke", "7", "--api-key", "hk_user_1_x", "--home", str(tmp_path)])
    assert isinstance(result.exception, RequestError)
    assert result.exception.error_code == "key_not_found"
    assert "hush keys list" in result.exception.hint()
