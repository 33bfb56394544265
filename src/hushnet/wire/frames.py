"""Control frames of the provider link: JSON text messages, told apart by the member `type`.

Rules: numbers are bounded, finite and >= 0; strings and lists are bounded; bytes travel as standard base64; unknown
members are ignored; an unknown `type` is ignored when the frame says `"optional": true` and a fault otherwise.
docs/wire.md is the reference and a test holds it to this file.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

from msgspec import Meta, Struct, field

from hushnet.foundation.ids import AttemptId, ModelId, ProviderId
from hushnet.foundation.redaction import Secret
from hushnet.wire.limits import ATTEMPT_MAX, CREDIT_BYTES_MAX, DEADLINE_MS_MAX, ENVELOPE_BYTES_MAX

Version: TypeAlias = Annotated[int, Meta(ge=1, le=65535)]
Attempt32: TypeAlias = Annotated[AttemptId, Meta(ge=1, le=ATTEMPT_MAX)]
Code: TypeAlias = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_]{0,63}\Z", max_length=64)]
"""A word of a closed list; never free text of the peer."""
Hint: TypeAlias = Annotated[str, Meta(max_length=512)]
Nonce: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]
Signature: TypeAlias = Annotated[bytes, Meta(min_length=64, max_length=64)]
Network: TypeAlias = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9.-]{0,63}\Z", max_length=64)]
ProviderHex: TypeAlias = Annotated[ProviderId, Meta(pattern=r"\A[0-9a-f]{64}\Z", max_length=64)]
ModelName: TypeAlias = Annotated[ModelId, Meta(pattern=r"\A[A-Za-z0-9._:/@+-]{1,128}\Z", max_length=128)]
BuildHex: TypeAlias = Annotated[str, Meta(pattern=r"\A(?:[0-9a-f]{64})?\Z", max_length=64)]
AgentVersion: TypeAlias = Annotated[str, Meta(pattern=r"\A[0-9A-Za-z.+_-]{1,64}\Z", max_length=64)]
Feature: TypeAlias = Annotated[str, Meta(pattern=r"\A[a-z0-9_]{1,32}\Z", max_length=32)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**20)]
Tokens: TypeAlias = Annotated[int, Meta(ge=0, le=2**40)]
MemoryBytes: TypeAlias = Annotated[int, Meta(ge=0, le=2**60)]
Rate: TypeAlias = Annotated[float, Meta(ge=0.0, le=1e7)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0.01, le=3600.0)]
Share: TypeAlias = Annotated[float, Meta(ge=0.0, le=1.0)]
LoadSeconds: TypeAlias = Annotated[float, Meta(ge=0.0, le=86_400.0)]
Word: TypeAlias = Annotated[str, Meta(pattern=r"\A[a-z_]{0,32}\Z", max_length=32)]
"""A word of a closed list that may grow: one that is not known is ignored."""
REGION_CHARACTERS_MAX: Final = 32
REGION_PATTERN: Final = r"\A(?:[a-z][a-z0-9-]{0,31})?\Z"
Region: TypeAlias = Annotated[str, Meta(pattern=REGION_PATTERN, max_length=REGION_CHARACTERS_MAX)]
"""Where a machine stands, as its operator says it: `de`, `us-east`."""

THERMAL_WORDS: Final = ("nominal", "fair", "serious", "critical")
"""What `Capacity.thermal` may say beside nothing: no throttling, warm, throttling, about to throttle to a halt."""


class ModelOffer(Struct, frozen=True, kw_only=True):
    """One model that a provider serves; `build` is the SHA-256 of its files, empty when unknown.

    A model that is not loaded takes about `load_s` to load before it serves. `is_template_sound` says whether the agent's
    own rendering of a conversation with tools came out whole: null where it has not looked.
    """

    model: ModelName
    build: BuildHex = ""
    context_tokens: Annotated[int, Meta(ge=1, le=2**24)]
    features: Annotated[tuple[Feature, ...], Meta(max_length=32)] = ()
    slots: Annotated[int, Meta(ge=1, le=4096)]
    is_loaded: bool = True
    load_s: LoadSeconds = 0.0
    is_template_sound: bool | None = None


class ModelCapacity(Struct, frozen=True, kw_only=True):
    """The part of a provider's capacity that belongs to one model."""

    model: ModelName
    slots: Count
    active: Count
    queued: Count
    decode_tokens_s: Rate = 0.0
    prefill_tokens_s: Rate = 0.0


