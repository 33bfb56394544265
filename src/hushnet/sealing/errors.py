"""Every way in which sealing says no: one error class over a closed set of codes, and the wire codes of section 11.

`SealingError` carries a code and nothing else: no key, no plaintext, no text of a foreign exception.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final

from hushnet.foundation.errors import ProtocolError


class Fault(Enum):
    """Who caused a refusal: only `PROVIDER` counts against a provider's health (section 7)."""

    SEALER = "sealer"
    NONE = "none"
    RELAY = "relay"
    PROVIDER = "provider"
    CALLER = "caller"


class WireCode(IntEnum):
    """What a provider refuses or fails an attempt with: the number on the wire (section 11)."""

    BAD_ENVELOPE = 101
    UNSUPPORTED_VERSION = 102
    UNSUPPORTED_SUITE = 103
    UNKNOWN_KEY = 104
    NOT_FOR_ME = 105
    EXPIRED = 106
    NOT_YET_VALID = 107
    REPLAYED = 108
    OPEN_FAILED = 109
    BAD_HEADER = 110
    HEADER_BODY_MISMATCH = 111
    BOUND_EXCEEDED = 112
    BAD_REQUEST = 113
    CONTEXT_TOO_LONG = 114
    CAPACITY = 201
    MODEL_UNAVAILABLE = 202
    DRAINING = 203
    INTERNAL = 204
    ENGINE_FAILED = 205
    TIMED_OUT = 206
    CANCELLED = 207
    BACKPRESSURE = 208

    @property
    def label(self) -> str:
        """The code's name in text: `bad_envelope`."""
        return self.name.lower()

    @property
    def fault(self) -> Fault:
        """Who is to blame. `replayed` is laid on the sealer: a relay knows whether it sent an envelope twice."""
        return _FAULTS.get(self, Fault.PROVIDER if self >= WireCode.CAPACITY else Fault.SEALER)

    @property
    def is_id_released(self) -> bool:
        """Whether a provider that refuses with this code frees the envelope's id for a later attempt (section 6)."""
        return self in _RELEASING

    @classmethod
    def of_label(cls, label: str) -> WireCode | None:
        """Return the code that `label` names; None when the code never crosses the link as a refusal."""
        return _BY_LABEL.get(label)


_FAULTS: Final = {
    WireCode.UNKNOWN_KEY: Fault.NONE,
    WireCode.NOT_FOR_ME: Fault.RELAY,
    WireCode.CANCELLED: Fault.CALLER,
}
_RELEASING: Final = frozenset({WireCode.CAPACITY, WireCode.MODEL_UNAVAILABLE, WireCode.DRAINING})
_BY_LABEL: Final = {code.label: code for code in WireCode}

STATEMENT_CODES: Final = frozenset(
    {
        "statement_malformed",
        "statement_wrong_type",
        "statement_unknown_identity_alg",
        "statement_wrong_provider",
        "statement_bad_signature",
        "statement_wrong_network",
        "statement_too_long_lived",
        "statement_not_yet_valid",
        "statement_expired",
        "statement_rollback",
        "key_duplicate_suite",
        "key_malformed",
        "key_id_mismatch",
        "key_low_order",
        "provider_not_pinned",
        "evidence_missing",
        "evidence_unbound",
        "trust_below_floor",
        "no_acceptable_suite",
    }
)
STREAM_CODES: Final = frozenset(
    {
        "frame_malformed",
        "frame_unknown_kind",
        "frame_bad_flags",
        "frame_bad_length",
        "frame_after_final",
        "frame_out_of_state",
        "frame_gap",
        "frame_replayed",
        "frame_open_failed",
        "frame_bad_padding",
        "head_unsupported_version",
        "head_unknown_recipient",
        "meter_invalid",
        "receipt_missing",
        "receipt_invalid",
        "opener_dead",
        "relay_error",
        "no_response",
        "stream_truncated",
        "not_sealed",
    }
)
CODES: Final = frozenset(_BY_LABEL) | STATEMENT_CODES | STREAM_CODES | {"bad_recipients"}
"""The closed set: no `SealingError` has a code that is not in here."""

_HINTS: Final = {
    "trust_below_floor": (
        "No provider proved the trust tier that the policy asks for. A floor of 'self_signed' accepts any machine that "
        "holds a key: the coordinator could list machines of its own and read what is sealed to them. Lower the floor "
        "only for a coordinator that you trust or run yourself, or pin the providers you know."
    ),
    "evidence_missing": "The provider shows no evidence for the trust tier asked for: choose another, or a lower floor.",
    "provider_not_pinned": "The policy names the providers it accepts, and this one is not among them.",
    "no_acceptable_suite": "The provider offers none of the suites that the policy accepts.",
    "statement_expired": "Fetch the provider list again; if this persists, check this machine's clock.",
    "statement_not_yet_valid": "Check this machine's clock.",
    "statement_rollback": "The coordinator showed an older key statement than before: do not seal to it.",
    "expired": "Seal the request again; if this persists, check this machine's clock.",
    "not_yet_valid": "Check this machine's clock.",
    "unknown_key": "The provider has changed its keys: fetch the provider list and seal again.",
    "replayed": "An envelope runs once: seal the request again under a new id.",
    "stream_truncated": "The answer is incomplete; seal the request again.",
    "not_sealed": "The answer was not sealed and was not used. Check the base URL.",
}


class SealingError(ProtocolError):
    """A check of the sealing protocol failed; `error_code` is one of `CODES`."""

    code = "bad_envelope"

    def __init__(self, code: str) -> None:
        if code not in CODES:
            raise ValueError("not a code of the sealing protocol")
        super().__init__(f"sealing check failed: {code}", code=code, hint=_HINTS.get(code, ""))

    @property
    def wire_code(self) -> WireCode | None:
        """The code as it crosses the link; None for what only a sealing client can meet."""
        return WireCode.of_label(self.error_code)


class RelayReportedError(SealingError):
    """The relay ended the stream with a failure of its own; `relay_code` is unauthenticated, at most 64 of `[a-z0-9_]`."""

    def __init__(self, relay_code: str) -> None:
        super().__init__("relay_error")
        self.relay_code = relay_code
