"""The sealed request: its layout and parser for everyone, and how a sealing client makes one (section 5).

Nothing here holds a private key. The relay parses, selects entries by slicing the received bytes, never re-encoding.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hushnet.sealing.derivations import BODY_NONCE, body_key, commitment, request_digest, wrap_context
from hushnet.sealing.encapsulation import Encapsulation
from hushnet.sealing.encoding import decode_hex
from hushnet.sealing.errors import SealingError
from hushnet.sealing.header import RoutingHeader, decode_header, encode_header
from hushnet.sealing.limits import (
    BODY_MAX,
    BODY_MIN,
    ENTRY_FIXED,
    ENVELOPE_MAX,
    HEADER_MAX,
    META_MAX,
    RECIPIENTS_MAX,
    TAG_SIZE,
    WRAP_MAX,
)
from hushnet.sealing.padding import FRAME_PAD_DEFAULT, is_frame_pad, is_zero, padme_1k
from hushnet.sealing.statements import Recipient
from hushnet.sealing.suites import WRAP_SIZES, Suite, wrap

MAGIC: Final = b"HSE1"
LIFE_DEFAULT: Final = 180
_PREFIX: Final = struct.Struct(">4sHBB")
_ENTRY: Final = struct.Struct(">BBH32s16s")
_BODY_LENGTH: Final = struct.Struct(">I")
_PLAIN: Final = struct.Struct(">II")


@dataclass(frozen=True, slots=True)
class Entry:
    """One recipient of an envelope: the provider, its key, and the place of the entry's bytes in the envelope."""

    suite_id: int
    provider_id: bytes
    key_id: bytes
    start: int
    wrap_start: int
    end: int


class Envelope:
    """A well-formed envelope: `raw` as received, `entries` in the sealer's order, `body` a view of the ciphertext."""

    __slots__ = ("_digest", "_header", "body", "entries", "header_bytes", "raw")

    def __init__(self, *, raw: bytes, header_bytes: bytes, entries: tuple[Entry, ...], body: memoryview) -> None:
        self.raw = raw
        self.header_bytes = header_bytes
        self.entries = entries
        self.body = body
        self._header: RoutingHeader | None = None
        self._digest: bytes | None = None

    @property
    def header(self) -> RoutingHeader:
        """The routing header; raises `bad_header` or `unsupported_version` where it was not checked yet."""
        if self._header is None:
            self._header = decode_header(self.header_bytes)
        return self._header

    @property
    def request_digest(self) -> bytes:
        """D, 32 bytes, over header and body as received; computed once."""
        if self._digest is None:
            self._digest = request_digest(self.header_bytes, self.body)
        return self._digest

    def wrap_of(self, entry: Entry) -> bytes:
        """Return an entry's wrapped secret."""
        return self.raw[entry.wrap_start : entry.end]

    def select(self, index: int) -> bytes:
        """Return the envelope of one attempt: this one with entry `index` alone, sliced and not re-encoded (section 7)."""
        entry = self.entries[index]
        prefix = _PREFIX.pack(MAGIC, len(self.header_bytes), 1, 0)
        view = memoryview(self.raw)
        after_entries = self.entries[-1].end
        return b"".join((prefix, self.header_bytes, view[entry.start : entry.end], view[after_entries:]))

    def __repr__(self) -> str:
        return f"Envelope({len(self.entries)} recipients, {len(self.raw)} bytes)"


def parse_envelope(raw: bytes) -> Envelope:
    """Read an envelope for 1..8 recipients and its header; opens nothing.

    Raises `bad_envelope`, `bad_header` or `unsupported_version`. Suites that nobody here knows are kept.
    """
    envelope = parse_structure(raw)
    _ = envelope.header
    return envelope


def parse_structure(raw: bytes) -> Envelope:
    """Read an envelope's layout alone; the header is decoded when first asked for. Raises as `parse_envelope` does."""
    if not _PREFIX.size <= len(raw) <= ENVELOPE_MAX:
        raise SealingError("bad_envelope")
    magic, header_size, count, reserved = _PREFIX.unpack_from(raw)
    if magic != MAGIC:
        is_other_version = magic.startswith(b"HSE") and magic[3:].isdigit()
        raise SealingError("unsupported_version" if is_other_version else "bad_envelope")
    if reserved or not 2 <= header_size <= HEADER_MAX or not 1 <= count <= RECIPIENTS_MAX:
        raise SealingError("bad_envelope")
    entries_start = _PREFIX.size + header_size
    entries = _parse_entries(raw, start=entries_start, count=count)
    body_start = entries[-1].end + _BODY_LENGTH.size
    if len(raw) < body_start:
        raise SealingError("bad_envelope")
    (body_size,) = _BODY_LENGTH.unpack_from(raw, entries[-1].end)
    if not BODY_MIN <= body_size <= BODY_MAX or len(raw) != body_start + body_size:
        raise SealingError("bad_envelope")
    return Envelope(
        raw=raw,
        header_bytes=raw[_PREFIX.size : entries_start],
        entries=entries,
        body=memoryview(raw)[body_start:],
    )


