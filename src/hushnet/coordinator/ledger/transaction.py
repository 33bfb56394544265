"""Money in somebody else's transaction: domain rows and the facts that go with them are committed together, or not at all.

A payment changes rows of its own (a deposit, a payout, an inbox event) and moves money; one transaction does both, so
neither is ever true without the other (design/ledger.md section 5, `transact`). Work is a plain function of a
`Transaction`: it does no I/O of its own and may be run again from the start when a rival's lock got in the way.

Rows are locked in one order everywhere: domain rows first, then `post`, which locks lane, budgets and accounts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

from hushnet.coordinator.ledger.model import Fact, Hold, Outcome
from hushnet.foundation.errors import HushnetError
from hushnet.foundation.ids import AccountId

T = TypeVar("T")


class Row(Protocol):
    """A frozen dataclass whose fields are the columns of one table: int, str, bytes, bool, an IntEnum, or one of them or None."""

    TABLE: ClassVar[str]
    KEY: ClassVar[tuple[str, ...]]


R = TypeVar("R", bound=Row)


class PostingRefusedError(HushnetError):
    """The ledger refused an operation of a transaction, which was rolled back; `outcome` says why."""

    code = "posting_refused"

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"the ledger refused an operation ({type(outcome).__name__})")
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Earnings:
    """What an owner has earned, as it stands under a lock; `young` is the part that came in too recently to leave."""

    available: int
    young: int
    is_closed: bool

    @property
    def withdrawable(self) -> int:
        """Return what may leave: never more than what is there, never below nothing."""
        return max(0, self.available - self.young)


class Rows(Protocol[R]):
    """The rows of one table."""

    def get(self, *key: int | str) -> R | None:
        """Return the row with this key; in a transaction it is locked until the end."""
        ...

    def add(self, row: R) -> bool:
        """Insert; False when a row with its key, or with one of its unique columns, is there already."""
        ...

    def save(self, row: R) -> None:
        """Write every column of the row that has this row's key; raises `StorageError` when there is none."""
        ...

    def remove(self, *key: int | str) -> bool:
        """Delete the row with this key; False when there is none."""
        ...

    def find(
        self,
        *,
        limit: int = 100,
        order_by: str = "",
        descending: bool = False,
        at_most: tuple[str, int] | None = None,
        below: tuple[str, int] | None = None,
        **equal: Any,
    ) -> list[R]:
        """Return rows, unlocked, in the order of `order_by` (the key when empty).

        `equal` names columns and what they must be: a value, None, or a list of values; `at_most` and `below` bound one
        column each.
        """
        ...


class View(Protocol):
    """One consistent state of the database."""

    def rows(self, row_type: type[R]) -> Rows[R]: ...


class Transaction(View, Protocol):
    """Rows and facts that are committed together."""

    @property
    def now_ms(self) -> int:
        """When the transaction began, by the process's clock."""
        ...

    def next_id(self) -> int:
        """Return a fresh even id of 63 bits, ordered by time: of a row, of a fact, of a request."""
        ...

    def earnings_of(self, owner: AccountId, *, since_ms: int) -> Earnings:
        """Lock an owner's earnings until the end and return them; what came in after `since_ms` is young.

        Like `post` it comes after every domain row.
        """
        ...

    def post(self, *operations: Fact | Hold) -> Sequence[Outcome]:
        """Decide and write operations here; a fact without id gets one.

        Raises `PostingRefusedError` unless each is posted, held, or had been before; then nothing of the whole
        transaction happens.
        """
        ...


class MoneyStore(Protocol):
    """The database, for whoever moves money with rows of its own."""

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one transaction and return its result once that outlives a power failure.

        Raises what `work` raises (nothing is written then), `CapacityError` (`busy`) when the ledger's lease has ended,
        and `StorageError` when the database fails: then the transaction may have been committed or not.
        """
        ...

    async def read(self, work: Callable[[View], T]) -> T:
        """Run `work` on one consistent snapshot; it cannot write."""
        ...
