"""What `hush chat` takes for a question."""

from __future__ import annotations

import io
import sys

import pytest

from hushnet.cli.chat import question_of
from hushnet.foundation.errors import RequestError


class Input(io.StringIO):
    """A stdin that is, or is not, a terminal."""

    def __init__(self, text: str = "", *, is_terminal: bool) -> None:
        super().__init__(text)
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


@pytest.mark.parametrize("prompt", ["", "   ", "\n"])
@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_blank_question_is_refused_before_it_costs(
    monkeypatch: pytest.MonkeyPatch, prompt: str, is_terminal: bool
) -> None:
    monkeypatch.setattr(sys, "stdin", Input(is_terminal=is_terminal))
    with pytest.raises(RequestError, match="there is no question"):
        question_of(prompt)


def test_no_question_at_a_terminal_is_a_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Input(is_terminal=True))
    assert question_of(None) is None


def test_what_is_piped_in_follows_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Input("the diff\n", is_terminal=False))
    assert question_of("what changed?") == "what changed?\n\nthe diff"
