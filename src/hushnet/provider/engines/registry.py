"""Engines by name, found through the entry point group `hushnet.engines`: a plug-in is an installed package."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Final

from hushnet.foundation.errors import ConfigurationError
from hushnet.provider.engines.base import Engine

GROUP: Final = "hushnet.engines"


def engine_names() -> tuple[str, ...]:
    """Return the names of the installed engines, sorted; nothing is imported."""
    return tuple(sorted({entry.name for entry in entry_points(group=GROUP)}))


def load_engine(name: str) -> Engine:
    """Make the engine called `name`; raises `ConfigurationError` when there is none, or when it cannot be imported."""
    found = next(iter(entry_points(group=GROUP, name=name)), None)
    if found is None:
        raise ConfigurationError(f"there is no engine called {name}", hint=f"Installed: {', '.join(engine_names())}.")
    try:
        make = found.load()
    except ImportError:
        hint = "pip install 'hushnet[provider]' brings the engines' own dependencies."
        raise ConfigurationError(f"the engine {name} cannot be imported here", hint=hint) from None
    engine: Engine = make()
    return engine
