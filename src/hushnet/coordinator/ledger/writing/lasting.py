"""Outcomes that are told only when they outlive a power failure: what was committed together waits for the disk together.

The disk is waited for beside the next commits, so that a hold never waits for it (docs/adr/0032).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from hushnet.foundation.errors import StorageError

_LOG = logging.getLogger(__name__)

Tell: TypeAlias = Callable[[], None]
Fail: TypeAlias = Callable[[StorageError], None]


class Lasting:
    """What is committed and not yet told."""

    def __init__(self, persist: Callable[[], Awaitable[None]]) -> None:
        self._wait_for_disk = persist
        self._untold: list[tuple[Tell, Fail]] = []
        self._in_flight = 0
        self._persisting: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._untold) + self._in_flight

    def add(self, tell: Tell, fail: Fail) -> None:
        """Call `tell` once everything committed so far lasts, `fail` with the reason when the disk will not have it."""
        self._untold.append((tell, fail))
        if self._persisting is None:
            self._persisting = asyncio.create_task(self._persist(), name="ledger-disk")

    async def done(self) -> None:
        """Wait until everything has been told."""
        if self._persisting is not None:
            await self._persisting

    async def _persist(self) -> None:
        while self._untold:
            batch, self._untold = self._untold, []
            self._in_flight = len(batch)
            try:
                await self._wait_for_disk()
            except Exception as error:
                _LOG.error("the disk failed the ledger", extra={"count": len(batch), "error": type(error).__name__})
                reason = error if isinstance(error, StorageError) else StorageError("the disk failed the ledger")
                for _, fail in batch:
                    fail(reason)
            else:
                for tell, _ in batch:
                    tell()
        self._in_flight = 0
        self._persisting = None
