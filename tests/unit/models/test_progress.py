"""The bar that a person sees, and nothing where nobody looks."""

import io

from rich.console import Console

from hushnet.provider.models.progress import progress_bar


def test_a_terminal_shows_what_is_done() -> None:
    screen = io.StringIO()
    with progress_bar(Console(file=screen, force_terminal=True, width=120)) as report:
        report("download", 500_000, 1_000_000)
        report("hash", 10, 0)

    assert "Fetching the model" in screen.getvalue()


def test_a_pipe_stays_clean() -> None:
    pipe = io.StringIO()
    with progress_bar(Console(file=pipe, force_terminal=False)) as report:
        report("download", 1, 2)

    assert pipe.getvalue().strip() == ""
