"""The keeper of the books: closes days in the background, publishes their roots, proves an owner's part.

A root is signed by the coordinator's own key, and nonces come from its own secret: both are files in its home. Where
several homes share one database, each needs the same two files.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import Final

from hushnet.coordinator.ledger.books.closing import closed, gather
from hushnet.coordinator.ledger.books.days import DayRow, DayStore
from hushnet.coordinator.ledger.books.liabilities import OwnerProof, day_secret, proofs_of, tree_of
from hushnet.coordinator.ledger.books.published import root_document
from hushnet.coordinator.ledger.books.tree import Tree
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import CapacityError, ConfigurationError, RequestError, StorageError
from hushnet.foundation.ids import AccountId
from hushnet.foundation.redaction import Secret
from hushnet.identity.keys import IdentityKey

_LOG = logging.getLogger(__name__)

LOOK_S: Final = 60.0
"""How often the keeper looks whether a day is due."""
TREES_KEPT: Final = 2
"""Trees of days that were asked about last; one of a million owners has 80 MB."""

ASKING_MAX: Final = 32
"""Proofs that may wait for a tree; one that has to be built takes a processor for about 10 µs an owner."""
RETRY_S: Final = 5.0


def not_closed(day: int | None) -> RequestError:
    """Return what is said of a day that is not closed; None asked for the newest, and there is none."""
    return RequestError(
        "no day is closed yet" if day is None else "that day is not closed",
        code="day_not_closed",
        hint="a day is closed five minutes after it has ended (UTC); a coordinator that does not run closes none",
    )


@dataclass(frozen=True, slots=True)
class BookKeys:
    """The key that signs roots, and the secret from which every day's own is derived."""

    identity: IdentityKey
    master: Secret

    def secret_of(self, day: int) -> bytes:
        return day_secret(bytes.fromhex(self.master.reveal()), day)


class BookKeeper:
    """One process's keeper. Several may run on one database: each day is closed once, with the same result."""

    def __init__(self, store: DayStore, keys: BookKeys, clock: Clock, *, network: str) -> None:
        self._store = store
        self._keys = keys
        self._clock = clock
        self._network = network
        self._trees: OrderedDict[int, Tree] = OrderedDict()
        self._building = asyncio.Lock()
        self._asking = 0

    async def run(self) -> None:
        """Close days as they fall due, for ever."""
        while True:
            try:
                await self.close_due()
            except StorageError as error:
                _LOG.warning("a day could not be closed", extra={"error": error.error_code})
            await asyncio.sleep(LOOK_S)

    async def close_due(self) -> list[DayRow]:
        """Close every day that is due, oldest first; return those that were closed here. Safe to repeat at any time."""
        made: list[DayRow] = []
        while True:
            now_ms = self._clock.now_ms()
            gathered = await self._store.inspect_days(partial(gather, now_ms=now_ms))
            if gathered is None:
                return made
            secret = self._keys.secret_of(gathered.day)
            row, balances = await asyncio.to_thread(closed, gathered, secret=secret, at_ms=now_ms)
            if await self._store.add_day(row, balances):
                made.append(row)
                note = _LOG.error if row.findings else _LOG.info
                note("a day was closed", extra={"day": row.day, "findings": len(row.findings)})

    async def root(self, day: int | None = None) -> dict[str, object]:
        """Return the signed document of a closed day's root, the newest when None; raises `RequestError` `day_not_closed`."""
        return root_document(await self.day(day), network=self._network, key=self._keys.identity)

    async def day(self, day: int | None = None) -> DayRow:
        """Return a closed day, the newest when None; raises `RequestError` `day_not_closed`."""
        row = await self._store.day(day)
        if row is None:
            raise not_closed(day)
        return row

    async def proofs(self, row: DayRow, owner: AccountId) -> list[OwnerProof]:
        """Prove what was owed to an owner on a closed day, asset by asset; none when it was nothing.

        Raises `CapacityError` (`busy`) when too many ask at once, and `ConfigurationError` when this coordinator's secret is
        not the one that the day was closed with.
        """
        if self._asking >= ASKING_MAX:
            raise CapacityError("too many proofs are being made", code="busy", retry_after_s=RETRY_S)
        secret = self._keys.secret_of(row.day)
        self._asking += 1
        try:
            balances = await self._store.balances_of(row.day, owner)
            async with self._building:
                tree = self._trees.get(row.day) or await self._built(row, secret)
                self._trees[row.day] = tree
                self._trees.move_to_end(row.day)
                while len(self._trees) > TREES_KEPT:
                    self._trees.popitem(last=False)
        finally:
            self._asking -= 1
        return proofs_of(tree, balances, secret)

    async def _built(self, row: DayRow, secret: bytes) -> Tree:
        balances = await self._store.inspect_days(lambda books: list(books.balances(row.day)))
        tree = await asyncio.to_thread(tree_of, balances, secret)
        if tree.root.hash != row.root:
            raise ConfigurationError(
                "this coordinator has not the secret that the day was closed with",
                hint="copy books.secret and books.pem from the home of the coordinator that closed it",
            )
        return tree
