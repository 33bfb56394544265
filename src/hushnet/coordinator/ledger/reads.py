"""A batch on its way to the planner: its operations, the rules they break, and what must be read for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hushnet.coordinator.ledger import validity
from hushnet.coordinator.ledger.chart import (
    OF_USERS,
    SPENDABLE,
    Kind,
    account_info,
    is_operator,
    on_lane,
    operator_account,
    user_account,
)
from hushnet.coordinator.ledger.closure import CloseOut
from hushnet.coordinator.ledger.model import (
    AnyLeg,
    CapUse,
    Close,
    Fact,
    FreeUse,
    Freeze,
    GiveBack,
    Hold,
    Leg,
    Operation,
    Repay,
    Take,
    UpTo,
)
from hushnet.coordinator.ledger.store import Reads


@dataclass(frozen=True, slots=True)
class Batch:
    """Operations, the word for the rule that each breaks (None: none), and what the sound ones need to see."""

    operations: tuple[Operation, ...]
    breaches: tuple[str | None, ...]
    reads: Reads


def prepared(operations: Sequence[Operation], *, lane: int) -> Batch:
    """Check each operation by itself and gather what the sound ones may touch, as a writer on `lane`.

    A consumer's three buckets are always locked: they also cover the rows of its open holds.
    """
    breaches = tuple(validity.reason(operation) for operation in operations)
    touched = _Touched(lane)
    for operation, breach in zip(operations, breaches, strict=True):
        if breach is None:
            touched.add(operation)
    return Batch(tuple(operations), breaches, touched.reads())


class _Touched:
    """What has been gathered of a batch."""

    def __init__(self, lane: int) -> None:
        self._lane = lane
        self._accounts: set[int] = set()
        self._credited: set[int] = set()
        self._ids: set[int] = set()
        self._keys: set[str] = set()
        self._uses: set[int] = set()
        self._windows: set[CapUse] = set()

    def add(self, operation: Operation) -> None:
        match operation:
            case Hold():
                self._add_request(operation)
            case Close():
                self._add_request(operation)
                self._add_accounts(credit.account for credit in operation.credits)
            case FreeUse():
                self._ids.add(operation.id)
                self._uses.add(operation.id)
            case Fact():
                self._keys.add(operation.key)
                self._windows.update(operation.caps)
                for leg in operation.legs:
                    self._add_leg(leg)

    def reads(self) -> Reads:
        self._accounts.update(account for account in self._credited if not is_operator(account))
        return Reads(
            accounts=tuple(sorted(self._accounts)),
            create=tuple(sorted(self._credited)),
            ids=tuple(sorted(self._ids)),
            keys=tuple(sorted(self._keys)),
            uses=tuple(sorted(self._uses)),
            windows=tuple(sorted(self._windows)),
        )

    def _add_request(self, operation: Hold | Close) -> None:
        self._accounts.update(user_account(operation.owner, kind) for kind in SPENDABLE)
        self._ids.add(operation.id)
        self._windows.update(operation.caps)

    def _add_leg(self, leg: AnyLeg) -> None:
        """Note what a leg may touch. Rows are made for what it may credit or close; a debt without a row is none."""
        match leg:
            case Leg() | UpTo():
                self._add_accounts((leg.debit, leg.credit))
                for account in (leg.debit, leg.credit):
                    info = account_info(account)
                    if info is not None and info.kind == Kind.OWED:
                        self._add_owned(info.owner, *SPENDABLE)
            case Take():
                self._add_owned(leg.owner, *SPENDABLE, Kind.FROZEN, Kind.OWED)
            case Freeze():
                self._add_owned(leg.owner, *SPENDABLE)
                self._accounts.add(user_account(leg.owner, Kind.OWED))
            case GiveBack():
                self._add_owned(leg.owner, Kind.PAID, Kind.EARNINGS)
                self._accounts.update(user_account(leg.owner, kind) for kind in (Kind.PROMO, Kind.FROZEN, Kind.OWED))
            case CloseOut():
                self._add_owned(leg.owner, *OF_USERS)
                self._add_accounts(map(operator_account, (Kind.PROMO_EXPENSE, Kind.UNCLAIMED)))
            case Repay():
                self._accounts.update(user_account(leg.owner, kind) for kind in (*SPENDABLE, Kind.OWED))

    def _add_owned(self, owner: int, *kinds: Kind) -> None:
        self._add_accounts(user_account(owner, kind) for kind in kinds)

    def _add_accounts(self, accounts: Iterable[int]) -> None:
        """Note accounts of an operation that get money, or may; one that cannot exist is the planner's to refuse."""
        self._credited.update(on_lane(account, self._lane) for account in accounts if account_info(account))
