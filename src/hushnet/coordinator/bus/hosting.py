"""The side with the sockets: attempts of other workers at providers of this one.

This worker alone counts its providers' slots. An attempt from elsewhere takes one like a request of its own, or is refused
with `capacity`; so two workers can never promise the same slot. When the other worker is gone its attempts are cancelled
at their providers, and what still comes of them is dropped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

from hushnet.coordinator.bus.frames import CloseLink, Dispatch, Finished, Lost, Records, Refused
from hushnet.coordinator.bus.limits import MeshLimits
from hushnet.coordinator.bus.peer import Peer
from hushnet.coordinator.fleet.fleet import Fleet, Slot
from hushnet.coordinator.fleet.load import Share
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.coordinator.routing.filters import has_room
from hushnet.coordinator.routing.model import RouteRequest
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import CapacityError, HushnetError
from hushnet.foundation.ids import AttemptId, ModelId, ProviderId
from hushnet.sealing.envelope import parse_envelope
from hushnet.sealing.errors import SealingError, WireCode
from hushnet.sealing.records import Record

NOBODY: Final = Share()


class HostedAttempt:
    """One attempt of another worker: the sink of its provider's link here."""

    def __init__(self, host: Host, number: int, slot: Slot, *, ends_s: float) -> None:
        self.slot = slot
        self.ends_s = ends_s
        """When its slot is taken back, whatever the provider says."""
        self.id: AttemptId | None = None
        self._host = host
        self._number = number

    def cancel(self, code: int) -> None:
        """Pass a cancel on, in the same step; the provider has a while to free the slot."""
        if self.id is not None:
            self._host.hurry(self)
            self.slot.provider.link.cancel(self.id, code)

    def content_arrived(self, record: Record) -> None:
        self._host.peer.send(Records(self._number, record.raw))

    def records_arrived(self, records: Sequence[Record]) -> None:
        raw = records[0].raw if len(records) == 1 else b"".join([record.raw for record in records])
        self._host.peer.send(Records(self._number, raw))
        if records[-1].is_final:
            self._host.hurry(self)

    def attempt_refused(self, code: int) -> None:
        self._over()
        if code == WireCode.CAPACITY:  # after the slot came free, which ends such a refusal
            self._host.fleet.note_full(self.slot.provider, self.slot.model, self.slot)
        self._host.peer.send(Refused(self._number, code))

    def link_lost(self) -> None:
        self.slot.provider.is_lost = True  # before the slot comes free, or the queue would be served from a dead link
        self._over()
        self._host.peer.send(Lost(self._number))

    def attempt_finished(self) -> None:
        self._over()
        self._host.peer.send(Finished(self._number))

    def _over(self) -> None:
        self._host.forget(self._number)


class Host:
    """The attempts of one other worker at the providers of this one."""

    def __init__(self, peer: Peer, fleet: Fleet, clock: Clock, limits: MeshLimits) -> None:
        self.peer = peer
        self.fleet = fleet
        self._clock = clock
        self._limits = limits
        self._open: dict[int, HostedAttempt] = {}
        self._shares: defaultdict[ProviderId, Share] = defaultdict(Share)

    def __len__(self) -> int:
        return len(self._open)

    def share(self, provider_id: ProviderId) -> Share:
        """Return what this worker's peer has open at a provider."""
        return self._shares.get(provider_id, NOBODY)

    def dispatch(self, frame: Dispatch) -> None:
        """Take a slot and start the attempt, or say in the same step why not."""
        provider = self._local(ProviderId(frame.provider_id), frame.connected_ms)
        if provider is None or frame.number in self._open:
            self.peer.send(Lost(frame.number))
            return
        try:
            request = _asked(frame.envelope)
        except SealingError as error:
            self.peer.send(Refused(frame.number, _wire_code(error)))
            return
        if len(self._open) >= self._limits.attempts_max or not self._has_room(provider, request):
            self.peer.send(Refused(frame.number, WireCode.CAPACITY))
            return
        slot = self.fleet.take(provider.provider_id, request)
        ends_s = self._clock.monotonic_s() + frame.deadline_ms / 1000 + self._limits.linger_s
        attempt = self._open[frame.number] = HostedAttempt(self, frame.number, slot, ends_s=ends_s)
        self._share_of(slot, Share.opened)
        try:
            attempt.id = provider.link.dispatch(
                frame.envelope, deadline_ms=frame.deadline_ms, credit_bytes=frame.credit_bytes, sink=attempt
            )
        except HushnetError as error:
            self.forget(frame.number)
            is_full = isinstance(error, CapacityError)
            self.peer.send(Refused(frame.number, WireCode.CAPACITY if is_full else WireCode.DRAINING))

    def cancel(self, number: int, code: int) -> None:
        attempt = self._open.get(number)
        if attempt is not None:
            attempt.cancel(code)

    def grant(self, number: int, bytes_: int) -> None:
        attempt = self._open.get(number)
        if attempt is not None and attempt.id is not None:
            attempt.slot.provider.link.grant(attempt.id, bytes_)

    def close_link(self, frame: CloseLink) -> None:
        provider = self._local(ProviderId(frame.provider_id), frame.connected_ms)
        if provider is not None:
            provider.link.close(frame.code)

    def lose(self) -> None:
        """The other worker is gone: stop its attempts; their slots come free when the providers say so."""
        for attempt in list(self._open.values()):
            attempt.cancel(WireCode.CANCELLED)

    def tick(self) -> None:
        """Take back the slots that nobody has freed in time."""
        now_s = self._clock.monotonic_s()
        for number, attempt in list(self._open.items()):
            if attempt.ends_s <= now_s:
                attempt.cancel(WireCode.TIMED_OUT)
                self.forget(number)
                self.peer.send(Finished(number))  # the slot alone: the provider's link is not at fault

    # What attempts say.

    def hurry(self, attempt: HostedAttempt) -> None:
        """The attempt has ended but for its slot."""
        attempt.ends_s = min(attempt.ends_s, self._clock.monotonic_s() + self._limits.linger_s)

    def forget(self, number: int) -> None:
        """Count an attempt out and free its slot; again is without effect."""
        attempt = self._open.pop(number, None)
        if attempt is None:
            return
        self._share_of(attempt.slot, Share.closed)
        attempt.slot.release()

    # Inside.

    def _local(self, provider_id: ProviderId, connected_ms: int) -> LiveProvider | None:
        """Return a provider of this worker if it is still on the link that the peer means."""
        provider = self.fleet.get(provider_id)
        if provider is None or provider.is_elsewhere or provider.connected_ms != connected_ms:
            return None
        return provider

    def _has_room(self, provider: LiveProvider, request: RouteRequest) -> bool:
        candidate = self.fleet.view(request.model).index.get(provider.provider_id)
        return candidate is not None and has_room(candidate, request)

    def _share_of(self, slot: Slot, count: Callable[..., None]) -> None:
        provider_id = slot.provider.provider_id
        share = self._shares[provider_id]
        count(share, slot.model, tokens=slot.tokens, output=slot.output)
        if not share.total:
            del self._shares[provider_id]


def _asked(envelope: bytes) -> RouteRequest:
    """Return what an envelope's clear header asks of a provider; raises `SealingError`."""
    header = parse_envelope(envelope).header
    return RouteRequest(
        model=ModelId(header.model),
        prompt_tokens_max=header.max_prompt_tokens,
        output_tokens_max=header.max_output_tokens,
    )


def _wire_code(error: SealingError) -> WireCode:
    return WireCode.BAD_HEADER if error.error_code == "bad_header" else WireCode.BAD_ENVELOPE
