"""What a consumer is told when a request fails: closed codes; api/problems.py gives each its HTTP status."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class FailureCode(StrEnum):
    """Failures that serving itself finds. Sealed attempts may add the labels of wire codes (docs/sealing.md section 11)."""

    # Before anything is held.
    DUPLICATE_ENVELOPE = "duplicate_envelope"
    CLOCK_SKEW = "clock_skew"
    MODEL_NOT_FOUND = "model_not_found"
    SHUTTING_DOWN = "shutting_down"
    BUSY = "busy"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    INSUFFICIENT_QUOTA = "insufficient_quota"
    ACCOUNT_FROZEN = "account_frozen"
    # Nobody to serve it.
    CAPACITY = "capacity"
    MODEL_UNAVAILABLE = "model_unavailable"
    FEATURES_UNAVAILABLE = "unsupported_feature"
    CONTEXT_UNAVAILABLE = "context_too_long"
    TRUST_UNAVAILABLE = "no_provider_at_floor"
    RECIPIENTS_UNAVAILABLE = "recipients_unavailable"
    KEYS_STALE = "keys_stale"
    REGION_UNAVAILABLE = "no_provider_in_region"
    BUILD_UNAVAILABLE = "no_provider_of_build"
    PRICE_UNAVAILABLE = "no_provider_at_price"
    PROVIDER_UNAVAILABLE = "no_listed_provider"
    NO_OWN_PROVIDER = "no_own_provider"
    OWN_PROVIDER_LACKS_MODEL = "own_provider_lacks_model"
    # Attempts that failed.
    OPEN_FAILED = "open_failed"
    REPLAYED = "replayed"
    PROVIDER_FAILED = "provider_failed"
    ENGINE_FAILED = "engine_failed"
    LINK_LOST = "link_lost"
    TIMED_OUT = "timed_out"
    BACKPRESSURE = "backpressure"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request failed. `detail` is the provider's own error body, for the consumer's eyes only.

    `words` are said instead of the code's own sentence. `is_unsure`: the books may have the hold all the same.
    """

    code: str
    retry_after_s: float | None = None
    detail: bytes | None = field(default=None, repr=False)
    status: int | None = None
    """The HTTP status that the provider gave with `detail`."""
    words: str | None = None
    is_unsure: bool = False
