"""From what a person writes to a model that can be loaded."""

import asyncio
import hashlib
import json
import os
import struct
import sys
from pathlib import Path

import pytest

from hushnet.foundation.errors import ConfigurationError, HushnetError
from hushnet.provider.engines.registry import load_engine
from hushnet.provider.models import builds
from hushnet.provider.models.builds import BuildIds, sha256_of
from hushnet.provider.models.builtin import FILE, builtin_model
from hushnet.provider.models.errors import ModelUnavailableError
from hushnet.provider.models.gguf import NotAModelError, read_header
from hushnet.provider.models.hub import HubReference, parse_reference
from hushnet.provider.models.source import resolve_model
from support.engines import answer, ask


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(*pairs: bytes, tensors: int = 1, version: int = 3, keys: int | None = None) -> bytes:
    return struct.pack("<4sIQQ", b"GGUF", version, tensors, len(pairs) if keys is None else keys) + b"".join(pairs)


ARCHITECTURE = text("general.architecture") + struct.pack("<I", 8) + text("llama")
CONTEXT = text("llama.context_length") + struct.pack("<II", 4, 131_072)
TOKENS = text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b")
SCORES = text("tokenizer.ggml.scores") + struct.pack("<IIQff", 9, 6, 2, 1.0, 2.0)


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "My Model (q8).gguf"
    path.write_bytes(gguf(ARCHITECTURE, TOKENS, SCORES, CONTEXT))
    return path


@pytest.mark.parametrize("name", [None, "hush-tiny"])
async def test_the_built_in_model_is_the_default(name: str | None, tmp_path: Path) -> None:
    spec = await resolve_model(name, home=tmp_path)

    assert (spec.model, spec.engine, spec.context_tokens) == ("hush-tiny", "llamacpp", 1024)
    assert spec.path is not None
    assert spec.build == hashlib.sha256(spec.path.read_bytes()).hexdigest()


def _copy_of_builtin(tmp_path: Path) -> tuple[tuple[Path, Path], ...]:
    content = builtin_model()[0].read_bytes()
    (tmp_path / FILE).write_bytes(content)
    entry = {"path": FILE, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (tmp_path / "manifest.json").write_text(json.dumps({"name": "hush-tiny", "files": [entry]}))
    return ((tmp_path / "manifest.json", tmp_path),)


@pytest.mark.parametrize("damage", ["bit", "missing", "manifest", "unlisted"])
def test_a_built_in_model_that_is_not_the_one_in_its_manifest_is_refused(tmp_path: Path, damage: str) -> None:
    places = _copy_of_builtin(tmp_path)
    assert builtin_model(places)[0] == tmp_path / FILE
    content = bytearray((tmp_path / FILE).read_bytes())
    match damage:
        case "bit":
            content[-1] ^= 1
            (tmp_path / FILE).write_bytes(content)
        case "missing":
            (tmp_path / FILE).unlink()
        case "manifest":
            (tmp_path / "manifest.json").write_text("{")
        case "unlisted":
            (tmp_path / "manifest.json").write_text('{"files": []}')

    with pytest.raises(ModelUnavailableError) as refused:
        builtin_model(places)

    assert refused.value.error_code == "model_damaged"


def test_a_missing_built_in_model_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError) as refused:
        builtin_model(((tmp_path / "manifest.json", tmp_path),))

    assert "make model" in refused.value.hint()


async def test_a_file_becomes_a_model_named_after_it(model_file: Path, tmp_path: Path) -> None:
    spec = await resolve_model(str(model_file), home=tmp_path / "home")

    assert spec.model == "My-Model-q8-"
    assert spec.path == model_file
    assert spec.build == sha256_of(model_file)
    assert spec.context_tokens == 8_192  # trained for more, kept within what memory is taken for unasked