def _parse_entries(raw: bytes, *, start: int, count: int) -> tuple[Entry, ...]:
    entries: list[Entry] = []
    seen: set[bytes] = set()
    for _ in range(count):
        wrap_start = start + ENTRY_FIXED
        if len(raw) < wrap_start:
            raise SealingError("bad_envelope")
        suite_id, reserved, wrap_size, provider_id, key_id = _ENTRY.unpack_from(raw, start)
        if reserved or provider_id in seen or not _is_wrap_size(suite_id, wrap_size):
            raise SealingError("bad_envelope")
        seen.add(provider_id)
        entries.append(Entry(suite_id, provider_id, key_id, start, wrap_start, wrap_start + wrap_size))
        start = wrap_start + wrap_size
    return tuple(entries)


def _is_wrap_size(suite_id: int, size: int) -> bool:
    expected = WRAP_SIZES.get(suite_id)
    return 1 <= size <= WRAP_MAX if expected is None else size == expected


class _Meta(msgspec.Struct):
    frame_pad: int = 1
    headers: dict[str, str] = {}
    cache_salt: str | msgspec.UnsetType = msgspec.UNSET


def client_meta(cache_salt: str | None) -> dict[str, Any]:
    """Return the private parameters of this project's sealing clients: the same in all, so that none can be told by them."""
    meta: dict[str, Any] = {"frame_pad": FRAME_PAD_DEFAULT}
    return meta if cache_salt is None else {**meta, "cache_salt": cache_salt}


def read_meta(raw: bytes) -> tuple[dict[str, Any], int]:
    """Read the provider's private parameters: (all members, `frame_pad`); raises `bad_envelope`. Unknown members stay."""
    try:
        meta = msgspec.json.decode(raw, type=_Meta)
        members: dict[str, Any] = msgspec.json.decode(raw, type=dict[str, Any])
    except (ValueError, RecursionError):
        raise SealingError("bad_envelope") from None
    is_salt = isinstance(meta.cache_salt, msgspec.UnsetType) or decode_hex(meta.cache_salt, 16) is not None
    if not is_salt or not is_frame_pad(meta.frame_pad):
        raise SealingError("bad_envelope")
    return members, meta.frame_pad


@dataclass(frozen=True, slots=True)
class RequestFields:
    """What the sealing client puts in the clear (section 4); the rest of the header is made while sealing."""

    endpoint: str
    model: str
    stream: bool
    max_output_tokens: int
    max_prompt_tokens: int
    features: tuple[str, ...] = ()
    trust: str = "none"
    cache: bytes | None = None


@dataclass(frozen=True, slots=True)
class RecipientSecrets:
    """What opens one recipient's answer: `secret` is C then R, 64 bytes, never shown."""

    suite: Suite
    provider_id: bytes
    key_id: bytes
    receipt_key: bytes | None
    secret: bytes = field(repr=False)


class SealedRequest:
    """An envelope ready to send and, until `drop()`, the secrets that open its answers."""

    __slots__ = ("digest", "frame_pad", "header", "raw", "recipients")

    def __init__(
        self,
        *,
        raw: bytes,
        header: RoutingHeader,
        digest: bytes,
        recipients: tuple[RecipientSecrets, ...],
        frame_pad: int,
    ) -> None:
        self.raw = raw
        self.header = header
        self.digest = digest
        self.recipients = recipients
        self.frame_pad = frame_pad

    def drop(self) -> None:
        """Forget the secrets: no answer opens any more."""
        self.recipients = ()

    def __repr__(self) -> str:
        return f"SealedRequest(id={self.header.id.hex()}, {len(self.raw)} bytes)"