class Capacity(Struct, frozen=True, kw_only=True):
    """What a provider can take, measured by its engine; `load` is 0 idle, 1 busy, more is overcommitted.

    `cpu` is the busy share of all processors; `thermal` is `nominal`, `fair`, `serious`, `critical`, or empty where the
    machine tells nothing. A total of 0 bytes is unknown.
    """

    slots: Count
    active: Count
    queued: Count = 0
    tokens_active: Tokens = 0
    tokens_queued: Tokens = 0
    tokens_max: Tokens = 0
    decode_tokens_s: Rate = 0.0
    prefill_tokens_s: Rate = 0.0
    memory_bytes_free: MemoryBytes = 0
    memory_bytes_total: MemoryBytes = 0
    load: Annotated[float, Meta(ge=0.0, le=1000.0)] = 0.0
    cpu: Share = 0.0
    gpu_memory_bytes_used: MemoryBytes = 0
    gpu_memory_bytes_total: MemoryBytes = 0
    thermal: Word = ""
    per_model: Annotated[tuple[ModelCapacity, ...], Meta(max_length=64)] = ()


class StatementSignature(Struct, frozen=True, kw_only=True):
    """One signature of a DSSE envelope; `keyid` is a hint only."""

    keyid: Annotated[str, Meta(max_length=256)] = ""
    sig: Annotated[str, Meta(max_length=512)]


class StatementDocument(Struct, frozen=True, kw_only=True):
    """A key statement as it travels: bounded here, verified by `sealing.statements`."""

    payload_type: Annotated[str, Meta(max_length=256)] = field(name="payloadType")
    payload: Annotated[str, Meta(max_length=16384)]
    signatures: Annotated[tuple[StatementSignature, ...], Meta(min_length=1, max_length=4)]

    def to_json_object(self) -> dict[str, Any]:
        """Return the plain mapping that `Statement.from_json_object` takes."""
        return {
            "payloadType": self.payload_type,
            "payload": self.payload,
            "signatures": [{"keyid": each.keyid, "sig": each.sig} for each in self.signatures],
        }


class Frame(Struct, frozen=True, kw_only=True, tag_field="type"):
    """A control frame; subclasses carry the tag."""


# Coordinator to provider.


class Hello(Frame, frozen=True, tag="hello"):
    """Greet a new connection: the first frame, before anything is known of the peer."""

    versions: Annotated[tuple[Version, ...], Meta(min_length=1, max_length=16)]
    network: Network
    nonce: Nonce
    register_within_s: Seconds


class Registered(Frame, frozen=True, tag="registered"):
    """Accept the registration; attempts may follow."""

    version: Version
    heartbeat_s: Seconds
    provider_id: ProviderHex


class Rejected(Frame, frozen=True, tag="rejected"):
    """Refuse the registration; the connection closes. `hint` is for the person who runs the provider."""

    code: Code
    hint: Hint = ""


class Attempt(Frame, frozen=True, tag="attempt"):
    """Announce an attempt; `envelope_bytes` of envelope follow as data. `deadline_ms` counts from now."""

    attempt: Attempt32
    deadline_ms: Annotated[int, Meta(ge=1, le=DEADLINE_MS_MAX)]
    credit_bytes: Annotated[int, Meta(ge=1, le=CREDIT_BYTES_MAX)]
    envelope_bytes: Annotated[int, Meta(ge=1, le=ENVELOPE_BYTES_MAX)]


