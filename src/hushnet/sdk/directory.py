"""The providers a consumer may seal to: the public listing, verified here, entry by entry."""

from __future__ import annotations

import json
import random
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, Final

from hushnet.foundation.errors import CapacityError, RemoteProtocolError, TrustError
from hushnet.sdk.errors import not_a_coordinator
from hushnet.sdk.policy import VerificationPolicy
from hushnet.sealing.errors import SealingError
from hushnet.sealing.statements import KeyPolicy, Recipient, SerialMemory, verify_keys
from hushnet.sealing.statements.documents import Statement

DOCUMENT_BYTES_MAX: Final = 1 << 20
FRESH_S: Final = 60.0
KEPT_MAX: Final = 256
"""Providers that have answered, of all models together."""
# What a verified statement proves without evidence.
VERIFIED_TIER: Final = "self_signed"
_HINTS: Final = {
    "trust_below_floor": "the providers on offer prove less than your floor asks for",
    "evidence_missing": "nobody on offer has evidence for your trust floor; a lower floor (policy floor, or --trust) means "
    "that the coordinator could list a provider of its own and read what you seal to it",
    "provider_not_pinned": "none of your pinned providers serves this model now",
    "statement_wrong_network": "the providers belong to another network; set HUSH_NETWORK to the one you mean",
}


@dataclass(frozen=True, slots=True)
class Listing:
    """What the listing held for one model after verification: whom to seal to, and why the others were left out.

    `proven` is the tier that was verified here, by provider id: the coordinator's labels count for nothing.
    """

    recipients: tuple[Recipient, ...]
    rejected: Counter[str]
    recipients_max: int
    busy: frozenset[bytes]
    proven: Mapping[bytes, str]

    @property
    def is_empty(self) -> bool:
        return not self.recipients and not self.rejected


