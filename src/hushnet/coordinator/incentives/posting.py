"""What the ledger's refusals mean to whoever asked for an incentive or a correction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from hushnet.coordinator.incentives.model import AccountState
from hushnet.coordinator.ledger.model import Busy, Capped, Conflict, Overdrawn
from hushnet.coordinator.ledger.transaction import PostingRefusedError, Transaction
from hushnet.foundation.errors import AccessError, CapacityError, HushnetError, RequestError

COORDINATOR: Final = "coordinator"
"""The actor of facts that nobody asked for."""


@contextmanager
def refusals_told(*, capped: Callable[[], HushnetError] | None = None) -> Iterator[None]:
    """Raise what the caller can do something about instead of `PostingRefusedError`; `capped` for a budget that is full."""
    try:
        yield
    except PostingRefusedError as error:
        raise _told(error, capped or _used_up) from None


def _used_up() -> HushnetError:
    return RequestError(
        "the budget of this programme is used up for today", code="insufficient_quota", hint="try again tomorrow (UTC)"
    )


def _told(error: PostingRefusedError, capped: Callable[[], HushnetError]) -> HushnetError:
    match error.outcome:
        case Conflict():
            return RequestError("this id was used before for something else", code="conflict")
        case Overdrawn():
            return RequestError("the account has less than that available", code="not_available")
        case Capped():
            return capped()
        case Busy():
            return CapacityError("the ledger is busy", code="busy")
        case _:
            return error


def require_account(tx: Transaction, owner: int) -> AccountState:
    """Lock an account, open or closed; raises `RequestError` `account_not_found`."""
    account = tx.rows(AccountState).get(owner)
    if account is None:
        raise RequestError("there is no such account", code="account_not_found")
    return account


def require_open_account(tx: Transaction, owner: int) -> None:
    """Lock an account and see that it is open; raises `RequestError` or `AccessError`."""
    account = require_account(tx, owner)
    if account.closed_ms is not None:
        raise AccessError("this account is closed", code="account_closed")