class Cancel(Frame, frozen=True, tag="cancel"):
    """Stop an attempt; `code` is a wire code (docs/sealing.md section 11). Grants `CANCEL_CREDIT_BYTES` by itself."""

    attempt: Attempt32
    code: Annotated[int, Meta(ge=1, le=65535)]


class Credit(Frame, frozen=True, tag="credit"):
    """Allow `bytes` more record bytes of an attempt."""

    attempt: Attempt32
    bytes: Annotated[int, Meta(ge=1, le=CREDIT_BYTES_MAX)]


class Challenge(Frame, frozen=True, tag="challenge"):
    """Ask for a fresh signature of the identity key (challenge.py)."""

    nonce: Nonce


class LoadModel(Frame, frozen=True, tag="load_model"):
    """Suggest that the provider loads a model."""

    model: ModelName


class UnloadModel(Frame, frozen=True, tag="unload_model"):
    """Suggest that the provider frees a model; one in use stays. Only for a model that is offered with a `load_s`."""

    model: ModelName
    optional: bool = True


class Drain(Frame, frozen=True, tag="drain"):
    """Announce that no more attempts will come; the provider finishes what it has."""

    reason: Code


class Fault(Frame, frozen=True, tag="fault"):
    """Name a breached rule that did not end the link; `attempt` when one attempt was meant (errors.py)."""

    code: Code
    attempt: Attempt32 | None = None


class Bye(Frame, frozen=True, tag="bye"):
    """Say why the sender closes the connection; either side, last frame."""

    code: Code = "closing"


# Provider to coordinator.


class Register(Frame, frozen=True, tag="register"):
    """Name the provider: its token, statement, models, capacity, region, and the signature over the hello's nonce."""

    version: Version
    versions: Annotated[tuple[Version, ...], Meta(min_length=1, max_length=16)]
    token: Secret
    agent_version: AgentVersion
    statement: StatementDocument
    models: Annotated[tuple[ModelOffer, ...], Meta(max_length=64)]
    capacity: Capacity
    challenge_signature: Signature
    region: Region = ""


class Heartbeat(Frame, frozen=True, tag="heartbeat"):
    """Report capacity; its absence for 15 s ends the link."""

    capacity: Capacity


class ChallengeReply(Frame, frozen=True, tag="challenge_reply"):
    """Answer a challenge."""

    nonce: Nonce
    signature: Signature


class StatementUpdate(Frame, frozen=True, tag="statement"):
    """Replace the statement after a key rotation."""

    statement: StatementDocument


class Refused(Frame, frozen=True, tag="refused"):
    """Refuse an attempt before its first record; the slot is free."""

    attempt: Attempt32
    code: Annotated[int, Meta(ge=1, le=65535)]


class Finished(Frame, frozen=True, tag="finished"):
    """Say that an attempt's slot is free; follows its final record."""

    attempt: Attempt32


class Models(Frame, frozen=True, tag="models"):
    """Replace the list of served models."""

    models: Annotated[tuple[ModelOffer, ...], Meta(max_length=64)]


class LoadFailed(Frame, frozen=True, tag="load_failed"):
    """Say that a model which the coordinator asked for is not being loaded; one that can never be is offered no more."""

    model: ModelName
    code: Code
    optional: bool = True


class Draining(Frame, frozen=True, tag="draining"):
    """Ask for no more attempts; running ones are finished."""


CoordinatorFrame: TypeAlias = (
    Hello
    | Registered
    | Rejected
    | Attempt
    | Cancel
    | Credit
    | Challenge
    | LoadModel
    | UnloadModel
    | Drain
    | Fault
    | Bye
)
"""What a coordinator sends."""

ProviderFrame: TypeAlias = (
    Register | Heartbeat | ChallengeReply | StatementUpdate | Refused | Finished | Models | LoadFailed | Draining | Bye
)
"""What a provider sends."""

TOKEN_CHARACTERS_MAX: Final = 256
"""A provider token is about 70 characters; the decoder refuses longer ones."""
