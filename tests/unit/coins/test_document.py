"""The page about coins shows the table of states as it is in code."""

from __future__ import annotations

from pathlib import Path

from hushnet.coordinator.payments.coins.states import render_table

PAGE = Path(__file__).resolve().parents[3] / "docs" / "payments-coins.md"


def test_the_page_has_the_table_of_states() -> None:
    assert render_table() in PAGE.read_text()
