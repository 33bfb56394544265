"""The rules of keys, without I/O: their text, their digest, and the rate at which one may call.

A key reads `hk_<scope>_<id in base 36>_<43 characters of base64url>`; the last part is 32 bytes of system randomness.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from hushnet.coordinator.accounts.model import Scope
from hushnet.foundation.errors import RequestError
from hushnet.foundation.ids import AccountId, ApiKeyId
from hushnet.foundation.redaction import Secret

KEYS_LIVE_MAX: Final = 100
"""Live keys of one account: more is a leak or a loop."""

ACCOUNT_ID_FIRST: Final = 1 << 16
_ACCOUNT_ID_SPAN: Final = 1 << 48
_KEY_ID_SPAN: Final = 1 << 44
_BASE36: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_KEY = re.compile(r"hk_(user|provider|operator)_([0-9a-z]{1,12})_([A-Za-z0-9_-]{43})", re.ASCII)
_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f]{0,64}")


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """The parts of a key's text."""

    scope: Scope
    id: ApiKeyId
    secret: Secret


def new_account_id() -> AccountId:
    """Make an account id: random, so that ids tell nobody how many accounts there are; exact in a JSON number."""
    return AccountId(ACCOUNT_ID_FIRST + secrets.randbelow(_ACCOUNT_ID_SPAN))


def new_key_id() -> ApiKeyId:
    return ApiKeyId(1 + secrets.randbelow(_KEY_ID_SPAN))


def new_secret() -> Secret:
    """Make the secret part of a key from 32 bytes of system randomness."""
    return Secret(urlsafe_b64encode(secrets.token_bytes(32)).decode("ascii").rstrip("="))


def write_key(scope: Scope, key_id: ApiKeyId, secret: Secret) -> Secret:
    """Spell a key."""
    return Secret(f"hk_{scope}_{write_key_id(key_id)}_{secret.reveal()}")


def parse_key(text: str) -> ParsedKey | None:
    """Read a key's text; None when it is none."""
    match = _KEY.fullmatch(text)
    if match is None:
        return None
    scope, key_id, secret = match.groups()
    return ParsedKey(Scope(scope), ApiKeyId(int(key_id, 36)), Secret(secret))


def write_key_id(key_id: int) -> str:
    """Spell a key's id in base 36, as it stands in the key and in the interface."""
    digits = []
    while key_id:
        key_id, digit = divmod(key_id, 36)
        digits.append(_BASE36[digit])
    return "".join(reversed(digits)) or "0"


def parse_key_id(text: str) -> ApiKeyId | None:
    """Read a key's id; None when it is none."""
    if not 1 <= len(text) <= 12 or not set(text) <= set(_BASE36):
        return None
    return ApiKeyId(int(text, 36))


def digest_of(secret: Secret) -> bytes:
    """SHA-256 of the secret's text: 256 random bits need no slow hash."""
    return hashlib.sha256(secret.reveal().encode("ascii")).digest()


def is_secret_of(secret: Secret, digest: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(digest_of(secret), digest)


def bearer_of(header: str | None) -> str:
    """Return the token of an `Authorization: Bearer` header; empty when there is none."""
    scheme, _, token = (header or "").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def checked_name(name: str, *, at_least: int = 0) -> str:
    """Return a name of `at_least`..64 characters, trimmed; raises `RequestError` otherwise."""
    name = name.strip()
    if _NAME.fullmatch(name) is None or len(name) < at_least:
        message = f"a name has {at_least} to 64 characters, none of them a control character"
        raise RequestError(message, code="out_of_range")
    return name


class RateLimit:
    """A token bucket for each key, in bounded memory: the key that was idle longest is forgotten first.

    `rate` tokens come back each second up to `burst`; a rate of 0 sets no limit.
    """

    def __init__(self, *, rate: float, burst: int, keys_max: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._keys_max = keys_max
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, key: Hashable, now_s: float) -> float:
        """Take one token; return 0.0, or how many seconds until there will be one."""
        if self._rate <= 0:
            return 0.0
        level, at_s = self._buckets.pop(key, (self._burst, now_s))
        level = min(self._burst, level + (now_s - at_s) * self._rate)
        wait_s = 0.0 if level >= 1.0 else (1.0 - level) / self._rate
        self._buckets[key] = (level - 1.0 if wait_s == 0.0 else level, now_s)
        if len(self._buckets) > self._keys_max:
            self._buckets.popitem(last=False)
        return wait_s

    def __len__(self) -> int:
        return len(self._buckets)
