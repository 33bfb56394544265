"""docs/operating.md explains every doubt that an operator can see."""

from __future__ import annotations

from pathlib import Path

from hushnet.coordinator.fleet.beliefs import Doubt

PAGE = Path(__file__).parents[3] / "docs" / "operating.md"


def test_the_page_explains_every_doubt() -> None:
    page = PAGE.read_text()
    for doubt in Doubt:
        assert f"| `{doubt}` |" in page
