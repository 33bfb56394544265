"""What was taken out of the books: the oldest transfers, of which only sums are left here.

An archive has every transfer of facts below an id, each hold with its finaliser. Accounts, facts, usage, links and closed
days stay, so totals, roots and proofs do too; what is proved of single old rows is proved with the archive's file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Archived:
    """Transfers of facts below `before` are elsewhere, `rows` of them, all in links of `day` or of earlier days.

    `sums` has each account's credits and debits over them. Nothing was archived where `before` is 0.
    """

    before: int = 0
    rows: int = 0
    day: int = -1
    sums: Mapping[int, tuple[int, int]] = field(default_factory=dict)


NOTHING: Final = Archived()