async def test_a_home_in_the_path_is_understood(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert (await resolve_model(f"~/{model_file.name}", home=tmp_path / "home")).path == model_file


def test_a_digest_is_remembered_until_the_file_changes(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = BuildIds(tmp_path / "home" / "builds.json")
    digest = ids.of(model_file)
    with monkeypatch.context() as patched:
        patched.setattr(builds, "sha256_of", lambda *_: pytest.fail("hashed again"))
        assert ids.of(model_file) == digest

    model_file.write_bytes(model_file.read_bytes() + b"x")
    assert ids.of(model_file) == hashlib.sha256(model_file.read_bytes()).hexdigest() != digest
    os.utime(model_file, ns=(1, 1))
    assert ids.of(model_file) != digest


def test_a_damaged_memory_of_digests_is_only_slow(model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "builds.json").write_bytes(b"\xff{")

    assert BuildIds(tmp_path / "builds.json").of(model_file) == hashlib.sha256(model_file.read_bytes()).hexdigest()
    assert json.loads((tmp_path / "builds.json").read_text())


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("nowhere.gguf", "model_not_found"),
        ("", "model_not_found"),
        ("hf:acme/tiny", "bad_model_name"),
        ("hf:acme:tiny.gguf", "bad_model_name"),
        ("hf:acme/tiny:tiny.bin", "bad_model_name"),
        ("hf:acme/tiny:../../etc/passwd.gguf", "bad_model_name"),
        ("hf:../x/tiny:a.gguf", "bad_model_name"),
        ("hf:acme/tiny:big-00001-of-00003.gguf", "bad_model_name"),
        ("http://127.0.0.1:1/v1", "bad_model_name"),
        ("http://127.0.0.1:1/v1#", "bad_model_name"),
        ("http://127.0.0.1:1/v1#a b", "bad_model_name"),
        ("http://#m", "bad_model_name"),
        ("http://127.0.0.1:1/v1#m?context=no", "bad_model_name"),
        ("http://127.0.0.1:1/v1#m?other=1", "bad_model_name"),
        ("http://127.0.0.1:1/v1#m?as=", "bad_model_name"),
        ("http://127.0.0.1:1/v1#m?as=a b", "bad_model_name"),
    ],
)
async def test_what_names_no_model_is_refused_with_a_hint(name: str, code: str, tmp_path: Path) -> None:
    if name == "":
        name = str(tmp_path)
    with pytest.raises(ModelUnavailableError) as refused:
        await resolve_model(name, home=tmp_path)

    assert refused.value.error_code == code
    assert refused.value.hint()


async def test_one_part_of_a_split_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "big-00001-of-00002.gguf"
    path.write_bytes(gguf(ARCHITECTURE))

    with pytest.raises(ModelUnavailableError):
        await resolve_model(str(path), home=tmp_path)


async def test_a_url_is_for_the_engine_that_attaches(tmp_path: Path) -> None:
    spec = await resolve_model("http://127.0.0.1:8080/v1#org/model:7b?context=4096", home=tmp_path)

    assert (spec.model, spec.url, spec.engine) == ("org/model:7b", "http://127.0.0.1:8080/v1", "openai-server")
    assert (spec.context_tokens, spec.build, spec.path) == (4096, "", None)
    assert (await resolve_model("http://h/v1#m", home=tmp_path)).context_tokens is None


@pytest.mark.parametrize(
    ("name", "public", "at_server"),
    [
        ("/home/ann/models/Qwen-q8.gguf", "Qwen-q8", "/home/ann/models/Qwen-q8.gguf"),
        ("/home/ann/My%20Model.gguf", "My-Model", "/home/ann/My Model.gguf"),
        ("models/small.gguf", "small", "models/small.gguf"),
        ("C:\\Users\\ann\\small.gguf", "small", "C:\\Users\\ann\\small.gguf"),
        ("org/model:7b", "org/model:7b", "org/model:7b"),
        ("/home/ann/x.gguf?context=4096&as=house/small", "house/small", "/home/ann/x.gguf"),
    ],
)
async def test_a_server_s_path_never_becomes_the_public_name(
    name: str, public: str, at_server: str, tmp_path: Path
) -> None:
    spec = await resolve_model(f"http://127.0.0.1:8080/v1#{name}", home=tmp_path)

    assert (spec.model, spec.name_at_server) == (public, at_server)


