"""The side that dispatches: attempts of this worker at providers whose sockets hang on another.

`RemoteLink` is a `fleet.link.ProviderLink`; sinks cannot tell it from a link of this worker. Every attempt hears exactly
one of refused, finished and link_lost, whatever becomes of the provider, its worker, or the mesh between.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable

from hushnet.coordinator.bus.frames import Cancel, CloseLink, Dispatch, Grant, Records
from hushnet.coordinator.bus.limits import MeshLimits
from hushnet.coordinator.bus.peer import Peer
from hushnet.coordinator.fleet.link import AttemptSink
from hushnet.foundation.errors import CapacityError
from hushnet.foundation.ids import AttemptId, ModelId, ProviderId
from hushnet.sealing.errors import SealingError, WireCode
from hushnet.sealing.records import split_records
from hushnet.wire.errors import LinkFault, LinkLost

_LOG = logging.getLogger(__name__)


class RemoteLink:
    """A provider's link as this worker holds it: everything is said to the worker that has the socket."""

    def __init__(
        self,
        crossing: Crossing,
        provider_id: ProviderId,
        *,
        connected_ms: int,
        on_closed: Callable[[RemoteLink], None],
    ) -> None:
        self.provider_id = provider_id
        self.connected_ms = connected_ms
        self._crossing = crossing
        self._on_closed = on_closed
        self._is_closed = False

    @property
    def worker(self) -> int:
        """The worker that has the socket."""
        return self._crossing.peer.worker

    def __repr__(self) -> str:
        return f"<RemoteLink {self.provider_id[:12]} over {self._crossing.peer!r}>"

    def dispatch(self, envelope: bytes, *, deadline_ms: int, credit_bytes: int, sink: AttemptSink) -> AttemptId:
        if self._is_closed:
            raise LinkLost("the provider's link was closed")
        return self._crossing.dispatch(self, envelope, deadline_ms, credit_bytes, sink)

    def cancel(self, attempt: AttemptId, code: int) -> None:
        self._crossing.cancel(attempt, code)

    def grant(self, attempt: AttemptId, bytes_: int) -> None:
        self._crossing.grant(attempt, bytes_)

    def challenge(self, nonce: bytes) -> None:
        """Leave it to the worker that has the socket: it alone challenges."""

    def load_model(self, model: ModelId) -> None:
        """Leave it to the worker that has the socket."""

    def unload_model(self, model: ModelId) -> None:
        """Leave it to the worker that has the socket."""

    def close(self, code: str) -> None:
        """End the link where it is; the attempts of this worker hear of it now."""
        if self._is_closed:
            return
        self._is_closed = True
        if code != LinkFault.REPLACED:  # whoever hears of the newer link ends the older one after taking the newer in
            self._crossing.peer.send_now(CloseLink(self.provider_id, self.connected_ms, code))
        self._crossing.lose(self)
        self._on_closed(self)


class Crossing:
    """The attempts of this worker at the providers of one other."""

    def __init__(self, peer: Peer, limits: MeshLimits) -> None:
        self.peer = peer
        self._limits = limits
        self._numbers = itertools.count(1)
        self._open: dict[int, tuple[RemoteLink, AttemptSink]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def dispatch(
        self, link: RemoteLink, envelope: bytes, deadline_ms: int, credit_bytes: int, sink: AttemptSink
    ) -> AttemptId:
        """Send an attempt across; raises `LinkLost` when the worker is gone, `CapacityError` when a bound is reached."""
        if not self.peer.is_up:
            raise LinkLost("the provider's worker is gone")
        is_full = self.peer.queued + len(envelope) > self._limits.queue_bytes_max // 2
        if is_full or len(self._open) >= self._limits.attempts_max:
            raise CapacityError("too much waits for the provider's worker")
        number = next(self._numbers)
        self._open[number] = (link, sink)
        self.peer.send(Dispatch(number, link.provider_id, link.connected_ms, deadline_ms, credit_bytes, envelope))
        return AttemptId(number)

    def cancel(self, attempt: AttemptId, code: int) -> None:
        if attempt in self._open:
            self.peer.send_now(Cancel(attempt, int(code)))

    def grant(self, attempt: AttemptId, bytes_: int) -> None:
        if attempt in self._open and bytes_ > 0:
            self.peer.send(Grant(attempt, bytes_))

    # What comes back.

    def records(self, frame: Records) -> None:
        """Hand records to their attempt; late ones find nobody. Raises `SealingError` for what is no whole record."""
        found = self._open.get(frame.number)
        if found is None:
            return
        records, rest = split_records(frame.raw)
        if rest:
            raise SealingError("frame_malformed")
        try:
            found[1].records_arrived(records)
        except Exception as error:
            _log_broken(error)
            self.cancel(AttemptId(frame.number), WireCode.INTERNAL)

    def refused(self, number: int, code: int) -> None:
        self._over(number, lambda sink: sink.attempt_refused(code))

    def finished(self, number: int) -> None:
        self._over(number, lambda sink: sink.attempt_finished())

    def link_lost(self, number: int) -> None:
        self._over(number, lambda sink: sink.link_lost())

    def lose(self, link: RemoteLink | None = None) -> None:
        """Tell every attempt, or those of one link, that it is lost."""
        for number, (of, _) in list(self._open.items()):
            if link is None or of is link:
                self.link_lost(number)

    def _over(self, number: int, tell: Callable[[AttemptSink], None]) -> None:
        found = self._open.pop(number, None)
        if found is None:
            return
        try:
            tell(found[1])
        except Exception as error:
            _log_broken(error)


def _log_broken(error: Exception) -> None:
    _LOG.error("a callback of the mesh failed", extra={"callback": "sink", "error": type(error).__name__})
