"""`hush up --model`: a file, a file of a hub, a local server; and what is no model is said plainly."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from support.model_hub import ModelHub
from support.network import Process, hush
from support.paced_server import paced_server

GGUF = Path(__file__).resolve().parents[2] / "models" / "hush-tiny" / "artefacts" / "hush-tiny-q8_0.gguf"


def ask(home: Path, question: str = "Hello!") -> dict[str, object]:
    answered = hush(home, "chat", "--json", "-t", "0", question, stdin="")
    assert answered.returncode == 0, answered.stderr
    record: dict[str, object] = json.loads(answered.stdout)
    return record


def downloads_of(hub: ModelHub) -> int:
    return sum(1 for method, path, _ in hub.requests if method == "GET" and "/resolve/" in path)


def test_a_gguf_file_by_its_path(tmp_path: Path) -> None:
    own = tmp_path / "my model.gguf"
    shutil.copy(GGUF, own)
    up = Process(tmp_path, "up", "--json", "--port", "0", "--model", str(own))
    assert ask(tmp_path)["answer"]
    assert up.ready["model"] == "my-model"
    assert up.stop() == 0


def test_a_file_of_a_hub_is_downloaded_with_progress_and_found_again(tmp_path: Path) -> None:
    with ModelHub({"me/tiny/tiny.gguf": GGUF.read_bytes()}).running() as hub:
        env = {"HF_ENDPOINT": hub.url}
        first = Process(tmp_path, "up", "--json", "--port", "0", "--model", "hf:me/tiny:tiny.gguf", env=env)
        assert ask(tmp_path)["answer"]
        assert first.stop() == 0
        assert downloads_of(hub) == 1
        second = Process(tmp_path, "up", "--json", "--port", "0", "--model", "hf:me/tiny:tiny.gguf", env=env)
        assert second.ready["model"] == first.ready["model"]
        assert second.stop() == 0
        assert downloads_of(hub) == 1


def test_a_local_openai_compatible_server(tmp_path: Path) -> None:
    with paced_server() as server:
        up = Process(tmp_path, "up", "--json", "--port", "0", "--model", server.model_source)
        assert ask(tmp_path, "tokens=3")["answer"] == "t0 t1 t2 "
        assert up.stop() == 0


@pytest.mark.parametrize(
    "source",
    ["no-such-file.gguf", "hf:no-colon", "http://127.0.0.1:9/v1#nobody", "README.md"],
    ids=lambda source: source[:9],
)
def test_what_is_no_model_is_a_clear_error(tmp_path: Path, source: str) -> None:
    refused = hush(tmp_path, "up", "--once", "--port", "0", "--model", source)
    assert refused.returncode != 0
    assert "error" in refused.stderr
    assert "hint" in refused.stderr
    assert "Traceback" not in refused.stderr
