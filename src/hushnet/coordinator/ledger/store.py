"""The store that the ledger needs, and the rows that go in and out of it.

One transaction is: lock and read what a batch may touch (`Reads`), let the pure planner decide (`Writes`), write it all
or nothing. The store adds no judgement of its own; a write that does not fit what was read is an error, never a merge.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar

from hushnet.coordinator.ledger.model import CapUse, Held, UsageRecord
from hushnet.foundation.errors import StorageError
from hushnet.foundation.ids import AccountId, RequestId

T = TypeVar("T")


class LaneLostError(StorageError):
    """Another process writes on our lane: nothing was committed and nothing may be until a lane is claimed."""

    code = "ledger_lane_lost"


class ContentionError(StorageError):
    """A rival's locks were in the way (deadlock, serialisation, lock timeout): nothing was committed."""

    code = "ledger_contention"


class UnavailableError(StorageError):
    """The connection was lost: the transaction may have been committed or not."""

    code = "ledger_unavailable"


class Transfer(NamedTuple):
    """One row of ledger_transfers; `phase` and `code` are plain ints here, `credit` is None unless posted."""

    fact: int
    leg: int
    phase: int
    code: int
    debit: int
    credit: int | None
    amount: int
    at_ms: int


class Delta(NamedTuple):
    """What a batch adds to one account's columns, and whether it is then closed (None: as before)."""

    account: int
    credits: int
    debits: int
    held: int
    is_closed: bool | None = None


@dataclass(frozen=True, slots=True)
class AccountState:
    """An account's columns as they were read under the lock."""

    credits: int = 0
    debits: int = 0
    held: int = 0
    is_closed: bool = False

    @property
    def balance(self) -> int:
        return self.credits - self.debits


@dataclass(frozen=True, slots=True)
class StoredHold:
    """One open hold. `draft` is the encoded settlement as it was last noted."""

    id: RequestId
    owner: AccountId
    parts: Held
    opened_ms: int
    expires_ms: int
    origin: int
    caps: tuple[CapUse, ...] = ()
    draft: str | None = None


@dataclass(frozen=True, slots=True)
class WindowState:
    """One window of a budget and the ceiling in force."""

    spent: int
    held: int
    ceiling: int


class WindowDelta(NamedTuple):
    cap: int
    start_ms: int
    spent: int
    held: int


class FactRow(NamedTuple):
    id: int
    key: str
    digest: bytes
    code: int
    owner: int
    actor: str
    note: str
    at_ms: int


class BatchRow(NamedTuple):
    """One link of a lane's audit chain."""

    lane: int
    seq: int
    prev: bytes
    digest: bytes
    row_count: int
    at_ms: int

    @property
    def number(self) -> int:
        """What ledger_transfers.batch has for the rows of this link."""
        return self.lane << 48 | self.seq


