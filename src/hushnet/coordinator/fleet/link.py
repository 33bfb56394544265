"""What the fleet and the serving path see of a provider's link: protocols, no I/O.

`api/provider_socket.py` implements `ProviderLink`; serving implements `AttemptSink`; the fleet implements `FleetGate`.
Every call is synchronous and on the event loop, except `FleetGate.admit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hushnet.foundation.ids import AttemptId, ModelId, ProviderId
    from hushnet.sealing.records import Record
    from hushnet.wire.frames import Capacity, ModelOffer, Register, StatementDocument


class AttemptSink(Protocol):
    """Where one attempt's answer goes. Exactly one of the last three calls comes, once, and is the last call."""

    def content_arrived(self, record: Record) -> None:
        """Take one record of content: `records_arrived` for nearly everything that a link carries, without a list."""
        ...

    def records_arrived(self, records: Sequence[Record]) -> None:
        """Take records in order; cheap, never blocks. After a cancel they still come, until the end."""
        ...

    def attempt_refused(self, code: int) -> None:
        """The attempt is over without an end record: refused before head, or ended by the link for a breached rule.

        `code` is a wire code: `backpressure` for records beyond the credit, `internal` for records that do not parse.
        """
        ...

    def link_lost(self) -> None:
        """The link is gone, whatever the attempt had reached."""
        ...

    def attempt_finished(self) -> None:
        """The provider's slot is free. Without a final record before it, the answer was broken off."""
        ...


class ProviderLink(Protocol):
    """One registered provider connection, as the coordinator drives it."""

    @property
    def provider_id(self) -> ProviderId:
        """The identity that registered; read it only after `FleetGate.admit` has returned `Admitted`."""
        ...

    def dispatch(self, envelope: bytes, *, deadline_ms: int, credit_bytes: int, sink: AttemptSink) -> AttemptId:
        """Start an attempt; `deadline_ms` counts from now (1..86,400,000), `credit_bytes` >= 1.

        Raises `LinkLost` when the link is not serving (closed, draining, not admitted yet) and `CapacityError` when
        its queue or its table of attempts is full; the sink is then never called.
        """
        ...

    def cancel(self, attempt: AttemptId, code: int) -> None:
        """Tell the provider to stop; leaves at once, before any queued data. Idempotent; unknown ids are ignored."""
        ...

    def grant(self, attempt: AttemptId, bytes_: int) -> None:
        """Allow `bytes_` >= 0 more record bytes; grants of one loop pass leave as one frame. Ended ids are ignored."""
        ...

    def challenge(self, nonce: bytes) -> None:
        """Send a challenge of 32 bytes; the reply arrives at `FleetGate.challenge_replied`."""
        ...

    def load_model(self, model: ModelId) -> None:
        """Ask the provider to load `model`: its list of models says when it has, or `FleetGate.load_failed` why not."""
        ...

    def unload_model(self, model: ModelId) -> None:
        """Ask the provider to free `model`, unless it is in use there."""
        ...

    def close(self, code: str) -> None:
        """End the link; sinks and gate hear `link_lost` before this returns. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class Admitted:
    """The provider may serve under this identity."""

    provider_id: ProviderId


@dataclass(frozen=True, slots=True)
class Rejected:
    """The provider may not register; `code` of [a-z0-9_], `hint` at most 512 characters for its operator."""

    code: str
    hint: str = ""


class FleetGate(Protocol):
    """What the fleet hears from links.

    A provider that registers again replaces its old link: `admit` of the new link comes first, then `link_lost` of the
    old one, so compare the link as well as the id.
    """

    async def admit(
        self, registration: Register, *, nonce: bytes, link: ProviderLink, peer: str
    ) -> Admitted | Rejected:
        """Authenticate the token, verify statement and challenge signature over `nonce`.

        Publish `link` to the router as the last step, without an `await` after it: it serves from the return on.
        Cancelled when the connection ends or the verdict takes longer than `LinkLimits.admit_s`.
        """
        ...

    def heartbeat(self, provider_id: ProviderId, capacity: Capacity, *, link_ms: int = 0) -> None:
        """Take a report, and the link's round trip as measured so far, 0 before it is known."""
        ...

    def challenge_replied(self, provider_id: ProviderId, nonce: bytes, signature: bytes) -> None: ...

    def statement_changed(self, provider_id: ProviderId, statement: StatementDocument) -> None: ...

    def models_changed(self, provider_id: ProviderId, models: Sequence[ModelOffer]) -> None: ...

    def load_failed(self, provider_id: ProviderId, model: ModelId, code: str) -> None:
        """The provider does not load what it was asked to."""
        ...

    def draining(self, provider_id: ProviderId) -> None:
        """The provider asks for no more attempts; its running ones go on."""
        ...

    def link_lost(self, provider_id: ProviderId, link: ProviderLink) -> None: ...
