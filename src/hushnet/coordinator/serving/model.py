"""The nouns of serving: a request, its mode, its clear facts, and what an attempt needs to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from hushnet.attestation.tiers import Tier
from hushnet.coordinator.confidential import Prepared
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.coordinator.ledger.prices import Reservation
from hushnet.coordinator.routing.model import NO_PREFERENCES, Entry, Preferences
from hushnet.coordinator.serving.store import Tariff
from hushnet.dialects.affinity import PrefixTag
from hushnet.foundation.ids import AccountId, ApiKeyId, ModelId, ProviderId
from hushnet.sealing.header import RoutingHeader
from hushnet.sealing.records import Record


class Mode(StrEnum):
    """Who seals, and so who can read."""

    STANDARD = "standard"
    SEALED = "sealed"


@dataclass(frozen=True, slots=True)
class Prepaid:
    """A hold that was made before its request was submitted, at this price; its id is the request's."""

    reservation: Reservation
    tariff: Tariff


@dataclass(frozen=True, slots=True)
class Consumer:
    """Who pays: an account, through one of its keys; `referrer` is the account that brought it, if one did.

    Who has `prepaid` has paid for this request and no other.
    """

    account_id: AccountId
    key_id: ApiKeyId
    referrer: AccountId | None = None
    prepaid: Prepaid | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is in the clear of a request, in both modes the same."""

    model: ModelId
    is_stream: bool
    output_tokens_max: int
    prompt_tokens_max: int
    features: frozenset[str]
    floor: Tier
    preferences: Preferences = NO_PREFERENCES
    tags: tuple[PrefixTag, ...] = ()
    """What is known of the beginnings of its conversation: keyed, and no text (`dialects.affinity`)."""

    @property
    def is_own_only(self) -> bool:
        """Whether nobody's machine but the account's own may serve it, which costs nothing."""
        own = self.preferences.own
        return own is not None and own.is_only


@dataclass(frozen=True, slots=True)
class ReceiptTerms:
    """What the receipt of one attempt must be bound to. `key` is None where the statement names no receipt key."""

    key: bytes | None
    digest: bytes
    provider_id: bytes
    key_id: bytes


class AnswerReader(Protocol):
    """Turns the records of one attempt into the bytes that its consumer reads."""

    content_bytes: int
    """Content that was read so far, in bytes of the dialect's body (sealed mode: at most)."""
    status: int
    """The HTTP status of the answer; valid once the head was read."""

    @property
    def is_forwarding_errors(self) -> bool:
        """Whether an error record is among the bytes: the consumer opens it itself."""
        ...

    @property
    def content_type(self) -> str: ...

    @property
    def error_body(self) -> bytes | None:
        """The provider's error body where this reader can open it."""
        ...

    @property
    def proven(self) -> Record | None:
        """The very terminal record whose receipt this reader has verified under the attempt's terms, if it has."""
        ...

    def read(self, record: Record) -> None:
        """Take the next record; raises `SealingError` when it does not open. Nothing may be read after that."""
        ...

    def take(self) -> bytes:
        """Return what has been read since the last call, as the consumer's bytes."""
        ...

    def relay(self, record: Record) -> bytes:
        """Read the next record, which is of content, and take: the step of nearly every record of an answer."""
        ...


@dataclass(frozen=True, slots=True)
class SealedAttempt:
    """One envelope for one provider, ready to be dispatched, and what follows its answer."""

    envelope: bytes
    header: RoutingHeader
    receipt: ReceiptTerms
    reader: AnswerReader


class RequestBody(Protocol):
    """The body of a request in one of the two modes: `confidential.StandardBody` or `seal.SealedBody`."""

    @property
    def mode(self) -> Mode: ...

    @property
    def facts(self) -> Facts: ...

    @property
    def size(self) -> int:
        """Bytes that the request keeps in memory while it waits."""
        ...

    @property
    def recipients(self) -> Mapping[ProviderId, Entry] | None: ...

    async def attempt(
        self, provider: LiveProvider, entry: int | None, *, now: int, prepared: Prepared
    ) -> SealedAttempt:
        """Make the envelope of one attempt; raises `SealingError` when the provider can't be sealed to.

        `prepared` may have the key exchange ready where it is made here.
        """
        ...

    def drop(self) -> None:
        """Forget what was only needed for more attempts."""
        ...
