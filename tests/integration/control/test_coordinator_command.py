"""`hush coordinator` as a person or `hush up` runs it: real processes, signals, exit statuses."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx

from support.control import secret_of
from support.network import Process, environment, hush


def serve(home: Path, *arguments: str) -> Process:
    return Process(home, "coordinator", "serve", "--json", "--port", "0", "--link-port", "0", *arguments)


def test_init_shows_the_operators_key_once_and_serve_takes_it_until_sigterm(tmp_path: Path) -> None:
    made = hush(tmp_path, "coordinator", "init", "--json")
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)["operator_key"]
    assert json.loads(hush(tmp_path, "coordinator", "init", "--json").stdout) == {"operator_key": None}
    process = serve(tmp_path, "--network", "test-net")
    try:
        assert set(process.ready) == {"base_url", "link_url", "network"}
        assert process.ready["network"] == "test-net"
        headers = {"authorization": f"Bearer {key}"}
        answer = httpx.get(f"{process.ready['base_url']}/v1/admin/providers", headers=headers)
        assert answer.status_code == 200
        busy = hush(tmp_path, "coordinator", "init")
        assert busy.returncode == 2
        assert "written by another process" in busy.stderr
    finally:
        status = process.stop()
    assert status == 0
    log = process.log.read_text()
    assert secret_of(key) not in log
    assert "coordinator stopped" in log


def test_an_uninitialised_coordinator_serves_and_says_how_to_get_a_key(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "hushnet", "coordinator", "serve", "--port", "0", "--link-port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(tmp_path),
    )
    try:
        assert process.stdout is not None
        lines = []
        while "hush coordinator init" not in (line := process.stdout.readline()):
            assert line, lines
            lines.append(line)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    text = "".join(lines)
    assert "coordinator ready" in text
    assert "ws://127.0.0.1:" in text


def test_a_port_in_use_ends_the_start_with_a_reason(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = hush(tmp_path, "coordinator", "serve", "--port", port, "--link-port", "0")
    assert ended.returncode == 2
    assert f"port {port} on 127.0.0.1 is in use" in ended.stderr
    assert "http.port" in ended.stderr
    assert "Traceback" not in ended.stderr
