"""A command whose part is not installed says which one before it asks for a key or a token."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hushnet.cli import extras
from hushnet.cli.main import build
from hushnet.foundation.errors import ConfigurationError


@pytest.mark.parametrize(
    ("words", "extra"), [(["proxy"], "hushnet[proxy]"), (["provider", "start"], "hushnet[provider]")]
)
def test_the_missing_part_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], extra: str
) -> None:
    monkeypatch.delenv("HUSH_API_KEY", raising=False)
    monkeypatch.delenv("HUSH_PROVIDER_TOKEN", raising=False)
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    words = [*words, "--home", str(tmp_path)]
    result = CliRunner().invoke(build(words), words)
    assert isinstance(result.exception, ConfigurationError)
    assert result.exception.error_code == "missing_extra"
    assert extra in result.exception.hint()
