"""Every provider's record: one for all links of a provider, and for its next ones. In bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hushnet.coordinator.fleet.remembered import Remembered
from hushnet.coordinator.fleet.reputation.record import Evidence, Record
from hushnet.foundation.clock import Clock
from hushnet.foundation.ids import ProviderId

RECORDS_MAX: Final = 65_536
"""More are kept only while more providers are here."""


class RecordBook:
    """The records of one process."""

    def __init__(self, clock: Clock, *, records_max: int = RECORDS_MAX) -> None:
        self._clock = clock
        self._records_max = records_max
        self._records: Remembered[Record] = Remembered(records_max, is_here=lambda _, record: record.is_here)
        # Taken once: a clock that is set while we run moves no evidence.
        self._offset_ms = clock.now_ms() - round(clock.monotonic_s() * 1000)

    def __len__(self) -> int:
        return len(self._records)

    @property
    def now_ms(self) -> int:
        """Unix milliseconds as evidence counts them."""
        return self._offset_ms + round(self._clock.monotonic_s() * 1000)

    def of(self, provider_id: ProviderId) -> Record:
        """Return a provider's record, a newcomer's where there is none; it is kept."""
        return self._records.seen(provider_id, lambda: Record(self._offset_ms))

    def left(self, provider_id: ProviderId) -> None:
        """A provider is gone, as its record knows by now: it may be forgotten when many others have come since."""
        self._records.left(provider_id)

    def known(self, provider_id: ProviderId) -> Record:
        """Return a provider's record to look at; a newcomer's is not kept."""
        return self._records.get(provider_id) or Record(self._offset_ms)

    def restore(self, provider_id: ProviderId, *, own: Evidence | None, others: Evidence | None) -> None:
        """Take in what was stored of a provider that nothing is known of yet."""
        if provider_id not in self._records and len(self._records) < self._records_max:
            own, others = (each and each.clamp(self.now_ms) for each in (own, others))
            self._records.seen(provider_id, lambda: Record(self._offset_ms, own, others))

    def changed(self) -> Iterator[tuple[ProviderId, Record]]:
        """Iterate over the records of which something is not stored yet."""
        return ((provider_id, record) for provider_id, record in self._records.items() if record.is_changed)
