"""Every provider's record: one for all links of a provider, and for its next ones. In bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from typing import Final

from hushnet.coordinator.fleet.reputation.record import Evidence, Record
from hushnet.foundation.clock import Clock
from hushnet.foundation.ids import ProviderId

RECORDS_MAX: Final = 65_536
_LOOKED_AT_MAX: Final = 64
"""Records that are looked at for one that can be forgotten."""


class RecordBook:
    """The records of one process."""

    def __init__(self, clock: Clock, *, records_max: int = RECORDS_MAX) -> None:
        self._clock = clock
        self._records_max = records_max
        self._records: OrderedDict[ProviderId, Record] = OrderedDict()
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
        record = self._records.get(provider_id)
        if record is None:
            record = self._records[provider_id] = Record(self._offset_ms)
            if len(self._records) > self._records_max:
                self._forget_one()
        else:
            self._records.move_to_end(provider_id)
        return record

    def known(self, provider_id: ProviderId) -> Record:
        """Return a provider's record to look at; a newcomer's is not kept."""
        return self._records.get(provider_id) or Record(self._offset_ms)

    def restore(self, provider_id: ProviderId, *, own: Evidence | None, others: Evidence | None) -> None:
        """Take in what was stored of a provider that nothing is known of yet."""
        if provider_id not in self._records and len(self._records) < self._records_max:
            own, others = (each and each.clamp(self.now_ms) for each in (own, others))
            self._records[provider_id] = Record(self._offset_ms, own, others)

    def changed(self) -> Iterator[tuple[ProviderId, Record]]:
        """Iterate over the records of which something is not stored yet."""
        return ((provider_id, record) for provider_id, record in self._records.items() if record.is_changed)

    def _forget_one(self) -> None:
        oldest = islice(self._records.items(), _LOOKED_AT_MAX)
        gone = next((provider_id for provider_id, record in oldest if not record.is_here), None)
        del self._records[gone if gone is not None else next(iter(self._records))]
