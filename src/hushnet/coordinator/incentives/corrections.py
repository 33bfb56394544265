"""Credits for a request that was served badly, and what an operator puts right by hand.

A credit goes back where the settlement took from, in reverse order (earnings, paid, promo), and all credits of a request
together never give more than it cost. Where the provider is at fault it is asked for as much of its part as it has left.
What one operator's key may not give alone (`OneKey`) waits, as an adjustment, for a second key.
Money in suspense that has found its owner is an adjustment too: out of suspense into paid, where it repays debt first.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from hushnet.coordinator.incentives.model import (
    Adjustment,
    AdjustmentState,
    Bucket,
    Done,
    FinishedRequest,
    Movement,
    ServiceCredit,
)
from hushnet.coordinator.incentives.posting import refusals_told, require_account
from hushnet.coordinator.incentives.programmes import OneKey, another_key
from hushnet.coordinator.ledger.chart import LANE_MASK, SPENDABLE, Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import Capped, CapUse, Code, Fact, Leg, Phase, Repay, UpTo
from hushnet.coordinator.ledger.transaction import MoneyStore, PostingRefusedError, Transaction, View
from hushnet.foundation.errors import AccessError, RequestError
from hushnet.foundation.ids import AccountId, RequestId
from hushnet.foundation.money import TRANSFER_MICRO_USD_MAX, require_int

_LOG = logging.getLogger(__name__)

CREDITS_MAX: Final = 100
"""Credits of one request."""
PAGE_MAX: Final = 200
_GOODWILL: Final = operator_account(Kind.GOODWILL_EXPENSE)
_SUSPENSE_LANES: Final = [operator_account(Kind.SUSPENSE, lane) for lane in range(LANE_MASK + 1)]
_SUSPENSE_MARK: Final = "suspense"
"""The row that whoever gives money of suspense away locks first."""
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wish:
    """What an operator asks for; `reason` is for the books, `actor` the operator's key."""

    amount: int
    reason: str
    actor: str

    def __post_init__(self) -> None:
        if not 1 <= len(self.reason.strip()) <= 200:
            raise RequestError("say why, in 1 to 200 characters", code="reason_required")


def allot(amount: int, taken: Mapping[Kind, int], given: Mapping[Kind, int]) -> Mapping[Kind, int]:
    """Divide a credit over the buckets that a settlement took from, the last first; raises `RequestError` for too much."""
    parts: dict[Kind, int] = {}
    for kind in reversed(SPENDABLE):
        parts[kind] = min(amount, taken.get(kind, 0) - given.get(kind, 0))
        amount -= parts[kind]
    if amount:
        raise RequestError("credits of a request give back no more than it cost", code="amount_out_of_bounds")
    return parts


