"""Every negative case that docs/sealing.md section 15 names is a case of a test in this folder, under that name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hushnet.sealing.errors import CODES

HERE = Path(__file__)
TEXT = (HERE.parents[3] / "docs" / "sealing.md").read_text("utf-8")
SECTION = TEXT[TEXT.index("## 15. ") : TEXT.index("Fuzzed envelopes")]
TESTS = "\n".join(path.read_text("utf-8") for path in HERE.parent.glob("test_*.py") if path != HERE)

ELSEWHERE = {"json_2xx"}
"""Cases of the HTTP layer, tested with it."""
ABBREVIATED = {"bad_signature", "wrong_provider", "malformed"}
"""Codes that the section writes without their prefix."""


def names() -> list[str]:
    """Return the names before each arrow: what a dash, comma or semicolon separates, less codes and headings."""
    prose = re.sub(r"\([^)]*\)|\*[^*]+\*|`", " ", SECTION.partition("\n")[2])
    found: list[str] = []
    for clause in re.split(r"[;:.]\s", prose):
        listed = clause.split("→")[0]
        found += [word for part in listed.split(",") if re.fullmatch(r"[a-z0-9_]+", word := part.strip())]
    return sorted(set(found) - ABBREVIATED)


NAMES = names()


def test_the_section_was_read() -> None:
    assert len(NAMES) > 130
    assert {"wrong_magic", "model_swapped", "last_valid_second", "escape", "second_head", "of_other_attempt"} <= set(
        NAMES
    )


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ELSEWHERE])
def test_a_named_case_is_tested(name: str) -> None:
    assert f'"{name}"' in TESTS or f'"{name} ' in TESTS, f"{name} is a case of no test"


def test_every_code_of_a_check_is_in_the_text() -> None:
    spoken = set(re.findall(r"[a-z0-9_]+", TEXT))
    assert spoken >= CODES, CODES - spoken
