"""Base rewards: what a machine that stands by earns, whether or not it is used, out of a monthly pool.

rules.py       what an epoch is worth to a machine: integers only
attendance.py  who was there, look by look
payer.py       what is due, and its posting inside the pool
"""

from hushnet.coordinator.incentives.rewards.payer import Rewards
from hushnet.coordinator.incentives.rewards.rules import RewardTerms

__all__ = ["RewardTerms", "Rewards"]