class Corrections:
    """Service credits and adjustments, as far as one operator's key makes them alone, and what a second one approves."""

    def __init__(self, store: MoneyStore, one_key: OneKey) -> None:
        self._store = store
        self._one_key = one_key

    async def credit(
        self, request_id: RequestId, nth: int, wish: Wish, *, is_provider_at_fault: bool = False
    ) -> tuple[ServiceCredit, bool]:
        """Give back a part of a settled request as its `nth` credit; the same again is answered, not given, again.

        Raises `RequestError` `request_not_found`, `amount_out_of_bounds`, `conflict` (another credit has this number),
        `AccessError` `second_approver` for more than one key gives alone.
        """
        require_int("nth", nth, 1, CREDITS_MAX)
        require_int("amount", wish.amount, 1, TRANSFER_MICRO_USD_MAX)
        self._one_key.check(wish.amount)
        with refusals_told(capped=another_key):
            credit, is_new = await self._store.transact(
                lambda tx: _credit(tx, request_id, nth, wish, self._one_key, is_clawed_back=is_provider_at_fault)
            )
        if is_new:
            _LOG.info("service credit given", extra={"request_id": request_id})
        return credit, is_new

    async def adjust(self, uuid: str, owner: AccountId, bucket: Kind, wish: Wish) -> Adjustment:
        """Ask for an adjustment under the client's own uuid; what one key may do alone is made at once.

        A negative amount takes out of the bucket, never more than is available. The same again tells where it stands.
        Raises `RequestError` `out_of_range`, `account_not_found`, `not_available`, `conflict`.
        """
        require_int("amount", abs(wish.amount), 1, TRANSFER_MICRO_USD_MAX)
        return await self._ask(uuid, owner, bucket, wish, source=Kind.GOODWILL_EXPENSE)

    async def attribute(self, uuid: str, owner: AccountId, wish: Wish) -> Adjustment:
        """Ask for money in suspense to be paid to its owner, as `adjust` does and under the same uuids.

        Raises `RequestError` also `not_available` for more than there is in suspense.
        """
        require_int("amount", wish.amount, 1, TRANSFER_MICRO_USD_MAX)
        return await self._ask(uuid, owner, Kind.PAID, wish, source=Kind.SUSPENSE)

    async def in_suspense(self) -> int:
        """Return what is in suspense, in micro-USD; below 0 when more was given away or taken back than came."""
        return await self._store.read(_in_suspense)

    async def _ask(self, uuid: str, owner: AccountId, bucket: Kind, wish: Wish, *, source: Kind) -> Adjustment:
        if _UUID.fullmatch(uuid) is None:
            raise RequestError("an adjustment is named by a UUID in lower case", code="out_of_range")
        wanted = Adjustment(
            id=uuid,
            owner=owner,
            bucket=bucket,
            amount=wish.amount,
            source=source,
            reason=wish.reason,
            actor=wish.actor,
            at_ms=0,
        )
        with refusals_told():
            try:
                return await self._store.transact(lambda tx: _adjust(tx, wanted, self._one_key))
            except PostingRefusedError as error:
                if not isinstance(error.outcome, Capped):
                    raise
                # Single keys have given enough today: this one waits as if it were too large.
                return await self._store.transact(lambda tx: _adjust(tx, wanted, None))

    async def decide(self, uuid: str, *, actor: str, is_approved: bool) -> Adjustment:
        """Approve or refuse an adjustment that waits; approving needs another key than the one that asked.

        Raises `RequestError` `adjustment_not_found`, `conflict` (decided otherwise), `AccessError` `second_approver`.
        """
        with refusals_told():
            return await self._store.transact(lambda tx: _decide(tx, uuid, actor, is_approved=is_approved))

    async def adjustments(self, *, is_pending: bool) -> Sequence[Adjustment]:
        """Return adjustments, newest first: those that wait, or all."""
        states = [AdjustmentState.PENDING] if is_pending else list(AdjustmentState)
        return await self._store.read(
            lambda view: view.rows(Adjustment).find(order_by="at_ms", descending=True, limit=PAGE_MAX, state=states)
        )


def _credit(
    tx: Transaction, request_id: RequestId, nth: int, wish: Wish, one_key: OneKey, *, is_clawed_back: bool
) -> tuple[ServiceCredit, bool]:
    rows = tx.rows(ServiceCredit)
    request = tx.rows(FinishedRequest).get(request_id)  # two credits of one request follow each other
    if request is None or request.cost == 0:
        raise RequestError("there is no such request that was charged", code="request_not_found")
    earlier = rows.find(request=request_id, limit=CREDITS_MAX)
    before = next((credit for credit in earlier if credit.nth == nth), None)
    if before is not None:
        if (before.amount, before.is_provider_at_fault) == (wish.amount, is_clawed_back):
            return before, False
        raise RequestError("this request has another credit of this number", code="conflict")
    given = {
        Kind.PROMO: sum(credit.promo for credit in earlier),
        Kind.PAID: sum(credit.paid for credit in earlier),
        Kind.EARNINGS: sum(credit.earnings for credit in earlier),
    }
    parts = allot(wish.amount, _taken(tx, request), given)
    asked_back = min(wish.amount, request.to_provider - sum(credit.clawback for credit in earlier))
    credit = ServiceCredit(
        request=request_id,
        nth=nth,
        owner=request.owner,
        promo=parts[Kind.PROMO],
        paid=parts[Kind.PAID],
        earnings=parts[Kind.EARNINGS],
        clawback=asked_back if is_clawed_back else 0,
        is_provider_at_fault=is_clawed_back,
        reason=wish.reason,
        actor=wish.actor,
        at_ms=tx.now_ms,
    )
    rows.add(credit)
    tx.post(*_credit_facts(credit, request, one_key.caps(tx)))
    return credit, True


def _taken(tx: Transaction, request: FinishedRequest) -> Mapping[Kind, int]:
    """Return what the settlement took from each bucket."""
    by_account = {user_account(request.owner, kind): kind for kind in SPENDABLE}
    taken = dict.fromkeys(SPENDABLE, 0)
    for movement in tx.rows(Movement).find(fact=request.id | 1):
        if movement.phase == Phase.POSTED and movement.debit in by_account:
            taken[by_account[movement.debit]] += movement.amount
    return taken


