"""Read what a person types at the terminal: line editing and history where readline is there, a paste as one message.

History lives in memory only: what was asked is never written to a file.
"""

from __future__ import annotations

import select
import sys
from typing import Final

from hushnet.cli import console

try:
    import readline
    import termios
except ImportError:  # neither is part of every platform
    HAS_READLINE = False
else:
    HAS_READLINE = True

# A paste arrives at once; nobody types a second line this soon after the first.
PASTE_PAUSE_S: Final = 0.05
_BOLD, _PLAIN = "\x01\x1b[1m\x02", "\x01\x1b[0m\x02"


def prepare() -> None:
    """Have readline take a paste as text instead of as keys; GNU readline does, libedit ignores it."""
    if HAS_READLINE:
        readline.parse_and_bind("set enable-bracketed-paste on")


def read_message(prompt: str) -> str | None:
    """Return the next message that is not blank, None at the end of input; raises `KeyboardInterrupt` at Ctrl-C.

    Lines that are waiting already when one was read belong to it: a pasted text of many lines is one message.
    """
    while (line := _read_line(prompt)) is not None:
        lines = [line]
        while _is_more_waiting():
            more = _read_line("")
            if more is None:
                break
            lines.append(more)
        if message := "\n".join(lines).strip():
            return message
    return None


def _read_line(prompt: str) -> str | None:
    if HAS_READLINE and sys.stdin.isatty() and sys.stdout.isatty():
        try:
            return input(f"{_BOLD}{prompt}{_PLAIN}" if prompt else "")
        except EOFError:
            return None
    console.err().print(f"[bold]{prompt}[/]", end="", soft_wrap=True)
    line = sys.stdin.readline()
    return line.removesuffix("\n") if line else None


def _is_more_waiting() -> bool:
    """Tell whether text waits at the terminal, also a last line that has no end yet."""
    if not HAS_READLINE or not sys.stdin.isatty():
        return False
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    by_key = [*before[:3], before[3] & ~(termios.ICANON | termios.ECHO), *before[4:]]
    by_key[6] = [*before[6]]
    by_key[6][termios.VMIN], by_key[6][termios.VTIME] = 1, 0
    termios.tcsetattr(terminal, termios.TCSANOW, by_key)
    try:
        return bool(select.select([terminal], [], [], PASTE_PAUSE_S)[0])
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)
