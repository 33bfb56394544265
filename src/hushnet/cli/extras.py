"""Which part of the distribution a command needs, said before it asks for a key or a token."""

from __future__ import annotations

from importlib.util import find_spec

from hushnet.foundation.errors import ConfigurationError


def require_extra(extra: str, *packages: str) -> None:
    """Raise `ConfigurationError` that names `hushnet[extra]` where one of its import packages is not installed."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise ConfigurationError(
            f"this command needs {', '.join(missing)}, which is not installed",
            code="missing_extra",
            hint=f"pip install 'hushnet[{extra}]'",
        )
