"""`hush provider`: what it prints for people and scripts, and what it never prints."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hushnet.cli import provider as command
from hushnet.foundation.errors import ConfigurationError
from hushnet.foundation.ids import AttemptId, ModelId, ProviderId
from hushnet.provider import notices
from hushnet.provider.attempt import AttemptReport
from hushnet.provider.identity import load_or_create_identity

REGISTERED = notices.Registered(
    ProviderId("ab" * 32), ModelId("hush-tiny"), "ws://127.0.0.1:8471/v1/provider/link", "n"
)
EVERY_NOTICE = [
    notices.CoordinatorSought("http://127.0.0.1:8470", 0.2),
    notices.EngineLoading(ModelId("hush-tiny"), "llamacpp"),
    notices.EngineLoaded(ModelId("hush-tiny"), "llamacpp", 4, 2048, (), 0.3),
    notices.EngineLost(ModelId("hush-tiny")),
    notices.ModelFreed(ModelId("hush-tiny")),
    notices.ModelFailed(ModelId("hush-tiny")),
    REGISTERED,
    notices.LinkDown("ws://127.0.0.1:8471/v1/provider/link"),
    notices.KeysRotated(1_763_690_000),
    AttemptReport(AttemptId(7), "served", 12, 34, 560),
    AttemptReport(AttemptId(8), "cancelled", 12, 3, 60),
    notices.Draining(2, 30.0),
    notices.Stopped(5, 1),
]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for row in command.TABLE:
        monkeypatch.delenv(row.variable, raising=False)


def test_identity_shows_the_id_and_the_public_key_and_nothing_private(tmp_path: Path) -> None:
    key = load_or_create_identity(tmp_path / "provider")
    shown = CliRunner().invoke(command.app, ["identity", "--home", str(tmp_path)])
    as_json = CliRunner().invoke(command.app, ["identity", "--home", str(tmp_path), "--json"])

    public_key = base64.b64encode(key.public_key).decode()
    assert shown.exit_code == 0
    assert key.provider_id in shown.output
    assert public_key in shown.output
    assert json.loads(as_json.output) == {"provider_id": key.provider_id, "alg": "ed25519", "public_key": public_key}
    private = "".join(key.to_pem().decode().splitlines()[1:-1])
    assert private not in shown.output + as_json.output


def test_identity_never_makes_one(tmp_path: Path) -> None:
    result = CliRunner().invoke(command.app, ["identity", "--home", str(tmp_path)])

    assert isinstance(result.exception, ConfigurationError)
    assert list(tmp_path.iterdir()) == []


def test_settings_lists_every_row_and_hides_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUSH_PROVIDER_TOKEN", "hk_provider_1_sesame")
    monkeypatch.setenv("HUSH_PROVIDER_SLOTS", "9")
    result = CliRunner().invoke(command.app, ["settings", "--home", str(tmp_path), "--json"])

    listed = json.loads(result.output)
    assert set(listed) == {row.name for row in command.TABLE}
    assert listed["slots"] == {"variable": "HUSH_PROVIDER_SLOTS", "value": "9"}
    assert listed["token"]["value"] == "(set)"
    assert "sesame" not in result.output
    assert CliRunner().invoke(command.app, ["settings", "--home", str(tmp_path)]).exit_code == 0


def test_start_without_a_token_says_where_to_get_one(tmp_path: Path) -> None:
    result = CliRunner().invoke(command.app, ["start", "--home", str(tmp_path)])

    assert isinstance(result.exception, ConfigurationError)
    assert result.exception.error_code == "missing_token"


def test_every_notice_has_a_line_but_a_key_rotation() -> None:
    silent = {type(notice) for notice in EVERY_NOTICE} - set(command._LINES)

    assert silent == {notices.KeysRotated}
    for notice in EVERY_NOTICE:
        if type(notice) in command._LINES:
            assert command._LINES[type(notice)](notice).strip()


@pytest.mark.parametrize("as_json", [True, False])
def test_the_ready_line_is_one_line_of_json_printed_once(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    status = command._Status(as_json=as_json)
    for notice in [*EVERY_NOTICE, *EVERY_NOTICE]:
        status(notice)
    printed = capsys.readouterr()

    ready = {"provider_id": "ab" * 32, "model": "hush-tiny", "link": "ws://127.0.0.1:8471/v1/provider/link"}
    assert [json.loads(line) for line in printed.out.splitlines()] == ([ready] if as_json else [])
