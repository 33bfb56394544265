"""What a person sees while a model is fetched and hashed."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as RichProgress

from hushnet.provider.models.builds import Progress

_WORDS = {"download": "Fetching the model", "hash": "Checking the model"}


@contextmanager
def progress_bar(console: Console) -> Generator[Progress, None, None]:
    """Show a bar for each thing reported; nothing where the console is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks = {what: bar.add_task(words, visible=False) for what, words in _WORDS.items()}

        def report(what: str, done: int, whole: int) -> None:
            bar.update(tasks[what], completed=done, total=whole or None, visible=True)

        yield report
