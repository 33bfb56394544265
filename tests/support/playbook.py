"""Scripts for a link session: `>>` is what happens to it, `<<` what it must answer, nothing more and nothing less.

    book = Playbook(session)
    book >> Finished(attempt=1) << AttemptFinished(1)

What happens: a control frame of the peer, the bytes of a binary message, `Text` for text that is no frame, `At(seconds)`
for time, or a call. What is answered, in order: events, then sent control frames, then data records as
`Data(type, attempt, payload)`. A class stands for any instance of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hushnet.wire import frames as fr
from hushnet.wire.codec import (
    FROM_COORDINATOR,
    FROM_PROVIDER,
    decode_coordinator_frame,
    decode_provider_frame,
    encode_control,
    split_data,
)
from hushnet.wire.coordinator_session import CoordinatorSession
from hushnet.wire.provider_session import ProviderSession


@dataclass(frozen=True)
class At:
    """Time passes until `seconds`."""

    seconds: float


@dataclass(frozen=True)
class Text:
    """A text message that need not be a frame."""

    raw: bytes


@dataclass(frozen=True)
class Data:
    """One data record that was sent."""

    kind: int
    attempt: int
    payload: bytes


class Playbook:
    """Runs a script against one session."""

    def __init__(self, session: CoordinatorSession | ProviderSession) -> None:
        self.session = session
        self.now_s = 0.0
        self._answers: list[Any] = []
        self._gather()

    def __rshift__(self, happening: Any) -> Playbook:
        self.done()
        self._answers += self._apply(happening) or []
        self._gather()
        return self

    def __lshift__(self, expected: Any) -> Playbook:
        assert self._answers, f"nothing was answered where {expected!r} was due"
        answer = self._answers.pop(0)
        is_match = isinstance(answer, expected) if isinstance(expected, type) else answer == expected
        assert is_match, f"{answer!r} was answered where {expected!r} was due"
        return self

    def done(self) -> None:
        """Nothing else was answered."""
        assert not self._answers, f"also answered: {self._answers!r}"

    def _apply(self, happening: Any) -> list[Any] | None:
        session = self.session
        clock = (self.now_s,) if isinstance(session, CoordinatorSession) else ()
        match happening:
            case At():
                self.now_s = happening.seconds
                return session.tick(self.now_s)  # type: ignore[return-value]
            case Text():
                return session.receive_text(happening.raw, *clock)  # type: ignore[return-value]
            case fr.Frame():
                return session.receive_text(encode_control(happening), *clock)  # type: ignore[arg-type,return-value]
            case bytes():
                return session.receive_binary(happening, *clock)  # type: ignore[return-value]
            case _:
                return self._call(happening)

    @staticmethod
    def _call(command: Callable[[], Any]) -> list[Any] | None:
        result = command()
        return result if isinstance(result, list) else None

    def _gather(self) -> None:
        is_coordinator = isinstance(self.session, CoordinatorSession)
        decode = decode_coordinator_frame if is_coordinator else decode_provider_frame
        types = FROM_COORDINATOR if is_coordinator else FROM_PROVIDER
        lanes = self.session.lanes
        while (raw := lanes.next_control()) is not None:
            self._answers.append(decode(raw))
        while (message := lanes.next_message()) is not None:
            self._answers += [Data(*each) for each in split_data(message, types)]
            while (raw := lanes.next_control()) is not None:
                self._answers.append(decode(raw))
