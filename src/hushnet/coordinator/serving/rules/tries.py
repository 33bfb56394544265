"""What a request has learned from its attempts so far: who is left to try, and what to say when nobody is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.coordinator.routing.model import RouteRequest
from hushnet.coordinator.serving.attempt import AttemptEnd
from hushnet.coordinator.serving.failures import Failure
from hushnet.coordinator.serving.model import Mode, RequestBody
from hushnet.coordinator.serving.rules.failover import Verdict, judge
from hushnet.coordinator.serving.settings import ServingLimits
from hushnet.foundation.ids import ProviderId
from hushnet.foundation.money import Price
from hushnet.sealing.errors import WireCode


@dataclass(slots=True)
class Tries:
    """The attempts of one request."""

    price: Price | None = None
    """What the model costs where nobody gives a discount."""
    cached: Mapping[ProviderId, int] = field(default_factory=dict)
    """How many tokens of the prompt a provider is likely to have read before."""
    made: int = 0
    last: Failure | None = None
    """What to say when nobody is left to try."""
    _at: Counter[ProviderId] = field(default_factory=Counter)
    _excluded: frozenset[ProviderId] = frozenset()
    _versions: frozenset[str] = frozenset()
    """Versions of agents that were at fault."""
    _refusals: int = 0
    """How many of `made` ended for want of room."""
    _open_failures: int = 0
    _is_final: bool = False

    def learn(self, end: AttemptEnd, provider: LiveProvider, mode: Mode, limits: ServingLimits) -> Verdict:
        """Judge an attempt that showed nothing, and remember what follows for the next."""
        verdict = judge(end, mode, open_failures=self._open_failures)
        provider_id = provider.provider_id
        if not self._is_final:  # of two attempts that were out, the one that nothing can follow has the last word
            self.last, self._is_final = verdict.failure, verdict.is_final
        self._refusals += verdict.is_full
        self._open_failures += end.code == WireCode.OPEN_FAILED
        self._at[provider_id] += 1
        if verdict.is_fault:
            self._versions |= {provider.agent_version}
        # One that had no room may have it later: until then the fleet knows it as full, and the request waits.
        is_tried_out = self._at[provider_id] >= limits.attempts_at_one_max and not verdict.is_full
        if verdict.is_excluded or is_tried_out:
            self._excluded |= {provider_id}
        return verdict

    def may_go_on(self, body: RequestBody, limits: ServingLimits) -> bool:
        """Say whether another attempt may follow; an envelope allows as many as it has entries.

        In standard mode those that were refused for want of room are bounded by themselves.
        """
        if body.recipients is not None:
            return not self._is_final and self.made < len(body.recipients)
        is_within = self._refusals < limits.refusals_max and self.made - self._refusals < limits.attempts_max
        return not self._is_final and is_within

    def route_request(self, body: RequestBody) -> RouteRequest:
        """Return what the next attempt asks of the router."""
        facts = body.facts
        return RouteRequest(
            model=facts.model,
            prompt_tokens_max=facts.prompt_tokens_max,
            output_tokens_max=facts.output_tokens_max,
            features=facts.features,
            floor=facts.floor,
            price=self.price,
            cached=self.cached,
            preferences=facts.preferences,
            recipients=body.recipients,
            excluded=self._excluded,
            avoided=frozenset(self._at),
            avoided_versions=self._versions,
        )

    def backup_request(self, body: RequestBody, running: LiveProvider) -> RouteRequest:
        """Return what a backup asks of the router while an attempt at `running` is out: somebody who has not been tried."""
        asked = self.route_request(body)
        return replace(
            asked,
            excluded=asked.excluded | asked.avoided | {running.provider_id},
            avoided_versions=asked.avoided_versions | {running.agent_version},
        )
