"""Where incentives are joined: their stores, the fleet whose machines stand by, their routes and their clockwork."""

from __future__ import annotations

from functools import partial

from hushnet.attestation.tiers import tier_of
from hushnet.coordinator.accounts import Accounts
from hushnet.coordinator.api.money.corrections import CorrectionsApi
from hushnet.coordinator.api.money.incentives import IncentivesApi
from hushnet.coordinator.app.money import Money
from hushnet.coordinator.incentives.corrections import Corrections
from hushnet.coordinator.incentives.grants import Grants
from hushnet.coordinator.incentives.invites import Invites
from hushnet.coordinator.incentives.programmes import OneKey, Programmes, base_rewards
from hushnet.coordinator.incentives.referrals import Referrals
from hushnet.coordinator.incentives.rewards import Rewards, RewardTerms
from hushnet.coordinator.incentives.rewards.attendance import fit
from hushnet.coordinator.incentives.service import Incentives
from hushnet.coordinator.serving.assembly import Serving
from hushnet.coordinator.settings import IncentiveSettings
from hushnet.coordinator.storage import Database
from hushnet.coordinator.storage.money.referrals import SqlReferralShares


def join_incentives(
    money: Money,
    settings: IncentiveSettings,
    serving: Serving,
    *,
    accounts: Accounts,
    database: Database,
    is_payer: bool,
) -> Incentives:
    """Make the incentives and give `money` their routes and works; `is_payer`: this process looks who stands by."""
    store, clock = money.store, serving.clock
    terms = reward_terms(settings)
    one_key = OneKey(settings.adjustment_limit, settings.adjustment_day_limit)
    rewards = None
    if terms.pool and is_payer:
        rewards = Rewards(store, clock, terms, present=partial(fit, serving.fleet, trust=terms.trust))
        money.works.append(("base-rewards", rewards.run))
    incentives = Incentives(
        grants=Grants(store, one_key),
        invites=Invites(store, clock, one_key),
        referrals=Referrals(store, SqlReferralShares(database)),
        corrections=Corrections(store, one_key),
        programmes=Programmes(store, clock, [one_key.programme, base_rewards(settings.reward_pool)]),
        rewards=rewards,
        clock=clock,
    )
    money.works.append(("incentives", incentives.run))
    money.routes.extend(IncentivesApi(accounts, incentives, serving.service.limits.terms).routes())
    money.routes.extend(CorrectionsApi(accounts, incentives.corrections).routes())
    return incentives


def reward_terms(settings: IncentiveSettings) -> RewardTerms:
    """Return how base rewards are worked out, as the operator chose."""
    return RewardTerms(settings.reward_pool, tier_of(settings.reward_trust), settings.floors())
