"""What the ledger's two stores share: lanes, drafts and reads, the same statements on SQLite and Postgres."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final, TypeVar

from sqlalchemy import Connection, Select, Text, cast, func, or_, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from hushnet.coordinator.ledger.books.audit import FIRST_DIGEST
from hushnet.coordinator.ledger.chart import Kind, user_account
from hushnet.coordinator.ledger.faults import FaultHook
from hushnet.coordinator.ledger.ids import first_id_at
from hushnet.coordinator.ledger.model import HOLD_LIFE_MS_MAX, UsageRecord
from hushnet.coordinator.ledger.store import AccountState, Books, Lease, Reads, Snapshot, StoredHold, Writes
from hushnet.coordinator.ledger.transaction import Earnings
from hushnet.coordinator.storage.database import Database
from hushnet.coordinator.storage.ledger_books import SqlBooks
from hushnet.coordinator.storage.ledger_rows import account_state, stored_hold, usage_record
from hushnet.coordinator.storage.tables import accounts, facts, holds, lanes, transfers, usage
from hushnet.foundation.errors import StorageError
from hushnet.foundation.ids import AccountId

T = TypeVar("T")

COLD_LANES: Final = 128
"""Facts that are committed with rows of their own are written on the lane this far above the process's own."""
ORPHAN_MS: Final = 60_000
"""How long after its lease's end a lane may be taken over, and its holds be finalised by others."""

_ADD_LANE: Final = text("INSERT INTO ledger_lanes (lane, head) VALUES (:lane, :head) ON CONFLICT DO NOTHING")