def test_a_file_that_broke_off_is_named_with_its_size(model_file: Path) -> None:
    model_file.write_bytes(model_file.read_bytes()[:60])

    with pytest.raises(NotAModelError, match=r"\.gguf \(60 bytes\) may be incomplete"):
        read_header(model_file)


def test_a_reference_may_name_a_revision() -> None:
    assert parse_reference("hf:a/b@v1.0:dir/f.gguf") == HubReference("a/b", "dir/f.gguf", "v1.0")


def test_a_header_tells_architecture_and_context(model_file: Path) -> None:
    header = read_header(model_file)

    assert (header.architecture, header.context_tokens, header.tensors) == ("llama", 131_072, 1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGUF",
        b"<html></html>" * 9,
        gguf(ARCHITECTURE, version=1),
        gguf(ARCHITECTURE, version=4),
        gguf(ARCHITECTURE, tensors=0),
        gguf(ARCHITECTURE, tensors=2**60),
        gguf(ARCHITECTURE, keys=2**60),
        gguf(ARCHITECTURE, keys=2),
        gguf(CONTEXT),
        gguf(text("general.architecture") + struct.pack("<I", 8) + text("clip")),
        gguf(text("general.architecture") + struct.pack("<II", 4, 1)),
        gguf(struct.pack("<Q", 2**63) + b"x"),
        gguf(text("k") + struct.pack("<IQ", 8, 2**40)),
        gguf(text("k") + struct.pack("<I", 99)),
        gguf(text("k") + struct.pack("<IIQ", 9, 8, 2**40)),
        gguf(text("k") + struct.pack("<IIQ", 9, 9, 1)),
        gguf(text("k") + struct.pack("<IIQ", 9, 8, 3) + struct.pack("<Q", 2**62)),
        gguf(struct.pack("<Q", 2) + b"\xff\xff"),
        gguf(ARCHITECTURE, CONTEXT)[:-2],
    ],
)
async def test_what_is_no_model_file_is_refused_whatever_is_wrong_with_it(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)

    with pytest.raises(NotAModelError) as refused:
        await resolve_model(str(path), home=tmp_path)

    assert isinstance(refused.value, ConfigurationError)
    assert refused.value.error_code == "not_a_model"


@pytest.mark.parametrize("cut", [0.2, 0.9, 0.999])
async def test_an_engine_refuses_a_file_that_broke_off_and_loads_the_next(tmp_path: Path, cut: float) -> None:
    content = builtin_model()[0].read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(content[: int(len(content) * cut)])
    spec = await resolve_model(str(path), home=tmp_path)
    engine = load_engine("llamacpp")

    with pytest.raises(HushnetError) as failed:
        await engine.load(spec)

    assert failed.value.error_code == "model_load_failed"
    assert f"cut.gguf ({path.stat().st_size} bytes)" in str(failed.value)
    assert "may be incomplete" in failed.value.hint()
    await engine.load(await resolve_model(None, home=tmp_path))
    await engine.unload()


async def test_a_model_file_may_be_rewritten_while_it_serves(tmp_path: Path) -> None:
    content = builtin_model()[0].read_bytes()
    path = tmp_path / "live.gguf"
    path.write_bytes(content)
    engine = load_engine("llamacpp")
    await engine.load(await resolve_model(str(path), home=tmp_path))

    with path.open("r+b") as file:  # in place, as `git checkout` and `cp` do; a mapped file would kill the process
        file.truncate(4096)

    assert (await answer(engine, ask("What is Hushnet?"))).text
    await engine.unload()


async def test_a_provider_of_a_local_model_does_not_import_the_hub_s_client(tmp_path: Path) -> None:
    script = (
        "import asyncio, pathlib, sys, hushnet.cli.provider, hushnet.provider.daemon as daemon; "
        "asyncio.run(daemon.resolve_model(None, home=pathlib.Path(sys.argv[1]))); "
        "print('huggingface_hub' in sys.modules)"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()

    assert said.split() == [b"False"]
