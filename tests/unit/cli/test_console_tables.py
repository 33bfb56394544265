"""Tables: one line a row where there is no edge, and names that are never broken where there is one."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from hushnet.cli import console

LONG = "an-organisation/a-model-with-a-long-name-70b-instruct"


class Screen(io.StringIO):
    """A stdout that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _fresh_consoles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TERM", "xterm")
    console.out.cache_clear()
    yield
    console.out.cache_clear()


def shown(monkeypatch: pytest.MonkeyPatch, stdout: io.StringIO, columns: int) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.stdout", stdout)
    table = console.table("model", "price", "meaning", numeric=frozenset({"price"}), whole=frozenset({"model"}))
    table.add_row(LONG, "$0.000001", "many words that say what it is and is not, and more of them")
    console.print_table(table)
    return stdout.getvalue().splitlines()


def test_a_file_gets_one_line_a_row_and_no_blank_first_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(monkeypatch, io.StringIO(), 80)
    assert lines[0].startswith("model")
    assert len(lines) == 3
    assert lines[2].rstrip().endswith("and more of them")


@pytest.mark.parametrize("columns", [60, 80])
def test_a_narrow_terminal_breaks_no_name_and_no_number(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    text = "\n".join(shown(monkeypatch, Screen(), columns))
    assert LONG in text
    assert "$0.000001" in text


def test_an_unbroken_cell_of_several_words_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stdout", screen)
    table = console.table("name", "a long heading", numeric=frozenset({"a long heading"}), whole=frozenset({"name"}))
    table.add_row("trust unavailable, own first", "12,345,678 ms")
    console.print_table(table)
    assert "trust unavailable, own first" in screen.getvalue()
    assert "12,345,678 ms" in screen.getvalue()
    assert "a long heading" in screen.getvalue()


def test_a_notice_at_a_terminal_wraps_at_words(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stderr", screen)
    console.err.cache_clear()
    words = ["readable", "by", "you", "and", "by", "the", "providers", "whose", "keys", "are", "verified", "here"]
    console.err().print(" ".join(words))
    console.err.cache_clear()
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= 40
    assert [word for line in lines for word in line.split()] == words
