"""What happens to money outside requests, as steps of a history: each is a fact whose key is that of an object outside.

The events keep their own account of what is open (disputes, refunds, payouts), from what was posted, so that a history can
say what must be frozen and in transit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Protocol, TypeAlias

from hushnet.coordinator.ledger.chart import Kind, coin_account, operator_account, user_account
from hushnet.coordinator.ledger.model import (
    AnyLeg,
    CapUse,
    Code,
    Fact,
    Freeze,
    GiveBack,
    Leg,
    Operation,
    Repay,
    Take,
    UpTo,
)
from hushnet.foundation.ids import AccountId
from support.ledger_model import PlainLedger

Effect: TypeAlias = Callable[[tuple[Leg, ...]], None]

STRIPE, DISPUTED, CONNECT, FX = map(operator_account, (Kind.STRIPE, Kind.DISPUTED, Kind.CONNECT, Kind.FX))
FEES, PAYOUT_FEES, SUSPENSE = map(operator_account, (Kind.PROCESSOR_FEES, Kind.PAYOUT_FEES, Kind.SUSPENSE))
PROMO_EXPENSE, REWARD_EXPENSE, GOODWILL = map(
    operator_account, (Kind.PROMO_EXPENSE, Kind.REWARD_EXPENSE, Kind.GOODWILL_EXPENSE)
)
COIN, FX_COIN = coin_account("BTC", "bitcoin", "coin"), coin_account("BTC", "bitcoin", "fx_coin")


class Teller(Protocol):
    """The history that events are told to."""

    model: PlainLedger
    owners: tuple[AccountId, ...]
    past: list[Operation]

    def pool(self) -> CapUse: ...
    def think(self, operation: Operation) -> None: ...
    def next_id(self) -> int: ...


class Events:
    """The steps, and what is open."""

    def __init__(self, history: Teller) -> None:
        self._history = history
        self._effects: dict[str, Effect] = {}
        self._numbers = 0
        self._disputes: dict[str, tuple[AccountId, int, GiveBack]] = {}
        self._refunds: dict[str, tuple[AccountId, int]] = {}
        self._payouts: dict[str, tuple[AccountId, int, int, str]] = {}
        self.frozen = Counter[int]()
        self.in_transit = Counter[int]()

    def note(self, key: str, legs: tuple[Leg, ...]) -> None:
        """Take in that a fact was posted; once for each key."""
        effect = self._effects.pop(key, None)
        if effect is not None:
            effect(legs)

    def endow(self, rng: Random) -> None:
        """Give everybody something of each kind, or nothing."""
        for owner in self._history.owners:
            sources = ((PROMO_EXPENSE, Kind.PROMO), (STRIPE, Kind.PAID), (REWARD_EXPENSE, Kind.EARNINGS))
            amounts = [rng.choice([0, rng.randint(1, 300), rng.randint(1, 300)]) for _ in sources]
            legs = [
                Leg(source, user_account(owner, kind), amount)
                for (source, kind), amount in zip(sources, amounts, strict=True)
                if amount
            ]
            self._fact(rng, owner, Code.ADJUSTMENT, *legs)

    def deposit(self, rng: Random) -> None:
        owner = self._debtor(rng)
        paid = user_account(owner, Kind.PAID)
        self._fact(rng, owner, Code.DEPOSIT, Leg(STRIPE, paid, self._amount(rng, STRIPE, paid)), Repay(owner))

    def grant(self, rng: Random) -> None:
        owner = self._owner(rng)
        leg = Leg(PROMO_EXPENSE, user_account(owner, Kind.PROMO), rng.randint(1, 200))
        self._fact(rng, owner, Code.PROMO_GRANT, leg)

    def promo_expires(self, rng: Random) -> None:
        owner = self._owner(rng)
        promo = user_account(owner, Kind.PROMO)
        leg = UpTo(promo, PROMO_EXPENSE, self._amount(rng, promo, PROMO_EXPENSE))
        self._fact(rng, owner, Code.PROMO_EXPIRED, leg)

    def clawback(self, rng: Random) -> None:
        owner, promo = self._owner(rng), user_account(self._owner(rng), Kind.PROMO)
        earnings = user_account(owner, Kind.EARNINGS)
        credit = Leg(GOODWILL, promo, rng.randint(1, 20))
        self._fact(rng, owner, Code.CLAWBACK, credit, UpTo(earnings, GOODWILL, self._amount(rng, earnings, GOODWILL)))

    def reward(self, rng: Random) -> None:
        """Out of a pool that is soon empty."""
        owner, pool = self._owner(rng), self._history.pool()
        left = self._history.model.room(pool)
        amount = max(1, rng.choice([left, left + 1, *(rng.randint(1, 60) for _ in range(4))]))
        first = rng.randint(1, amount)
        parts = [(Kind.EARNINGS, first), (Kind.PROMO, amount - first)]
        legs = [Leg(REWARD_EXPENSE, user_account(owner, kind), part) for kind, part in parts if part]
        self._fact(rng, owner, Code.REWARD, *legs, caps=(pool,))

    def dispute(self, rng: Random) -> None:
        """Funds withdrawn: taken from whatever there is that is not held."""
        owner = self._owner(rng, lambda each: self._history.model.held[user_account(each, Kind.PAID)] > 0)
        paid, earnings = user_account(owner, Kind.PAID), user_account(owner, Kind.EARNINGS)
        amount = self._amount(rng, paid, earnings)
        if rng.random() < 0.5:
            amount = self._more_than_there_is(rng, owner)
        take = Take(owner, amount, has_earnings=rng.random() < 0.7)
        name = self._name("dp")

        def opened(legs: tuple[Leg, ...]) -> None:
            parts = Counter({leg.debit & 15: leg.amount for leg in legs if leg.credit & 15 == Kind.FROZEN})
            back = GiveBack(owner, parts[Kind.PAID], parts[Kind.EARNINGS], parts[Kind.OWED])
            self._disputes[name] = (owner, amount, back)
            self.frozen[owner] += amount

        legs = (take, Leg(DISPUTED, STRIPE, amount), Leg(FEES, STRIPE, 15))
        self._fact(rng, owner, Code.DISPUTE, *legs, key=f"{name}:withdrawn", effect=opened)

    def won(self, rng: Random) -> None:
        if self._disputes:
            debts = [each for each in self._disputes.items() if each[1][2].owed]
            name, (owner, amount, back) = rng.choice(debts or list(self._disputes.items()))
            legs = (Leg(STRIPE, DISPUTED, amount), back)
            self._fact(rng, owner, Code.DISPUTE, *legs, key=f"{name}:won", effect=self._dispute_ended(name))

    def lost(self, rng: Random) -> None:
        if self._disputes:
            name, (owner, amount, _) = rng.choice(list(self._disputes.items()))
            leg = Leg(user_account(owner, Kind.FROZEN), DISPUTED, amount)
            self._fact(rng, owner, Code.DISPUTE, leg, key=f"{name}:lost", effect=self._dispute_ended(name))

    def refund(self, rng: Random) -> None:
        """Asked here, or made at the processor, or the end of one that was asked here."""
        owner = self._owner(rng)
        paid, frozen = user_account(owner, Kind.PAID), user_account(owner, Kind.FROZEN)
        if self._refunds and rng.random() < 0.5:
            name, (owner, amount) = rng.choice(list(self._refunds.items()))
            frozen = user_account(owner, Kind.FROZEN)
            receiver = rng.choice([STRIPE, user_account(owner, Kind.PAID)])
            self._fact(
                rng,
                owner,
                Code.REFUND,
                Leg(frozen, receiver, amount),
                key=f"{name}:end",
                effect=self._refund_ended(name),
            )
            return
        amount = self._amount(rng, paid, frozen)
        if rng.random() < 0.3:
            self._fact(rng, owner, Code.REFUND, Take(owner, amount), Leg(frozen, STRIPE, amount))
            return
        name = self._name("refund")

        def asked(_: tuple[Leg, ...]) -> None:
            self._refunds[name] = (owner, amount)
            self.frozen[owner] += amount

        self._fact(rng, owner, Code.REFUND, Leg(paid, frozen, amount), key=f"{name}:taken", effect=asked)

    def repay(self, rng: Random) -> None:
        """The daily one from paid, or one that the owner asked for from earnings."""
        owner = self._debtor(rng)
        earnings, owed = user_account(owner, Kind.EARNINGS), user_account(owner, Kind.OWED)
        if rng.random() < 0.6:
            self._fact(
                rng, owner, Code.DEBT_REPAID, Repay(owner, earnings=rng.choice([0, 1, rng.randrange(1, 1000), 10**15]))
            )
        else:
            self._fact(rng, owner, Code.DEBT_REPAID, Leg(earnings, owed, self._amount(rng, earnings, owed)))

    def coins(self, rng: Random) -> None:
        """Coins come, or confirmed ones are reversed, or come again at once."""
        model = self._history.model
        owner = self._owner(
            rng, lambda each: each in model.closed_owners and not model.balance[user_account(each, Kind.OWED)]
        )
        units, usd = rng.randint(1, 10**9), rng.randint(1, 300)
        paid, frozen = user_account(owner, Kind.PAID), user_account(owner, Kind.FROZEN)
        if rng.random() < 0.5:
            legs: tuple[AnyLeg, ...] = (Leg(COIN, FX_COIN, units), Leg(FX, paid, usd), Repay(owner))
            self._fact(rng, owner, Code.COIN_DEPOSIT, *legs)
        else:
            if rng.random() < 0.7:
                usd = self._more_than_there_is(rng, owner)
            legs = (Leg(FX_COIN, COIN, units), Take(owner, usd), Leg(frozen, FX, usd))
            again = (Leg(FX, paid, usd), Repay(owner)) if rng.random() < 0.7 else ()
            self._fact(rng, owner, Code.COIN_REVERSED, *legs, *again)

    def payout(self, rng: Random) -> None:
        """One is asked for."""
        owner = self._richest(Kind.EARNINGS) if rng.random() < 0.7 else self._owner(rng)
        earnings, in_transit = user_account(owner, Kind.EARNINGS), user_account(owner, Kind.IN_TRANSIT)
        gross, name = self._amount(rng, earnings, in_transit), self._name("payout")

        def asked(_: tuple[Leg, ...]) -> None:
            self._payouts[name] = (owner, gross, gross // 10, "requested")
            self.in_transit[owner] += gross

        leg = Leg(earnings, in_transit, gross)
        self._fact(rng, owner, Code.PAYOUT, leg, key=f"{name}:requested", effect=asked)

    def payout_goes_on(self, rng: Random) -> None:
        """Returned, landed, paid, or failed after it was paid."""
        if not self._payouts:
            return
        name, (owner, gross, fee, state) = rng.choice(list(self._payouts.items()))
        earnings, in_transit = user_account(owner, Kind.EARNINGS), user_account(owner, Kind.IN_TRANSIT)
        net = gross - fee
        back = Leg(in_transit, earnings, gross)
        out = [Leg(in_transit, CONNECT, net), *([Leg(in_transit, PAYOUT_FEES, fee)] if fee else [])]
        undone = [Leg(leg.credit, leg.debit, leg.amount) for leg in out]
        become, legs, change = rng.choice(
            {
                "requested": [("returned", [back], -gross), ("landed", [Leg(CONNECT, STRIPE, net)], 0)],
                "landed": [("returned", [back, Leg(STRIPE, CONNECT, net)], -gross), ("paid", out, -gross)],
                "paid": [("unpaid", undone, gross)],
                "unpaid": [("returned", [back, Leg(STRIPE, CONNECT, net)], -gross)],
            }[state]
        )

        def changed(_: tuple[Leg, ...]) -> None:
            self.in_transit[owner] += change
            if become == "returned":
                del self._payouts[name]
            else:
                self._payouts[name] = (owner, gross, fee, become)

        self._fact(rng, owner, Code.PAYOUT, *legs, key=f"{name}:{become}", effect=changed)

    def freeze(self, rng: Random) -> None:
        owner = self._owner(rng)
        self._fact(rng, owner, Code.FREEZE, Freeze(owner, is_frozen=rng.random() < 0.4))

    def again_with_other_content(self, rng: Random) -> None:
        """The key of a fact that was posted, and one thing changed."""
        posted = self._history.model.facts
        facts = [fact for fact in self._history.past if isinstance(fact, Fact) and fact.legs and fact.key in posted]
        if facts:
            fact = max(rng.choices(facts, k=3), key=lambda each: len({*map(type, each.legs)} - {Leg}))
            place = rng.randrange(len(fact.legs))
            legs = (*fact.legs[:place], self._changed(rng, fact.legs[place]), *fact.legs[place + 1 :])
            self._history.think(replace(fact, legs=legs))

    @staticmethod
    def _changed(rng: Random, leg: AnyLeg) -> AnyLeg:
        match leg:
            case Leg() | Take() | UpTo():
                return replace(leg, amount=leg.amount + 1)
            case Freeze():
                return replace(leg, is_frozen=not leg.is_frozen)
            case Repay():
                return rng.choice([GiveBack(leg.owner, 1, 0, 0), replace(leg, earnings=2 if leg.earnings == 1 else 1)])
            case GiveBack():
                return replace(leg, **{rng.choice(["paid", "earnings", "owed"]): 10**6})

    def adjustment(self, rng: Random) -> None:
        """Legs as they come: debts made and repaid, all or none."""
        owner = self._owner(rng)
        promo, paid, earnings, owed = (
            user_account(owner, kind) for kind in (Kind.PROMO, Kind.PAID, Kind.EARNINGS, Kind.OWED)
        )
        moves = [
            *[((STRIPE, paid), (PROMO_EXPENSE, promo), (PROMO_EXPENSE, earnings))] * 3,
            ((paid, SUSPENSE), (earnings, SUSPENSE)),
            ((owed, SUSPENSE),),
            ((paid, owed),),
            ((STRIPE, paid), (paid, owed), (promo, PROMO_EXPENSE)),
            (),
        ]
        legs = (Leg(debit, credit, self._amount(rng, debit, credit)) for debit, credit in rng.choice(moves))
        known = list(self._history.model.facts)
        key = rng.choice(known) if known and rng.random() < 0.1 else None
        self._fact(rng, owner, Code.ADJUSTMENT, *legs, key=key)

    def _dispute_ended(self, name: str) -> Effect:
        def ended(_: tuple[Leg, ...]) -> None:
            owner, amount, _back = self._disputes.pop(name)
            self.frozen[owner] -= amount

        return ended

    def _refund_ended(self, name: str) -> Effect:
        def ended(_: tuple[Leg, ...]) -> None:
            owner, amount = self._refunds.pop(name)
            self.frozen[owner] -= amount

        return ended

    def _fact(
        self,
        rng: Random,
        owner: AccountId,
        code: Code,
        *legs: AnyLeg,
        key: str | None = None,
        effect: Effect | None = None,
        caps: tuple[CapUse, ...] = (),
    ) -> None:
        fact = Fact(key or self._name("test"), code, legs, "test", owner, id=self._history.next_id(), caps=caps)
        if effect is not None and fact.key not in self._history.model.facts:
            self._effects[fact.key] = effect
        self._history.think(fact)

    def _owner(self, rng: Random, is_liked: Callable[[AccountId], bool] | None = None) -> AccountId:
        """Anybody, and often somebody who is liked: a case that would be rare otherwise."""
        liked = [owner for owner in self._history.owners if is_liked(owner)] if is_liked and rng.random() < 0.6 else []
        return rng.choice(liked or self._history.owners)

    def _more_than_there_is(self, rng: Random, owner: AccountId) -> int:
        """An amount that a take has to leave owed in part."""
        free = self._history.model.free
        return free(user_account(owner, Kind.PAID)) + free(user_account(owner, Kind.EARNINGS)) + rng.randint(1, 60)

    def _debtor(self, rng: Random) -> AccountId:
        return self._owner(rng, lambda each: self._history.model.balance[user_account(each, Kind.OWED)] < 0)

    def _richest(self, kind: Kind) -> AccountId:
        return max(self._history.owners, key=lambda owner: self._history.model.free(user_account(owner, kind)))

    def _name(self, what: str) -> str:
        self._numbers += 1
        return f"{what}:{self._history.owners[0]}:{self._numbers}"

    def _amount(self, rng: Random, debit: int, credit: int) -> int:
        """An amount, with a liking for those at which the answer turns."""
        if rng.random() < 0.5:
            return rng.randint(1, 120)
        model = self._history.model
        edge = rng.choice([model.free(debit), model.balance[debit], -model.balance[credit], model.free(credit)])
        return min(max(1, edge + rng.randint(0, 1)), 10**12)


EVENTS = (
    *("deposit", "deposit", "deposit", "grant", "reward", "adjustment", "again_with_other_content"),
    *("dispute", "dispute", "won", "won", "lost", "refund", "repay", "repay", "coins", "promo_expires"),
    *("clawback", "payout", "payout_goes_on", "payout_goes_on", "freeze"),
)
