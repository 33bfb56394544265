"""The provider opens a request: steps 1 to 11 of section 6, in order, cheap checks first."""

from __future__ import annotations

import hmac
import secrets
from typing import Any, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hushnet.sealing.derivations import BODY_NONCE, body_key, commitment, wrap_context
from hushnet.sealing.envelope import Entry, Envelope, parse_structure, read_meta, split_plaintext
from hushnet.sealing.errors import SealingError
from hushnet.sealing.header import RoutingHeader
from hushnet.sealing.keyring import Keyring, LiveKey
from hushnet.sealing.limits import SKEW
from hushnet.sealing.opening.unwrapping import unwrap
from hushnet.sealing.records import FrameSealer
from hushnet.sealing.records.layout import Head
from hushnet.sealing.replay import ReplayCache
from hushnet.sealing.suites import WRAP_SIZES


class OpenedRequest:
    """A request in the clear, its replay id held: `meta` and `data` are the consumer's, `header` what was promised.

    `frame_sealer()` starts the answer, once. `repr` shows the envelope's id and nothing of what it holds.
    """

    __slots__ = ("_cache", "_live", "_secret", "data", "digest", "frame_pad", "header", "key_id", "meta", "provider_id")

    def __init__(
        self,
        *,
        envelope: Envelope,
        live: LiveKey,
        secret: bytes,
        meta: dict[str, Any],
        frame_pad: int,
        data: bytes,
        cache: ReplayCache,
    ) -> None:
        entry = envelope.entries[0]
        self.header: RoutingHeader = envelope.header
        self.digest = envelope.request_digest
        self.provider_id = entry.provider_id
        self.key_id = entry.key_id
        self.meta = meta
        self.frame_pad = frame_pad
        self.data = data
        self._live: LiveKey | None = live
        self._secret = secret
        self._cache = cache

    def frame_sealer(self) -> FrameSealer:
        """Make the sealer of this attempt under a fresh nonce, once; raises `frame_out_of_state` when asked again.

        Receipts are signed by the key that the statement of this request's sealing key names, also after a rotation:
        it is the one that relay and consumer verify by.
        """
        live, secret = self._live, self._secret
        if live is None:
            raise SealingError("frame_out_of_state")
        self._forget()
        return FrameSealer(
            secret=secret,
            head=Head(live.pair.suite, self.provider_id, self.key_id, secrets.token_bytes(32)),
            digest=self.digest,
            header=self.header,
            frame_pad=self.frame_pad,
            receipt_key=live.receipt_key,
        )

    def release(self) -> None:
        """Free the envelope's id: the attempt is refused before any engine work and may be tried again."""
        self._cache.release(self.header.id)
        self._forget()

    def _forget(self) -> None:
        self._live = None
        self._secret = b""

    def __reduce__(self) -> NoReturn:
        raise TypeError("an opened request is not serialised")

    def __repr__(self) -> str:
        return f"OpenedRequest(id={self.header.id.hex()}, {len(self.data)} bytes)"


def open_request(raw: bytes, *, provider_id: bytes, keyring: Keyring, cache: ReplayCache, now: int) -> OpenedRequest:
    """Open an envelope that names one recipient; raises `SealingError` with a wire code and nothing else.

    `now` is Unix seconds. Costs 0.1 ms and 1 ms a MiB: bodies above 256 KiB belong off the event loop.
    """
    cache.expire(now)
    envelope = parse_structure(raw)
    entry, live = _recipient(envelope, provider_id=provider_id, keyring=keyring, now=now)
    header = envelope.header
    _check_times(header, now)
    if header.id in cache:
        raise SealingError("replayed")
    context = wrap_context(entry.suite_id, entry.provider_id, entry.key_id, envelope.request_digest)
    secret = unwrap(live.pair, envelope.wrap_of(entry), context=context)
    meta, data = _open_body(envelope, secret[:32])
    members, frame_pad = read_meta(meta)
    cache.insert(header.id, until=header.exp + SKEW)
    return OpenedRequest(
        envelope=envelope, live=live, secret=secret, meta=members, frame_pad=frame_pad, data=data, cache=cache
    )


def _recipient(envelope: Envelope, *, provider_id: bytes, keyring: Keyring, now: int) -> tuple[Entry, LiveKey]:
    """The end of step 1, and steps 2 and 3: one recipient, it is me, under a key that lives."""
    if len(envelope.entries) != 1:
        raise SealingError("bad_envelope")
    entry = envelope.entries[0]
    if entry.provider_id != provider_id:
        raise SealingError("not_for_me")
    if entry.suite_id not in WRAP_SIZES:
        raise SealingError("unsupported_suite")
    live = keyring.find(entry.suite_id, entry.key_id, now=now)
    if live is None:
        raise SealingError("unknown_key")
    return entry, live


def _check_times(header: RoutingHeader, now: int) -> None:
    if now < header.iat - SKEW:
        raise SealingError("not_yet_valid")
    if now >= header.exp + SKEW:
        raise SealingError("expired")


def _open_body(envelope: Envelope, content_key: bytes) -> tuple[bytes, bytes]:
    """Steps 8 to 10: the commitment holds, the ciphertext authenticates, the lengths inside fit."""
    if not hmac.compare_digest(commitment(content_key), envelope.header.commit):
        raise SealingError("open_failed")
    cipher = AESGCM(body_key(content_key, envelope.header_bytes))
    try:
        plaintext = cipher.decrypt(BODY_NONCE, envelope.body, envelope.header_bytes)
    except InvalidTag:
        raise SealingError("open_failed") from None
    parts = split_plaintext(plaintext)
    if parts is None:
        raise SealingError("bad_envelope")
    return parts
