"""docs/payouts.md shows the table of payouts as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from hushnet.coordinator.payments.payouts.model import RAILS
from hushnet.coordinator.payments.payouts.transitions import TABLE, Posting, render_states

PAGE = (Path(__file__).parents[3] / "docs" / "payouts.md").read_text()


@pytest.mark.parametrize("rail", RAILS)
def test_the_page_shows_the_table(rail: str) -> None:
    assert render_states(rail) in PAGE
    assert render_states(rail).count("-->") == len(TABLE[rail]) + 1


def test_the_page_names_every_fact() -> None:
    assert [posting for posting in Posting if f"| `{posting}` |" not in PAGE] == []
