"""Stripe's idempotency keys: what was answered is answered again, a stored 500 included, for 24 hours.

Same key and parameters: the stored answer, marked `Idempotent-Replayed`. Other parameters: 400 `idempotency_error`. The
first request still runs: 409. An answer is stored once the endpoint began to execute; validation errors, 401, 409 and
429 are not.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from support.stripe_fake.problems import StripeProblem

KEEP_S = 24 * 3600


@dataclass
class Stored:
    """One key: what was asked, and the answer once there is one."""

    digest: bytes
    at_s: int
    status: int = 0
    body: bytes = b""
    is_running: bool = True
    replays: int = 0


class IdempotencyKeys:
    """Keys of one Stripe, by (account, key)."""

    def __init__(self) -> None:
        self.by_key: dict[tuple[str, str], Stored] = {}

    def begin(self, account: str, key: str, request: bytes, now_s: int) -> Stored:
        """Return the record of this key: with an answer when it is a replay; raises `StripeProblem` 400 or 409."""
        digest = hashlib.sha256(request).digest()
        self.by_key = {place: old for place, old in self.by_key.items() if old.at_s > now_s - KEEP_S}
        if len(key) > 255:
            raise StripeProblem(400, "idempotency_error", "The idempotency key is too long.", is_executed=False)
        found = self.by_key.get((account, key))
        if found is None:
            found = self.by_key[account, key] = Stored(digest, now_s)
            return found
        if found.digest != digest:
            raise StripeProblem(
                400,
                "idempotency_error",
                "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                f"Try using a key other than '{key}' if you meant to execute a different request.",
                is_executed=False,
            )
        if found.is_running:
            raise in_progress()
        found.replays += 1
        return found

    def finish(self, account: str, key: str, *, status: int, body: bytes, is_kept: bool) -> None:
        """Keep the answer, or forget the key when nothing was executed."""
        stored = self.by_key[account, key]
        if is_kept:
            stored.status, stored.body, stored.is_running = status, body, False
        else:
            del self.by_key[account, key]


def in_progress() -> StripeProblem:
    return StripeProblem(
        409,
        "idempotency_error",
        "There is currently another in-progress request using this Idempotency Key.",
        code="idempotency_key_in_use",
        is_executed=False,
    )
