"""What follows an attempt that failed before anything was relayed: another one, or the end. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hushnet.coordinator.serving.attempt import SEALERS_OWN, AttemptEnd, Ending
from hushnet.coordinator.serving.failures import Failure, FailureCode
from hushnet.coordinator.serving.model import Mode
from hushnet.sealing.errors import WireCode

_BROKEN_ENVELOPE: Final = frozenset(
    {
        WireCode.BAD_ENVELOPE,
        WireCode.UNSUPPORTED_VERSION,
        WireCode.UNSUPPORTED_SUITE,
        WireCode.BAD_HEADER,
    }
)
_CLOCK: Final = frozenset({WireCode.EXPIRED, WireCode.NOT_YET_VALID})
_NO_ROOM: Final = frozenset({WireCode.CAPACITY, WireCode.MODEL_UNAVAILABLE, WireCode.DRAINING})
_HOPELESS: Final = _BROKEN_ENVELOPE | _CLOCK
"""Every provider would say the same."""
_UNLUCKY: Final = frozenset({WireCode.UNKNOWN_KEY, WireCode.NOT_FOR_ME})
_CODED: Final = frozenset({Ending.ERROR, Ending.REFUSED})
_TOLD: Final[dict[int, str]] = {
    **{code: code.label for code in _BROKEN_ENVELOPE | SEALERS_OWN},
    WireCode.EXPIRED: FailureCode.CLOCK_SKEW,
    WireCode.NOT_YET_VALID: FailureCode.CLOCK_SKEW,
    WireCode.UNKNOWN_KEY: FailureCode.KEYS_STALE,
    WireCode.NOT_FOR_ME: FailureCode.RECIPIENTS_UNAVAILABLE,
    WireCode.REPLAYED: FailureCode.REPLAYED,
    WireCode.OPEN_FAILED: FailureCode.OPEN_FAILED,
    WireCode.ENGINE_FAILED: FailureCode.ENGINE_FAILED,
    WireCode.TIMED_OUT: FailureCode.TIMED_OUT,
}
"""What a consumer is told of a wire code; of every other, and of numbers that are none, that the provider failed."""
NO_ROOM_RETRY_S: Final = 2.0
"""Less than a heartbeat: a refusal for want of room is news that the fleet did not have."""
_SEALERS: Final = _BROKEN_ENVELOPE | _CLOCK | {WireCode.REPLAYED, WireCode.OPEN_FAILED} | SEALERS_OWN


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an attempt's end means: for the provider, and for what may be tried next.

    `is_fault`: it counts against the provider's health. `is_full`: the provider has no room until it says otherwise.
    `is_excluded`: this request never goes there again. `is_final`: no other attempt can help.
    """

    failure: Failure
    is_fault: bool = False
    is_full: bool = False
    is_excluded: bool = False
    is_final: bool = False


def judge(end: AttemptEnd, mode: Mode, *, open_failures: int = 0) -> Verdict:
    """Judge an attempt that ended without having been committed to.

    `open_failures` counts earlier `open_failed` refusals of this request: in sealed mode one more try is allowed.
    In standard mode we are the sealer, so a refusal that blames the sealer blames that provider or us: it is a fault,
    and the next provider is tried.
    """
    is_sealed = mode is Mode.SEALED
    failure = _failure(end, mode)
    if end.ending is Ending.OUTRUN or (end.ending in _CODED and end.code in _UNLUCKY):
        return Verdict(failure, is_excluded=True)
    if end.ending is Ending.LINK_LOST:
        return Verdict(failure, is_fault=True, is_excluded=is_sealed)
    if end.ending not in _CODED:
        return Verdict(failure, is_fault=True, is_excluded=True)
    code = end.code
    if code in _NO_ROOM:
        return Verdict(failure, is_full=True, is_excluded=is_sealed or code != WireCode.CAPACITY)
    if code in _SEALERS and is_sealed:
        is_final = code in _HOPELESS or (code == WireCode.OPEN_FAILED and open_failures > 0)
        return Verdict(failure, is_excluded=True, is_final=is_final)
    return Verdict(failure, is_fault=True, is_excluded=is_sealed or code in _SEALERS or code == WireCode.TIMED_OUT)


def is_fault_of_provider(end: AttemptEnd) -> bool:
    """Say whether the end of an answer that had begun counts against its provider's health.

    What the request itself caused does not, nor that a provider's patience with a slow consumer ran out.
    """
    return end.ending is not Ending.ERROR or (end.code not in SEALERS_OWN and end.code != WireCode.BACKPRESSURE)


def failure_of(end: AttemptEnd) -> Failure:
    """Say to a consumer how an attempt ended that did not end well."""
    if end.ending is Ending.LINK_LOST:
        return Failure(FailureCode.LINK_LOST)
    is_coded = end.ending in _CODED or end.ending is Ending.STOPPED
    return Failure(_TOLD.get(end.code, FailureCode.PROVIDER_FAILED) if is_coded else FailureCode.PROVIDER_FAILED)


def _failure(end: AttemptEnd, mode: Mode) -> Failure:
    """Say what the consumer is told when this was the last attempt."""
    if end.ending not in _CODED:
        return failure_of(end)
    if end.code in _NO_ROOM:
        code = FailureCode.CAPACITY if end.code == WireCode.CAPACITY else FailureCode.MODEL_UNAVAILABLE
        if mode is Mode.SEALED:
            code = FailureCode.RECIPIENTS_UNAVAILABLE
        return Failure(code, retry_after_s=NO_ROOM_RETRY_S)
    if mode is Mode.STANDARD and end.code < WireCode.CAPACITY and end.code not in SEALERS_OWN:
        return Failure(FailureCode.PROVIDER_FAILED)
    return failure_of(end)
