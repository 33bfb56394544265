"""Which coordinator a consumer uses, with which key: flags over environment over `HOME/consumer.toml`."""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hushnet.foundation.errors import ConfigurationError
from hushnet.foundation.home import resolve_home, write_private_file
from hushnet.foundation.redaction import Secret

CONSUMER_FILE = "consumer.toml"
LOCAL_NETWORK = "hushnet-local"
MAIN_NETWORK = "hushnet-main"
DEFAULT_BASE_URL = "http://127.0.0.1:8470"


@dataclass(frozen=True, slots=True)
class ConsumerSettings:
    """A coordinator's address without `/v1`, the key for it, and the network whose statements count.

    `key_source` says where the key came from; `stored_for` is the address of a stored key that is not for this one.
    """

    base_url: str
    api_key: Secret | None
    network: str
    home: Path
    key_source: str = ""
    stored_for: str = ""

    def require_key(self) -> Secret:
        """Return the key; raises `ConfigurationError` when there is none."""
        if self.api_key is None and self.stored_for:
            raise ConfigurationError(
                f"the stored key belongs to {self.stored_for}",
                code="missing_api_key",
                hint=f"pass --api-key for {self.base_url}, or set HUSH_API_KEY",
            )
        if self.api_key is None:
            raise ConfigurationError(
                "no API key is set",
                code="missing_api_key",
                hint="pass --api-key, set HUSH_API_KEY, or start a network of your own with `hush up`",
            )
        return self.api_key


def resolve(
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    network: str | None = None,
    home: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> ConsumerSettings:
    """Join arguments, `HUSH_BASE_URL` / `HUSH_API_KEY` / `HUSH_NETWORK` and the file.

    The file's key is used only with the file's own address, so that a key never travels to another coordinator.
    """
    folder = resolve_home(home, environ)
    stored = _read(folder / CONSUMER_FILE)
    url = normalise_base_url(base_url or environ.get("HUSH_BASE_URL") or stored.get("base_url") or DEFAULT_BASE_URL)
    stored_url = normalise_base_url(stored.get("base_url", url))
    is_stored_address = url == stored_url
    stored_key = stored.get("api_key") if is_stored_address else None
    sources = (
        ("--api-key", api_key),
        ("HUSH_API_KEY", environ.get("HUSH_API_KEY")),
        (str(folder / CONSUMER_FILE), stored_key),
    )
    key_source, key = next(((source, key) for source, key in sources if key), ("", None))
    name = network or environ.get("HUSH_NETWORK") or (stored.get("network") if is_stored_address else None)
    return ConsumerSettings(
        base_url=url,
        api_key=Secret(key) if key else None,
        network=name or (LOCAL_NETWORK if is_loopback(url) else MAIN_NETWORK),
        home=folder,
        key_source=key_source,
        stored_for=stored_url if stored.get("api_key") and not is_stored_address else "",
    )


def store(settings: ConsumerSettings) -> None:
    """Write `HOME/consumer.toml` (0600), so that later commands need no flags."""
    key = settings.require_key().reveal()
    lines = (f'base_url = "{settings.base_url}"', f'api_key = "{key}"', f'network = "{settings.network}"', "")
    write_private_file(settings.home / CONSUMER_FILE, "\n".join(lines).encode())


def normalise_base_url(text: str) -> str:
    """Return scheme://host[:port][/path] without a trailing slash or `/v1`; raises `ConfigurationError`."""
    parts = urlsplit(text)
    try:
        is_good = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_good = False
    if not is_good or parts.query or parts.fragment or parts.username:
        raise ConfigurationError(
            "the base URL is not an http(s) address",
            code="bad_base_url",
            hint="it looks like http://127.0.0.1:8470 or https://hush.example",
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/").removesuffix("/v1")


def is_loopback(base_url: str) -> bool:
    """Tell whether the address is this machine itself."""
    host = urlsplit(base_url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(path: Path) -> dict[str, str]:
    try:
        return {name: str(value) for name, value in tomllib.loads(path.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise ConfigurationError(f"{path} can't be read", hint="mend it or remove it") from None
