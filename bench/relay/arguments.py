"""Types of command line arguments: numbers above zero, names out of a list."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable


def count(text: str) -> int:
    """Return a whole number above zero; raises `ArgumentTypeError` for anything else."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


def quantity(text: str) -> float:
    """Return a finite number above zero; raises `ArgumentTypeError` for anything else."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not (number > 0 and math.isfinite(number)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number above 0")
    return number


def some(parser: argparse.ArgumentParser, text: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return the names in `text`, all of the known ones for none; an unknown one is the parser's error."""
    known = tuple(known)
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if unknown := [name for name in names if name not in known]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    return names or known