@dataclass(slots=True)
class Directory:
    """Verified listings by model, kept for a minute; serials are remembered for as long as the client lives."""

    policy: VerificationPolicy
    _serials: SerialMemory = field(default_factory=SerialMemory)
    _listings: dict[str, tuple[float, Listing]] = field(default_factory=dict)
    _kept: OrderedDict[tuple[str, bytes], tuple[Recipient, str]] = field(default_factory=OrderedDict)
    _random: random.Random = field(default_factory=random.SystemRandom)

    def fresh(self, model: str, *, monotonic_s: float) -> Listing | None:
        """Return the listing for `model` when it is younger than a minute."""
        held = self._listings.get(model)
        return held[1] if held and monotonic_s - held[0] < FRESH_S else None

    def forget(self, model: str) -> None:
        """Drop the listing and whom it does not show, so that the next request goes by a new one alone."""
        self._listings.pop(model, None)
        for key in [key for key in self._kept if key[0] == model]:
            del self._kept[key]

    def keep(self, model: str, provider_id: bytes) -> None:
        """Remember a provider that has answered: a listing shows a part of a large network, and may leave it out next time."""
        listing = self._listings[model][1] if model in self._listings else None
        for recipient in listing.recipients if listing is not None else ():
            if recipient.provider_id == provider_id and listing is not None:
                self._kept[model, provider_id] = (recipient, listing.proven[provider_id])
                self._kept.move_to_end((model, provider_id))
        while len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)

    def accept(self, model: str, document: bytes, *, now_s: int, monotonic_s: float) -> Listing:
        """Verify a fetched document; raises `RemoteProtocolError` when it is not one."""
        providers, recipients_max = _parse(document)
        listing = self._verify(providers, recipients_max, now_s)
        # One that is shown counts as it is shown, also where it no longer verifies.
        shown = {str(entry.get("provider")) for entry in providers}
        listing = self._with_kept(model, listing, shown=shown)
        self._listings[model] = (monotonic_s, listing)
        return listing

    def choose(
        self,
        model: str,
        listing: Listing,
        *,
        now_s: int,
        allows: Callable[[bytes], bool] = lambda _: True,
        preferred: Set[bytes] = frozenset(),
    ) -> tuple[Recipient, ...]:
        """Pick recipients at random among the verified that the request `allows`; raises when there is nobody.

        Those that are `preferred` come first, then those with room.

        The choice is the consumer's own (design/sealing.md section 13), so that a lying coordinator can't steer it.
        """
        live = [recipient for recipient in listing.recipients if now_s < recipient.expires_at]
        if not live:
            raise self._nobody(model, listing)
        live = [recipient for recipient in live if allows(recipient.provider_id)]
        if not live:
            raise CapacityError(
                f"no provider of {model} that your policy takes is among those that the request allows",
                code="no_listed_provider",
                hint="nothing was sent; name other providers, or leave `only` and `ignore` out",
            )
        self._random.shuffle(live)
        live.sort(key=lambda each: (each.provider_id not in preferred, each.provider_id in listing.busy))
        return tuple(live[: min(self.policy.recipients, listing.recipients_max)])

    def _with_kept(self, model: str, listing: Listing, *, shown: Set[str]) -> Listing:
        """Add those that were kept and are not shown; as busy ones, so that only who prefers them takes them first."""
        kept = {
            provider_id: entry
            for (of_model, provider_id), entry in self._kept.items()
            if of_model == model and provider_id.hex() not in shown
        }
        return replace(
            listing,
            recipients=(*listing.recipients, *(recipient for recipient, _ in kept.values())),
            busy=listing.busy | kept.keys(),
            proven={**listing.proven, **{provider_id: tier for provider_id, (_, tier) in kept.items()}},
        )

    def _verify(self, providers: Sequence[Mapping[str, Any]], recipients_max: int, now_s: int) -> Listing:
        tiers: dict[bytes, str] = {}
        policy = _noting(self.policy.key_policy(), tiers)
        found: dict[bytes, Recipient] = {}
        rejected: Counter[str] = Counter()
        busy = set()
        for entry in providers:
            try:
                recipient = verify_keys(entry, policy, now_s, self._serials)
            except SealingError as error:
                rejected[error.error_code] += 1
                continue
            found[recipient.provider_id] = recipient
            if entry.get("load") == 3:
                busy.add(recipient.provider_id)
        proven = {
            provider_id: tiers.get(recipient.statement_digest, VERIFIED_TIER)
            for provider_id, recipient in found.items()
        }
        return Listing(tuple(found.values()), rejected, recipients_max, frozenset(busy), proven)

    def _nobody(self, model: str, listing: Listing) -> TrustError | CapacityError:
        if not listing.rejected:
            return CapacityError(
                f"no provider offers {model} now", code="model_unavailable", hint="`hush models` lists what is on offer"
            )
        code, _ = listing.rejected.most_common(1)[0]
        total = listing.rejected.total()
        return TrustError(
            f"none of the {total} providers of {model} passes your policy (floor {self.policy.floor}): {code}",
            code=code,
            hint=_HINTS.get(code, "nothing was sent; `hush doctor` shows what each provider claims"),
        )


def _noting(policy: KeyPolicy, tiers: dict[bytes, str]) -> KeyPolicy:
    """Have the policy's own verification of evidence leave what it proved in `tiers`, by statement digest."""
    judge = policy.verify_evidence
    if judge is None:
        return policy

    def verify(statement: Statement, items: Sequence[Mapping[str, Any]]) -> str:
        tier = tiers[statement.digest()] = judge(statement, items)
        return tier

    return replace(policy, verify_evidence=verify)


def _json(document: bytes) -> Any:
    try:
        return json.loads(document)
    except (ValueError, RecursionError):
        raise not_a_coordinator() from None


def _parse(document: bytes) -> tuple[list[dict[str, Any]], int]:
    try:
        if len(document) > DOCUMENT_BYTES_MAX:
            raise ValueError
        decoded = _json(document)
        providers = [entry for entry in decoded["providers"] if isinstance(entry, dict)]
        recipients_max = decoded.get("max_recipients", 8)
        if decoded["v"] != 1 or 1 not in decoded["header_versions"] or type(recipients_max) is not int:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise RemoteProtocolError(
            "the list of providers is not one that this version reads", code="bad_listing"
        ) from None
    return providers, max(1, min(recipients_max, 8))
