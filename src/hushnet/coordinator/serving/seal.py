"""The envelope of one attempt: made here in standard mode, sliced out of the consumer's own in sealed mode."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import Enum
from typing import Final

from hushnet.attestation.tiers import tier_of
from hushnet.coordinator.confidential import Prepared, StandardRequest
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.coordinator.routing.model import NO_PREFERENCES, Entry, Preferences
from hushnet.coordinator.serving.model import Facts, Mode, ReceiptTerms, SealedAttempt
from hushnet.dialects.affinity import PrefixTag
from hushnet.foundation.ids import ModelId, ProviderId
from hushnet.sealing.envelope import Envelope
from hushnet.sealing.errors import SealingError
from hushnet.sealing.limits import RECORD_HEADER, TAG_SIZE
from hushnet.sealing.records import Kind, Record
from hushnet.sealing.streaming import MEDIA_EVENTS, MEDIA_STREAM, encode_sse

SLICE_ON_LOOP_BYTES_MAX: Final = 1024 * 1024
"""Above this an envelope is hashed and cut in a thread: 16 MiB cost tens of milliseconds."""
_LENGTH_BYTES: Final = 4
_AROUND_CONTENT: Final = RECORD_HEADER + TAG_SIZE + _LENGTH_BYTES


class StandardBody:
    """A body that the coordinator seals itself, an envelope of its own for every attempt."""

    mode = Mode.STANDARD
    recipients: Mapping[ProviderId, Entry] | None = None

    def __init__(
        self, request: StandardRequest, *, floor: str = "self_signed", preferences: Preferences = NO_PREFERENCES
    ) -> None:
        """Ask for what every routable provider has proved, in the SDK's word for it: no provider sees which mode it is."""
        self._request = request
        self._floor = floor
        self.facts = Facts(
            model=request.model,
            is_stream=request.is_stream,
            output_tokens_max=request.output_tokens_max,
            prompt_tokens_max=request.prompt_tokens_max,
            features=frozenset(request.features),
            floor=tier_of(floor),
            preferences=preferences,
            tags=request.tags,
        )

    async def attempt(
        self, provider: LiveProvider, entry: int | None, *, now: int, prepared: Prepared
    ) -> SealedAttempt:
        """Seal to the provider's current statement."""
        del entry
        recipient = provider.verified.recipient()
        sealed = await self._request.seal(recipient, trust=self._floor, now=now, prepared=prepared)
        terms = ReceiptTerms(recipient.receipt_key, sealed.digest, recipient.provider_id, recipient.key_id)
        return SealedAttempt(sealed.take_envelope(), sealed.header, terms, sealed)

    @property
    def size(self) -> int:
        return self._request.size

    def drop(self) -> None:
        self._request.drop()


class StreamForm(Enum):
    """The two forms in which a sealed answer crosses HTTP (design/sealing.md section 12)."""

    EVENTS = MEDIA_EVENTS
    BINARY = MEDIA_STREAM


_BINARY: Final = StreamForm.BINARY


class SealedBody:
    """An envelope that the consumer sealed: attempts are slices of it."""

    mode = Mode.SEALED

    def __init__(
        self,
        envelope: Envelope,
        *,
        form: StreamForm,
        preferences: Preferences = NO_PREFERENCES,
        tags: tuple[PrefixTag, ...] = (),
    ) -> None:
        self._envelope: Envelope | None = envelope
        self._form = form
        header = self.header = envelope.header
        self.recipients: Mapping[ProviderId, Entry] | None = {
            ProviderId(entry.provider_id.hex()): Entry(index, entry.key_id)
            for index, entry in enumerate(envelope.entries)
        }
        self.facts = Facts(
            model=ModelId(header.model),
            is_stream=header.stream,
            output_tokens_max=header.max_output_tokens,
            prompt_tokens_max=header.max_prompt_tokens,
            features=frozenset(header.features),
            floor=tier_of(header.trust),
            preferences=preferences,
            tags=tags,
        )

    async def attempt(
        self, provider: LiveProvider, entry: int | None, *, now: int, prepared: Prepared
    ) -> SealedAttempt:
        """Slice out the entry that was wrapped for `provider`."""
        del now, prepared
        if self._envelope is None or entry is None:
            raise SealingError("bad_envelope")
        chosen = self._envelope.entries[entry]
        key = provider.keys.get(chosen.key_id)
        if key is None:
            raise SealingError("unknown_key")
        envelope = self._envelope
        if len(envelope.raw) > SLICE_ON_LOOP_BYTES_MAX:
            digest, sliced = await asyncio.to_thread(_slice, envelope, entry)
        else:
            digest, sliced = _slice(envelope, entry)
        terms = ReceiptTerms(key.receipt_key, digest, chosen.provider_id, chosen.key_id)
        return SealedAttempt(sliced, self.header, terms, ForwardingReader(self._form))

    @property
    def size(self) -> int:
        return 0 if self._envelope is None else len(self._envelope.raw)

    def drop(self) -> None:
        """Let the envelope go; up to 16 MiB that a long answer need not keep."""
        self._envelope = None


def _slice(envelope: Envelope, entry: int) -> tuple[bytes, bytes]:
    """Return D and the envelope of one attempt."""
    return envelope.request_digest, envelope.select(entry)


class ForwardingReader:
    """Sealed mode's reader: opens nothing, passes every record on as it came."""

    is_forwarding_errors = True
    status = 200
    error_body: bytes | None = None
    proven: Record | None = None

    __slots__ = ("_form", "_records", "content_bytes")

    def __init__(self, form: StreamForm) -> None:
        self._form = form
        self._records: list[bytes] = []
        self.content_bytes = 0

    @property
    def content_type(self) -> str:
        return self._form.value

    def read(self, record: Record) -> None:
        self._records.append(record.raw)
        if record.kind is Kind.CONTENT:
            # The padded length: an upper bound of what the provider put in.
            self.content_bytes += len(record.raw) - _AROUND_CONTENT

    def take(self) -> bytes:
        records, self._records = self._records, []
        return b"".join(records) if self._form is StreamForm.BINARY else encode_sse(records)

    def relay(self, record: Record) -> bytes:
        raw = record.raw
        self.content_bytes += len(raw) - _AROUND_CONTENT
        if self._records:
            self._records.append(raw)
            return self.take()
        return raw if self._form is _BINARY else encode_sse((raw,))
