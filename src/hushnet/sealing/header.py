"""The routing header: the only clear data of a request, one canonical JSON object (section 4).

Everyone authenticates the bytes as received, so there is one spelling: `decode_header` decodes, checks, re-encodes
and compares, and no two readers see two meanings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import msgspec

from hushnet.sealing.encoding import decode_hex
from hushnet.sealing.errors import SealingError
from hushnet.sealing.limits import HEADER_MAX, INT_MAX, LIFE_MAX

ENDPOINTS: Final = frozenset(
    {"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings"}
)
TIERS: Final = ("none", "self_signed", "measured", "hardware")
"""Trust tiers, weakest first."""
FEATURES_MAX: Final = 8
OUTPUT_TOKENS_MAX: Final = 2**20
PROMPT_TOKENS_MAX: Final = 2**24

_MODEL: Final = re.compile(r"[A-Za-z0-9._:/@+-]{1,128}")
_FEATURE: Final = re.compile(r"[a-z0-9_]{1,32}")


@dataclass(frozen=True, slots=True)
class RoutingHeader:
    """What a relay may know of a request. `id` is 16 bytes, `commit` 32, `cache` 16 or None; times are Unix seconds."""

    id: bytes
    iat: int
    exp: int
    commit: bytes
    endpoint: str
    model: str
    stream: bool
    max_output_tokens: int
    max_prompt_tokens: int
    features: tuple[str, ...]
    trust: str
    cache: bytes | None


class _Spelling(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """The header's members in the order in which they are written."""

    cache: str | msgspec.UnsetType = msgspec.UNSET
    commit: str
    endpoint: str
    exp: int
    features: tuple[str, ...]
    iat: int
    id: str
    max_output_tokens: int
    max_prompt_tokens: int
    model: str
    stream: bool
    trust: str
    v: int


class _AnyVersion(msgspec.Struct):
    v: int


_DECODER: Final = msgspec.json.Decoder(_Spelling)
_VERSION_DECODER: Final = msgspec.json.Decoder(_AnyVersion)
_ENCODER: Final = msgspec.json.Encoder()


def encode_header(header: RoutingHeader) -> bytes:
    """Write `header` in its one spelling; raises `bad_header` for a value outside section 4's table."""
    if not _is_in_bounds(header):
        raise SealingError("bad_header")
    raw = _ENCODER.encode(
        _Spelling(
            cache=msgspec.UNSET if header.cache is None else header.cache.hex(),
            commit=header.commit.hex(),
            endpoint=header.endpoint,
            exp=header.exp,
            features=header.features,
            iat=header.iat,
            id=header.id.hex(),
            max_output_tokens=header.max_output_tokens,
            max_prompt_tokens=header.max_prompt_tokens,
            model=header.model,
            stream=header.stream,
            trust=header.trust,
            v=1,
        )
    )
    if len(raw) > HEADER_MAX:
        raise SealingError("bad_header")
    return raw


def decode_header(raw: bytes) -> RoutingHeader:
    """Read a header of at most `HEADER_MAX` bytes; raises `bad_header`, or `unsupported_version` where `v` is not 1."""
    if len(raw) > HEADER_MAX:
        raise SealingError("bad_header")
    try:
        spelling = _DECODER.decode(raw)
    except (ValueError, RecursionError):
        raise SealingError(_unreadable(raw)) from None
    if spelling.v != 1:
        raise SealingError("unsupported_version")
    header = _of_spelling(spelling)
    if header is None or encode_header(header) != raw:
        raise SealingError("bad_header")
    return header


def _of_spelling(spelling: _Spelling) -> RoutingHeader | None:
    envelope_id = decode_hex(spelling.id, 16)
    commit = decode_hex(spelling.commit, 32)
    cache = None if isinstance(spelling.cache, msgspec.UnsetType) else decode_hex(spelling.cache, 16)
    if envelope_id is None or commit is None:
        return None
    return RoutingHeader(
        id=envelope_id,
        iat=spelling.iat,
        exp=spelling.exp,
        commit=commit,
        endpoint=spelling.endpoint,
        model=spelling.model,
        stream=spelling.stream,
        max_output_tokens=spelling.max_output_tokens,
        max_prompt_tokens=spelling.max_prompt_tokens,
        features=spelling.features,
        trust=spelling.trust,
        cache=cache,
    )


def _is_in_bounds(header: RoutingHeader) -> bool:
    """Check section 4's table; the members' types are the type checker's or the decoder's business."""
    return (
        len(header.id) == 16
        and len(header.commit) == 32
        and (header.cache is None or len(header.cache) == 16)
        and header.iat >= 0
        and header.exp <= INT_MAX
        and 0 < header.exp - header.iat <= LIFE_MAX
        and header.endpoint in ENDPOINTS
        and _MODEL.fullmatch(header.model) is not None
        and 1 <= header.max_output_tokens <= OUTPUT_TOKENS_MAX
        and 1 <= header.max_prompt_tokens <= PROMPT_TOKENS_MAX
        and _are_features(header.features)
        and header.trust in TIERS
    )


def _are_features(features: tuple[str, ...]) -> bool:
    return len(features) <= FEATURES_MAX and all(
        _FEATURE.fullmatch(name) is not None and (index == 0 or features[index - 1] < name)
        for index, name in enumerate(features)
    )


def _unreadable(raw: bytes) -> str:
    """Tell a header of another version, whose members nobody here knows, from one that is simply wrong."""
    try:
        version = _VERSION_DECODER.decode(raw).v
    except (ValueError, RecursionError):
        return "bad_header"
    return "bad_header" if version == 1 else "unsupported_version"
