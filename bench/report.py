"""Render docs/performance.md: one table a bench, from the committed results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from bench.record import RESULTS, ROOT, short
from bench.relay import page as relay_page
from bench.routing import page as routing_page

_HEAD = """# Performance

Every figure is from a bench that anyone can run (`make bench`); the JSON beside it has the raw rounds. Machines differ and
shared ones are noisy: the ratios, taken in one interleaved run, are what to compare. This page is rendered by `make bench`.
"""


_PAGES: Final = {"relay": relay_page.render, "routing": routing_page.render}


def render() -> None:
    """Write the page."""
    parts = [_HEAD]
    for path in sorted(RESULTS.glob("*.json")):
        if path.name.endswith(".rounds.json"):
            continue
        result = json.loads(path.read_text())
        machine = result["machine"]
        parts.append(f"## {result['bench']}\n")
        parts.append(
            f"{result['date'][:10]}, commit {short(result['commit'])}, {machine['cores']} cores of {machine['cpu']}, "
            f"Python {machine['python']}, {result['rounds']} rounds.\n"
        )
        parts.append(_PAGES.get(result["bench"], _plain)(result))
    (ROOT / "docs" / "performance.md").write_text("\n".join(parts))
    print("rendered docs/performance.md")


def _plain(result: Mapping[str, Any]) -> str:
    return figures(result["figures"])


def figures(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the figures of one bench as a table."""
    lines = ["| key | value | unit | peer | ratio |", "|---|--:|---|---|--:|"]
    for key, figure in found.items():
        ratio = f"{figure['ratio']:.3g}" if figure["ratio"] is not None else ""
        lines.append(f"| `{key}` | {figure['value']:.4g} | {figure['unit']} | {figure['peer'] or ''} | {ratio} |")
    return "\n".join(lines) + "\n"
