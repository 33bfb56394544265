"""Read settings: flags over environment over the TOML file over the defaults; every mistake names its setting."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from hushnet.coordinator.settings.model import CoordinatorSettings, default_home
from hushnet.coordinator.settings.table import Setting, settings_table
from hushnet.foundation.errors import ConfigurationError
from hushnet.foundation.redaction import Secret

T = TypeVar("T")

CONFIG_FILE: Final = "coordinator.toml"
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


def load_settings(
    *, flags: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None, file: Path | None = None
) -> CoordinatorSettings:
    """Join the sources into settings; `flags` maps dotted names to values, and `None` means not given.

    `file` must exist when given; without it `HUSH_CONFIG`, then `coordinator.toml` in the home directory is read.
    Raises `ConfigurationError`, which names the setting and where its value came from, and never shows a secret.
    """
    environ = environ or {}
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    by_name = {row.name: row for row in settings_table()}
    for name in given:
        if name not in by_name:
            raise _unknown(name, "the flags")
    chosen: dict[str, object] = {}
    for name, value in _read_file(_config_path(file, environ, given)).items():
        if name not in by_name:
            raise _unknown(name, "the file")
        chosen[name] = _coerce(by_name[name], value, source="the file", is_text=False)
    for row in by_name.values():
        if row.env in environ:
            chosen[row.name] = _coerce(row, environ[row.env], source=row.env, is_text=True)
    for name, value in given.items():
        source = by_name[name].flag or "--set"
        chosen[name] = _coerce(by_name[name], value, source=source, is_text=isinstance(value, str))
    return _build(CoordinatorSettings, chosen, "")


def _config_path(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Path | None:
    named = file or (Path(environ["HUSH_CONFIG"]) if environ.get("HUSH_CONFIG") else None)
    if named is not None:
        if not named.is_file():
            raise ConfigurationError(f"the settings file {named} does not exist")
        return named
    home = flags.get("home") or environ.get("HUSH_HOME") or default_home()
    beside = Path(str(home)).expanduser() / CONFIG_FILE
    return beside if beside.is_file() else None


def _read_file(path: Path | None) -> dict[str, object]:
    if path is None:
        return {}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(
            f"the settings file {path} cannot be read as TOML", hint=f"{type(error).__name__}: check its syntax"
        ) from None
    return dict(_flatten(document, ""))


def _flatten(table: Mapping[str, object], prefix: str) -> typing.Iterator[tuple[str, object]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _unknown(name: str, source: str) -> ConfigurationError:
    near = difflib.get_close_matches(name, [row.name for row in settings_table()], n=1)
    hint = f"did you mean {near[0]}?" if near else "`hush coordinator settings` lists them all"
    return ConfigurationError(f"there is no setting {name[:80]!r} (from {source})", hint=hint)


def _coerce(row: Setting, value: object, *, source: str, is_text: bool) -> object:
    """Return `value` as the setting's type and inside its bounds."""
    try:
        result = _parse_text(row.kind, str(value)) if is_text else _check_type(row.kind, value)
        _check_bounds(row, result)
    except ValueError:
        unit = f" ({row.unit})" if row.unit else ""
        what = f"match {row.pattern}" if row.pattern else f"be {row.type_text}{unit}"
        raise ConfigurationError(
            f"setting {row.name} from {source} must {what}", hint=row.meaning, code="bad_setting"
        ) from None
    return result


def _parse_text(kind: type, text: str) -> object:
    text = text.strip()
    if kind is bool:
        if text.lower() not in _TRUE | _FALSE:
            raise ValueError
        return text.lower() in _TRUE
    if kind is int:
        return int(text.replace("_", ""))
    if kind is float:
        return float(text)
    return _check_type(kind, text)


def _check_type(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str | Path) and str(value):
        return Path(value).expanduser().absolute()
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    if kind is float and type(value) in (int, float):
        return float(typing.cast(float, value))
    if type(value) is not kind:
        raise ValueError
    return value


def _check_bounds(row: Setting, value: object) -> None:
    if isinstance(value, int | float) and row.low is not None and row.high is not None:
        is_inside = math.isfinite(value) and row.low <= value <= row.high
        if not is_inside:
            raise ValueError
    if row.choices and value not in row.choices:
        raise ValueError
    text = value.reveal() if isinstance(value, Secret) else value
    if row.pattern and (not isinstance(text, str) or re.fullmatch(row.pattern, text) is None):
        raise ValueError


def _build(owner: type[T], chosen: Mapping[str, object], prefix: str) -> T:
    types = typing.get_type_hints(owner)
    values: dict[str, Any] = {}
    for item in dataclasses.fields(typing.cast(Any, owner)):
        name = prefix + item.name
        if dataclasses.is_dataclass(types[item.name]):
            values[item.name] = _build(types[item.name], chosen, f"{name}.")
        elif name in chosen:
            values[item.name] = chosen[name]
    return owner(**values)
