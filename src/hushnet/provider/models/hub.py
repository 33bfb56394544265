"""One file from a model hub, through huggingface_hub; `HF_ENDPOINT` and `HF_TOKEN` are honoured.

A cut connection is resumed; a killed download starts again, and what it left is removed. Only whole files of the size the
hub announced appear in the cache, and where the hub names a SHA-256 the file must have it.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies

import huggingface_hub
from huggingface_hub import errors as hub_errors
from huggingface_hub.utils.tqdm import tqdm as hub_bar

from hushnet.provider.models.builds import Progress
from hushnet.provider.models.errors import ModelUnavailableError

_REFERENCE = re.compile(
    r"hf:(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@(?P<revision>[\w./-]{1,128}))?"
    r":(?P<file>[\w.-][\w./ +-]{0,255}\.gguf)",
    re.ASCII,
)
CONNECT_S_MAX: Final = 5.0
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class HubReference:
    """`hf:OWNER/REPO[@REVISION]:FILE.gguf`."""

    repo: str
    file: str
    revision: str | None = None


def parse_reference(text: str) -> HubReference:
    """Read a reference; raises `ModelUnavailableError`."""
    match = _REFERENCE.fullmatch(text)
    if match is None or ".." in text:
        raise ModelUnavailableError("this does not name a file on a hub", code="bad_model_name")
    return HubReference(match["repo"], match["file"], match["revision"])


def fetch(reference: HubReference, *, cache: Path, progress: Progress) -> Path:
    """Return the file's path in `cache`, downloading it if need be; raises `ModelUnavailableError`.

    `progress` may raise to stop the download.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with _sole_download(cache):
        _remove_leftovers(cache)
        endpoint = os.environ.get("HF_ENDPOINT") or huggingface_hub.constants.ENDPOINT
        out_of_reach = _why_out_of_reach(endpoint)
        try:
            found = huggingface_hub.hf_hub_download(
                reference.repo,
                reference.file,
                revision=reference.revision,
                cache_dir=cache,
                endpoint=os.environ.get("HF_ENDPOINT"),
                local_files_only=bool(out_of_reach),
                tqdm_class=_reporting_bar(progress),
            )
        except (hub_errors.RepositoryNotFoundError, hub_errors.EntryNotFoundError) as error:
            raise _absent(error, endpoint=endpoint, why=out_of_reach) from None
        except hub_errors.RevisionNotFoundError:
            raise ModelUnavailableError("the hub has no such revision") from None
        except (hub_errors.HfHubHTTPError, OSError) as error:
            raise _failed(error, endpoint=endpoint) from None
    return Path(found)


def require_announced(path: Path, sha256: str) -> None:
    """Remove a fetched file whose SHA-256 is not the one the hub named, and raise; the cache keeps files under it."""
    blob = path.resolve()
    if re.fullmatch(r"[0-9a-f]{64}", blob.name) and blob.name != sha256:
        blob.unlink(missing_ok=True)
        raise ModelUnavailableError(
            "the file that came is not the one the hub announced; it was removed",
            code="model_damaged",
            hint="Run the same command again to fetch it anew.",
        )


def _absent(error: Exception, *, endpoint: str, why: str) -> ModelUnavailableError:
    """Tell what is missing. A hub answers 401 for what is private as for what does not exist."""
    if isinstance(error, hub_errors.GatedRepoError) or _status(error) in (401, 403):
        hint = "Check the name; for a private or gated repository, accept its terms and set HF_TOKEN."
        return ModelUnavailableError("the hub does not give this repository", code="hub_access_denied", hint=hint)
    if isinstance(error, hub_errors.LocalEntryNotFoundError):
        return _unreachable(endpoint, why or "the download broke off")
    what = "file" if isinstance(error, hub_errors.EntryNotFoundError) else "repository"
    return ModelUnavailableError(f"the hub has no such {what}", hint="Check the name on the hub's page.")


def _failed(error: Exception, *, endpoint: str) -> ModelUnavailableError:
    if _status(error) in (401, 403):
        return ModelUnavailableError("the hub refused access", code="hub_access_denied", hint="Set HF_TOKEN.")
    if isinstance(error, OSError) and error.errno is not None:
        return ModelUnavailableError("the model could not be stored", code="model_not_stored", hint="Is the disk full?")
    status = _status(error)
    return _unreachable(endpoint, "the download broke off" if status is None else f"it answered with status {status}")


def _unreachable(endpoint: str, why: str) -> ModelUnavailableError:
    host = urlsplit(endpoint).netloc.rpartition("@")[2] or "the hub"
    hint = "Check the network and HF_ENDPOINT, then run the same command again."
    return ModelUnavailableError(
        f"the model could not be fetched from {host}: {why}", code="hub_unreachable", hint=hint
    )


def _status(error: BaseException | None) -> int | None:
    """Find the hub's answer behind an error: the client wraps some."""
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
        error = error.__cause__
    return None


def _why_out_of_reach(endpoint: str) -> str:
    """Say why no connection to the hub can be made, nothing where one can: the client would try for half a minute."""
    parts = urlsplit(endpoint)
    if getproxies():
        return ""
    try:
        with socket.create_connection(
            (parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 443)), CONNECT_S_MAX
        ):
            return ""
    except socket.gaierror:
        return "its name is not known here"
    except ConnectionRefusedError:
        return "it refuses connections"
    except TimeoutError:
        return f"it did not answer in {CONNECT_S_MAX:.0f} s"
    except (OSError, ValueError):
        return "no connection can be made"


@contextmanager
def _sole_download(cache: Path) -> Generator[None, None, None]:
    """Let one process at a time download into `cache`; the others wait and then find the file."""
    with (cache / ".download.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_leftovers(cache: Path) -> None:
    for leftover in cache.glob("models--*/blobs/*.incomplete"):
        leftover.unlink(missing_ok=True)


def _reporting_bar(progress: Progress) -> type[Any]:
    """Make a bar class that draws nothing and reports."""

    class ReportingBar(hub_bar):  # type: ignore[misc, valid-type, unused-ignore]
        def __init__(self, *args: Any, **options: Any) -> None:
            self._done = int(options.get("initial") or 0)
            self._whole = int(options.get("total") or 0)
            super().__init__(*args, **{**options, "disable": True})  # type: ignore[no-untyped-call, unused-ignore]

        def update(self, n: float | None = 1) -> bool | None:
            self._done += int(n or 0)
            progress("download", self._done, self._whole)
            return None

    return ReportingBar
