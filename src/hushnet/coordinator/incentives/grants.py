"""Promo credit: granted once a key, and taken back when its time is over and it was not spent.

Credit is spent first in, first out: what an account has spent of promo counts against its oldest grants, and only then
against promo credit that came otherwise. So what expires is never more than what is left of that very grant.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from hushnet.coordinator.incentives.model import ROWS_MAX, Bucket, PromoGrant
from hushnet.coordinator.incentives.posting import COORDINATOR, refusals_told, require_open_account
from hushnet.coordinator.incentives.programmes import OneKey, another_key
from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.ids import ID_MAX
from hushnet.coordinator.ledger.model import CapUse, Code, Fact, Leg, Posted
from hushnet.coordinator.ledger.transaction import MoneyStore, PostingRefusedError, Transaction, View
from hushnet.foundation.errors import HushnetError, RequestError
from hushnet.foundation.ids import AccountId
from hushnet.foundation.money import TRANSFER_MICRO_USD_MAX, require_int

_LOG = logging.getLogger(__name__)

AHEAD_MS_MAX: Final = 10 * 366 * 86_400_000
DUE_AT_ONCE: Final = 100
_TRIES: Final = 5


class _ChangedError(HushnetError):
    """The account was used between the look at it and the fact."""

    code = "busy"


def unspent(grants: Sequence[PromoGrant], *, debits: int) -> Mapping[int, int]:
    """Return what is left of each grant by id; `grants` are all of an account, oldest first, `debits` its promo account's.

    What has expired was a debit too and was spent by nobody; a grant that has expired has nothing left.
    """
    spent = debits - sum(grant.expired or 0 for grant in grants)
    left = {}
    for grant in grants:
        room = grant.amount - (grant.expired or 0)
        used = min(room, spent)
        spent -= used
        left[grant.id] = room - used if grant.expired is None else 0
    return left


def give(tx: Transaction, fact: Fact, grant: PromoGrant) -> bool:
    """Post a grant's fact and write it down; False when it had been given before.

    Raises `RequestError` when it had been given with another end.
    """
    (outcome,) = tx.post(fact)
    rows = tx.rows(PromoGrant)
    if isinstance(outcome, Posted):
        rows.add(grant)
        return True
    before = rows.find(grant_key=grant.grant_key, limit=1)
    if before and before[0].expires_ms != grant.expires_ms:
        raise RequestError("this grant was made before with another end", code="conflict")
    return False


def grant_fact(
    key: str,
    owner: int,
    amount: int,
    *,
    actor: str,
    caps: tuple[CapUse, ...],
    note: str = "",
    code: Code = Code.PROMO_GRANT,
) -> Fact:
    """Return the fact that credits promo."""
    leg = Leg(operator_account(Kind.PROMO_EXPENSE), user_account(owner, Kind.PROMO), amount)
    return Fact(key, code, (leg,), actor=actor, owner=owner, note=note, caps=caps)


class Grants:
    """Promo credit of one coordinator."""

    def __init__(self, store: MoneyStore, one_key: OneKey) -> None:
        """`one_key` bounds what is granted: a grant has no second key."""
        self._store = store
        self._one_key = one_key

    async def grant(
        self,
        owner: AccountId,
        amount: int,
        *,
        grant_id: str,
        actor: str,
        note: str = "",
        expires_ms: int | None = None,
    ) -> bool:
        """Give an account promo credit, once for each grant id; False when it was given before.

        Raises `RequestError` for an amount or a time out of bounds, an unknown account, and an id that was used for
        something else; `AccessError` for a closed account, and `second_approver` for more than one key gives alone.
        """
        require_int("amount", amount, 1, TRANSFER_MICRO_USD_MAX)
        self._one_key.check(amount)
        key = f"promo:{grant_id}"

        def work(tx: Transaction) -> bool:
            require_open_account(tx, owner)
            if expires_ms is not None and not tx.now_ms < expires_ms <= tx.now_ms + AHEAD_MS_MAX:
                raise RequestError("credit ends at a moment to come, within ten years", code="out_of_range")
            row = PromoGrant(
                id=tx.next_id(), grant_key=key, owner=owner, amount=amount, expires_ms=expires_ms, at_ms=tx.now_ms
            )
            fact = grant_fact(key, owner, amount, actor=actor, note=note, caps=self._one_key.caps(tx))
            return give(tx, fact, row)

        with refusals_told(capped=another_key):
            return await self._store.transact(work)

    async def expire_due(self, now_ms: int) -> int:
        """Take back what is left of grants whose time is over, each tried once; return of how many it was taken."""
        due: list[tuple[int, int]] = []
        below = ID_MAX
        while True:
            page = await self._store.read(partial(_due, now_ms=now_ms, below=below))
            due += [(grant.expires_ms or 0, grant.id) for grant in page]
            if len(page) < DUE_AT_ONCE:
                break
            below = page[-1].id
        return sum([await self._expire(grant_id) for _, grant_id in sorted(due)])

    async def _expire(self, grant_id: int) -> bool:
        for attempt in range(1, _TRIES + 1):
            try:
                await self._store.transact(lambda tx: _expire(tx, grant_id))
            except (_ChangedError, PostingRefusedError) as error:
                if attempt == _TRIES:
                    # An account that is used without pause: its credit lasts until the next round.
                    _LOG.warning(
                        "promo credit was not taken back", extra={"serial": grant_id, "code": error.error_code}
                    )
            else:
                return True
        return False


def _due(view: View, *, now_ms: int, below: int) -> list[PromoGrant]:
    """Return a page of grants to be taken back, newest first."""
    return view.rows(PromoGrant).find(
        expired=None,
        at_most=("expires_ms", now_ms),
        order_by="id",
        descending=True,
        below=("id", below),
        limit=DUE_AT_ONCE,
    )


def _expire(tx: Transaction, grant_id: int) -> None:
    """Take a grant's rest, as it is under the ledger's lock: what was read before it must still be true after it."""
    rows = tx.rows(PromoGrant)
    grant = rows.get(grant_id)
    if grant is None or grant.expired is not None:
        return
    promo = user_account(grant.owner, Kind.PROMO)
    before = _bucket(tx, promo)
    left = unspent(rows.find(owner=grant.owner, order_by="id", limit=ROWS_MAX), debits=before.debits)
    amount = min(before.available, left.get(grant.id, 0))
    legs = (Leg(promo, operator_account(Kind.PROMO_EXPENSE), amount),) if amount > 0 else ()
    tx.post(Fact(f"{grant.grant_key}:expired", Code.PROMO_EXPIRED, legs, actor=COORDINATOR, owner=grant.owner))
    after = _bucket(tx, promo)
    if legs and after.debits != before.debits + amount:
        raise _ChangedError("the account was used meanwhile")
    rows.save(replace(grant, expired=max(amount, 0)))


def _bucket(tx: Transaction, account: int) -> Bucket:
    """Look at an account without locking it: the ledger locks accounts itself, in its own order."""
    found = tx.rows(Bucket).find(id=account, limit=1)
    return found[0] if found else Bucket(id=account)
