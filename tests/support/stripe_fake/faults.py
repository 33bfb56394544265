"""What can go wrong with a request, by switch: the next requests that match suffer it, in the order they were asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum


class Fault(Enum):
    """Where a request fails; "after" means that it was executed all the same."""

    DROP_BEFORE = "the connection is reset before the request is executed"
    DROP_AFTER = "executed, then the connection is reset without an answer"
    HANG_BEFORE = "no answer until the client hangs up, and not executed"
    HANG_AFTER = "executed, then no answer until the client hangs up"
    ERROR_500_BEFORE = "500, not executed; the 500 is stored under the idempotency key"
    ERROR_500_AFTER = "executed, and 500 is answered and stored"
    UNAVAILABLE = "503, not executed, nothing stored"
    RATE_LIMIT = "429, not executed, nothing stored"
    IN_PROGRESS = "409, as if the same key were in use"

    @property
    def is_executed(self) -> bool:
        return self.name.endswith("_AFTER")


@dataclass
class Switch:
    """`pattern` matches `METHOD /path`, whole, as a regular expression; `left` requests will suffer."""

    pattern: re.Pattern[str]
    fault: Fault
    left: int
    skip: int = 0


class Faults:
    """The switches that are on."""

    def __init__(self) -> None:
        self.switches: list[Switch] = []
        self.struck: list[tuple[str, Fault]] = []

    def add(self, pattern: str, fault: Fault, *, times: int = 1, skip: int = 0) -> None:
        self.switches.append(Switch(re.compile(pattern), fault, times, skip))

    def strike(self, request: str) -> Fault | None:
        """Return what this request suffers, and count it."""
        for switch in self.switches:
            if not switch.left or switch.pattern.fullmatch(request) is None:
                continue
            if switch.skip:
                switch.skip -= 1
                continue
            switch.left -= 1
            self.struck.append((request, switch.fault))
            return switch.fault
        return None
