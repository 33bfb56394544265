"""How one setting is declared: its default and meaning, and what bounds it."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Final, TypeVar

from hushnet.foundation.redaction import Secret

T = TypeVar("T")

NO_SECRET: Final = Secret("")


def setting(default: T, meaning: str, **details: Any) -> T:
    """Declare one setting; `details`: unit, flag, low, high, choices, pattern, default_text."""
    return field(default=default, metadata={"meaning": meaning, **details})
