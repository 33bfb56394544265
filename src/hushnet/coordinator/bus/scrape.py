"""Metrics of several workers as one page: every sample gets a label `worker`. Pure."""

from __future__ import annotations

from collections.abc import Mapping


def merged(pages: Mapping[int, bytes]) -> bytes:
    """Join pages in Prometheus' text format by metric; help and type of a metric are written once."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for worker, page in sorted(pages.items()):
        family = ""
        for line in page.decode().splitlines():
            if line.startswith("# "):
                family = line.split(" ", 3)[2]
                head = heads.setdefault(family, [])
                if line not in head:
                    head.append(line)
            elif line:
                samples.setdefault(family, []).append(_labelled(line, worker))
    lines = [line for family, head in heads.items() for line in (*head, *samples.get(family, ()))]
    return ("\n".join(lines) + "\n").encode()


def _labelled(sample: str, worker: int) -> str:
    """Put the label first: `a{b="c"} 1` becomes `a{worker="2",b="c"} 1`."""
    name, brace, rest = sample.partition("{")
    if brace:
        return f'{name}{{worker="{worker}",{rest}'
    name, _, value = sample.partition(" ")
    return f'{name}{{worker="{worker}"}} {value}'
