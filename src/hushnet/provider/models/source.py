"""From what a person writes to a `ModelSpec`: where the weights are, which build they are, which engine takes them."""

from __future__ import annotations

import asyncio
import re
import threading
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from hushnet.foundation.ids import ModelId
from hushnet.provider.engines.base import ModelSpec
from hushnet.provider.models import builtin
from hushnet.provider.models.builds import BuildIds, Progress
from hushnet.provider.models.errors import ModelUnavailableError
from hushnet.provider.models.gguf import GgufHeader, read_header

CONTEXT_TOKENS_MAX: Final = 8_192
"""A slot's context unless someone asks for more: its memory is taken at once, and models are trained for far more."""

_MODEL_NAME = re.compile(r"[A-Za-z0-9._:/@+-]{1,128}", re.ASCII)
_NAME_AT_SERVER = re.compile(r"[A-Za-z0-9._~:/@+%\\-]{1,512}", re.ASCII)
_OPTIONS: Final = {
    "context": (re.compile(r"[1-9][0-9]{0,7}", re.ASCII), "a number of tokens"),
    "as": (_MODEL_NAME, "a model's name: letters, digits and ._:/@+-"),
}
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)


async def resolve_model(text: str | None, *, home: Path, progress: Progress | None = None) -> ModelSpec:
    """Find, fetch and check the model that `text` names; nothing blocks the event loop.

    `text` is None or `hush-tiny` (built in), a path to a `.gguf` file, `hf:OWNER/REPO[@REVISION]:FILE.gguf`, or
    `http://HOST:PORT/v1#MODEL[?context=N&as=NAME]`. Downloads go below `home`. Cancelling stops a download.
    Raises `ModelUnavailableError` or `NotAModelError`, both `ConfigurationError`.
    """
    is_cancelled = threading.Event()

    def report(what: str, done: int, whole: int) -> None:
        if is_cancelled.is_set():
            raise _CancelledError
        if progress is not None:
            progress(what, done, whole)

    try:
        return await asyncio.to_thread(_resolve, text or builtin.NAME, home, report)
    except asyncio.CancelledError:
        is_cancelled.set()
        raise


class _CancelledError(Exception):
    """Stops a thread that nobody waits for."""


def _resolve(text: str, home: Path, progress: Progress) -> ModelSpec:
    if text == builtin.NAME:
        path, build = builtin.builtin_model()
        return _spec(path, read_header(path), name=builtin.NAME, build=build)
    if text.startswith("hf:"):
        from hushnet.provider.models import hub  # brings the hub's client, which few providers need

        reference = hub.parse_reference(text)
        _refuse_shard(reference.file)
        path = hub.fetch(reference, cache=home / "models" / "hub", progress=progress)
        build = _build(path, home, progress)
        hub.require_announced(path, build)
        return _spec(path, read_header(path), name=Path(reference.file).stem, build=build)
    if text.startswith(("http://", "https://")):
        return _attached(text)
    path = Path(text).expanduser()
    if not path.is_file():
        raise ModelUnavailableError(f"there is no model file {text}")
    _refuse_shard(path.name)
    header = read_header(path)  # before gigabytes are hashed
    return _spec(path.resolve(), header, name=path.stem, build=_build(path, home, progress))


def _build(path: Path, home: Path, progress: Progress) -> str:
    try:
        return BuildIds(home / "models" / "builds.json").of(path, progress)
    except OSError:
        raise ModelUnavailableError("the model file cannot be read", code="model_damaged") from None


def _spec(path: Path, header: GgufHeader, *, name: str, build: str) -> ModelSpec:
    context_tokens = min(header.context_tokens, CONTEXT_TOKENS_MAX) or None
    return ModelSpec(model=_model_id(name), path=path, context_tokens=context_tokens, build=build)


def _model_id(name: str) -> ModelId:
    """Turn a file's name into a name that the API takes."""
    return ModelId(re.sub(r"[^A-Za-z0-9._:/@+-]+", "-", name)[:128])


def _refuse_shard(name: str) -> None:
    if _SHARD.search(name):
        hint = "Merge it into one file with llama.cpp's gguf-split --merge."
        raise ModelUnavailableError("this is one part of a split model", code="bad_model_name", hint=hint)


def _attached(text: str) -> ModelSpec:
    parts = urlsplit(text)
    fragment, _, query = parts.fragment.partition("?")
    if not parts.hostname or _NAME_AT_SERVER.fullmatch(fragment) is None:
        raise ModelUnavailableError("the address names no model", code="bad_model_name")
    name, options = unquote(fragment), _options(query)
    context = options.get("context")
    return ModelSpec(
        model=ModelId(options["as"]) if "as" in options else _public_id(name),
        url=parts._replace(fragment="").geturl(),
        context_tokens=int(context) if context else None,
        engine="openai-server",
        name_at_server=name,
    )


def _options(query: str) -> dict[str, str]:
    """Read what follows an attached model's name: `context`, tokens, and `as`, its name in the network."""
    options = dict(part.partition("=")[::2] for part in query.split("&")) if query else {}
    if unknown := sorted(options.keys() - _OPTIONS.keys()):
        raise ModelUnavailableError(
            f"an address has the options context and as, not {unknown[0]}", code="bad_model_name"
        )
    for name, value in options.items():
        form, meaning = _OPTIONS[name]
        if form.fullmatch(value) is None:
            raise ModelUnavailableError(f"{name} must be {meaning}", code="bad_model_name")
    return options


def _public_id(name: str) -> ModelId:
    """Name a server's model to the network: of a path, as llama.cpp's server tells, the file alone."""
    is_path = name.startswith(("/", ".", "~")) or "\\" in name or name.endswith(".gguf")
    return _model_id(re.split(r"[/\\]", name)[-1].removesuffix(".gguf") or "model" if is_path else name)
