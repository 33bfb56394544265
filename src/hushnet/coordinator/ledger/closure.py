"""Closing an account for good: the leg that empties and closes it, and what stands in its way.

Promo goes back to where it came from; paid and earnings, which were the owner's, are kept as unclaimed. A row of the
owner's debts that is closed says that the account is closed for good: what unfreezes others leaves it closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Obstacle(StrEnum):
    """Why an account cannot be closed now."""

    HOLD = "hold"
    """Money is held for requests that run."""
    PAYOUT = "payout"
    """A payout is on its way."""
    DEBT = "debt"
    """The owner owes."""
    FREEZE = "freeze"
    """Money is set aside for a refund or a dispute, or the account is frozen."""
    MONEY = "money"
    """More is left of paid and earnings than the owner gives up."""


@dataclass(frozen=True, slots=True)
class CloseOut:
    """Empty `owner`'s accounts and close them for good; stands alone in its fact.

    `gives_up` is how much of paid and earnings, in micro-USD, the owner leaves behind at most. It is a condition, no
    content: the same closing with another one is the same fact.
    """

    owner: int
    gives_up: int = 0


@dataclass(frozen=True, slots=True)
class NotClosable:
    """The account stays as it is; `amount` is what the obstacle amounts to (0: an account that is only frozen)."""

    obstacle: Obstacle
    amount: int
