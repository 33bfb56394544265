"""Stacks as py-spy writes them in its raw format, made comparable: no machine's paths, no addresses, no thread ids.

A line is frames from the outermost to the innermost, parted by semicolons, then the number of samples. A frame is
`function (place)`; native ones have a C file or a library as their place, and an address where nothing names the function.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

UNNAMED: Final = "?"
WAITS: Final = frozenset(
    [
        "clock_nanosleep",
        "epoll_pwait",
        "epoll_pwait2",
        "epoll_wait",
        "fdatasync",
        "fsync",
        "nanosleep",
        "poll",
        "ppoll",
        "pthread_cond_timedwait",
        "pthread_cond_wait",
        "PyThread_acquire_lock_timed",
        "select",
        "sem_clockwait",
        "sem_timedwait",
        "sem_wait",
        "take_gil",
    ]
)
"""Functions in which a thread waits. py-spy counts a thread that it has just let go again as busy for a moment."""
SYSTEM_CALLS: Final = frozenset(
    [
        "accept4",
        "close",
        "epoll_ctl",
        "getpid",
        "pread64",
        "pwrite64",
        "read",
        "readv",
        "recv",
        "recvfrom",
        "recvmsg",
        "send",
        "sendmsg",
        "sendto",
        "setsockopt",
        "shutdown",
        "write",
        "writev",
    ]
)
"""Functions of libc in which a thread is in the kernel and has work there."""
_LIBC: Final = re.compile(r"^(libc|libpthread|ld-musl)[.-]")
_FRAME: Final = re.compile(r"^(?P<function>.*?) \((?P<place>[^()]*)\)$")
_THREAD: Final = re.compile(r"^thread \(\d+\): (?P<name>.*)$")
_ADDRESS: Final = re.compile(r"^0x[0-9a-f]+$")
_ROOTS: Final = re.compile(r"^.*(?:/site-packages/|/src/|/project/|/lib/python[^/]*/)")
_WRAPPING: Final = re.compile(r"^(?:typer/|object\.h$|<frozen runpy>)")


class Frame(NamedTuple):
    """A function and the file or library it is in, from its package on."""

    function: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.function} ({self.place})" if self.place else self.function


Stack = tuple[Frame, ...]
"""Frames from the outermost to the innermost."""


def frame(text: str) -> Frame:
    """Read one frame."""
    if thread := _THREAD.match(text):
        return Frame(thread["name"])
    found = _FRAME.match(text)
    function, place = (found["function"], found["place"]) if found else (text, "")
    if _ROOTS.match(place):
        place = _ROOTS.sub("", place)
    elif place.startswith("/"):
        place = place.rpartition("/")[2]
    return Frame(UNNAMED if _ADDRESS.match(function) else function, place)


def read(lines: Iterable[str]) -> Counter[Stack]:
    """Read a raw profile; stacks that differ only in what is dropped become one. Raises `ValueError` for another format."""
    samples: Counter[Stack] = Counter()
    for line in lines:
        stack, _, count = line.rstrip("\n").rpartition(" ")
        frames = (frame(text) for text in stack.split(";"))
        samples[tuple(each for each in frames if not _WRAPPING.match(each.place))] += int(count)
    return samples


def is_waiting(stack: Stack) -> bool:
    """Tell whether the innermost function that has a name is one that waits."""
    named = (each.function for each in reversed(stack) if each.function != UNNAMED)
    return next(named, "") in WAITS


def is_in_kernel(stack: Stack) -> bool:
    """Tell whether the innermost function that has a name is a system call."""
    named = (each for each in reversed(stack) if each.function != UNNAMED)
    innermost = next(named, Frame(""))
    return innermost.function in SYSTEM_CALLS and bool(_LIBC.match(innermost.place))


def busy(samples: Counter[Stack]) -> Counter[Stack]:
    """Return the samples of threads that had work."""
    return Counter({stack: count for stack, count in samples.items() if not is_waiting(stack)})


def collapsed(samples: Counter[Stack]) -> str:
    """Return the samples in the format that flame graph tools read."""
    lines = (f"{';'.join(map(str, stack))} {count}\n" for stack, count in samples.items())
    return "".join(sorted(lines))
