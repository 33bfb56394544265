"""The picture of a run: processor time of a chunk and added first token for each system, as an SVG without a library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from pathlib import Path
from typing import Any, Final

LEFT, BAR, GAP, WIDTH, TOP = 170, 20, 8, 470, 46
TITLES: Final = {
    "chunk_us": "CPU microseconds a relayed chunk (median, lowest to highest round; logarithmic)",
    "added_first_token_ms": "Added time to first token, one client, ms (p50, p95, p99; logarithmic)",
}
_OURS, _OTHERS, _INK = "#2f6f4f", "#8f9aa3", "#222"


def draw(systems: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Write the picture."""
    parts, top = [], 0
    for what, title in TITLES.items():
        rows = {name: about[what] for name, about in systems.items() if about.get(what)}
        if rows:
            parts.append(f'<g transform="translate(0 {top})">{_panel(title, rows)}</g>')
            top += TOP + len(rows) * (BAR + GAP) + 40
    size = f'width="{LEFT + WIDTH + 90}" height="{top}" viewBox="0 0 {LEFT + WIDTH + 90} {top}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12" fill="{_INK}">'
    path.write_text(f'{head}<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n')


class Scale:
    """Places positive values on a logarithmic axis of whole decades."""

    def __init__(self, values: Sequence[float]) -> None:
        self.low = floor(log10(min(values)))
        self.high = max(self.low + 1, ceil(log10(max(values))))

    def x(self, value: float) -> float:
        """Return the place of a value, within the axis."""
        share = (log10(max(value, 10.0**self.low)) - self.low) / (self.high - self.low)
        return LEFT + WIDTH * min(1.0, share)

    @property
    def marks(self) -> list[float]:
        return [10.0**exponent for exponent in range(self.low, self.high + 1)]


def _panel(title: str, rows: Mapping[str, Sequence[float]]) -> str:
    scale = Scale([max(value, 0.01) for triple in rows.values() for value in triple])
    bottom = TOP + len(rows) * (BAR + GAP)
    parts = [f'<text x="10" y="22" font-size="13" font-weight="bold">{escape(title)}</text>']
    for mark in scale.marks:
        x = scale.x(mark)
        parts.append(f'<line x1="{x:.0f}" x2="{x:.0f}" y1="{TOP - 8}" y2="{bottom}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.0f}" y="{bottom + 14}" text-anchor="middle">{mark:g}</text>')
    for number, (name, triple) in enumerate(rows.items()):
        parts.append(_bar(scale, TOP + number * (BAR + GAP), name, triple))
    return "".join(parts)


def _bar(scale: Scale, y: int, name: str, triple: Sequence[float]) -> str:
    value, low, high = triple[0], min(triple), max(triple)
    colour = _OURS if name.startswith("hushnet") else _OTHERS
    end, middle = scale.x(value), y + BAR / 2
    return (
        f'<text x="{LEFT - 8}" y="{middle + 4:.0f}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{LEFT}" y="{y}" width="{max(1.0, end - LEFT):.1f}" height="{BAR}" fill="{colour}"/>'
        f'<line x1="{scale.x(low):.1f}" x2="{scale.x(high):.1f}" y1="{middle}" y2="{middle}" stroke="{_INK}" stroke-width="2"/>'
        f'<text x="{max(end, scale.x(high)) + 6:.0f}" y="{middle + 4:.0f}">{value:.3g}</text>'
    )
