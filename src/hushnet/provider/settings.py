"""The provider's settings: flags win over environment, environment over HOME/provider.toml, the file over defaults."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from hushnet.foundation.errors import ConfigurationError
from hushnet.foundation.home import resolve_home
from hushnet.foundation.redaction import Secret
from hushnet.wire.frames import REGION_CHARACTERS_MAX, REGION_PATTERN

FILE_NAME: Final = "provider.toml"
_FILE_BYTES_MAX = 64 * 1024
_TOKEN_BYTES_MAX = 4096
SEPARATOR: Final = ";"
"""Between several models; no address and hardly a path has one."""
MODELS_MAX: Final = 64
"""What one list of offers holds."""
_UNITS: Final = {"": 1, "K": 10, "M": 20, "G": 30, "T": 40}
_SIZE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,3})?) ?([KMGT]?)(i?B)?", re.ASCII | re.IGNORECASE)
_LISTS: Final = frozenset({"model"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """Everything that a provider is told. `model` None is the built-in model, `engine` None lets the model decide."""

    home: Path
    token: Secret = field(default_factory=lambda: Secret(""))
    coordinator: str = "http://127.0.0.1:8470"
    network: str | None = None
    region: str = ""
    model: str | None = None
    """As it was written; `models` reads it."""
    engine: str | None = None
    slots: int = 4
    queue: int = 8
    threads: int | None = None
    context_tokens: int | None = None
    memory_budget: int | None = None
    idle_unload_s: float | None = None
    drain_s: float = 30.0
    statement_life_s: int = 3600

    @property
    def state_folder(self) -> Path:
        """Where the provider keeps its identity and its lock: never shared with another provider."""
        return self.home / "provider"

    @property
    def models(self) -> tuple[str | None, ...]:
        """Every model that was named, in order; None stands for the built-in one."""
        return (None,) if self.model is None else tuple(each.strip() for each in self.model.split(SEPARATOR))

    def require_token(self) -> Secret:
        """Return the token; raises `ConfigurationError` when there is none."""
        if not self.token.reveal():
            raise ConfigurationError(
                "no provider token is set",
                code="missing_token",
                hint="pass --token-file or set HUSH_PROVIDER_TOKEN; the operator of the coordinator makes tokens",
            )
        return self.token


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table of settings: its name, how text becomes a value, and what it means."""

    name: str
    read: Callable[[str], object]
    meaning: str

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"HUSH_PROVIDER_{self.name.upper()}"


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text.strip()


def _region(text: str) -> str:
    if re.fullmatch(REGION_PATTERN, text) is None or len(text) > REGION_CHARACTERS_MAX:
        raise ValueError("must be a short word of small letters, digits and dashes, like de or us-east")
    return text


def _models(text: str) -> str:
    names = [_text(each) for each in _text(text).split(SEPARATOR)]
    if len(names) > MODELS_MAX:
        raise ValueError(f"must be at most {MODELS_MAX} models")
    return SEPARATOR.join(names)


def _secret(text: str) -> Secret:
    if len(text) > _TOKEN_BYTES_MAX:
        raise ValueError(f"must be at most {_TOKEN_BYTES_MAX} characters")
    return Secret(_text(text))


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError(f"must be in {low}..{high}")
        return value

    return read


