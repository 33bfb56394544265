"""Each small mistake in the planner is caught by the histories: they look where money can go wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import ModuleType

import pytest

from hushnet.coordinator.ledger import legs, plan, working
from support.ledger_history import History, live
from support.ledger_stores import MemoryStore

HISTORIES_MAX = 2_000
"""A mutant that survives so many short histories would survive CI."""

MUTANTS = {
    "buckets in another order": (plan, "for kind in SPENDABLE]", "for kind in SPENDABLE[::-1]]"),
    "one too much is enough": (plan, "if available < hold.amount else", "if available < hold.amount - 1 else"),
    "one too little is not": (plan, "if available < hold.amount else", "if available <= hold.amount else"),
    "a cap may be passed by one": (plan, "window.left < amount", "window.left + 1 < amount"),
    "a cap does not count": (plan, "else self._over_a_cap(hold.caps, hold.amount)", "else None"),
    "a hold may change its amount": (plan, "sum(row.amount for row in pending) == hold.amount", "True"),
    "a hold may change its owner": (plan, "stored.owner, stored.parts.total", "hold.owner, stored.parts.total"),
    "a close may disagree about its parts": (plan, "!= (close.owner, close.parts, close.caps)", "!= (close.owner, stored.parts, close.caps)"),
    "a close may disagree about its owner": (plan, "!= (close.owner, close.parts, close.caps)", "!= (stored.owner, close.parts, close.caps)"),
    "a close may forget its caps": (plan, "!= (close.owner, close.parts, close.caps)", "!= (close.owner, close.parts, stored.caps)"),
    "another settlement counts as the same": (plan, "and received == wanted", ""),
    "a void counts as any finaliser": (plan, "phase == Phase(close.kind) and received == wanted", "received == wanted"),
    "a leg too short": (plan, "amount = min(need, left)", "amount = min(need, left, 50)\n                need -= need - amount"),
    "a fact may be posted twice": (plan, "        if known is not None:\n            return AlreadyPosted() if known == digest else Conflict()\n", ""),
    "a fact may change": (plan, "if known == digest else Conflict()", ""),
    "a debt may be overpaid": (legs, "self._balance(move.credit) > 0:", "self._balance(move.credit) > 1:"),
    "an account may be overdrawn": (legs, "self._available(move.debit) < 0:", "self._available(move.debit) < -1:"),
    "held money is there for facts": (legs, ".available + self._moved", ".balance + self._moved"),
    "nothing is held": (working, "self.account(account).held += amount", "pass"),
    "nothing is released": (working, "self.account(account).held -= amount", "pass"),
    "a budget keeps what was released": (working, "window.held -= hold.parts.total", "window.held -= record.cost"),
    "a budget forgets what was spent": (working, "window.spent += record.cost", "pass"),
    "a hold closed in its own batch stays": (working, "if self.opened.pop(hold.id, None) is None:", "if True:"),
    "a finished hold is forgotten within the batch": (working, "self._holds[hold.id] = None\n", "self._holds.pop(hold.id, None)\n"),
    "debits are lost": (working, "self.account(row.debit).debits += row.amount", "pass"),
    "a frozen account may hold": (plan, "any(bucket.is_closed for bucket in buckets)", "False"),
    "a cap does not bound a fact": (plan, "if fact.caps else None", "if not fact.caps else None"),
    "a fact does not count against its cap": (plan, "self.working.spend(fact.caps, _capped(fact))", "pass"),
    "only a fact's first leg counts against its cap": (plan, "sum(leg.amount for leg in fact.legs if isinstance(leg, Leg))", "fact.legs[0].amount"),
    "nobody is frozen": (plan, "self.working.freeze(owner, is_frozen=is_frozen)", "pass"),
    "who is frozen stays so": (plan, "is_frozen=is_frozen)", "is_frozen=True)"),
    "a freeze is forgotten at the end of the batch": (working, "if now.is_closed != was.is_closed else None", "if False else None"),
    "a freeze without money is not written": (working, "!= (0, 0, 0, None)", "[:3] != (0, 0, 0)"),
    "a freeze leaves a bucket open": (working, "for kind in SPENDABLE:", "for kind in SPENDABLE[1:]:"),
    "a take is from earnings first": (legs, "user_account(take.owner, kind) for kind in (Kind.PAID, Kind.EARNINGS,", "user_account(take.owner, kind) for kind in (Kind.EARNINGS, Kind.PAID,"),
    "a take spares earnings": (legs, "if take.has_earnings else 0", "if False else 0"),
    "a take is from earnings that were not to be taken": (legs, "if take.has_earnings else 0", ""),
    "a take forgets what is missing": (legs, ", (owed, frozen, rest))", ")"),
    "a repayment is one short": (legs, "debt = self._debt(repay.owner)", "debt = max(0, self._debt(repay.owner) - 1)"),
    "a repayment takes what is held": (legs, "min(debt, self._available(paid))", "min(debt, self._balance(paid))"),
    "a repayment takes earnings beyond what was asked": (legs, "min(debt - from_paid, repay.earnings, ", "min(debt - from_paid, "),
    "a repayment takes earnings that are held": (legs, "repay.earnings, self._available(earnings)", "repay.earnings, self._balance(earnings)"),
    "a repayment takes earnings beyond the debt": (legs, "min(debt - from_paid, repay.earnings", "min(debt, repay.earnings"),
    "a repayment takes earnings unasked": (legs, "repay.earnings, self._available(earnings)) if repay.earnings else 0", "self._available(earnings))"),
    "a repayment may change its bound": (legs, "_symbol(6, leg.owner, leg.earnings)", "_symbol(6, leg.owner)"),
    "what is given back stays owed": (legs, "still_owed = min(back.owed, self._debt(back.owner))", "still_owed = 0"),
    "what is given back is not owed any more, whatever the debt": (legs, "min(back.owed, self._debt(back.owner))", "back.owed"),
    "what was owed is given back as earnings": (legs, "(frozen, earnings, back.earnings)", "(frozen, earnings, back.earnings + back.owed - still_owed)"),
    "up to is no bound": (legs, "min(leg.amount, self._available(leg.debit))", "leg.amount"),
    "up to counts what is held": (legs, "min(leg.amount, self._available(leg.debit))", "min(leg.amount, self._balance(leg.debit))"),
    "a leg does not see those before it": (legs, "self._working.account(account).available + self._moved[account]", "self._working.account(account).available"),
    "a payout out of a frozen account": (legs, "if is_payout and", "if False and"),
    "a debt does not freeze": (legs, "is_frozen or self._debt(owner) > 0", "is_frozen"),
    "the end of a debt does not unfreeze": (legs, "found.setdefault(account >> 4, False)", "found.setdefault(account >> 4, True)"),
    "a deposit unfreezes who owes nothing": (legs, "and (self._working.account(account).balance or self._balance(account))", ""),
    "zero legs are written": (legs, "for move in moves if move[2]", "for move in moves"),
    "a take may change its amount": (legs, "leg.owner, leg.amount, leg.has_earnings)", "leg.owner, leg.has_earnings)"),
    "a duplicate key in one batch is new": (working, "return row.digest if row is not None else", "return"),
}  # fmt: skip


@pytest.fixture
def modules() -> Iterator[list[str]]:
    """Names of modules to forget."""
    names: list[str] = []
    yield names
    for name in names:
        del sys.modules[name]


def loaded(name: str, source: str, modules: list[str]) -> ModuleType:
    module = ModuleType(name)
    sys.modules[name] = module
    modules.append(name)
    exec(compile(source, name, "exec"), module.__dict__)
    return module


def mutated(module: ModuleType, old: str, new: str, modules: list[str]) -> ModuleType:
    """The planner with one mistake in it, or in the working copy that it uses."""
    sources = {each: Path(str(each.__file__)).read_text() for each in (plan, legs, working)}
    assert sources[module].count(old) == 1, old
    sources[module] = sources[module].replace(old, new)
    names = {each.__name__: f"mutant_{each.__name__.rpartition('.')[2]}" for each in sources}
    for each in (working, legs, plan):
        for name, mutant in names.items():
            sources[each] = sources[each].replace(f"from {name} import", f"from {mutant} import")
        planner = loaded(names[each.__name__], sources[each], modules)
    return planner


@pytest.mark.parametrize("mistake", MUTANTS)
def test_a_mutant_is_caught(mistake: str, modules: list[str]) -> None:
    planner = mutated(*MUTANTS[mistake], modules)

    for seed in range(HISTORIES_MAX):
        try:
            history = History.alone(MemoryStore(), planner)
            live(history, Random(seed), 80)
            history.check()
        except Exception:
            return  # whatever it was, it did not pass unnoticed
    pytest.fail("survived")
