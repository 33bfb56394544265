"""Every bound of the mesh, with its unit and its reason."""

from __future__ import annotations

from dataclasses import dataclass

from hushnet.wire.limits import ENVELOPE_BYTES_MAX


@dataclass(frozen=True, slots=True)
class MeshLimits:
    """What a test may change; all workers of a coordinator run with the same."""

    frame_bytes_max: int = ENVELOPE_BYTES_MAX + 64 * 1024
    """One frame: the largest envelope and what goes with it. A longer one ends the connection."""
    queue_bytes_max: int = 64 * 1024 * 1024
    """Bytes that may wait for one worker: at 300 bytes a chunk and 16,000 chunks a second, 13 s of a worker that hangs."""
    high_bytes: int = 256 * 1024
    stall_s: float = 5.0
    """How long more than `high_bytes` may wait without the socket once draining below a quarter of that."""
    beat_s: float = 1.0
    silent_beats_max: int = 10
    """Beats of ours without a byte of the peer: its process hangs. Counted in beats, so that a machine that slept, or a loop
    that was busy here, blames nobody."""
    hello_s: float = 5.0
    redial_s_min: float = 0.02
    redial_s_max: float = 1.0
    ask_s: float = 2.0
    """How long a question may stay unanswered; the worker that was asked is not blamed: this loop may have been the busy one."""
    asks_max: int = 4096
    strangers_max: int = 64
    """Connections that have not said who they are."""
    attempts_max: int = 16_384
    """Attempts that one worker may have open at another's providers."""
    linger_s: float = 30.0
    """How long a provider may take to free the slot of an attempt that was cancelled or has ended (as in serving)."""
