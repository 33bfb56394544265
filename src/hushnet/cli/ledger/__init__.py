"""`hush ledger`: the operator's books, beside a live coordinator or without one, and checks for everybody else.

app.py        the group, and what its commands share
check.py      `check`: every invariant, now
days.py       `close`, `trial`, `root`: closed days
proofs.py     `prove`, `verify`: that a balance is in a root, that an export is whole
files.py      `export`, `archive`, `statement`: the books, their oldest rows, one owner's account as files

`settle` is in `money/settlement.py`: it sends coin payouts through a live coordinator.
"""

from hushnet.cli.ledger import days, files, proofs
from hushnet.cli.ledger.app import app
from hushnet.cli.ledger.check import checked_books
from hushnet.cli.money import settlement

settlement.add_to(app, "settle")

__all__ = ["app", "checked_books", "days", "files", "proofs"]
