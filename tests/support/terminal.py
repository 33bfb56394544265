"""A person at a terminal: runs a command under a pseudo-terminal, reads until a text shows, types."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def _heed_ctrl_c() -> None:
    """Undo that tests which run in a shell's background inherit: that Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """One command with its terminal."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=dict(env),
            close_fds=True,
            preexec_fn=_heed_ctrl_c,  # noqa: PLW1509 - one call of the system, no lock is taken
        )
        os.close(theirs)
        self.shown = ""
        self._seen = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def read_until(self, text: str, timeout_s: float = 60.0) -> str:
        """Read until `text` shows after what was read before; return everything new up to and with it."""
        deadline = time.monotonic() + timeout_s
        while text not in self.shown[self._seen :]:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._ours], [], [], left)[0]:
                raise AssertionError(f"{text!r} never showed; the terminal shows:\n{self.shown}")
            try:
                data = os.read(self._ours, 65536)
            except OSError:
                raise AssertionError(f"the command ended before {text!r} showed:\n{self.shown}") from None
            self.shown += _ESCAPES.sub("", data.decode(errors="replace"))
        end = self.shown.index(text, self._seen) + len(text)
        new, self._seen = self.shown[self._seen : end], end
        return new

    def interrupt_until(self, text: str, timeout_s: float = 60.0) -> str:
        """Press Ctrl-C until `text` shows, as a person does: Python leaves a signal that came just before a read unseen."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.process.send_signal(signal.SIGINT)
            try:
                return self.read_until(text, timeout_s=1)
            except AssertionError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())
