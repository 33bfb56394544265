"""Stripe's form encoding, read back: `a[b][0][c]=x` becomes `{"a": {"b": [{"c": "x"}]}}`; every value stays text."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from support.stripe_fake.problems import invalid

_NAME = re.compile(r"([A-Za-z0-9_]+)((?:\[[A-Za-z0-9_.:-]*\])*)")
_PART = re.compile(r"\[([^\]]*)\]")


def parse_form(text: str) -> dict[str, Any]:
    """Read a body or a query string; raises `StripeProblem` for a name that is none."""
    tree: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text)):
        match = _NAME.fullmatch(name)
        if match is None:
            raise invalid(f"Invalid parameter name: {name[:40]}", param=name[:40])
        path = [match[1], *_PART.findall(match[2])]
        node = tree
        for part in path[:-1]:
            node = node.setdefault(part or str(len(node)), {})
            if not isinstance(node, dict):
                raise invalid(f"{part} is given twice, of two kinds", param=part)
        last = path[-1] or str(len(node))
        node[last] = value
    return {name: _listed(value) for name, value in tree.items()}


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {name: _listed(item) for name, item in value.items()}
    if inner and all(name.isdecimal() for name in inner):
        return [inner[name] for name in sorted(inner, key=int)]
    return inner


def whole(parameters: dict[str, Any], name: str, *, low: int = 0, high: int = 99_999_999) -> int:
    """Read an integer parameter as Stripe does: decimal digits only."""
    text = parameters.get(name)
    if text is None or text == "":
        raise invalid(f"Missing required param: {name}.", code="parameter_missing", param=name)
    if not re.fullmatch(r"-?[0-9]{1,18}", text, re.ASCII):
        raise invalid(f"Invalid integer: {text[:40]}", code="parameter_invalid_integer", param=name)
    value = int(text)
    if value < low:
        code = "amount_too_small" if name == "amount" else ""
        raise invalid(f"{name} must be at least {low}", code=code, param=name)
    if value > high:
        code = "amount_too_large" if name == "amount" else ""
        raise invalid(f"{name} must be at most {high}", code=code, param=name)
    return value


def text_of(parameters: dict[str, Any], name: str) -> str:
    """Read a required text parameter."""
    value = parameters.get(name)
    if not isinstance(value, str) or not value:
        raise invalid(f"Missing required param: {name}.", code="parameter_missing", param=name)
    return value


def is_true(value: Any) -> bool:
    return value == "true"
