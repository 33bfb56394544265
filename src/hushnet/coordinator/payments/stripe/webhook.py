"""The signature of a webhook, `Stripe-Signature: t=<unix s>,v1=<hex>[,v1=...]`: HMAC-SHA256 over `t.body`, the raw bytes.

Several secrets are good at once while one is being rotated. The time must be within 300 s of ours, either way, so that a
captured delivery is not good for ever. An event of the other mode (live, test) is refused: it is nobody's money here.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from hushnet.foundation.errors import RequestError
from hushnet.foundation.redaction import Secret

TOLERANCE_S: Final = 300
HEADER_CHARS_MAX: Final = 2048
_TIME: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_MAC: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class _Subject(msgspec.Struct, frozen=True):
    id: str = ""


class _Data(msgspec.Struct, frozen=True):
    object: _Subject


class StripeEvent(msgspec.Struct, frozen=True):
    """A verified event, as far as receiving it needs: `account` is the connected account it is about, if any."""

    id: str
    type: str
    livemode: bool
    data: _Data
    account: str | None = None

    @property
    def subject(self) -> str:
        """The id of the object it is about."""
        return self.data.object.id


def verified(body: bytes, header: str | None, secrets: Sequence[Secret], *, now_ms: int, is_live: bool) -> StripeEvent:
    """Return the event that `body` is; raises `RequestError` `bad_webhook` when it is not Stripe's, or not of this mode."""
    at, macs = _parts(header or "")
    if abs(now_ms // 1000 - int(at)) > TOLERANCE_S:
        raise _refused("its time is not now")
    signed = at.encode() + b"." + body
    if not any(_is_signed(signed, secret, macs) for secret in secrets):
        raise _refused("its signature does not fit")
    try:
        event = msgspec.json.decode(body, type=StripeEvent)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _refused("it is no event") from None
    if event.livemode is not is_live:
        raise _refused("it is of the other mode (live or test)")
    return event


def _parts(header: str) -> tuple[str, list[str]]:
    pairs = [item.strip().partition("=") for item in header[:HEADER_CHARS_MAX].split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    macs = [value for name, _, value in pairs if name == "v1" and _MAC.fullmatch(value)]
    if len(times) != 1 or not _TIME.fullmatch(times[0]) or not macs:
        raise _refused("it has no signature")
    return times[0], macs


def _is_signed(signed: bytes, secret: Secret, macs: Sequence[str]) -> bool:
    key = secret.reveal().encode()
    if not key:
        return False
    expected = hmac.new(key, signed, hashlib.sha256).hexdigest()
    return any(hmac.compare_digest(expected, mac) for mac in macs)


def _refused(why: str) -> RequestError:
    return RequestError(f"this webhook is refused: {why}", code="bad_webhook")
