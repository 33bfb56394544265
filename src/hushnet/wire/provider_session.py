"""The provider's end of one link, without I/O: bytes and commands in, events and queued frames out.

Shape and rules as in `coordinator_session`, with one difference: a provider has one coordinator, so whatever that breaks
ends the link, and the shell dials again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from hushnet.foundation.errors import LocalProtocolError, RemoteProtocolError
from hushnet.foundation.ids import ModelId
from hushnet.foundation.redaction import Secret
from hushnet.wire import events as ev
from hushnet.wire import frames as fr
from hushnet.wire.codec import FROM_COORDINATOR, decode_coordinator_frame, encode_checked, encode_control, split_data
from hushnet.wire.errors import LinkFault
from hushnet.wire.lanes import Lanes
from hushnet.wire.limits import LINK_VERSIONS, LinkLimits
from hushnet.wire.provider_attempts import ProviderAttempts
from hushnet.wire.transitions import PROVIDER_LINK, LinkState

Events: TypeAlias = list[ev.ProviderEvent]


class ProviderSession:
    """One link as the provider sees it, from the dial to the end. Answers of attempts go through `attempts`."""

    def __init__(self, *, limits: LinkLimits, now_s: float, versions: Sequence[int] = LINK_VERSIONS) -> None:
        self.state = LinkState.DIALLED
        self.lanes = Lanes()
        self.attempts = ProviderAttempts(self.lanes, limits)
        self.version = 0
        self.deadline_s: float | None = now_s + limits.register_s
        """When `tick` has something to do next, None when nothing is due."""
        self._limits = limits
        self._versions = tuple(versions)

    def __repr__(self) -> str:
        return f"<ProviderSession {self.state} {len(self.attempts)} attempts, {self.lanes!r}>"

    @property
    def is_closed(self) -> bool:
        return self.state is LinkState.CLOSED

    @property
    def is_registered(self) -> bool:
        return self.state is LinkState.SERVING or self.state is LinkState.DRAINING

    @property
    def is_congested(self) -> bool:
        """Whether so much waits for the socket that writers have to wait too."""
        return self.lanes.data_bytes >= self._limits.data_high_bytes

    @property
    def is_quiet(self) -> bool:
        """Whether the link drains and owes its coordinator nothing more."""
        is_empty = not len(self.attempts) and not self.lanes.has_data and not self.lanes.control_bytes
        return self.state is LinkState.DRAINING and is_empty

    # What arrives.

    def receive_text(self, raw: bytes) -> Events:
        """Take one text message."""
        if self.is_closed:
            return []
        try:
            frame = decode_coordinator_frame(raw)
            return [] if frame is None else self._take(frame)
        except RemoteProtocolError as error:
            return self._end(LinkFault(error.error_code))

    def receive_binary(self, raw: bytes) -> Events:
        """Take one binary message: parts of envelopes."""
        if self.is_closed:
            return []
        if (self.state, "<- envelope") not in PROVIDER_LINK:
            return self._end(LinkFault.FRAME_OUT_OF_STATE)
        events: Events = []
        try:
            for piece in split_data(raw, FROM_COORDINATOR):
                arrived = self.attempts.take_part(piece)
                if arrived is not None:
                    events.append(arrived)
        except RemoteProtocolError as error:
            events += self._end(LinkFault(error.error_code))
        return events

    def receive_foul(self, fault: LinkFault) -> Events:
        """Take something that is no message of this protocol at all, as the shell found it."""
        return [] if self.is_closed else self._end(fault)

    def tick(self, now_s: float) -> Events:
        """Let time pass; acts only at `deadline_s` or later."""
        if self.is_closed or self.deadline_s is None or now_s < self.deadline_s:
            return []
        return self._end(LinkFault.REGISTER_LATE)

    def lose(self) -> Events:
        """The connection is gone."""
        if self.is_closed:
            return []
        return self._end(LinkFault.CONNECTION_LOST, is_fault_of_peer=False, has_bye=False)

    # Commands.

    def register(
        self,
        *,
        token: Secret,
        agent_version: str,
        statement: fr.StatementDocument,
        models: Sequence[fr.ModelOffer],
        capacity: fr.Capacity,
        challenge_signature: bytes,
        region: str = "",
    ) -> None:
        """Answer the hello; raises `LocalProtocolError` when a value breaks a bound of its frame."""
        self._send_checked(
            "-> register",
            fr.Register(
                version=self.version,
                versions=self._versions,
                token=token,
                agent_version=agent_version,
                statement=statement,
                models=tuple(models),
                capacity=capacity,
                challenge_signature=challenge_signature,
                region=region,
            ),
        )

    def report(self, capacity: fr.Capacity) -> None:
        """Send a heartbeat."""
        self._send_checked("-> heartbeat", fr.Heartbeat(capacity=capacity))

    def reply(self, nonce: bytes, signature: bytes) -> None:
        """Answer a challenge."""
        self._send_checked("-> challenge_reply", fr.ChallengeReply(nonce=nonce, signature=signature))

    def replace_statement(self, statement: fr.StatementDocument) -> None:
        """Announce a statement of new keys."""
        self._send_checked("-> statement", fr.StatementUpdate(statement=statement))

    def replace_models(self, models: Sequence[fr.ModelOffer]) -> None:
        """Announce another list of models."""
        self._send_checked("-> models", fr.Models(models=tuple(models)))

    def refuse_load(self, model: ModelId, code: str) -> None:
        """Say that a model which was asked for is not being loaded."""
        self._send_checked("-> load_failed", fr.LoadFailed(model=model, code=code))

    def start_draining(self) -> None:
        """Ask for no more attempts."""
        self._send_checked("-> draining", fr.Draining())

    def close(self, code: str) -> Events:
        """End the link from this side."""
        return [] if self.is_closed else self._end(code, is_fault_of_peer=False)

    # Inside.

    def _take(self, frame: fr.CoordinatorFrame) -> Events:
        if isinstance(frame, fr.Bye):
            return self._end(frame.code, is_fault_of_peer=False, has_bye=False)
        after = PROVIDER_LINK.get((self.state, f"<- {frame.__struct_config__.tag}"))
        if after is None:
            return self._end(LinkFault.FRAME_OUT_OF_STATE)
        if isinstance(frame, fr.Rejected):
            ended = self._end(LinkFault.REJECTED, is_fault_of_peer=False, has_bye=False)
            return [ev.RegistrationRejected(frame.code, frame.hint), *ended]
        self.state = after
        match frame:
            case fr.Attempt() | fr.Cancel() | fr.Credit():
                return self._take_about_attempt(frame)
            case fr.Hello():
                return self._take_hello(frame)
            case _:
                return [self._reported(frame)]

    def _take_hello(self, frame: fr.Hello) -> Events:
        self.version = max(set(frame.versions) & set(self._versions), default=0)
        return [ev.HelloArrived(frame)] if self.version else self._end(LinkFault.UNSUPPORTED_VERSION)

    def _take_about_attempt(self, frame: fr.Attempt | fr.Cancel | fr.Credit) -> Events:
        match frame:
            case fr.Attempt():
                self.attempts.begin(frame, is_draining=self.state is LinkState.DRAINING)
                return []
            case fr.Cancel():
                has_to_stop = self.attempts.cancel(frame.attempt)
                return [ev.AttemptCancelled(frame.attempt, frame.code)] if has_to_stop else []
            case fr.Credit():
                return [ev.CreditArrived(frame.attempt)] if self.attempts.credit(frame.attempt, frame.bytes) else []

    def _reported(self, frame: fr.CoordinatorFrame) -> ev.ProviderEvent:
        event: ev.ProviderEvent
        match frame:
            case fr.Registered():
                self.deadline_s = None
                event = ev.RegistrationAccepted(frame.provider_id, frame.heartbeat_s)
            case fr.Challenge():
                event = ev.ChallengeArrived(frame.nonce)
            case fr.LoadModel():
                event = ev.LoadModelAsked(frame.model)
            case fr.UnloadModel():
                event = ev.UnloadModelAsked(frame.model)
            case fr.Fault():
                event = ev.FaultReported(frame.code, frame.attempt)
            case fr.Drain():
                event = ev.DrainAsked(frame.reason)
            case _:
                raise LocalProtocolError(f"no rule for {type(frame).__name__}")
        return event

    def _send_checked(self, trigger: str, frame: fr.ProviderFrame) -> None:
        after = PROVIDER_LINK.get((self.state, trigger))
        if after is None:
            raise LocalProtocolError(f"a {self.state} link does not do {trigger!r}")
        self.lanes.push_control(encode_checked(frame))
        self.state = after

    def _end(self, code: str, *, is_fault_of_peer: bool = True, has_bye: bool = True) -> Events:
        self.state = PROVIDER_LINK[self.state, "end"]
        self.attempts.clear()
        self.lanes.clear_data()
        if has_bye:
            self.lanes.push_control(encode_control(fr.Bye(code=code)))
        return [ev.LinkEnded(str(code), is_fault_of_peer)]
