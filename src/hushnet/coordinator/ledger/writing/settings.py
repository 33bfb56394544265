"""The tuning of one ledger process."""

from __future__ import annotations

from dataclasses import dataclass

from hushnet.coordinator.settings.payouts import EARNINGS_MATURITY_H, HOUR_MS


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """The tuning of one ledger process."""

    batch_max: int = 256
    """Operations in one transaction; beyond this the commit itself is no longer what is waited for."""
    close_wait_s: float = 0.002
    """How long a close may wait for a hold to share its transaction with. Nobody waits for a close, and a hold that comes
    meanwhile does not find the writer busy with it."""
    queue_max: int = 4096
    """Operations waiting; more are answered `Busy`."""
    lease_ms: int = 30_000
    """How long a lane stays ours without renewal."""
    renew_s: float = 10.0
    sweep_s: float = 60.0
    draft_s: float = 5.0
    """How often drafts are saved, and how old a request must be for its draft to be worth saving."""
    outage_s_max: float = 30.0
    """How long operations in flight wait for a database that went away before their callers get an error."""
    maturity_ms: int = EARNINGS_MATURITY_H * HOUR_MS
    """Earnings younger than this are not withdrawable; payouts go by the same setting."""
    clock_skew_ms_max: int | None = 5_000
    """Refuse to run when our clock and the database's differ by more; None when a test owns the clock."""
