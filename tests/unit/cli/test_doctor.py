"""What `hush doctor` says about a home, a network's name, and providers that it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hushnet.cli import doctor
from hushnet.cli.doctor import GOOD, WARNING, WRONG, Finding, engines_finding, home_findings, network_finding
from hushnet.cli.main import build
from hushnet.sdk.client import Client
from hushnet.sealing.errors import SealingError

ADDRESS = "http://127.0.0.1:9"


def test_a_damaged_consumer_file_is_a_row_and_status_1(tmp_path: Path) -> None:
    (tmp_path / "consumer.toml").write_text("= nonsense")
    result = CliRunner().invoke(build(["doctor"]), ["doctor", "--json", "--home", str(tmp_path)])
    assert result.exit_code == 1
    rows = {row["part"]: row for row in json.loads(result.stdout)}
    assert "consumer.toml" in rows["settings"]["text"]
    assert rows["home"]["state"] == GOOD


def test_no_hint_where_nothing_is_to_be_done() -> None:
    assert not Finding("part", GOOD, "text", "hint").hint
    assert Finding("part", WARNING, "text", "hint").hint


def test_a_home_that_cannot_be_written_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    (finding,) = home_findings(tmp_path)
    assert finding.state == WRONG
    assert str(tmp_path) in finding.text


def test_an_open_file_is_wrong_and_its_hint_can_be_run(tmp_path: Path) -> None:
    home = tmp_path / "my home"
    home.mkdir()
    (home / "up.json").touch(mode=0o644)
    finding = list(home_findings(home))[-1]
    assert finding.state == WRONG
    assert finding.hint == f"chmod 600 '{home / 'up.json'}'"


def test_a_coordinator_of_another_network_is_wrong_and_the_variable_is_named() -> None:
    assert network_finding(ADDRESS, "one", ours="one").state == GOOD
    finding = network_finding(ADDRESS, "theirs", ours="ours")
    assert finding.state == WRONG
    assert "HUSH_NETWORK=theirs" in finding.hint


def test_engines_without_their_packages_are_no_good() -> None:
    assert engines_finding(("llamacpp",), ()).state == GOOD
    finding = engines_finding(("llamacpp",), ("xllamacpp",))
    assert finding.state == WARNING
    assert "xllamacpp" in finding.text


def test_when_every_provider_is_refused_that_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise SealingError("statement_wrong_network")

    monkeypatch.setattr(doctor, "verify_keys", refuse)
    listing = {"network": "hushnet-local", "providers": [{"provider": "ab", "models": ["m"]}]}
    monkeypatch.setenv("HUSH_HOME", str(tmp_path))
    with Client(base_url=ADDRESS) as client:
        monkeypatch.setattr(type(client.transport), "run", lambda _, work: (work.close(), (listing,))[1])
        findings = list(doctor.coordinator_findings(client))
    assert findings[-1].state == WRONG
    assert "HUSH_NETWORK" in findings[-2].hint
