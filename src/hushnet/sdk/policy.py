"""What a consumer demands of a provider before it seals anything to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hushnet.foundation.errors import ConfigurationError
from hushnet.sdk.settings import LOCAL_NETWORK, MAIN_NETWORK, is_loopback
from hushnet.sealing.statements import KeyPolicy
from hushnet.sealing.statements.checks import VerifyEvidence
from hushnet.sealing.suites import PREFERENCE, Suite

TIERS = ("none", "self_signed", "measured", "hardware")
RECIPIENTS_DEFAULT = 3


@dataclass(frozen=True, slots=True)
class VerificationPolicy:
    """The floor, the pins, the suites and the number of recipients; `None` means the default for the address.

    `floor` defaults to `measured` for a remote coordinator and `self_signed` for one on this machine
    (design/sealing.md section 18). `pins` are provider ids in hex: only those are sealed to.
    `recipients` is how many providers may be able to open the request: 1 forbids failover to another machine.
    `verify_evidence` says which tier evidence proves (`attestation.verifier`); without it nothing proves more than
    `self_signed`.
    """

    floor: str | None = None
    network: str | None = None
    pins: frozenset[str] | None = None
    suites: tuple[Suite, ...] = PREFERENCE
    recipients: int = RECIPIENTS_DEFAULT
    verify_evidence: VerifyEvidence | None = None

    def __post_init__(self) -> None:
        if self.floor is not None and self.floor not in TIERS:
            raise ConfigurationError(f"the trust floor is one of {', '.join(TIERS)}", code="bad_policy")
        if not 1 <= self.recipients <= 8:
            raise ConfigurationError("a request is sealed to 1..8 providers", code="bad_policy")

    def for_address(self, base_url: str, network: str | None = None) -> VerificationPolicy:
        """Fill what was left open with the defaults for a coordinator at `base_url`."""
        is_local = is_loopback(base_url)
        return replace(
            self,
            floor=self.floor or ("self_signed" if is_local else "measured"),
            network=self.network or network or (LOCAL_NETWORK if is_local else MAIN_NETWORK),
        )

    def key_policy(self) -> KeyPolicy:
        """Return what `sealing.verify_keys` needs; the policy must have been filled by `for_address`."""
        if self.floor is None or self.network is None:
            raise ValueError("a policy is filled with for_address before it is used")
        pins = None if self.pins is None else frozenset(bytes.fromhex(pin) for pin in self.pins)
        return KeyPolicy(
            network=self.network,
            pins=pins,
            suites=self.suites,
            floor=self.floor,
            verify_evidence=self.verify_evidence,
        )
