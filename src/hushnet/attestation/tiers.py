"""The trust tiers, in order: what the word of a provider rests on."""

from __future__ import annotations

from enum import IntEnum

from hushnet.foundation.errors import TrustError


class Tier(IntEnum):
    """`none < self_signed < measured < hardware`; comparing tiers is comparing integers.

    `self_signed`: holds a key and answers fresh challenges. `measured`: a measured boot and the agent's digest, bound
    to the serving key. `hardware`: the same from hardware that the machine's owner cannot speak for.
    """

    NONE = 0
    SELF_SIGNED = 1
    MEASURED = 2
    HARDWARE = 3

    @property
    def label(self) -> str:
        """The tier's name on the wire and in settings: `self_signed`."""
        return self.name.lower()


_BY_LABEL = {tier.label: tier for tier in Tier}


def tier_of(label: str) -> Tier:
    """Return the tier called `label`; raise `TrustError` for a name that is none of the four."""
    tier = _BY_LABEL.get(label)
    if tier is None:
        raise TrustError("unknown trust tier", code="unknown_tier", hint=f"one of: {', '.join(_BY_LABEL)}")
    return tier
