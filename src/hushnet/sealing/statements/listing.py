"""The discovery document: which providers a coordinator offers to seal to (section 3).

Everything in it but the statements is a hint; `verify_keys` decides, entry by entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from hushnet.sealing.errors import SealingError
from hushnet.sealing.limits import LISTING_MAX, RECIPIENTS_MAX
from hushnet.sealing.statements.documents import Statement


@dataclass(frozen=True, slots=True)
class ListedProvider:
    """One provider to list: `load` 0 idle .. 3 full, `evidence` items `{"kind", "binds", "data"}`."""

    provider_id: bytes
    trust: str
    models: tuple[str, ...]
    load: int
    statement: Statement
    evidence: tuple[dict[str, Any], ...] = ()

    def to_json_object(self) -> dict[str, Any]:
        """Return the entry as plain JSON values: what `verify_keys` takes."""
        return {
            "provider": self.provider_id.hex(),
            "trust": self.trust,
            "models": list(self.models),
            "load": self.load,
            "statement": self.statement.to_json_object(),
            "evidence": list(self.evidence),
        }


class Listing(msgspec.Struct, kw_only=True):
    """A discovery document as it came: `providers` are untrusted entries for `verify_keys`."""

    v: int
    network: str
    time: int
    providers: list[dict[str, Any]]
    max_recipients: int = RECIPIENTS_MAX
    header_versions: list[int] = msgspec.field(default_factory=lambda: [1])


def encode_listing(providers: Sequence[ListedProvider], *, network: str, now: int) -> bytes:
    """Write the document for `GET /v1/sealing/providers`."""
    return msgspec.json.encode(
        {
            "v": 1,
            "network": network,
            "time": now,
            "max_recipients": RECIPIENTS_MAX,
            "header_versions": [1],
            "providers": [provider.to_json_object() for provider in providers],
        }
    )


def decode_listing(raw: bytes) -> Listing:
    """Read a discovery document of at most 1 MiB; raises `statement_malformed` or `unsupported_version`."""
    if len(raw) > LISTING_MAX:
        raise SealingError("statement_malformed")
    try:
        listing = msgspec.json.decode(raw, type=Listing)
    except (ValueError, RecursionError):
        raise SealingError("statement_malformed") from None
    if listing.v != 1 or 1 not in listing.header_versions:
        raise SealingError("unsupported_version")
    return listing
