"""docs/wire.md says what the code does."""

from __future__ import annotations

from pathlib import Path

from hushnet.provider.link import REJECTED_FOR_GOOD
from hushnet.wire.codec import COORDINATOR_TAGS, PROVIDER_TAGS
from hushnet.wire.errors import FAULTS, LinkFault
from hushnet.wire.reference import render_into
from hushnet.wire.transitions import LinkState

PAGE = Path(__file__).parents[3] / "docs" / "wire.md"


def test_the_page_is_rendered_from_the_code() -> None:
    page = PAGE.read_text()
    assert render_into(page) == page, "docs/wire.md has drifted; run `make docs`"


def test_the_page_names_every_frame_fault_and_state() -> None:
    page = PAGE.read_text()
    for tag in COORDINATOR_TAGS | PROVIDER_TAGS:
        assert f"#### `{tag}`" in page
    for word in [*LinkFault, *REJECTED_FOR_GOOD]:
        assert f"`{word}`" in page
    for state in LinkState:
        assert f" {state.value} " in page


def test_every_fault_has_a_rule() -> None:
    assert set(FAULTS) == set(LinkFault)
