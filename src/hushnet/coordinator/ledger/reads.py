"""What a batch may touch, and so must lock and read before it is planned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hushnet.coordinator.ledger import validity
from hushnet.coordinator.ledger.chart import SPENDABLE, account_info, is_operator, on_lane, user_account
from hushnet.coordinator.ledger.model import CapUse, Close, Fact, FreeUse, Hold, Operation
from hushnet.coordinator.ledger.store import Reads


def reads_of(operations: Sequence[Operation], *, lane: int) -> Reads:
    """Return what these operations need to see; an operation that breaks a rule needs nothing.

    A consumer's three buckets are always locked: they also cover the rows of its open holds.
    """
    accounts: set[int] = set()
    credited: set[int] = set()
    ids: set[int] = set()
    keys: set[str] = set()
    uses: set[int] = set()
    windows: set[CapUse] = set()
    for operation in operations:
        if validity.reason(operation) is not None:
            continue
        match operation:
            case Hold(id=id_, owner=owner, caps=caps):
                accounts.update(_buckets(owner))
                ids.add(id_)
                windows.update(caps)
            case Close(id=id_, owner=owner, caps=caps):
                accounts.update(_buckets(owner))
                credited.update(on_lane(credit.account, lane) for credit in operation.credits)
                ids.add(id_)
                windows.update(caps)
            case FreeUse(id=id_):
                ids.add(id_)
                uses.add(id_)
            case Fact(key=key, legs=legs):
                keys.add(key)
                credited.update(on_lane(leg.credit, lane) for leg in legs if account_info(leg.credit))
                credited.update(on_lane(leg.debit, lane) for leg in legs if account_info(leg.debit))
    accounts.update(account for account in credited if not is_operator(account))
    return Reads(
        accounts=tuple(sorted(accounts)),
        create=tuple(sorted(credited)),
        ids=tuple(sorted(ids)),
        keys=tuple(sorted(keys)),
        uses=tuple(sorted(uses)),
        windows=tuple(sorted(windows)),
    )


def _buckets(owner: int) -> Iterable[int]:
    return (user_account(owner, kind) for kind in SPENDABLE)