def _credit_facts(credit: ServiceCredit, request: FinishedRequest, caps: tuple[CapUse, ...]) -> tuple[Fact, ...]:
    parts = {Kind.EARNINGS: credit.earnings, Kind.PAID: credit.paid, Kind.PROMO: credit.promo}
    legs = tuple(Leg(_GOODWILL, user_account(credit.owner, kind), amount) for kind, amount in parts.items() if amount)
    name = f"{credit.request}:{credit.nth}"
    given = Fact(
        f"credit:{name}",
        Code.SERVICE_CREDIT,
        legs,
        actor=credit.actor,
        owner=credit.owner,
        note=credit.reason,
        caps=caps,
    )
    if not credit.clawback:
        return (given,)
    back = UpTo(user_account(request.provider, Kind.EARNINGS), _GOODWILL, credit.clawback)
    return given, Fact(
        f"clawback:{name}", Code.CLAWBACK, (back,), actor=credit.actor, owner=request.provider, note=credit.reason
    )


def _adjust(tx: Transaction, wanted: Adjustment, one_key: OneKey | None) -> Adjustment:
    """Make an adjustment that `one_key` allows, or note it as waiting; without `one_key` it waits."""
    rows = tx.rows(Adjustment)
    require_account(tx, wanted.owner)
    before = rows.get(wanted.id)
    if before is not None:
        if _content(before) != _content(wanted):
            raise RequestError("this id was used before for another adjustment", code="conflict")
        return before
    wanted = replace(wanted, at_ms=tx.now_ms)
    is_made = one_key is not None and abs(wanted.amount) <= one_key.limit
    if is_made:
        wanted = replace(wanted, state=AdjustmentState.POSTED, decided_ms=tx.now_ms)
    if not rows.add(wanted):
        raise RequestError("this id was used just now for another adjustment", code="conflict")
    if one_key is not None and is_made:
        _post(tx, wanted, one_key.caps(tx) if wanted.amount > 0 else ())
    return wanted


def _content(adjustment: Adjustment) -> tuple[int, ...]:
    return adjustment.owner, adjustment.bucket, adjustment.amount, adjustment.source


def _decide(tx: Transaction, uuid: str, actor: str, *, is_approved: bool) -> Adjustment:
    rows = tx.rows(Adjustment)
    found = rows.get(uuid)
    if found is None:
        raise RequestError("there is no such adjustment", code="adjustment_not_found")
    state = AdjustmentState.POSTED if is_approved else AdjustmentState.REFUSED
    if found.state is not AdjustmentState.PENDING:
        if found.state is not state:
            raise RequestError("this adjustment was decided before", code="conflict")
        return found
    if is_approved and found.actor == actor:
        raise AccessError("another operator's key has to approve this", code="second_approver")
    decided = replace(found, state=state, approver=actor, decided_ms=tx.now_ms)
    rows.save(decided)
    if is_approved:
        _post(tx, decided)
    return decided


def _post(tx: Transaction, adjustment: Adjustment, caps: tuple[CapUse, ...] = ()) -> None:
    if adjustment.source == Kind.SUSPENSE:
        _require_in_suspense(tx, adjustment.amount)
    tx.post(_adjustment_fact(adjustment, caps))


def _adjustment_fact(adjustment: Adjustment, caps: tuple[CapUse, ...]) -> Fact:
    account, source = user_account(adjustment.owner, Kind(adjustment.bucket)), operator_account(Kind(adjustment.source))
    debit, credit = (source, account) if adjustment.amount > 0 else (account, source)
    is_found = adjustment.source == Kind.SUSPENSE
    leg = Leg(debit, credit, abs(adjustment.amount))
    return Fact(
        f"admin:{adjustment.id}",
        Code.SUSPENSE if is_found else Code.ADJUSTMENT,
        (leg, Repay(adjustment.owner)) if is_found else (leg,),
        actor=adjustment.actor if not adjustment.approver else f"{adjustment.actor} {adjustment.approver}",
        owner=adjustment.owner,
        note=adjustment.reason,
        caps=caps,
    )


def _require_in_suspense(tx: Transaction, amount: int) -> None:
    """Raise `RequestError` `not_available` for more than suspense has; whoever gives from it waits for this one's end."""
    marks = tx.rows(Done)
    marks.add(Done(name=_SUSPENSE_MARK, value="", at_ms=tx.now_ms))
    marks.get(_SUSPENSE_MARK)
    if _in_suspense(tx) < amount:
        raise RequestError("there is less than that in suspense", code="not_available", hint="`hush correct suspense`")


def _in_suspense(view: View) -> int:
    """Add up suspense over all lanes; read unlocked, because the ledger locks accounts in an order of its own."""
    rows = view.rows(Bucket).find(id=_SUSPENSE_LANES, limit=len(_SUSPENSE_LANES))
    return sum(row.credits - row.debits for row in rows)
