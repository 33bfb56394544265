"""Invite codes: promo credit for whoever has the code, once an account, as often as the invite allows.

Use counter, redemption and credit are one transaction. A code has 100 random bits and is stored as its digest; the tries
of one account are bounded all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from hushnet.coordinator.accounts.rules import RateLimit
from hushnet.coordinator.incentives.codes import digest_of, new_invite_code, read_invite_code
from hushnet.coordinator.incentives.grants import AHEAD_MS_MAX, give, grant_fact
from hushnet.coordinator.incentives.model import Invite, PromoGrant, Redemption
from hushnet.coordinator.incentives.posting import refusals_told, require_open_account
from hushnet.coordinator.incentives.programmes import OneKey
from hushnet.coordinator.ledger.model import Code
from hushnet.coordinator.ledger.transaction import MoneyStore, Transaction
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import CapacityError, RequestError
from hushnet.foundation.ids import AccountId, ApiKeyId
from hushnet.foundation.money import require_int
from hushnet.foundation.redaction import Secret

_LOG = logging.getLogger(__name__)

AMOUNT_MAX: Final = 10_000_000_000
"""$10,000 a code: an invite is a present, and a mistake in the amount should not be one."""
USES_MAX: Final = 1_000_000
TRIES_BURST: Final = 10
TRIES_PER_S: Final = 1 / 360
"""Ten tries, then ten an hour."""
ACCOUNTS_TRYING_MAX: Final = 10_000
PAGE_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class NewInvite:
    """An invite that was just made: the only moment at which its code exists."""

    invite: Invite
    code: Secret


@dataclass(frozen=True, slots=True)
class Redeemed:
    """What an account got, and whether it got it just now."""

    amount: int
    expires_ms: int | None
    is_new: bool


class Invites:
    """The invites of one coordinator."""

    def __init__(self, store: MoneyStore, clock: Clock, one_key: OneKey) -> None:
        """`one_key` bounds a code's amount, and what all codes give in a day together with everything else."""
        self._store = store
        self._one_key = one_key
        self._clock = clock
        self._tries = RateLimit(rate=TRIES_PER_S, burst=TRIES_BURST, keys_max=ACCOUNTS_TRYING_MAX)

    async def create(
        self, amount: int, *, uses_max: int, expires_ms: int, credit_ms: int = 0, note: str = ""
    ) -> NewInvite:
        """Make an invite; its code is in the answer and nowhere else.

        Raises `RequestError` for numbers out of bounds, `AccessError` `second_approver` for more than one key gives alone.
        """
        require_int("amount", amount, 1, AMOUNT_MAX)
        self._one_key.check(amount)
        require_int("uses_max", uses_max, 1, USES_MAX)
        require_int("credit_ms", credit_ms, 0, AHEAD_MS_MAX)
        code = new_invite_code()

        def work(tx: Transaction) -> Invite:
            if not tx.now_ms < expires_ms <= tx.now_ms + AHEAD_MS_MAX:
                raise RequestError("an invite ends at a moment to come, within ten years", code="out_of_range")
            invite = Invite(
                id=tx.next_id(),
                code_hash=digest_of(code),
                amount=amount,
                uses_max=uses_max,
                expires_ms=expires_ms,
                credit_ms=credit_ms,
                note=note,
                created_ms=tx.now_ms,
            )
            tx.rows(Invite).add(invite)
            return invite

        return NewInvite(await self._store.transact(work), code)

    async def list(self, *, before: int | None = None) -> Sequence[Invite]:
        """Return invites, newest first, a page at a time."""
        below = None if before is None else ("id", before)
        return await self._store.read(
            lambda view: view.rows(Invite).find(order_by="id", descending=True, below=below, limit=PAGE_MAX)
        )

    async def revoke(self, invite_id: int) -> Invite | None:
        """Let an invite be used no more; None when there is none such. What was given stays."""

        def work(tx: Transaction) -> Invite | None:
            rows = tx.rows(Invite)
            invite = rows.get(invite_id)
            if invite is not None and invite.expires_ms > tx.now_ms:
                invite = replace(invite, expires_ms=tx.now_ms)
                rows.save(invite)
            return invite

        return await self._store.transact(work)

    async def redeem(self, owner: AccountId, text: str) -> Redeemed:
        """Give an account the credit of a code; the same code again tells what it gave.

        Raises `RequestError` `invite_not_found`, `invite_over` (used up or ended), `already_redeemed` (the account has
        used another), `insufficient_quota` (enough was given today), `AccessError` `account_closed`, `CapacityError` `rate_limited` after too many tries.
        """
        wait_s = self._tries.take(ApiKeyId(owner), self._clock.monotonic_s())
        if wait_s:
            raise CapacityError("too many codes were tried", code="rate_limited", retry_after_s=wait_s)
        digest = digest_of(read_invite_code(text))
        with refusals_told():
            redeemed = await self._store.transact(lambda tx: _redeem(tx, owner, digest, self._one_key))
        if redeemed.is_new:
            _LOG.info("invite redeemed", extra={"account_id": owner})
        return redeemed


def _redeem(tx: Transaction, owner: AccountId, digest: bytes, one_key: OneKey) -> Redeemed:
    require_open_account(tx, owner)
    redemptions, invites = tx.rows(Redemption), tx.rows(Invite)
    found = invites.find(code_hash=digest, limit=1)
    if not found:
        raise RequestError("there is no such invite", code="invite_not_found")
    before = redemptions.get(owner)
    if before is not None:
        if before.invite != found[0].id:
            raise RequestError("this account has used an invite before", code="already_redeemed")
        return Redeemed(before.amount, _ends(found[0], before.at_ms), is_new=False)
    invite = invites.get(found[0].id)
    if invite is None or invite.uses >= invite.uses_max or invite.expires_ms <= tx.now_ms:
        raise RequestError("this invite is used up or over", code="invite_over")
    invites.save(replace(invite, uses=invite.uses + 1))
    redemptions.add(Redemption(owner=owner, invite=invite.id, amount=invite.amount, at_ms=tx.now_ms))
    key, ends_ms = f"invite:{invite.id}:{owner}", _ends(invite, tx.now_ms)
    grant = PromoGrant(
        id=tx.next_id(), grant_key=key, owner=owner, amount=invite.amount, expires_ms=ends_ms, at_ms=tx.now_ms
    )
    caps = one_key.caps(tx)
    give(tx, grant_fact(key, owner, invite.amount, actor=f"account:{owner}", code=Code.INVITE, caps=caps), grant)
    return Redeemed(invite.amount, ends_ms, is_new=True)


def _ends(invite: Invite, at_ms: int) -> int | None:
    return at_ms + invite.credit_ms if invite.credit_ms else None
