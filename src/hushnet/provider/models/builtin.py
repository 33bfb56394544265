"""The small model that comes with Hushnet, checked against its manifest every time it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from hushnet.provider.models.builds import sha256_of
from hushnet.provider.models.errors import ModelUnavailableError

NAME: Final = "hush-tiny"
FILE: Final = "hush-tiny-q8_0.gguf"

_PACKAGE: Final = Path(__file__).parent
_PLACES: Final = (
    (_PACKAGE / "builtin" / "manifest.json", _PACKAGE / "builtin"),
    (_PACKAGE.parents[3] / "models" / NAME / "manifest.json", _PACKAGE.parents[3] / "models" / NAME / "artefacts"),
)
"""Manifest and folder: in an installed wheel, then in a checkout."""


class _File(msgspec.Struct):
    path: str
    bytes: int
    sha256: str


class _Manifest(msgspec.Struct):
    files: list[_File]


def builtin_model(places: tuple[tuple[Path, Path], ...] = _PLACES) -> tuple[Path, str]:
    """Return the model file and its SHA-256; raises `ModelUnavailableError` when it is not what the manifest says."""
    for manifest, folder in places:
        if manifest.is_file():
            return folder / FILE, _verify(manifest, folder / FILE)
    raise ModelUnavailableError("the built-in model is not installed", hint="`make model` builds it in a checkout.")


def _verify(manifest: Path, path: Path) -> str:
    try:
        files = {file.path: file for file in msgspec.json.decode(manifest.read_bytes(), type=_Manifest).files}
        digest = sha256_of(path)
    except (OSError, msgspec.MsgspecError):
        raise _damaged() from None
    if FILE not in files or files[FILE].sha256 != digest:
        raise _damaged()
    return digest


def _damaged() -> ModelUnavailableError:
    return ModelUnavailableError(
        "the built-in model is not the one in its manifest",
        code="model_damaged",
        hint="Install Hushnet again, or restore models/hush-tiny in the checkout.",
    )