class SqlLedgerStore(ABC):
    """A `LedgerStore` over a `Database`, but for the hot path and the choice of a lane."""

    def __init__(
        self, database: Database, reach: FaultHook, persist: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self.persist = persist
        """See `LedgerStore.persist`."""
        self._database = database
        self._reach = reach

    @abstractmethod
    async def transact(self, reads: Reads, decide: Callable[[Snapshot], Writes | None]) -> None:
        """See `LedgerStore.transact`."""

    @abstractmethod
    def post_within(self, connection: Connection, reads: Reads, decide: Callable[[Snapshot], Writes | None]) -> None:
        """Lock, read, `decide` and write as `transact` does, inside the caller's transaction."""

    def cold_head(self, connection: Connection, *, lane: int, origin: int) -> tuple[int, bytes]:
        """Lock the lane, beside `lane`, of facts that come with rows of their own; return its chain's seq and head."""
        cold = lane + COLD_LANES
        claim = (
            update(lanes).where(lanes.c.lane == cold).values(holder=str(origin)).returning(lanes.c.seq, lanes.c.head)
        )
        row = connection.execute(claim).first()
        if row is None:
            connection.execute(_ADD_LANE, {"lane": cold, "head": FIRST_DIGEST})
            row = connection.execute(claim).one()  # a rival may have made it, and be first on it
        return row.seq, bytes(row.head)

    def earnings_within(self, connection: Connection, owner: AccountId, since_ms: int) -> Earnings:
        """Lock an owner's earnings in the caller's transaction; what others gave it since `since_ms` is young."""
        mine = accounts.c.id == user_account(owner, Kind.EARNINGS)
        columns = select(accounts.c.credits, accounts.c.debits, accounts.c.held, accounts.c.closed)
        row = connection.execute(columns.where(mine).with_for_update(key_share=True)).one_or_none()
        if row is None:
            return Earnings(available=0, young=0, is_closed=False)
        state = account_state(row)
        return Earnings(state.balance - state.held, _earned(connection, owner, since_ms), state.is_closed)

    def reach(self, point: str) -> None:
        """Tell the fault hook that this point is reached."""
        self._reach(point)

    def translated(self, error: Exception) -> StorageError:
        """Return what a driver's error means to the ledger; its text may carry values and is dropped."""
        return self._translated(error)

    @abstractmethod
    def _free_lane(self, connection: Connection, now_ms: int) -> int:
        """Return a lane nobody holds, locked against rivals until the transaction ends."""

    @abstractmethod
    def _lease_end(self, until_ms: int) -> int:
        """Return the end that is stored for a lease asked until `until_ms`."""

    @abstractmethod
    def _database_ms(self, connection: Connection) -> int | None:
        """Return the database's own clock, None when it has none."""

    @abstractmethod
    def _translated(self, error: Exception) -> StorageError:
        """Return what a driver's error means to the ledger; its text may carry values and is dropped."""

    async def _write(self, work: Callable[[Connection], T]) -> T:
        try:
            return await self._database.write(work)
        except (SQLAlchemyError, OSError) as error:
            raise self._translated(error) from None

    async def _read(self, work: Callable[[Connection], T]) -> T:
        try:
            return await self._database.read(work)
        except (SQLAlchemyError, OSError) as error:
            raise self._translated(error) from None

    async def claim_lane(self, *, now_ms: int, lease_ms: int) -> Lease:
        def claim(connection: Connection) -> Lease:
            lane = self._free_lane(connection, now_ms)
            row = connection.execute(select(lanes.c.holder, lanes.c.seq, lanes.c.head).filter_by(lane=lane)).first()
            if row is None:
                connection.execute(lanes.insert().values(lane=lane, holder="0", head=FIRST_DIGEST))
            holder, seq, head = row or ("0", 0, FIRST_DIGEST)
            # Never a former claim's number, also when the clock stands still or runs backwards.
            origin = max(now_ms, (int(holder) >> 8) + 1) << 8 | lane
            until_ms = self._lease_end(now_ms + lease_ms)
            connection.execute(update(lanes).where(lanes.c.lane == lane).values(holder=str(origin), lease_ms=until_ms))
            return Lease(lane, origin, until_ms, seq, head, _last_fact(connection), self._database_ms(connection))

        return await self._write(claim)

    async def renew_lane(self, lease: Lease, *, until_ms: int) -> Lease | None:
        def renew(connection: Connection) -> Lease | None:
            end_ms = self._lease_end(until_ms) if until_ms else 0
            mine = (lanes.c.lane == lease.lane) & (lanes.c.holder == str(lease.origin))
            row = connection.execute(
                update(lanes).where(mine).values(lease_ms=end_ms).returning(lanes.c.seq, lanes.c.head)
            ).first()
            if row is None:
                return None
            return replace(
                lease, lease_ms=end_ms, seq=row.seq, head=row.head, database_ms=self._database_ms(connection)
            )

        return await self._write(renew)

    async def save_drafts(self, drafts: Mapping[int, str]) -> None:
        def save(connection: Connection) -> None:
            for id_, draft in sorted(drafts.items()):
                connection.execute(update(holds).where(holds.c.id == id_).values(draft=draft))

        await self._write(save)

    async def due_holds(self, *, now_ms: int, limit: int) -> list[StoredHold]:
        living = select(lanes.c.holder).where(lanes.c.lease_ms >= now_ms - ORPHAN_MS)
        is_orphan = cast(holds.c.origin, Text).not_in(living)
        statement = select(holds).where(or_(holds.c.expires_ms <= now_ms, is_orphan)).order_by(holds.c.id).limit(limit)
        return await self._read(lambda connection: [stored_hold(row) for row in connection.execute(statement)])

    async def accounts_of(self, owner: AccountId, *, earned_since_ms: int) -> tuple[Mapping[int, AccountState], int]:
        columns = select(accounts.c.id, accounts.c.credits, accounts.c.debits, accounts.c.held, accounts.c.closed)
        mine = columns.where(accounts.c.owner == owner)

        def load(connection: Connection) -> tuple[Mapping[int, AccountState], int]:
            states = {id_: account_state(state) for id_, *state in connection.execute(mine)}
            return states, _earned(connection, owner, earned_since_ms)

        return await self._read(load)

    async def usage_of(self, owner: AccountId | None, *, before: int, limit: int) -> list[UsageRecord]:
        statement = select(usage).where(usage.c.id < before).order_by(usage.c.id.desc()).limit(limit)
        if owner is not None:
            statement = statement.where(usage.c.owner == owner)
        return await self._read(lambda connection: [usage_record(row) for row in connection.execute(statement)])

    async def inspect(self, work: Callable[[Books], T]) -> T:
        return await self._read(lambda connection: work(SqlBooks(connection)))


def _last_fact(connection: Connection) -> int:
    """Return the highest id in the books, whoever made it."""
    newest = [select(func.max(column)) for column in (transfers.c.fact, facts.c.id, usage.c.id)]
    return max(connection.execute(statement).scalar_one() or 0 for statement in newest)


def _earned(connection: Connection, owner: int, since_ms: int) -> int:
    """Return what others gave to the owner's earnings since then."""
    settled = connection.execute(_settled_to(owner, since_ms)).scalar_one()
    credited = connection.execute(_credited_to(owner, since_ms)).scalar_one()
    return int(settled) + int(credited)


def _settled_to(owner: int, since_ms: int) -> Select[int]:
    """Sum what settlements since then paid a provider; a finaliser may be as much younger than its id as a hold lives."""
    return select(func.coalesce(func.sum(usage.c.to_provider), 0)).where(
        usage.c.provider == owner, usage.c.id >= first_id_at(since_ms - HOLD_LIFE_MS_MAX), usage.c.at_ms > since_ms
    )


def _credited_to(owner: int, since_ms: int) -> Select[int]:
    """Sum what facts since then credited to the owner's earnings from anybody else's account."""
    return (
        select(func.coalesce(func.sum(transfers.c.amount), 0))
        .join_from(facts, transfers, transfers.c.fact == facts.c.id)
        .where(
            facts.c.owner == owner,
            facts.c.id >= first_id_at(since_ms),
            transfers.c.credit == user_account(owner, Kind.EARNINGS),
            ~transfers.c.debit.between(user_account(owner, Kind.PROMO), user_account(owner, Kind.OWED)),
        )
    )
