"""Fresh challenges to every live provider, and what its answers are worth.

Rules: registration is the first answered challenge; another follows every 5 minutes with a nonce of its own; a reply
counts within 30 s; a miss is followed by the next challenge at once; three misses in a row, or one wrong signature, and
the provider is not routed until it answers a challenge rightly or registers again.

Nothing here waits or sends: `due` is called by the pulse and returns what to send.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from hushnet.attestation import policy as attestation
from hushnet.attestation.evidence import EvidenceRegistry
from hushnet.attestation.tiers import Tier
from hushnet.attestation.verdict import Verdict
from hushnet.coordinator.trust.subject import Subject
from hushnet.foundation.clock import Clock
from hushnet.foundation.ids import ProviderId
from hushnet.sealing.statements import VerifiedStatement


@dataclass(frozen=True, slots=True)
class TrustSettings:
    """The rhythm of challenges (the issue's figures; `hushnet.attestation.policy` holds the same)."""

    interval_s: float = attestation.CHALLENGE_INTERVAL_S
    reply_s_max: float = attestation.CHALLENGE_REPLY_S_MAX
    missed_max: int = attestation.CHALLENGES_MISSED_MAX


@dataclass(frozen=True, slots=True)
class DueChallenge:
    """Send this nonce to this provider now."""

    provider_id: ProviderId
    nonce: bytes


_UNJUDGED = Verdict(Tier.NONE)


@dataclass(slots=True)
class _State:
    subject: Subject
    answered_at: int | None
    next_s: float
    missed: int = 0
    nonce: bytes | None = None
    reply_until_s: float = 0.0
    verdict: Verdict = _UNJUDGED


class ChallengeBook:
    """The challenge state of every live provider; verdicts are judged anew whenever a state changes."""

    def __init__(
        self,
        clock: Clock,
        *,
        settings: TrustSettings | None = None,
        registry: EvidenceRegistry | None = None,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._clock = clock
        self._settings = settings or TrustSettings()
        self._policy = attestation.link_policy(registry)
        self._entropy = entropy
        self._states: dict[ProviderId, _State] = {}
        self._adopted: dict[ProviderId, _State] = {}
        """Providers whose challenges another worker sends; judged here, by what that worker says of the answers."""

    def admit(self, statement: VerifiedStatement, *, nonce: bytes, signature: bytes) -> Verdict | None:
        """Check the registration's own challenge and begin with the provider; replaces what an older link had.

        None when the signature does not answer the nonce: nothing is changed then.
        """
        subject = Subject(statement)
        if not subject.has_signed(nonce, signature):
            return None
        state = _State(subject, self._now(), self._clock.monotonic_s() + self._settings.interval_s)
        self._adopted.pop(subject.provider_id, None)
        self._states[subject.provider_id] = state
        return self._judge(state)

    def adopt(self, statement: VerifiedStatement, record: attestation.ChallengeRecord) -> Verdict:
        """Judge a provider of another worker by the challenges that it has answered there; none are sent from here."""
        state = _State(Subject(statement), record.answered_at, next_s=0.0, missed=record.missed)
        self._states.pop(state.subject.provider_id, None)
        self._adopted[state.subject.provider_id] = state
        return self._judge(state)

    def restate(self, statement: VerifiedStatement) -> Verdict:
        """Take a rotated statement of a provider that was admitted; challenges go on as they were."""
        subject = Subject(statement)
        state = self._states[subject.provider_id]
        state.subject = subject
        return self._judge(state)

    def forget(self, provider_id: ProviderId) -> None:
        """Drop a provider whose link is gone."""
        self._states.pop(provider_id, None)
        self._adopted.pop(provider_id, None)

    def due(self) -> tuple[list[DueChallenge], list[ProviderId]]:
        """Count the challenges that ran out and issue what is due: (to send, providers whose verdict may have changed)."""
        now_s = self._clock.monotonic_s()
        to_send: list[DueChallenge] = []
        missed: list[ProviderId] = []
        for provider_id, state in self._states.items():
            if state.nonce is not None and now_s >= state.reply_until_s:
                state.nonce = None
                state.missed += 1
                state.next_s = now_s
                self._judge(state)
                missed.append(provider_id)
            if state.nonce is None and now_s >= state.next_s:
                state.nonce = self._entropy(32)
                state.reply_until_s = now_s + self._settings.reply_s_max
                to_send.append(DueChallenge(provider_id, state.nonce))
        return to_send, missed

    def answer(self, provider_id: ProviderId, nonce: bytes, signature: bytes) -> Verdict | None:
        """Take a reply; None when it answers no open challenge of this provider (late, repeated, or made up)."""
        state = self._states.get(provider_id)
        if state is None or state.nonce is None or not hmac.compare_digest(state.nonce, nonce):
            return None
        state.nonce = None
        state.next_s = self._clock.monotonic_s() + self._settings.interval_s
        if state.subject.has_signed(nonce, signature):
            state.answered_at, state.missed = self._now(), 0
        else:
            # Silence may be the network's fault; a wrong signature is nobody's but the provider's.
            state.missed = max(state.missed, self._settings.missed_max)
            state.next_s = self._clock.monotonic_s() + self._settings.reply_s_max
        return self._judge(state)

    def verdict(self, provider_id: ProviderId) -> Verdict:
        """Return the last verdict on an enrolled provider."""
        return self._known(provider_id).verdict

    def record(self, provider_id: ProviderId) -> attestation.ChallengeRecord:
        """Return when an enrolled provider last answered (Unix seconds) and what it has missed since."""
        state = self._known(provider_id)
        return attestation.ChallengeRecord(answered_at=state.answered_at, missed=state.missed)

    def _known(self, provider_id: ProviderId) -> _State:
        return self._states.get(provider_id) or self._adopted[provider_id]

    def _judge(self, state: _State) -> Verdict:
        record = attestation.ChallengeRecord(answered_at=state.answered_at, missed=state.missed)
        state.verdict = self._policy.judge(state.subject.dossier(record), now=self._now())
        return state.verdict

    def _now(self) -> int:
        return self._clock.now_ms() // 1000
