"""What a request says of the prefix caches that may help it: keyed tags, size classes and a salt, none of it text.

A tag is an HMAC over a prefix of the conversation under a key that stays where the text is. Equal prefixes under one key
have equal tags; whoever lacks the key can neither make a tag, nor try texts against one, nor compare those of two keys.
Tags are for the router; the salt is for the provider, which shares no cached prefix without one (docs/sealing.md
section 5). ADR 0042 says what each reveals.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final, NamedTuple

from hushnet.dialects.openai_chat.prefixes import Prefix, prefixes_of
from hushnet.dialects.openai_chat.request import ChatRequest
from hushnet.foundation.errors import RequestError

KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
TAGS_MAX: Final = 8
"""As many as a request may carry."""
TAGS_SENT: Final = 4
"""As many as are made: a conversation goes on from its last turn, or from a turn that was asked again."""
SIZE_MAX: Final = 24
"""2^24 tokens: as in the sealed routing header (docs/sealing.md section 4)."""
HEADER: Final = "hushnet-affinity"
_TAG: Final = b"hushnet/1 affinity tag\0"
_SALT: Final = b"hushnet/1 cache salt\0"
_TAG_TEXT: Final = re.compile(rb"([A-Za-z0-9_-]{21}[AQgw])\.(0|[1-9][0-9]?)")
_HEADER_BYTES_MAX: Final = TAGS_MAX * 32
_BYTES_PER_TOKEN: Final = 3
"""As the router estimates a prompt from its bytes."""


class PrefixTag(NamedTuple):
    """One prefix: its tag, and the binary logarithm of its estimated tokens, rounded down: a size class, not a size."""

    tag: bytes
    size: int

    @property
    def tokens(self) -> int:
        """At least about so many tokens."""
        return 1 << self.size


class Affinity(NamedTuple):
    """What one request carries: its tags, shortest prefix first, and the salt of its conversation (32 hex digits)."""

    tags: tuple[PrefixTag, ...] = ()
    salt: str | None = None


NO_AFFINITY: Final = Affinity()


def affinity_of(request: ChatRequest, key: bytes) -> Affinity:
    """Return what `request` carries under `key`.

    The salt is that of the conversation's first prefix: to the provider, which reads the text, it tells no more requests
    to be of one consumer than their common beginning does.
    """
    prefixes = prefixes_of(request, last=TAGS_SENT)
    if not prefixes:
        return NO_AFFINITY
    tags = tuple(
        PrefixTag(_keyed(key, _TAG, request.model, prefix), _size_of(prefix)) for prefix in prefixes[-TAGS_SENT:]
    )
    return Affinity(tags, _keyed(key, _SALT, request.model, prefixes[0]).hex())


def encode_tags(tags: tuple[PrefixTag, ...]) -> str:
    """Write the value of the header `hushnet-affinity`: base64url without padding, a dot, the size class; commas between."""
    return ",".join(f"{urlsafe_b64encode(tag.tag).decode().rstrip('=')}.{tag.size}" for tag in tags)


def decode_tags(value: bytes) -> tuple[PrefixTag, ...]:
    """Read the header's value; raises `RequestError` `bad_affinity` for anything that `encode_tags` does not write."""
    if len(value) > _HEADER_BYTES_MAX:
        raise _bad("is too long")
    tags = tuple(_decode_tag(part.strip(b" \t")) for part in value.split(b","))
    if len(tags) > TAGS_MAX:
        raise _bad(f"names more than {TAGS_MAX} prefixes")
    if len({tag.tag for tag in tags}) < len(tags):
        raise _bad("names a prefix twice")
    return tags


def _decode_tag(text: bytes) -> PrefixTag:
    match = _TAG_TEXT.fullmatch(text)
    if match is None or int(match[2]) > SIZE_MAX:
        raise _bad("is not a list of tags")
    return PrefixTag(urlsafe_b64decode(match[1] + b"=="), int(match[2]))


def _keyed(key: bytes, purpose: bytes, model: str, prefix: Prefix) -> bytes:
    """Return the keyed hash of a prefix of `model`; a model's name holds no zero byte, so no two inputs are the same."""
    return hmac.digest(key, purpose + model.encode() + b"\0" + prefix.digest, "sha256")[:TAG_BYTES]


def _size_of(prefix: Prefix) -> int:
    return min(max(prefix.bytes // _BYTES_PER_TOKEN, 1).bit_length() - 1, SIZE_MAX)


def _bad(what: str) -> RequestError:
    return RequestError(
        f"the header {HEADER} {what}",
        code="bad_affinity",
        hint=f"leave it out, or send 1..{TAGS_MAX} tags of {TAG_BYTES} bytes as base64url, each with a size class: "
        "TAG.11,TAG.12 (docs/http.md)",
    )
