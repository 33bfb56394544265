"""Where this machine's Hushnet files are: `--home`, else `HUSH_HOME`, else the platform's data folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from hushnet.foundation.errors import ConfigurationError

HOME_VARIABLE = "HUSH_HOME"


def resolve_home(flag: Path | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the home folder; it need not exist yet."""
    if flag is not None:
        return flag.expanduser().absolute()
    if text := environ.get(HOME_VARIABLE):
        return Path(text).expanduser().absolute()
    import platformdirs

    return platformdirs.user_data_path("hushnet")


def make_private_folder(path: Path) -> Path:
    """Make `path` (0700) with its parents; raises `ConfigurationError` when it can't be made."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"the folder {path} can't be made ({error.strerror})", hint="choose another with --home or HUSH_HOME"
        ) from None
    return path


def write_private_file(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, mode 0600, atomically: a reader sees the old file or the new one."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as sink:
        sink.write(content)
        sink.flush()
        os.fsync(sink.fileno())
    fresh.replace(path)
