"""`hf:OWNER/REPO:FILE.gguf` against a hub over HTTP: fetched once, verified, resumed, and never half a file."""

import asyncio
import hashlib
import sys
from collections.abc import Generator
from pathlib import Path

import huggingface_hub
import pytest

from hushnet.foundation.errors import ConfigurationError
from hushnet.provider.models.builtin import builtin_model
from hushnet.provider.models.errors import ModelUnavailableError
from hushnet.provider.models.source import resolve_model
from support.model_hub import ModelHub

REFERENCE = "hf:acme/tiny-chat:tiny-q8_0.gguf"
FILE = "acme/tiny-chat/tiny-q8_0.gguf"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Generator[ModelHub, None, None]:
    with ModelHub({FILE: builtin_model()[0].read_bytes()}).running() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield hub


def leftovers(home: Path) -> list[Path]:
    return list(home.rglob("*.incomplete"))


async def refusal(home: Path, text: str = REFERENCE) -> ModelUnavailableError:
    with pytest.raises(ModelUnavailableError) as refused:
        await resolve_model(text, home=home)
    assert isinstance(refused.value, ConfigurationError)
    assert refused.value.hint()
    assert not leftovers(home)
    return refused.value


async def test_a_model_is_fetched_with_progress_and_named_by_its_digest(hub: ModelHub, tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []

    spec = await resolve_model(REFERENCE, home=tmp_path, progress=lambda *news: heard.append(news))

    content = hub.files[FILE]
    assert spec.path is not None
    assert spec.path.read_bytes() == content
    assert spec.path.is_relative_to(tmp_path)
    assert (spec.model, spec.engine, spec.context_tokens) == ("tiny-q8_0", "llamacpp", 1024)
    assert spec.build == hashlib.sha256(content).hexdigest()
    downloaded = [(done, whole) for what, done, whole in heard if what == "download"]
    assert downloaded[-1] == (len(content), len(content))
    assert downloaded == sorted(downloaded)


async def test_a_fetched_model_is_not_fetched_again_and_needs_no_hub(hub: ModelHub, tmp_path: Path) -> None:
    first = await resolve_model(REFERENCE, home=tmp_path)
    assert await resolve_model(REFERENCE, home=tmp_path) == first
    assert len(hub.downloads) == 1

    hub.status = 503
    assert await resolve_model(REFERENCE, home=tmp_path) == first


async def test_a_cut_connection_is_resumed_where_it_broke(
    hub: ModelHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1 << 16)  # whole pieces are kept, 10 MB each
    half = 10 << 16
    hub.cuts = [half + 5]

    spec = await resolve_model(REFERENCE, home=tmp_path)

    assert spec.build == hashlib.sha256(hub.files[FILE]).hexdigest()
    assert hub.downloads == [None, f"bytes={half}-"]


async def test_a_file_that_is_not_what_the_hub_announced_is_removed(hub: ModelHub, tmp_path: Path) -> None:
    hub.announced_sha256 = "0" * 64

    assert (await refusal(tmp_path)).error_code == "model_damaged"

    hub.announced_sha256 = None
    assert (await resolve_model(REFERENCE, home=tmp_path)).build == hashlib.sha256(hub.files[FILE]).hexdigest()


@pytest.mark.parametrize(
    ("status", "word", "code"),
    [
        (404, "EntryNotFound", "model_not_found"),
        (404, "RepoNotFound", "model_not_found"),
        (404, "RevisionNotFound", "model_not_found"),
        (401, "", "hub_access_denied"),
        (403, "GatedRepo", "hub_access_denied"),
        (403, "", "hub_access_denied"),
        (418, "", "hub_unreachable"),
    ],
)
async def test_what_the_hub_refuses_is_told_apart(
    hub: ModelHub, tmp_path: Path, status: int, word: str, code: str
) -> None:
    hub.status, hub.error_code = status, word

    assert (await refusal(tmp_path)).error_code == code


async def test_a_missing_file_of_a_known_repository_is_not_found(hub: ModelHub, tmp_path: Path) -> None:
    assert (await refusal(tmp_path, "hf:acme/tiny-chat:other.gguf")).error_code == "model_not_found"


async def test_a_hub_that_is_not_there_is_unreachable(
    hub: ModelHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    refused = await refusal(tmp_path)

    assert refused.error_code == "hub_unreachable"
    assert str(refused).endswith("127.0.0.1:9: it refuses connections")


async def test_a_file_that_is_no_model_is_refused(hub: ModelHub, tmp_path: Path) -> None:
    hub.files[FILE] = b"<html>an error page</html>"

    with pytest.raises(ConfigurationError) as refused:
        await resolve_model(REFERENCE, home=tmp_path)

    assert refused.value.error_code == "not_a_model"


async def test_cancelling_stops_a_download_and_leaves_nothing(hub: ModelHub, tmp_path: Path) -> None:
    hub.hold_after = 1 << 20
    task = asyncio.ensure_future(resolve_model(REFERENCE, home=tmp_path))
    await asyncio.to_thread(hub.held.wait, 10)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    hub.released.set()
    hub.hold_after = None
    async with asyncio.timeout(60):
        spec = await resolve_model(REFERENCE, home=tmp_path)  # waits for the lock that the stopped download holds
    assert spec.build
    assert not leftovers(tmp_path)


async def test_a_download_killed_half_way_starts_again_cleanly(hub: ModelHub, tmp_path: Path) -> None:
    hub.hold_after = 1 << 20
    code = (
        "import asyncio, pathlib, sys; from hushnet.provider.models.source import resolve_model; "
        "asyncio.run(resolve_model(sys.argv[1], home=pathlib.Path(sys.argv[2])))"
    )
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, REFERENCE, str(tmp_path))
    assert await asyncio.to_thread(hub.held.wait, 30)
    child.kill()
    await child.wait()
    assert leftovers(tmp_path)
    hub.released.set()
    hub.hold_after = None

    spec = await resolve_model(REFERENCE, home=tmp_path)

    assert spec.build == hashlib.sha256(hub.files[FILE]).hexdigest()
    assert not leftovers(tmp_path)
