"""Work on many rows of which none may hold up the others: one that fails is noted, and a rail that is silent ends the pass.

| a row's work raises | then |
|---|---|
| that the rail does not answer (`CapacityError`) | the next row; a finding when the row is a day old; after some in a row the pass ends |
| that the database fails (`StorageError`) | the pass ends |
| anything else | a finding, and the next row |
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from hushnet.coordinator.ledger.transaction import MoneyStore
from hushnet.coordinator.payments.model import note_finding
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import CapacityError, HushnetError, StorageError

_LOG = logging.getLogger(__name__)

SILENT_MAX: Final = 3
"""Rows one after the other for which a rail gives no answer, until it is taken to be down."""
OLD_MS: Final = 86_400_000


class OneByOne:
    """One pass over rows of one rail. `finding` is the kind under which rows that fail are noted."""

    def __init__(self, store: MoneyStore, clock: Clock, *, finding: str) -> None:
        self._store = store
        self._clock = clock
        self._finding = finding
        self._silent = 0
        self.unanswered: CapacityError | None = None
        """Why some row has still to be done in another pass."""

    async def do(self, work: Callable[[], Awaitable[object]], *, subject: str, at_ms: int) -> None:
        """Do the work of a row that is there since `at_ms`; raises `CapacityError` when the rail is down, `StorageError`."""
        try:
            await work()
        except CapacityError as error:
            self.unanswered = error
            self._silent += 1
            _LOG.warning("a rail does not answer about a row", extra={"task": self._finding})
            if self._silent >= SILENT_MAX:
                raise
            if self._clock.now_ms() - at_ms >= OLD_MS:
                await self._note(subject, error.error_code)
        except StorageError:
            raise
        except Exception as error:
            word = error.error_code if isinstance(error, HushnetError) else type(error).__name__
            _LOG.warning("a row could not be put right", extra={"task": self._finding, "error": word})
            self._silent = 0
            await self._note(subject, word)
        else:
            self._silent = 0

    async def _note(self, subject: str, word: str) -> None:
        await self._store.transact(lambda tx: note_finding(tx, self._finding, subject, word))