def _seconds(high: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = float(text)
        if not 0 <= value <= high:
            raise ValueError(f"must be in 0..{high:g} seconds")
        return value

    return read


def _size(text: str) -> int:
    """Read `24GiB`, `800 MB` or a number of bytes; units are powers of 1,024."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("must be a size like 24GiB")
    unit = match[2].upper()
    size = float(match[1]) * (1 << _UNITS[unit] if unit else 1)
    if not 1 <= size < 1 << 60:
        raise ValueError("must be a size like 24GiB")
    return int(size)


def _url(text: str) -> str:
    parts = urlsplit(text.strip())
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
        raise ValueError("must be an http(s):// or ws(s):// address")
    if parts.username or parts.password:
        raise ValueError("must not carry a user name or password")
    return text.strip().rstrip("/")


TABLE: Final = (
    Setting("coordinator", _url, "the coordinator's base URL, or its link URL when it begins with ws:// or wss://"),
    Setting("token", _secret, "the provider token (scope provider) that the operator gave out"),
    Setting("token_file", _text, "a file that holds the provider token; used where `token` is not set"),
    Setting("network", _text, "the network's name; asked of the coordinator when not set"),
    Setting(
        "region", _region, "where this machine stands, a short word like de or us-east; consumers may ask for regions"
    ),
    Setting(
        "model",
        _models,
        "the model: empty for the built-in one, PATH.gguf, hf:OWNER/REPO:FILE.gguf or URL#NAME; several with ; between them",
    ),
    Setting("engine", _text, "the engine's name; chosen by the model when not set"),
    Setting("slots", _whole(1, 256), "requests generated at the same time"),
    Setting("queue", _whole(0, 4096), "requests that may wait for a slot before the provider says it is full"),
    Setting("threads", _whole(1, 512), "threads of the engine; all cores but one when not set"),
    Setting("context_tokens", _whole(64, 2**24), "context of one slot in tokens; the model's own when not set"),
    Setting(
        "memory_budget",
        _size,
        "memory of all loaded models together, like 24GiB; most of the accelerators', else of the machine's, when not set",
    ),
    Setting(
        "idle_unload_s", _seconds(86_400), "seconds until a model that nobody uses is unloaded; never when not set"
    ),
    Setting("drain_s", _seconds(86_400), "seconds that running requests may take to end when the provider stops"),
    Setting("statement_life_s", _whole(60, 86_400), "seconds that one set of sealing keys lives"),
)
_ROWS = {row.name: row for row in TABLE}


def load_settings(*, flags: Mapping[str, object], environ: Mapping[str, str], home: Path | None) -> ProviderSettings:
    """Merge flags (None means not given), environment and file; raise `ConfigurationError` for what is not allowed.

    A token of a stronger source wins over a token file of a weaker one, and the other way round.
    """
    folder = resolve_home(home, environ)
    layers = (
        ("flag", {name: _joined(value) for name, value in flags.items() if value is not None}),
        ("environment", {row.name: environ[row.variable] for row in TABLE if environ.get(row.variable)}),
        ("file", _read_file(folder / FILE_NAME)),
    )
    merged: dict[str, object] = {}
    for source, layer in layers:
        if "token" in merged:
            layer.pop("token_file", None)
        if "token_file" in merged:
            layer.pop("token", None)
        for name, text in layer.items():
            merged.setdefault(name, _read_value(name, text, source))
    token_file = merged.pop("token_file", None)
    if token_file is not None and "token" not in merged:
        merged["token"] = _read_token_file(Path(str(token_file)).expanduser())
    return ProviderSettings(home=folder, **merged)  # type: ignore[arg-type]  # each value came from its own reader


def _joined(value: object) -> str:
    """Return a value as the text of a setting; of a list, its members."""
    return SEPARATOR.join(map(str, value)) if isinstance(value, list) else str(value)


def _read_value(name: str, text: str, source: str) -> object:
    row = _ROWS.get(name)
    if row is None:
        raise ConfigurationError(f"unknown provider setting {name} ({source})", hint=f"known: {', '.join(_ROWS)}")
    try:
        return row.read(text)
    except ValueError as error:
        reason = "is not a number" if "literal" in str(error) or "convert" in str(error) else str(error)
        raise ConfigurationError(
            f"provider setting {name} ({source}) {reason}", hint=f"{name}: {row.meaning}"
        ) from None


def _read_file(path: Path) -> dict[str, str]:
    """Read HOME/provider.toml into text values; a missing file is an empty one."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}", hint=f"the system says: {error.strerror}") from None
    if len(raw) > _FILE_BYTES_MAX:
        raise ConfigurationError(f"{path} is too large for a settings file")
    try:
        parsed = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise ConfigurationError(f"{path} is not valid TOML", hint='write lines like: slots = 4, model = "x"') from None
    for name, value in parsed.items():
        members = value if isinstance(value, list) and name in _LISTS else [value]
        if any(isinstance(each, bool) or not isinstance(each, (str, int, float)) for each in members):
            raise ConfigurationError(f"provider setting {name} (file) must be text or a number", hint=str(path))
    return {name: _joined(value) for name, value in parsed.items()}


def _read_token_file(path: Path) -> Secret:
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the token file {path}", hint=f"the system says: {error.strerror}"
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"the token file {path} is not text") from None
    try:
        return _secret(text)
    except ValueError as error:
        raise ConfigurationError(f"the token in {path} {error}") from None
