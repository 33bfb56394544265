"""One sealed exchange without I/O: bytes to post, bytes that came back, events in the order they happened.

One of the three modules that may open what was sealed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from hushnet.dialects import openai_chat
from hushnet.foundation.errors import RemoteProtocolError
from hushnet.sealing.envelope import RequestFields, SealedRequest, client_meta, seal_request
from hushnet.sealing.errors import SealingError
from hushnet.sealing.meters import Meter
from hushnet.sealing.opening import FrameOpener
from hushnet.sealing.padding import output_class, prompt_class
from hushnet.sealing.records import Kind
from hushnet.sealing.statements import Recipient
from hushnet.sealing.streaming import MEDIA_REQUEST, MEDIA_STREAM, BinaryRecordReader

ENDPOINT: Final = "/v1/chat/completions"
OUTPUT_TOKENS_DEFAULT: Final = 1024


@dataclass(frozen=True, slots=True)
class HeadOpened:
    """A provider proved that it holds a sealing key this request was wrapped for."""

    provider_id: bytes
    status: int
    content_type: str


@dataclass(frozen=True, slots=True)
class BodyArrived:
    """The next bytes of the dialect's response body."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The provider ended with an error: its closed code, and the dialect's error body."""

    code: int
    body: bytes
    meter: Meter


@dataclass(frozen=True, slots=True)
class Ended:
    """The answer is whole; the meter is signed where the provider has a receipt key."""

    meter: Meter


Event = HeadOpened | BodyArrived | Failed | Ended


class SealedExchange:
    """One request sealed to some recipients, and the opening of its answer.

    `feed` raises `SealingError` at the first record that does not verify; after that the exchange is dead. A caller
    that releases a whole answer (not a stream) waits for `Ended`.
    """

    media_type = MEDIA_STREAM

    def __init__(
        self, body: bytes, recipients: Sequence[Recipient], *, trust: str, now_s: int, cache_salt: str | None = None
    ) -> None:
        self.recipients = tuple(recipients)
        self._sealed: SealedRequest = seal_request(
            fields_of(body, trust),
            meta=client_meta(cache_salt),
            data=body,
            recipients=self.recipients,
            now=now_s,
        )
        self._opener = FrameOpener(self._sealed)
        self._reader = BinaryRecordReader()
        self._is_over = False

    @property
    def envelope(self) -> bytes:
        return self._sealed.raw

    @property
    def headers(self) -> dict[str, str]:
        return {"Content-Type": MEDIA_REQUEST, "Accept": MEDIA_STREAM}

    def feed(self, data: bytes) -> Iterator[Event]:
        """Open what arrived; yields nothing when no record is complete yet, and nothing once the answer is over."""
        if self._is_over:
            return
        for raw in self._reader.feed(data):
            frame = self._opener.open(raw)
            if frame is None:
                continue
            if frame.kind is Kind.HEAD:
                yield self._head(frame.data)
            elif frame.kind in (Kind.BOILERPLATE, Kind.CONTENT):
                yield BodyArrived(frame.data)
            elif frame.meter is not None and frame.kind in (Kind.END, Kind.ERROR):
                self._is_over = True
                yield (
                    Ended(frame.meter) if frame.kind is Kind.END else Failed(frame.meter.code, frame.data, frame.meter)
                )
                return

    def finish(self) -> None:
        """Check, when the connection has ended, that the answer had ended first; forget the secrets."""
        try:
            self._opener.finish()
        finally:
            self.drop()

    def drop(self) -> None:
        """Forget the secrets of this exchange."""
        self._sealed.drop()

    def _head(self, data: bytes) -> HeadOpened:
        provider_id = self._opener.provider_id
        try:
            head = json.loads(data)
            status, content_type = head["status"], head["content_type"]
            if type(status) is not int or not isinstance(content_type, str) or provider_id is None:
                raise ValueError
        except (ValueError, KeyError, TypeError, RecursionError):
            raise RemoteProtocolError("the provider's head is not one", code="frame_malformed") from None
        return HeadOpened(provider_id, status, content_type)


def fields_of(body: bytes, trust: str) -> RequestFields:
    """Derive the clear routing header from a chat body; raises `RequestError` when the body is not one.

    Bounds are rounded up to powers of two, so that the header tells a size class and not a size.
    """
    request = openai_chat.decode_request(body)
    return RequestFields(
        endpoint=ENDPOINT,
        model=request.model,
        stream=request.stream,
        max_output_tokens=output_class(request.max_output_tokens or OUTPUT_TOKENS_DEFAULT),
        max_prompt_tokens=prompt_class(openai_chat.prompt_bytes_bound(request)),
        features=openai_chat.features_of(request),
        trust=trust,
        cache=None,
    )


__all__ = ["BodyArrived", "Ended", "Event", "Failed", "HeadOpened", "SealedExchange", "SealingError", "fields_of"]
