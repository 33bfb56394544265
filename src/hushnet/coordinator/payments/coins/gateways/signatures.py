"""Signatures of webhooks, checked over the raw bytes before anything is read from them: pure, and closed on any doubt.

CoinPay signs `t.body` and says when (`t=…,v1=…`, several `v1` while a secret is changed); its older dialect and BTCPay
sign the body alone, so what they send can be replayed and is told apart by its id or its digest.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

from hushnet.foundation.redaction import Secret

TOLERANCE_MS: Final = 300_000
"""How far `t` may be from our clock, both ways."""
_HEADER_MAX: Final = 2048
_VERSIONS_MAX: Final = 8
_HEX: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_TIME: Final = re.compile(r"[0-9]{1,12}", re.ASCII)


def is_timed_signature(header: str, body: bytes, secrets: Sequence[Secret], *, now_ms: int) -> bool:
    """Say whether `t=<unix s>,v1=<hex>[,v1=<hex>…]` is a fresh HMAC-SHA256 of `t.body` under one of the secrets."""
    if len(header) > _HEADER_MAX:
        return False
    parts = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    given = [value for name, _, value in parts if name == "v1"]
    if len(times) != 1 or _TIME.fullmatch(times[0]) is None or not 1 <= len(given) <= _VERSIONS_MAX:
        return False
    if abs(now_ms - int(times[0]) * 1000) > TOLERANCE_MS:
        return False
    return _is_any(given, times[0].encode() + b"." + body, secrets)


def is_body_signature(header: str, body: bytes, secrets: Sequence[Secret], *, is_prefixed: bool) -> bool:
    """Say whether the header is an HMAC-SHA256 of the body: `sha256=<hex>`, or the bare hex unless `is_prefixed`."""
    if len(header) > _HEADER_MAX:
        return False
    prefix, found, value = header.strip().partition("=")
    if found:
        return prefix == "sha256" and _is_any([value], body, secrets)
    return not is_prefixed and _is_any([prefix], body, secrets)


def _is_any(given: Sequence[str], signed: bytes, secrets: Sequence[Secret]) -> bool:
    """Compare everything given with everything expected, in the same time whatever matches."""
    is_found = False
    for secret in secrets:
        if not secret.reveal():
            continue
        expected = hmac.new(secret.reveal().encode(), signed, hashlib.sha256).hexdigest()
        for value in given:
            if _HEX.fullmatch(value) is not None:
                is_found |= hmac.compare_digest(value.lower(), expected)
    return is_found
