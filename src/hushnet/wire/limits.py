"""Every bound and interval of the link, with its unit and its reason, and the token bucket that holds peers to a pace."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

LINK_PATH: Final = "/v1/provider/link"
LINK_VERSIONS: Final = (1,)
"""What this build speaks, best first."""

ATTEMPT_MAX: Final = 2**32 - 1
CREDIT_BYTES_MAX: Final = 2**31 - 1
DEADLINE_MS_MAX: Final = 86_400_000

MESSAGE_BYTES_MAX: Final = 128 * 1024
"""One WebSocket message, either way: room for the longest sealing record (65,820 bytes) and some more."""

CONTROL_BYTES_MAX: Final = 64 * 1024
"""One control frame: a register with the longest statement (16 KiB) and 64 offers stays below."""

ENVELOPE_PART_BYTES: Final = 64 * 1024
"""One part of an envelope: what a cancel can wait behind on a slow line, beside the kernel's buffer."""

ENVELOPE_BYTES_MAX: Final = 16 * 1024 * 1024 + 8 * 1024
"""Body ciphertext of 16 MiB, header, one entry with the longest wrap (docs/sealing.md section 5), rounded up."""

WAITING_BYTES_MAX: Final = 128 * 1024
"""Records of one attempt that a provider may hold back for want of credit."""

CANCEL_CREDIT_BYTES: Final = 256 * 1024
"""What a cancel grants by itself: waiting records and a final one leave without more credit. The coordinator bears twice
as much, because records that left before the cancel arrived still count."""


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """What a deployment or a test may change; both ends take the same class and read their own part."""

    register_s: float = 10.0
    """Hello to register at the coordinator; dial to registered at the provider."""

    admit_s: float = 10.0
    """Register to verdict: the gate reads the database, and a slow database is not the provider's fault."""

    heartbeat_s: float = 5.0
    heartbeat_missing_s: float = 15.0
    """Three heartbeats: two may be lost in a burst of work before the link counts as dead."""

    stall_s: float = 15.0
    """How long a socket may refuse to take bytes before the link is given up."""

    close_s: float = 1.0
    """Time for the closing frames to leave before the socket is aborted."""

    drain_s: float = 30.0
    """How long a draining provider waits for its running attempts."""

    ping_idle_s: float = 10.0
    ping_reply_s: float = 5.0
    """The provider finds a coordinator that vanished without a word within the sum of these two."""

    backoff_s_min: float = 0.2
    backoff_s_max: float = 30.0

    control_frames_per_s: float = 50.0
    control_frames_burst: int = 500
    """Heartbeats, replies and updates are a few a second; frames that end a dispatched attempt do not count."""

    reports_per_beat: float = 10.0
    reports_burst: int = 20
    """Heartbeats, model lists and statements, counted by the heartbeat's interval: an agent sends one a beat, and a few more
    at once when its engines or its keys change. Of what is beyond, heartbeats are dropped, and the latest models and
    statement wait for their turn."""

    reports_excess_max: int = 200
    """Reports beyond that pace, and answers that nobody asked for, that a link bears within a minute before it is ended: two
    for each of 64 models that change at once, and some more."""

    announce_s: float = 0.5
    """How often an agent tells of changes at most: those of one moment go together."""

    faults_max: int = 16
    """Tolerated rule breaches on one link before it is closed."""

    attempts_open_max: int = 1024
    outbound_bytes_max: int = 64 * 1024 * 1024
    """Envelope bytes that may wait for one link; the next dispatch is refused."""

    control_queue_bytes_max: int = 1024 * 1024
    """Control bytes that may wait behind a full socket; past it the link is stalled."""

    assembly_bytes_max: int = 128 * 1024 * 1024
    """Unfinished envelopes that one provider holds; the next attempt is refused with `capacity`."""

    data_high_bytes: int = 256 * 1024
    """Waiting record bytes of one link above which writers wait."""


_ONE: Final = 1.0 - 1e-6
"""A whole token but for rounding: what is ready when it said it would be."""


class Pace:
    """A token bucket, how often a peer may do something: `burst` at once, `per_s` in the long run; starts full."""

    __slots__ = ("_burst", "_left", "_per_s", "_then_s")

    def __init__(self, per_s: float, *, burst: int, now_s: float) -> None:
        self._per_s = per_s
        self._burst = float(burst)
        self._left = float(burst)
        self._then_s = now_s

    def take(self, now_s: float) -> bool:
        """Use one up; False when none is left."""
        self._left = min(self._burst, self._left + max(0.0, now_s - self._then_s) * self._per_s)
        self._then_s = now_s
        if self._left < _ONE:
            return False
        self._left -= 1.0
        return True

    @property
    def ready_s(self) -> float:
        """When the next `take` succeeds; infinite when none ever will."""
        missing = max(0.0, 1.0 - self._left)
        return self._then_s + missing / self._per_s if self._per_s > 0 else self._then_s if not missing else math.inf

    def give_back(self) -> None:
        """Undo one `take`: what was taken turned out to be owed."""
        self._left = min(self._burst, self._left + 1.0)