def seal_request(
    fields: RequestFields,
    *,
    meta: Mapping[str, Any],
    data: bytes,
    recipients: Sequence[Recipient],
    now: int,
    life: int = LIFE_DEFAULT,
    pad: Callable[[int], int] = padme_1k,
    prepared: Callable[[Recipient], Encapsulation | None] = lambda _: None,
) -> SealedRequest:
    """Seal `data` (the dialect's request body) and `meta` to 1..8 recipients, in order of preference.

    Raises `bad_recipients` for none, too many, one twice or one whose statement has expired; `bad_header` for fields or
    a life outside section 4; `bad_envelope` for a meta or body that no provider accepts. `prepared` may have a key exchange
    with a recipient ready (`prepared.PreparedKeys`); what it returns is used up.
    """
    _check_recipients(recipients, now)
    plaintext, frame_pad = _body_plaintext(meta, data, pad)
    content_key = secrets.token_bytes(32)
    header = _header_of(fields, commit=commitment(content_key), now=now, life=life)
    header_bytes = encode_header(header)
    body = AESGCM(body_key(content_key, header_bytes)).encrypt(BODY_NONCE, plaintext, header_bytes)
    digest = request_digest(header_bytes, body)
    parts = [_PREFIX.pack(MAGIC, len(header_bytes), len(recipients), 0), header_bytes]
    kept: list[RecipientSecrets] = []
    for recipient in recipients:
        own = _secrets_for(recipient, content_key)
        parts.append(_seal_entry(own, recipient.public_key, digest, prepared(recipient)))
        kept.append(own)
    parts += (_BODY_LENGTH.pack(len(body)), body)
    return SealedRequest(raw=b"".join(parts), header=header, digest=digest, recipients=tuple(kept), frame_pad=frame_pad)


def _check_recipients(recipients: Sequence[Recipient], now: int) -> None:
    if (
        not 1 <= len(recipients) <= RECIPIENTS_MAX
        or len({recipient.provider_id for recipient in recipients}) != len(recipients)
        or any(now >= recipient.expires_at for recipient in recipients)
    ):
        raise SealingError("bad_recipients")


def _body_plaintext(meta: Mapping[str, Any], data: bytes, pad: Callable[[int], int]) -> tuple[bytes, int]:
    meta_bytes = msgspec.json.encode(dict(meta))
    size = _PLAIN.size + len(meta_bytes) + len(data)
    if len(meta_bytes) > META_MAX or size > BODY_MAX - TAG_SIZE:
        raise SealingError("bad_envelope")
    _, frame_pad = read_meta(meta_bytes)
    padded = min(max(pad(size), size), BODY_MAX - TAG_SIZE)
    return b"".join((_PLAIN.pack(len(meta_bytes), len(data)), meta_bytes, data, bytes(padded - size))), frame_pad


def _header_of(fields: RequestFields, *, commit: bytes, now: int, life: int) -> RoutingHeader:
    return RoutingHeader(
        id=secrets.token_bytes(16),
        iat=now,
        exp=now + life,
        commit=commit,
        endpoint=fields.endpoint,
        model=fields.model,
        stream=fields.stream,
        max_output_tokens=fields.max_output_tokens,
        max_prompt_tokens=fields.max_prompt_tokens,
        features=fields.features,
        trust=fields.trust,
        cache=fields.cache,
    )


def _secrets_for(recipient: Recipient, content_key: bytes) -> RecipientSecrets:
    return RecipientSecrets(
        suite=recipient.suite,
        provider_id=recipient.provider_id,
        key_id=recipient.key_id,
        receipt_key=recipient.receipt_key,
        secret=content_key + secrets.token_bytes(32),
    )


def _seal_entry(own: RecipientSecrets, public_key: bytes, digest: bytes, prepared: Encapsulation | None) -> bytes:
    context = wrap_context(own.suite, own.provider_id, own.key_id, digest)
    wrapped = wrap(own.suite, public_key, own.secret, context=context, prepared=prepared)
    return _ENTRY.pack(own.suite, 0, len(wrapped), own.provider_id, own.key_id) + wrapped


def split_plaintext(plaintext: bytes) -> tuple[bytes, bytes] | None:
    """Cut a body's plaintext into (meta, data); None unless both fit, meta is in bounds and the rest is zero."""
    meta_size, data_size = _PLAIN.unpack_from(plaintext)
    data_start = _PLAIN.size + meta_size
    end = data_start + data_size
    if meta_size > META_MAX or end > len(plaintext) or not is_zero(plaintext, end):
        return None
    return plaintext[_PLAIN.size : data_start], plaintext[data_start:end]
