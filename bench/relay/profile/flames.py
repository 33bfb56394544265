"""A flame graph as plain SVG: a frame is as wide as its samples, its callers lie below it, its colour is its stage.

Each box tells its numbers when pointed at. What is too narrow to see is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from html import escape
from typing import Final, NamedTuple

from bench.relay.profile.stacks import Frame, Stack
from bench.relay.profile.stages import STAGES, stage_of

WIDTH, ROW, TOP, LETTER = 1600, 17, 58, 6.6
NARROWEST: Final = 0.5
MIXED: Final = "several stages"
MOST: Final = 0.8
"""A frame with a smaller share of its samples in one stage is of several."""
_COLOURS: Final = dict(
    zip(
        STAGES,
        (
            "#8ecae6",
            "#90be6d",
            "#f4a261",
            "#e9c46a",
            "#e76f51",
            "#cdb4db",
            "#b5838d",
            "#adb5bd",
            "#ced4da",
            "#6d6875",
            "#eee",
        ),
        strict=True,
    )
)

_PLAIN: Final = "#f1f3f5"


class Box(NamedTuple):
    """A frame over the samples [start, start + samples), `depth` frames above the root."""

    frame: Frame
    stage: str
    depth: int
    start: int
    samples: int


def boxes(samples: Counter[Stack]) -> list[Box]:
    """Merge neighbouring samples that share their callers. A box has the stage of nearly all its samples, if they share one."""
    ordered = sorted(samples.items())
    return list(_level([(stack, stage_of(stack), count) for stack, count in ordered], 0, 0))


def draw(samples: Counter[Stack], title: str) -> str:
    """Return the picture."""
    found, total = boxes(samples), samples.total()
    height = TOP + ROW * (max((box.depth for box in found), default=0) + 2)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="monospace" font-size="11">'
    parts = [head, f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>']
    parts.append(f'<text x="8" y="20" font-size="14">{escape(title)}</text>')
    for number, (stage, colour) in enumerate(_COLOURS.items()):
        x = 8 + number * 142
        parts.append(f'<rect x="{x}" y="32" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{x + 16}" y="42">{stage}</text>')
    parts += [_drawn(box, total, height) for box in found if WIDTH * box.samples / total >= NARROWEST]
    return "\n".join([*parts, "</svg>\n"])


def _level(group: list[tuple[Stack, str, int]], depth: int, start: int) -> Iterator[Box]:
    """Yield the boxes at `depth` of stacks that are alike below it, each followed by those above it."""
    while group:
        if len(group[0][0]) <= depth:
            start += group.pop(0)[2]
            continue
        shared = group[0][0][depth]
        alike = [entry for entry in group if len(entry[0]) > depth and entry[0][depth] == shared]
        stages: Counter[str] = Counter()
        for _, stage, count in alike:
            stages[stage] += count
        [(stage, most)] = stages.most_common(1)
        yield Box(shared, stage if most >= MOST * stages.total() else MIXED, depth, start, stages.total())
        yield from _level(alike, depth + 1, start)
        start += stages.total()
        group = [entry for entry in group if len(entry[0]) <= depth or entry[0][depth] != shared]


def _drawn(box: Box, total: int, height: int) -> str:
    x, width = WIDTH * box.start / total, WIDTH * box.samples / total
    y = height - ROW * (box.depth + 1)
    fits = int((width - 6) / LETTER)
    name = str(box.frame)
    shown = name if len(name) <= fits else box.frame.function[:fits]
    label = f'<text x="{x + 3:.1f}" y="{y + 12}">{escape(shown)}</text>' if fits > 2 else ""
    told = escape(f"{name}: {box.samples} of {total} samples, {box.samples / total:.1%}; {box.stage}")
    place = f'x="{x:.2f}" y="{y}" width="{max(width - 0.5, 0.3):.2f}" height="{ROW - 1}"'
    return f'<g><title>{told}</title><rect {place} fill="{_COLOURS.get(box.stage, _PLAIN)}"/>{label}</g>'
