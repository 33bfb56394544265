"""`serving.store.RequestKeys` on both databases: one row a key, made before anything of its request is held.

How many an account has is counted at most once a minute and process, so the bound is kept within what it claims meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import Final

from sqlalchemy import BigInteger, Column, Connection, LargeBinary, MetaData, Table, delete, func, select

from hushnet.coordinator.serving.store import KEYED_MS, KeyedRequest
from hushnet.coordinator.storage.database import Database
from hushnet.coordinator.storage.faults import storage_faults
from hushnet.coordinator.storage.money.rows import add_new
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import CapacityError, StorageError
from hushnet.foundation.ids import AccountId, RequestId

_LOG = logging.getLogger(__name__)

REQUEST_KEYS: Final = Table(
    "request_keys",
    MetaData(),
    Column("owner", BigInteger, primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    Column("body", LargeBinary),
    Column("request", BigInteger),
    Column("at_ms", BigInteger),
)
_C: Final = REQUEST_KEYS.c
COUNT_S: Final = 60.0
"""How long a count holds."""
OWNERS_COUNTED_MAX: Final = 10_000
FORGET_S: Final = 600.0
FORGET_MAX: Final = 1000
"""Rows that one transaction deletes."""


class SqlRequestKeys:
    """The keyed requests of every account in the database; `forget_forever` is a task of the process."""

    def __init__(self, database: Database, clock: Clock, *, owner_max: int) -> None:
        """An account may have about `owner_max` keys at a time."""
        self._database = database
        self._clock = clock
        self._owner_max = owner_max
        self._counts: OrderedDict[AccountId, tuple[int, float]] = OrderedDict()

    async def claim(self, wanted: KeyedRequest) -> KeyedRequest:
        """See `RequestKeys.claim`."""
        await self._require_room(wanted.owner)
        with storage_faults():
            found = await self._database.write(lambda connection: _claimed(connection, wanted))
        if found is None:
            raise StorageError("a key of a request came and went")
        if found.request_id == wanted.request_id and wanted.owner in self._counts:  # not crowded out meanwhile
            count, until_s = self._counts[wanted.owner]
            self._counts[wanted.owner] = (count + 1, until_s)
        return found

    async def release(self, claimed: KeyedRequest) -> None:
        """See `RequestKeys.release`."""
        is_it = (_C.owner == claimed.owner) & (_C.key == claimed.key) & (_C.request == claimed.request_id)
        with storage_faults():
            await self._database.write(lambda connection: connection.execute(delete(REQUEST_KEYS).where(is_it)))

    async def forget(self) -> int:
        """Delete up to a thousand rows whose day is over; return how many."""
        before_ms = self._clock.now_ms() - KEYED_MS

        def work(connection: Connection) -> int:
            old = select(_C.owner, _C.key).where(_C.at_ms <= before_ms).order_by(_C.at_ms).limit(FORGET_MAX)
            rows = connection.execute(old).all()
            for owner, key in rows:
                is_it = (_C.owner == owner) & (_C.key == key) & (_C.at_ms <= before_ms)
                connection.execute(delete(REQUEST_KEYS).where(is_it))
            return len(rows)

        with storage_faults():
            return await self._database.write(work)

    async def forget_forever(self) -> None:
        """Forget what is old, every ten minutes, until cancelled."""
        while True:
            try:
                while await self.forget():
                    pass
            except StorageError as error:
                _LOG.warning("old keys of requests were not forgotten", extra={"code": error.error_code})
            await asyncio.sleep(FORGET_S)

    async def _require_room(self, owner: AccountId) -> None:
        now_s = self._clock.monotonic_s()
        count, until_s = self._counts.get(owner, (0, now_s))
        if until_s <= now_s:
            some = select(_C.owner).where(_C.owner == owner).limit(self._owner_max)
            counted = select(func.count()).select_from(some.subquery())
            with storage_faults():
                count = await self._database.read(lambda connection: connection.execute(counted).scalar_one())
            until_s = now_s + COUNT_S
        self._counts[owner] = (count, until_s)
        self._counts.move_to_end(owner)
        if len(self._counts) > OWNERS_COUNTED_MAX:
            self._counts.popitem(last=False)
        if count >= self._owner_max:
            raise CapacityError(
                f"an account may name {self._owner_max} requests a day with an Idempotency-Key",
                code="too_many_request_keys",
                retry_after_s=COUNT_S,
            )


def _claimed(connection: Connection, wanted: KeyedRequest) -> KeyedRequest | None:
    is_same = (_C.owner == wanted.owner) & (_C.key == wanted.key)
    connection.execute(delete(REQUEST_KEYS).where(is_same, _C.at_ms <= wanted.at_ms - KEYED_MS))
    values = {
        "owner": wanted.owner,
        "key": wanted.key,
        "body": wanted.body,
        "request": wanted.request_id,
        "at_ms": wanted.at_ms,
    }
    if add_new(connection, REQUEST_KEYS, values):
        return wanted
    row = connection.execute(select(REQUEST_KEYS).where(is_same)).one_or_none()
    if row is None:
        return None  # its own request released it just now
    return KeyedRequest(AccountId(row.owner), bytes(row.key), bytes(row.body), RequestId(row.request), row.at_ms)
