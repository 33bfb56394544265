"""What a session reports to its shell: facts in the past tense, in the order in which they happened."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from hushnet.foundation.ids import AttemptId, ModelId, ProviderId
from hushnet.sealing.records import Record
from hushnet.wire.errors import LinkFault
from hushnet.wire.frames import Capacity, Hello, ModelOffer, Register, StatementDocument


class LinkEnded(Struct, frozen=True):
    """The session is closed; `code` is what was said or found. The last event of a session, exactly once."""

    code: str
    is_fault_of_peer: bool


class FaultFound(Struct, frozen=True):
    """The peer broke a rule that does not end the link."""

    fault: LinkFault
    attempt: AttemptId | None


# At the coordinator.


class RegisterArrived(Struct, frozen=True):
    """A provider asks to be admitted; answer with `admit` or `reject`."""

    frame: Register


class CapacityReported(Struct, frozen=True):
    capacity: Capacity


class ChallengeAnswered(Struct, frozen=True):
    nonce: bytes
    signature: bytes


class StatementReplaced(Struct, frozen=True):
    statement: StatementDocument


class ModelsReplaced(Struct, frozen=True):
    models: tuple[ModelOffer, ...]


class LoadRefused(Struct, frozen=True):
    """The provider does not load what it was asked to; `code` is a word of a closed list."""

    model: ModelId
    code: str


class DrainingStarted(Struct, frozen=True):
    """The provider asks for no more attempts."""


class RecordsArrived(Struct, frozen=True, gc=False):
    """Records of one attempt, in order, all from one message."""

    attempt: AttemptId
    records: list[Record]


class AttemptRefused(Struct, frozen=True):
    """The attempt is over: the provider refused it, or broke a rule on it. `code` is a wire code."""

    attempt: AttemptId
    code: int


class AttemptFinished(Struct, frozen=True):
    """The attempt is over and its slot is free."""

    attempt: AttemptId


# At the provider.


class HelloArrived(Struct, frozen=True):
    """The coordinator greets; answer with `register`."""

    frame: Hello


class RegistrationAccepted(Struct, frozen=True):
    provider_id: ProviderId
    heartbeat_s: float


class RegistrationRejected(Struct, frozen=True):
    """The coordinator does not admit this provider; `LinkEnded` follows."""

    code: str
    hint: str


class AttemptArrived(Struct, frozen=True):
    """An attempt with its whole envelope; `deadline_ms` counts from the sending."""

    attempt: AttemptId
    envelope: bytes
    deadline_ms: int


class AttemptCancelled(Struct, frozen=True):
    attempt: AttemptId
    code: int


class CreditArrived(Struct, frozen=True):
    """Records of this attempt may leave again."""

    attempt: AttemptId


class ChallengeArrived(Struct, frozen=True):
    nonce: bytes


class LoadModelAsked(Struct, frozen=True):
    model: ModelId


class UnloadModelAsked(Struct, frozen=True):
    model: ModelId


class DrainAsked(Struct, frozen=True):
    reason: str


class FaultReported(Struct, frozen=True):
    """The coordinator says that this provider broke a rule."""

    code: str
    attempt: AttemptId | None


CoordinatorEvent: TypeAlias = (
    RegisterArrived
    | CapacityReported
    | ChallengeAnswered
    | StatementReplaced
    | ModelsReplaced
    | LoadRefused
    | DrainingStarted
    | RecordsArrived
    | AttemptRefused
    | AttemptFinished
    | FaultFound
    | LinkEnded
)

ProviderEvent: TypeAlias = (
    HelloArrived
    | RegistrationAccepted
    | RegistrationRejected
    | AttemptArrived
    | AttemptCancelled
    | CreditArrived
    | ChallengeArrived
    | LoadModelAsked
    | UnloadModelAsked
    | DrainAsked
    | FaultReported
    | LinkEnded
)
