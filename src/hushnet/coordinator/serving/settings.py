"""The limits of a request's life. Times in seconds, sizes in bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hushnet.coordinator.ledger.prices import TermsTable
from hushnet.coordinator.routing.warmth import WarmLimits
from hushnet.foundation.ids import ModelId


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingLimits:
    """What an operator or a test may change."""

    queue_s_max: float = 120.0
    """Waiting for a provider, all attempts together."""
    request_s_max: float = 600.0
    """From the hold to the last byte, without the queue."""
    first_content_s_max: float = 60.0
    """From dispatch until the attempt shows content, an end or an error; then the next provider is tried."""
    hedge_share: float = 0.5
    """An attempt that has shown nothing after this part of `first_content_s_max` gets a backup elsewhere; 0: none does."""
    idle_s_max: float = 30.0
    """Silence of a provider in the middle of an answer."""
    attempts_max: int = 3
    """Providers tried for one request in standard mode; in sealed mode the envelope's entries bound them too."""
    refusals_max: int = 8
    """Refusals for want of room that one request takes in standard mode, on top of `attempts_max`: a few providers that claim
    slots and refuse everything must not use its attempts up."""
    attempts_at_one_max: int = 2
    """Attempts at the same provider when nobody else can serve."""
    output_tokens_default: int = 1024
    """The output bound of a request that names none: the SDK's default too."""
    window_bytes: int = 256 * 1024
    """Record bytes that a provider may be ahead of its consumer: about a minute of text at 40 tokens a second."""
    grace_s: float = 0.25
    """A consumer whose window is full and that has stopped reading is given up after this (ADR 0031). Meanwhile the provider
    waits for credit and memory stays bounded."""
    pace_bytes_s_min: int = 128 * 1024
    """The slowest reading that is served while a provider could be faster: ten times a stream of 40 tokens a second. The grace
    begins when a reader of this pace would have freed one step of its kernel's buffer (`stops.STEP_BYTES_MAX`)."""
    patience_s: float = 10.0
    """The same as the grace where it is not known that the reader is to blame: a line that loses packets, a platform that does
    not tell. With it a line of 26 kB/s keeps up."""
    hold_back_records_max: int = 16
    hold_back_bytes_max: int = 64 * 1024
    """What is held of an attempt that has shown no content yet (design/sealing.md section 7)."""
    whole_bytes_max: int = 16 * 1024 * 1024
    """The records of an answer that is not streamed, gathered before the first byte leaves."""
    last_word_s_max: float = 2.0
    """How long a settlement waits for the final record of an attempt that was cancelled."""
    linger_s_max: float = 30.0
    """How long a provider may take to say that a slot is free after its attempt has ended."""
    hold_margin_s: float = 120.0
    """A hold outlives its request's last deadline by this (docs/ledger.md section 5)."""
    draft_s: float = 5.0
    close_retry_s: float = 0.5
    """Between two tries to close a hold while the ledger is busy."""
    load_s_max: float = 300.0
    """What an attempt may take longer to its first content because its provider loads the model: at most what that said."""
    warm: WarmLimits = field(default_factory=WarmLimits)
    """How the warm pool decides."""
    pins: Mapping[ModelId, int] = field(default_factory=dict)
    """Models that stay loaded on at least so many machines."""
    terms: TermsTable = field(default_factory=TermsTable)
    """How costs are reckoned and divided."""

    @property
    def total_s_max(self) -> float:
        """From the hold to the last byte."""
        return self.queue_s_max + self.request_s_max
