"""Each small mistake in the planner is caught by the histories: they look where money can go wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import ModuleType

import pytest

from hushnet.coordinator.ledger import legs, plan, working
from support.ledger_history import History, MemoryStore, live

HISTORIES_MAX = 40
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
            live(History(MemoryStore(), planner), Random(seed), 60)
        except Exception:
            return  # whatever it was, it did not pass unnoticed
    pytest.fail("survived")
