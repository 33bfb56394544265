"""Referrals: who brought an account gets a part of the network's fee on what that account pays for.

An account names its referrer once, before its first request that cost something; never itself, and never somebody whom it
has brought. A settlement credits the part to `referral_payable` (`ledger.prices`), and each day's sum goes to the
referrer's earnings, under a key of referrer and day.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from hushnet.coordinator.incentives.codes import new_referral_code, read_referral_code
from hushnet.coordinator.incentives.model import Bucket, Done, Referral, ReferralCode
from hushnet.coordinator.incentives.posting import COORDINATOR, require_open_account
from hushnet.coordinator.ledger.chart import SPENDABLE, Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import Code, Fact, Leg
from hushnet.coordinator.ledger.transaction import MoneyStore, PostingRefusedError, Transaction, View
from hushnet.foundation.errors import RequestError, StorageError
from hushnet.foundation.ids import AccountId

_LOG = logging.getLogger(__name__)

DAY_MS: Final = 86_400_000
MARGIN_MS: Final = 15 * 60_000
"""A day is swept this long after its end: whatever was settled in it has been committed, or was given up, by then."""
DAYS_BACK: Final = 7
"""Where nobody has swept yet, so many days are looked at."""
COUNTED_MAX: Final = 1_000
_CURSOR: Final = "referrals"
_CODE_TRIES: Final = 8


@dataclass(frozen=True, slots=True)
class Share:
    """What a referrer has earned on one day."""

    referrer: int
    amount: int


class Shares(Protocol):
    """Usage, as far as the sweep needs it."""

    async def of_day(self, day: int) -> Sequence[Share]:
        """Return the sum of each referrer's parts of requests settled on that day (days since 1970 UTC), where above 0."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """An account as a referrer and as one that was brought; `referred` counts to a thousand."""

    code: str
    referred: int
    has_referrer: bool


class Referrals:
    """The referrals of one coordinator."""

    def __init__(self, store: MoneyStore, shares: Shares) -> None:
        self._store = store
        self._shares = shares

    async def standing(self, owner: AccountId) -> Standing:
        """Return an account's code, which is made when it is first asked for, and how far it is used."""
        code = await self._code_of(owner)

        def look(view: View) -> Standing:
            brought = view.rows(Referral).find(referrer=owner, limit=COUNTED_MAX)
            return Standing(code, len(brought), view.rows(Referral).get(owner) is not None)

        return await self._store.read(look)

    async def name(self, owner: AccountId, text: str) -> bool:
        """Name the referrer of an account by its code; False when the same one had been named before.

        Raises `RequestError` `referral_not_found`, `referral_refused` (itself, or an account that it has brought),
        `referral_too_late` (it has paid for a request), `conflict` (another one was named).
        """
        code = read_referral_code(text)
        return await self._store.transact(lambda tx: _name(tx, owner, code))

    async def _code_of(self, owner: AccountId) -> str:
        def work(tx: Transaction) -> str:
            rows = tx.rows(ReferralCode)
            for _ in range(_CODE_TRIES):
                found = rows.get(owner)
                if found is not None:
                    return found.code
                rows.add(ReferralCode(owner=owner, code=new_referral_code(), at_ms=tx.now_ms))
            raise StorageError("no referral code could be made")

        found = await self._store.read(lambda view: view.rows(ReferralCode).get(owner))
        return found.code if found is not None else await self._store.transact(work)

    async def sweep(self, now_ms: int) -> int:
        """Credit every day that is over and was not swept; return how many shares that were."""
        last = (now_ms - MARGIN_MS) // DAY_MS - 1
        done = await self._store.read(lambda view: view.rows(Done).get(_CURSOR))
        first = int(done.value) + 1 if done is not None else last - DAYS_BACK
        count = 0
        for day in range(first, last + 1):
            shares = await self._shares.of_day(day)
            for share in shares:
                await self._credit(share, day)
            count += len(shares)
            await self._store.transact(partial(_note_done, day=day))
        return count

    async def _credit(self, share: Share, day: int) -> None:
        leg = Leg(operator_account(Kind.REFERRAL_PAYABLE), user_account(share.referrer, Kind.EARNINGS), share.amount)
        key = f"referral:{share.referrer}:{day}"
        fact = Fact(key, Code.REFERRAL, (leg,), actor=COORDINATOR, owner=share.referrer)
        try:
            await self._store.transact(lambda tx: tx.post(fact))
        except PostingRefusedError as error:
            # The same day with another sum: it had been swept before it was over, which a check has to show.
            _LOG.error("a referral share was refused", extra={"account_id": share.referrer, "code": error.error_code})


def _name(tx: Transaction, owner: AccountId, code: str) -> bool:
    require_open_account(tx, owner)
    codes, referrals = tx.rows(ReferralCode), tx.rows(Referral)
    found = codes.find(code=code, limit=1)
    if not found:
        raise RequestError("there is no such referral code", code="referral_not_found")
    referrer = found[0].owner
    if referrer == owner:
        raise RequestError("an account does not refer itself", code="referral_refused")
    for each in sorted((owner, referrer)):  # two that name each other at once follow one another
        codes.get(each)
    before, theirs = referrals.get(owner), referrals.get(referrer)
    if before is not None:
        if before.referrer == referrer:
            return False
        raise RequestError("this account has named its referrer", code="conflict")
    if theirs is not None and theirs.referrer == owner:
        raise RequestError("that account was brought by this one", code="referral_refused")
    if _has_paid(tx, owner):
        raise RequestError("an account names its referrer before it pays for a request", code="referral_too_late")
    return referrals.add(Referral(owner=owner, referrer=referrer, at_ms=tx.now_ms))


def _has_paid(tx: Transaction, owner: AccountId) -> bool:
    """Whether anything has ever left the account's buckets."""
    buckets = [user_account(owner, kind) for kind in SPENDABLE]
    return any(bucket.debits for bucket in tx.rows(Bucket).find(id=buckets))


def _note_done(tx: Transaction, *, day: int) -> None:
    rows = tx.rows(Done)
    row = Done(name=_CURSOR, value=str(day), at_ms=tx.now_ms)
    before = rows.get(_CURSOR)
    if before is None:
        rows.add(row)
    elif int(before.value) < day:
        rows.save(row)
