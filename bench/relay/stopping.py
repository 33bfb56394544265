"""How a bench ends before its end: the first SIGTERM or SIGINT unwinds it, later ones don't cut what it ends then.

What starts or ends processes does so under `held`: a signal waits until what was started is noted, or all of it is gone.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class _Turns:
    """How many `held` blocks the main thread is in, and the signal that waits for their end."""

    held: int = 0
    waiting: int = 0


def _stop(number: int, _frame: FrameType | None = None) -> None:
    """Unwind with the exit status that shells give for the signal, or have the signal wait."""
    if _Turns.held:
        _Turns.waiting = number
        return
    for each in SIGNALS:
        signal.signal(each, _nothing)  # not SIG_IGN, which processes started from here on would inherit
    raise SystemExit(128 + number)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Let a signal pass: all is being stopped already."""


@contextmanager
def held() -> Iterator[None]:
    """Have a signal that `stoppable` handles wait until this is done."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are handled in the main thread only
        return
    _Turns.held += 1
    try:
        yield
    finally:
        _Turns.held -= 1
        if _Turns.waiting and not _Turns.held:
            number, _Turns.waiting = _Turns.waiting, 0
            _stop(number)


@contextmanager
def stoppable(said: Callable[[], str]) -> Iterator[None]:
    """Run what is inside until it ends or a signal comes: then unwind it, print what `said` returns, exit with 130 or 143."""
    before = {each: signal.signal(each, _stop) for each in SIGNALS}
    try:
        yield
    except SystemExit as stopped:
        if stopped.code in {128 + each for each in SIGNALS}:
            print(said(), file=sys.stderr, flush=True)
        raise  # the handlers stay: what ends with the interpreter is not cut either
    for each, handler in before.items():
        signal.signal(each, handler)


__all__ = ["held", "stoppable"]
