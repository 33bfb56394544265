"""The built artefacts of hush-tiny: complete, unchanged, small, and readable by two ecosystems."""

import hashlib
import json
import struct
from pathlib import Path

SIZE_BYTES_MAX = 8_000_000


def _manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def test_the_manifest_matches_every_file(model_folder: Path):
    manifest = _manifest(model_folder)
    found = sorted(path.name for path in (model_folder / "artefacts").iterdir())
    assert [file["path"] for file in manifest["files"]] == found
    for file in manifest["files"]:
        content = (model_folder / "artefacts" / file["path"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"]), file["path"]


def test_the_aggregate_digest_covers_every_file(model_folder: Path):
    manifest = _manifest(model_folder)
    lines = "".join(f"{file['sha256']}  {file['path']}\n" for file in manifest["files"])
    assert hashlib.sha256(lines.encode()).hexdigest() == manifest["aggregate_sha256"]


def test_the_artefacts_are_small_enough_to_live_in_git(model_folder: Path):
    assert sum(file["bytes"] for file in _manifest(model_folder)["files"]) <= SIZE_BYTES_MAX


def test_the_weights_have_the_names_and_shapes_the_config_promises(model_folder: Path):
    config = json.loads((model_folder / "artefacts" / "config.json").read_text())
    with (model_folder / "artefacts" / "model.safetensors").open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__")
    assert header["model.embed_tokens.weight"]["shape"] == [config["vocab_size"], config["hidden_size"]]
    assert header["model.layers.0.mlp.gate_proj.weight"]["shape"] == [
        config["intermediate_size"],
        config["hidden_size"],
    ]
    assert len(header) == 2 + 9 * config["num_hidden_layers"]
    sizes = [entry["shape"] for entry in header.values()]
    counted = sum(shape[0] * (shape[1] if len(shape) == 2 else 1) for shape in sizes)
    assert counted == _manifest(model_folder)["parameters"]


def test_the_tokenizer_has_as_many_entries_as_the_model(model_folder: Path):
    config = json.loads((model_folder / "artefacts" / "config.json").read_text())
    tokenizer = json.loads((model_folder / "artefacts" / "tokenizer.json").read_text())
    assert len(tokenizer["model"]["vocab"]) == config["vocab_size"]
    assert tokenizer["model"]["vocab"]["<|im_end|>"] == config["eos_token_id"]


def test_the_published_score_belongs_to_these_artefacts(model_folder: Path):
    evaluation = json.loads((model_folder / "evaluation.json").read_text())
    digests = {file["path"]: file["sha256"] for file in _manifest(model_folder)["files"]}
    assert evaluation["model_sha256"] == digests["hush-tiny-q8_0.gguf"]


def test_the_model_card_shows_the_published_score(model_folder: Path):
    card = (model_folder / "README.md").read_text()
    for category, score in json.loads((model_folder / "evaluation.json").read_text())["categories"].items():
        assert f"| {category} | {score['right']} | {score['cases']} |" in card
