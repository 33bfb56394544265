"""The manifest: what the artefacts are, byte for byte.

`aggregate_sha256` is SHA-256 over the lines `<sha256>  <path>\\n`, sorted by path, of every file listed.
"""

import hashlib
import json
from pathlib import Path

VERSION = "1.0.0"


def describe(folder: Path, *, parameters: int, context_tokens: int) -> dict[str, object]:
    """Return the manifest of the files in a folder."""
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    files = [{"path": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)} for path in paths]
    lines = "".join(f"{file['sha256']}  {file['path']}\n" for file in files)
    return {
        "name": "hush-tiny",
        "version": VERSION,
        "architecture": "llama",
        "parameters": parameters,
        "context_length": context_tokens,
        "licence": "Apache-2.0",
        "files": files,
        "aggregate_sha256": hashlib.sha256(lines.encode()).hexdigest(),
    }


def write(path: Path, manifest: dict[str, object]) -> None:
    """Write a manifest as readable JSON."""
    path.write_text(json.dumps(manifest, indent=2) + "\n")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
