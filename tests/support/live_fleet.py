"""Live providers without links and signatures: the coordinator's own `LiveProvider`s, for a `Fleet` of any size.

Admitting 100,000 providers through the gate would verify 100,000 statements and take minutes. Their statements are of the
right type, unsigned, and for tests and benches of what lies behind the gate only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hushnet.attestation.tiers import Tier
from hushnet.coordinator.fleet.load import Load
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.coordinator.fleet.store import Owner
from hushnet.foundation.ids import AccountId, ApiKeyId, AttemptId, ModelId, ProviderId
from hushnet.sealing.statements import Statement, VerifiedStatement
from hushnet.sealing.statements.checks import OfferedKey
from hushnet.sealing.suites import PREFERENCE
from hushnet.wire.frames import Capacity, ModelCapacity, ModelOffer

UNSIGNED: Final = Statement("", b"", ())
_NEVER: Final = 1 << 40
PROVIDERS_AN_OWNER: Final = 3


class SilentLink:
    """A provider's link that nothing is sent over."""

    def __init__(self, provider_id: ProviderId) -> None:
        self.provider_id = provider_id

    def dispatch(self, envelope: bytes, *, deadline_ms: int, credit_bytes: int, sink: object) -> AttemptId:
        raise AssertionError("nothing is dispatched here")

    def cancel(self, attempt: AttemptId, code: int) -> None: ...

    def grant(self, attempt: AttemptId, bytes_: int) -> None: ...

    def challenge(self, nonce: bytes) -> None: ...

    def load_model(self, model: ModelId) -> None: ...

    def drain(self, reason: str) -> None: ...

    def close(self, code: str) -> None: ...


def id_of(number: int) -> ProviderId:
    """Return the id of the provider with that number: as long and as little sorted as a digest."""
    return ProviderId(f"{number * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF:016x}" * 4)


def verified(number: int) -> VerifiedStatement:
    """Return what the checks of a statement with a key of each suite would give."""
    keys = tuple(OfferedKey(suite, number.to_bytes(8, "big") + bytes([suite]) * 8, bytes(32)) for suite in PREFERENCE)
    identity = bytes.fromhex(id_of(number))
    return VerifiedStatement(identity, "nowhere", "ed25519", bytes(32), 1, 0, _NEVER, keys, None, bytes(32))


def live(number: int, offers: Sequence[ModelOffer], capacity: Capacity, *, tier: Tier = Tier.MEASURED) -> LiveProvider:
    """Return a provider as the gate would publish it."""
    provider_id = id_of(number)
    provider = LiveProvider(
        provider_id=provider_id,
        owner=Owner(AccountId(1 + number // PROVIDERS_AN_OWNER), ApiKeyId(1)),
        link=SilentLink(provider_id),
        agent_version="0.1.0",
        statement=UNSIGNED,
        verified=verified(number),
        tier=tier,
        load=Load(capacity),
        connected_ms=0,
    )
    provider.offer(offers)
    return provider


def report(
    models: Sequence[ModelId],
    *,
    slots: int,
    active: int,
    decode_tokens_s: float,
    prefill_tokens_s: float,
    tokens_active: int = 0,
) -> Capacity:
    """Return a heartbeat's content as an agent writes it; what is active runs the first of `models`."""
    parts = tuple(
        ModelCapacity(
            model=model,
            slots=slots,
            active=0 if place else active,
            queued=0,
            decode_tokens_s=decode_tokens_s,
            prefill_tokens_s=prefill_tokens_s,
        )
        for place, model in enumerate(models)
    )
    return Capacity(
        slots=slots,
        active=active,
        tokens_active=tokens_active,
        decode_tokens_s=decode_tokens_s,
        prefill_tokens_s=prefill_tokens_s,
        memory_bytes_free=8 << 30,
        memory_bytes_total=32 << 30,
        load=active / slots,
        per_model=parts,
    )