@dataclass(frozen=True, slots=True)
class Reads:
    """What a batch needs to see, every tuple ascending.

    `accounts` are locked; `create` are accounts that may have to appear first; `ids` are holds to look for, open or
    finalised; `uses` are ids of free uses; `windows` are budget windows, made when missing and locked.
    """

    accounts: tuple[int, ...] = ()
    create: tuple[int, ...] = ()
    ids: tuple[int, ...] = ()
    keys: tuple[str, ...] = ()
    uses: tuple[int, ...] = ()
    windows: tuple[CapUse, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was there, read after the locks were taken.

    `transfers` has the rows of a hold that is no longer open, under the hold's id, the finaliser's included.
    """

    accounts: Mapping[int, AccountState] = field(default_factory=dict)
    holds: Mapping[int, StoredHold] = field(default_factory=dict)
    transfers: Mapping[int, Sequence[Transfer]] = field(default_factory=dict)
    facts: Mapping[str, bytes] = field(default_factory=dict)
    uses: Mapping[int, UsageRecord] = field(default_factory=dict)
    windows: Mapping[CapUse, WindowState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Writes:
    """Everything that one batch writes, each list ascending by its id; `batch` is its link of the audit chain.

    `origin` is the claim under which the lane is written: the fence against whoever else has claimed it.
    """

    batch: BatchRow
    origin: int
    transfers: Sequence[Transfer] = ()
    deltas: Sequence[Delta] = ()
    opened: Sequence[StoredHold] = ()
    closed: Sequence[StoredHold] = ()
    usage: Sequence[UsageRecord] = ()
    facts: Sequence[FactRow] = ()
    windows: Sequence[WindowDelta] = ()


@dataclass(frozen=True, slots=True)
class Lease:
    """A claimed lane: its chain's head, until when it is ours, and where our ids may start.

    `origin` names this claim on every hold it opens; `database_ms` is the database's clock (None when it has none).
    """

    lane: int
    origin: int
    lease_ms: int
    seq: int
    head: bytes
    last_fact: int
    database_ms: int | None


class LedgerStore(Protocol):
    """Rows of the ledger in one database. Methods raise `StorageError`s; rows are values."""

    persist: Callable[[], Awaitable[None]] | None
    """Returns once all that was committed before the call outlives a power failure, while other calls go on; None where
    `transact` itself returns only then."""

    async def claim_lane(self, *, now_ms: int, lease_ms: int) -> Lease:
        """Take a lane nobody holds (or whose holder's lease ended a minute ago); a lane of one's own alone on SQLite."""
        ...

    async def renew_lane(self, lease: Lease, *, until_ms: int) -> Lease | None:
        """Move the lease's end (0 gives the lane back) and re-read the head; None when somebody else has the lane."""
        ...

    async def transact(self, reads: Reads, decide: Callable[[Snapshot], Writes | None]) -> None:
        """Lock, read, `decide`, write, commit; nothing is written when `decide` returns None.

        Before a `persist` a power failure may take back the last ones, in order, and nothing else does
        (docs/adr/0032-a-hold-need-not-outlive-the-power.md). Raises `LaneLostError`, `ContentionError`, `UnavailableError` (outcome unknown) or another `StorageError`.
        `decide` may run in another thread; it is called once.
        """
        ...

    async def save_drafts(self, drafts: Mapping[int, str]) -> None:
        """Note drafts on holds that are still open; others are passed over."""
        ...

    async def due_holds(self, *, now_ms: int, limit: int) -> list[StoredHold]:
        """Return open holds past their time, or whose origin's lease ended a minute ago, oldest first."""
        ...

    async def accounts_of(self, owner: AccountId, *, earned_since_ms: int) -> tuple[Mapping[int, AccountState], int]:
        """Return the owner's accounts by id, and what settlements credited to their earnings since."""
        ...

    async def usage_of(self, owner: AccountId | None, *, before: int, limit: int) -> list[UsageRecord]:
        """Return an owner's usage records (anybody's when None) with ids below `before`, newest first."""
        ...

    async def inspect(self, work: Callable[[Books], T]) -> T:
        """Run `work` over one consistent view of the whole books, beside whatever is being written."""
        ...


class AccountRow(NamedTuple):
    id: int
    owner: int
    kind: int
    asset: str
    lane: int
    floor: int
    credits: int
    debits: int
    held: int


class Books(Protocol):
    """Every row of the ledger in one snapshot; each iterator ascends by its primary key and is read once."""

    def accounts(self) -> Iterator[AccountRow]: ...
    def transfers(self) -> Iterator[tuple[Transfer, int]]: ...
    def holds(self) -> Iterator[StoredHold]: ...
    def facts(self) -> Iterator[FactRow]: ...
    def usage(self) -> Iterator[UsageRecord]: ...
    def batches(self) -> Iterator[BatchRow]: ...
    def lanes(self) -> Iterator[tuple[int, int, bytes]]: ...
    def windows(self) -> Iterator[WindowDelta]: ...
