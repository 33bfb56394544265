"""The one table of settings: read from the tree itself, used to load, to explain and to render docs/settings.md."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from hushnet.coordinator.settings.model import CoordinatorSettings
from hushnet.foundation.redaction import Secret

_TYPE_NAMES: Final = {str: "text", int: "integer", float: "number", bool: "true or false", Path: "path", Secret: "text"}

_PREFACE: Final = """\
# Settings of the coordinator

Rendered from `hushnet.coordinator.settings` (`hush coordinator settings` prints the same with the values in force).

A flag wins over an environment variable, that over the TOML file, that over the default. The file is `--config PATH`,
`HUSH_CONFIG`, or `coordinator.toml` in the home directory when it exists; `http.port` is `port` in its table `[http]`.
`--set NAME=VALUE` gives any setting as a flag. An unknown name or a value out of bounds stops the start with an error
that names the setting.

"""


@dataclass(frozen=True, slots=True)
class Setting:
    """One row: `name` is its dotted path in the tree, `flag` is empty when only `--set` gives it."""

    name: str
    kind: type
    default: Any
    meaning: str
    flag: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    default_text: str = ""

    @property
    def env(self) -> str:
        return "HUSH_" + self.name.replace(".", "_").upper()

    @property
    def type_text(self) -> str:
        """Say the type and its bounds in words."""
        if self.choices:
            return " or ".join(f"`{choice}`" for choice in self.choices)
        name = _TYPE_NAMES[self.kind]
        return name if self.low is None else f"{name}, {self.low:,} to {self.high:,}"

    @property
    def default_shown(self) -> str:
        if self.default_text:
            return self.default_text
        return f"`{str(self.default).lower() if self.kind is bool else self.default}`"


@lru_cache(maxsize=1)
def settings_table() -> tuple[Setting, ...]:
    """Return every setting in the order of the tree."""
    return tuple(_rows(CoordinatorSettings, ""))


def _rows(owner: type, prefix: str) -> typing.Iterator[Setting]:
    types = typing.get_type_hints(owner)
    for item in dataclasses.fields(owner):
        kind = types[item.name]
        if dataclasses.is_dataclass(kind):
            yield from _rows(typing.cast(type, kind), f"{prefix}{item.name}.")
        else:
            yield Setting(name=prefix + item.name, kind=kind, default=item.default, **item.metadata)


def shown(value: object) -> str:
    """Write a value for a person; of a secret only what is no secret."""
    if isinstance(value, Secret):
        scheme, separator, rest = value.reveal().partition("://")
        if not separator:
            return "***" if scheme else ""
        return f"{scheme}://{rest}" if scheme == "sqlite" else f"{scheme}{separator}***"
    return str(value).lower() if isinstance(value, bool) else str(value)


def flags_of(settings: CoordinatorSettings) -> dict[str, Any]:
    """Return every setting as `load_settings` takes it: plain values by name, secrets in the clear."""
    return {row.name: _plain(value_of(settings, row.name)) for row in settings_table()}


def _plain(value: object) -> object:
    if isinstance(value, Secret):
        return value.reveal()
    return str(value) if isinstance(value, Path) else value


def value_of(settings: CoordinatorSettings, name: str) -> object:
    """Return the value of the dotted `name` in `settings`."""
    value: object = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


def render_markdown() -> str:
    """Render docs/settings.md."""
    lines = ["| setting | flag | environment | type | unit | default | meaning |", "|---|---|---|---|---|---|---|"]
    for row in settings_table():
        flag = f"`{row.flag}`" if row.flag else ""
        cells = (f"`{row.name}`", flag, f"`{row.env}`", row.type_text, row.unit, row.default_shown, row.meaning)
        lines.append("| " + " | ".join(cells) + " |")
    return _PREFACE + "\n".join(lines) + "\n"
