"""What `hush up` takes for itself: a home, two ports, logs; and how often it starts again what dies."""

from __future__ import annotations

import os
import shlex
import socket
import sys
from pathlib import Path

import pytest

from hushnet.cli.local import processes
from hushnet.cli.local.home_lock import only_one, require_free_ports
from hushnet.cli.local.network import HEALTHY_S_MIN, RESTARTS_MAX, Restarts
from hushnet.cli.local.processes import Child
from hushnet.cli.up import _home_for, hush_command
from hushnet.foundation.errors import ConfigurationError


def test_a_home_serves_one_network_at_a_time_and_names_the_holder(tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(ConfigurationError, match=f"pid {os.getpid()}"), only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass


def test_a_home_that_cannot_be_written_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "up.lock").mkdir()
    with pytest.raises(ConfigurationError, match="can't be written"), only_one(tmp_path):
        pass


@pytest.mark.parametrize("offset", [0, 1], ids=["http", "link"])
def test_a_port_that_is_taken_is_named_with_the_option_that_changes_it(offset: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=str(number)) as refused:
            require_free_ports(number - offset)
    assert "--port N" in refused.value.hint()


def test_a_proof_without_a_home_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUSH_HOME", str(tmp_path / "real"))
    with _home_for(None, None, once=True) as folder:
        (folder / "consumer.toml").touch()
    assert not folder.exists()
    assert not (tmp_path / "real").exists()


def test_a_proof_with_a_home_keeps_it(tmp_path: Path) -> None:
    with _home_for(tmp_path / "asked", None, once=True) as folder:
        pass
    assert folder == tmp_path / "asked"
    assert folder.is_dir()


def test_printed_commands_run_this_installation_on_this_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/some where/hush"])
    assert shlex.split(hush_command("chat", Path("/my home"))) == ["/some where/hush", "chat", "--home", "/my home"]
    monkeypatch.setattr(sys, "argv", ["/lib/hushnet/__main__.py"])
    assert shlex.split(hush_command("chat", Path("/h")))[:3] == [sys.executable, "-m", "hushnet"]


def test_restarts_in_a_row_are_limited() -> None:
    restarts = Restarts()
    assert restarts.delay_s(1000.0) is not None
    restarts.healthy_since_s = 1000.0
    for _ in range(RESTARTS_MAX - 1):
        assert restarts.delay_s(1001.0) is not None
    assert restarts.delay_s(1002.0) is None


def test_restarts_are_forgotten_after_a_minute_of_health() -> None:
    restarts = Restarts(count=RESTARTS_MAX, healthy_since_s=1000.0)
    assert restarts.delay_s(1000.0 + HEALTHY_S_MIN) is not None
    assert restarts.count == 1


async def test_a_log_is_appended_to_and_a_large_one_is_moved_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "logs" / "child.log"
    log.parent.mkdir()
    log.write_text("the first run\n")
    child = await Child.start("child", ("nonsense",), log=log)
    with pytest.raises(ConfigurationError) as failed:
        await child.ready(timeout_s=30)
    assert "the first run" in log.read_text()
    assert "the first run" not in str(failed.value)
    monkeypatch.setattr(processes, "LOG_BYTES_MAX", 4)
    await (await Child.start("child", ("nonsense",), log=log)).wait()
    assert "the first run" in (log.parent / "child.log.1").read_text()
    assert "the first run" not in log.read_text()
