"""What a session reports to its shell: facts in the past tense, in the order in which they happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from hushnet.foundation.ids import AttemptId, ModelId, ProviderId
from hushnet.sealing.records import Record
from hushnet.wire.errors import LinkFault
from hushnet.wire.frames import Capacity, Hello, ModelOffer, Register, StatementDocument


@dataclass(frozen=True, slots=True)
class LinkEnded:
    """The session is closed; `code` is what was said or found. The last event of a session, exactly once."""

    code: str
    is_fault_of_peer: bool


@dataclass(frozen=True, slots=True)
class FaultFound:
    """The peer broke a rule that does not end the link."""

    fault: LinkFault
    attempt: AttemptId | None


# At the coordinator.


@dataclass(frozen=True, slots=True)
class RegisterArrived:
    """A provider asks to be admitted; answer with `admit` or `reject`."""

    frame: Register


@dataclass(frozen=True, slots=True)
class CapacityReported:
    capacity: Capacity


@dataclass(frozen=True, slots=True)
class ChallengeAnswered:
    nonce: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class StatementReplaced:
    statement: StatementDocument


@dataclass(frozen=True, slots=True)
class ModelsReplaced:
    models: tuple[ModelOffer, ...]


@dataclass(frozen=True, slots=True)
class DrainingStarted:
    """The provider asks for no more attempts."""


@dataclass(frozen=True, slots=True)
class RecordsArrived:
    """Records of one attempt, in order, all from one message."""

    attempt: AttemptId
    records: list[Record]


@dataclass(frozen=True, slots=True)
class AttemptRefused:
    """The attempt is over: the provider refused it, or broke a rule on it. `code` is a wire code."""

    attempt: AttemptId
    code: int


@dataclass(frozen=True, slots=True)
class AttemptFinished:
    """The attempt is over and its slot is free."""

    attempt: AttemptId


# At the provider.


@dataclass(frozen=True, slots=True)
class HelloArrived:
    """The coordinator greets; answer with `register`."""

    frame: Hello


@dataclass(frozen=True, slots=True)
class RegistrationAccepted:
    provider_id: ProviderId
    heartbeat_s: float


@dataclass(frozen=True, slots=True)
class RegistrationRejected:
    """The coordinator does not admit this provider; `LinkEnded` follows."""

    code: str
    hint: str


@dataclass(frozen=True, slots=True)
class AttemptArrived:
    """An attempt with its whole envelope; `deadline_ms` counts from the sending."""

    attempt: AttemptId
    envelope: bytes
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class AttemptCancelled:
    attempt: AttemptId
    code: int


@dataclass(frozen=True, slots=True)
class CreditArrived:
    """Records of this attempt may leave again."""

    attempt: AttemptId


@dataclass(frozen=True, slots=True)
class ChallengeArrived:
    nonce: bytes


@dataclass(frozen=True, slots=True)
class LoadModelAsked:
    model: ModelId


@dataclass(frozen=True, slots=True)
class DrainAsked:
    reason: str


@dataclass(frozen=True, slots=True)
class FaultReported:
    """The coordinator says that this provider broke a rule."""

    code: str
    attempt: AttemptId | None


CoordinatorEvent: TypeAlias = (
    RegisterArrived
    | CapacityReported
    | ChallengeAnswered
    | StatementReplaced
    | ModelsReplaced
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
    | DrainAsked
    | FaultReported
    | LinkEnded
)
