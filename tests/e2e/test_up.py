"""`hush up` and the commands a person uses after it, as processes, with the built-in model."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

import hushnet
from support.network import HUSH, Process, environment, hush
from support.terminal import Terminal
from support.waiting import eventually

QUESTION = "What is Hushnet?"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("up")


@pytest.fixture(scope="module")
def up(home: Path) -> Iterator[Process]:
    process = Process(home, "up", "--json", "--port", "0")
    yield process
    assert process.stop() == 0


def children_of(process: Process) -> dict[str, psutil.Process]:
    return {child.cmdline()[3]: child for child in psutil.Process(process.pid).children()}


def test_the_ready_line_holds_what_a_script_needs(up: Process) -> None:
    assert set(up.ready) == {"base_url", "api_key", "model", "provider_id", "trust"}
    assert up.ready["model"] == "hush-tiny"
    assert up.ready["trust"] == "self_signed"
    assert set(children_of(up)) == {"coordinator", "provider"}


def test_a_sealed_question_is_answered_and_its_facts_are_told(up: Process, home: Path) -> None:
    answered = hush(home, "chat", "--json", "-t", "0", QUESTION, stdin="")
    assert answered.returncode == 0, answered.stderr
    record = json.loads(answered.stdout)
    assert "inference" in record["answer"].lower()
    assert record["mode"] == "sealed"
    assert record["provider_id"] == up.ready["provider_id"]
    assert record["cost_micro_usd"] > 0
    assert record["output_tokens"] > 0
    assert "the coordinator's memory" not in record["readable_by"]
    assert "readable by you" in answered.stderr


def test_a_question_goes_only_to_the_provider_that_is_named(up: Process, home: Path) -> None:
    for mode in ((), ("--standard",)):
        named = hush(home, "chat", *mode, "--json", "--only", up.ready["provider_id"][:12], QUESTION, stdin="")
        assert named.returncode == 0, named.stderr
        assert json.loads(named.stdout)["provider_id"] == up.ready["provider_id"]
        nobody = hush(home, "chat", *mode, "--only", "0" * 12, QUESTION, stdin="")
        assert nobody.returncode != 0
        assert "no_listed_provider" in nobody.stderr
    abroad = hush(home, "chat", "--region", "nowhere", QUESTION, stdin="")
    assert "no_provider_in_region" in abroad.stderr


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "standard"])
def test_the_second_turn_of_a_conversation_finds_its_beginning_in_the_cache(up: Process, sealed: bool) -> None:
    messages = [{"role": "user", "content": QUESTION + (" Say it plainly." if sealed else " Say it again.")}]
    with hushnet.Client(base_url=up.ready["base_url"], api_key=up.ready["api_key"], sealed=sealed) as client:
        first = client.chat.completions.create(model="hush-tiny", messages=messages, max_tokens=24)
        said = {"role": "assistant", "content": first.choices[0].message.content}
        messages += [said, {"role": "user", "content": "And how is it sealed?"}]
        second = client.chat.completions.create(model="hush-tiny", messages=messages, max_tokens=24)

    assert first.usage is not None
    assert second.usage is not None
    assert first.usage.cached_tokens == 0
    assert 0 < second.usage.cached_tokens < second.usage.prompt_tokens


def test_answers_go_to_stdout_and_everything_else_to_stderr(up: Process, home: Path) -> None:
    answered = hush(home, "chat", "--standard", "-t", "0", stdin=QUESTION)
    assert answered.returncode == 0, answered.stderr
    assert "inference" in answered.stdout.lower()
    assert "coordinator's memory" in answered.stderr
    assert "tokens" in answered.stderr
    assert "tokens" not in answered.stdout.splitlines()[-1]


def test_a_conversation_at_a_terminal(up: Process, home: Path) -> None:
    with Terminal([*HUSH, "chat", "-t", "0"], environment(home)) as terminal:
        announced = terminal.read_until("you> ")
        assert "readable by you" in announced
        assert "sealed" in announced
        terminal.type("What is Hushnet?\n")
        answered = terminal.read_until("you> ")
        assert "tokens" in answered
        assert "provider" in answered
        assert "$" in answered
        terminal.type("Hello!\n")
        terminal.read_until("you> ")
        terminal.type("\x04")
        assert terminal.process.wait(30) == 0


def test_models_balance_keys_and_doctor_tell_the_state(up: Process, home: Path) -> None:
    models = json.loads(hush(home, "models", "--json").stdout)
    assert [model["id"] for model in models] == ["hush-tiny"]
    assert "hush-tiny" in hush(home, "models").stdout
    balance = json.loads(hush(home, "balance", "--json").stdout)
    assert 0 < balance["spendable_micro_usd"] <= 5_000_000
    assert "spendable" in hush(home, "balance").stdout
    doctor = hush(home, "doctor", "--json")
    assert doctor.returncode == 0, doctor.stdout
    parts = {finding["part"]: finding for finding in json.loads(doctor.stdout)}
    assert "verified" in parts[f"provider {up.ready['provider_id'][:16]}"]["text"]


def test_a_revoked_key_stops_working_at_once(up: Process, home: Path) -> None:
    created = json.loads(hush(home, "keys", "create", "spare", "--json").stdout)
    spare = {"HUSH_API_KEY": created["key"]}
    assert hush(home, "balance", env=spare).returncode == 0
    assert created["key"] not in hush(home, "keys", "list").stdout
    assert hush(home, "keys", "revoke", str(created["id"])).returncode == 0
    refused = hush(home, "balance", env=spare)
    assert refused.returncode == 1
    assert "invalid_api_key" in refused.stderr
    assert created["key"] not in refused.stderr


def test_the_books_balance_while_the_network_runs(up: Process, home: Path) -> None:
    checked = hush(home, "ledger", "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_errors_say_what_to_do(up: Process, home: Path) -> None:
    unknown = hush(home, "chat", "--model", "no-such-model", "hi", stdin="")
    assert unknown.returncode == 1
    assert "hint" in unknown.stderr
    nobody = hush(home, "chat", "hi", "--base-url", "http://127.0.0.1:9", "--api-key", "hk_user_1_x", stdin="")
    assert nobody.returncode == 1
    assert "hush up" in nobody.stderr
    assert hush(home, "chat", "--trust", "measured", "hi", stdin="").returncode == 1


def test_a_killed_provider_is_started_again(up: Process, home: Path) -> None:
    provider = children_of(up)["provider"]
    provider.kill()
    provider.wait(60)
    with httpx.Client(base_url=up.ready["base_url"], timeout=60) as http:
        headers = {"Authorization": f"Bearer {up.ready['api_key']}"}
        body = {"model": "hush-tiny", "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 8}
        eventually(
            lambda: http.post("/v1/chat/completions", json=body, headers=headers).status_code == 200,
            what="the provider's return",
        )
    assert children_of(up)["provider"].pid != provider.pid


def test_the_demo_proves_both_modes_and_the_books(tmp_path: Path) -> None:
    demo = hush(tmp_path, "up", "--once", "--port", "0")
    assert demo.returncode == 0, demo.stderr
    for word in (
        "standard",
        "sealed",
        "readable by",
        "trust tier",
        "tokens",
        "cost",
        "before",
        "after",
        "books    balance",
    ):
        assert word in demo.stdout


def test_an_interrupt_stops_everything_and_a_restart_keeps_the_account(tmp_path: Path) -> None:
    first = Process(tmp_path, "up", "--json", "--port", "0")
    children = list(children_of(first).values())
    os.kill(first.pid, signal.SIGINT)
    assert first.wait() == 0
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    second = Process(tmp_path, "up", "--json", "--port", "0")
    assert second.ready["api_key"] == first.ready["api_key"]
    assert second.ready["provider_id"] == first.ready["provider_id"]
    assert second.stop() == 0
    assert hush(tmp_path, "ledger", "check").returncode == 0


def test_a_killed_supervisor_takes_its_children_along(tmp_path: Path) -> None:
    process = Process(tmp_path, "up", "--json", "--port", "0")
    children = list(children_of(process).values())
    process.kill()
    gone, alive = psutil.wait_procs(children, timeout=60)
    assert not alive, gone


def test_a_port_in_use_is_a_clear_error(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused = hush(tmp_path, "up", "--once", "--port", str(taken.getsockname()[1]))
    assert refused.returncode == 2
    assert "port" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_ctrl_c_while_it_starts_stops_cleanly(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*HUSH, "up", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
    )
    assert process.stderr is not None
    assert "up:" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
