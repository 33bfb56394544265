"""What a link and the rest of a provider owe each other: protocols, no I/O. `link.py` re-exports them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hushnet.foundation.ids import AttemptId, ModelId
    from hushnet.sealing.statements import Statement
    from hushnet.wire.frames import Capacity, ModelOffer


class AttemptWriter(Protocol):
    """The way back for one attempt's answer; every call is on the event loop."""

    def write(self, record: bytes) -> None:
        """Queue one sealing record; records of one loop pass leave as one message, in order.

        Records beyond the coordinator's credit wait here, so call `ready` before each record but the last. Once the
        attempt or the link is over, records are dropped in silence. Raises `LocalProtocolError` after a final record, or
        when more than 128 KiB wait.
        """
        ...

    async def ready(self) -> None:
        """Wait until a record may leave at once; raise `LinkLost` when the link is gone.

        Returns at once when the attempt was cancelled, so that its final record can be written.
        """
        ...

    def refuse(self, code: int) -> None:
        """Refuse with a wire code, before the first record; nothing may follow."""
        ...

    def finish(self) -> None:
        """Free the slot at the coordinator; leaves after the attempt's last record. Idempotent."""
        ...


class AttemptHandler(Protocol):
    """What serves attempts; every call is synchronous, on the event loop, and must be quick."""

    def attempt_arrived(self, attempt: AttemptId, envelope: bytes, deadline_ms: int, writer: AttemptWriter) -> None:
        """Start an attempt with its whole envelope; `deadline_ms` counts from now.

        The handler owes exactly one `writer.refuse` or `writer.finish`.
        """
        ...

    def attempt_cancelled(self, attempt: AttemptId, code: int) -> None:
        """Stop the engine now, then write the final record and `finish`. `code` is a wire code."""
        ...

    def link_lost(self) -> None:
        """Every attempt of this link is dead; attempt numbers start anew with the next link."""
        ...

    def load_model_requested(self, model: ModelId) -> None:
        """Load the model, or say with the link's `refuse_load` why not."""
        ...

    def unload_model_requested(self, model: ModelId) -> None:
        """Free the model, unless it is in use."""
        ...

    def drain_requested(self) -> None:
        """The coordinator sends no more attempts on this link."""
        ...


class AgentDescription(Protocol):
    """What the link tells about this provider; read anew for every frame that carries it."""

    @property
    def agent_version(self) -> str: ...

    @property
    def statement_changed(self) -> asyncio.Event:
        """Set after a key rotation; the link sends the new statement and clears it."""
        ...

    def network(self) -> str:
        """The network that this provider's statements name; another network's coordinator is refused."""
        ...

    def region(self) -> str:
        """Where this machine stands, as its operator says; may be empty."""
        ...

    def statement(self) -> Statement: ...

    def models(self) -> Sequence[ModelOffer]: ...

    def capacity(self) -> Capacity: ...

    def sign(self, message: bytes) -> bytes:
        """Sign with the identity key: 64 bytes."""
        ...
