"""What hostile and broken providers do, put between the honest parts of one: at its writers, its words and its link."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace
from picows import WSMsgType

from hushnet.foundation.errors import LocalProtocolError
from hushnet.foundation.ids import AttemptId, ModelId
from hushnet.provider.agent import Agent
from hushnet.provider.link import AttemptHandler, AttemptWriter
from hushnet.sealing.errors import WireCode
from hushnet.sealing.statements import Statement
from hushnet.wire.frames import Capacity, ModelCapacity, ModelOffer
from simulation.chance import often
from simulation.network import Message

if TYPE_CHECKING:
    from simulation.watching import Watch


class Trick(Enum):
    """What a provider does to one attempt."""

    REFUSE = "refuse"
    """Refuse it, with any code at all."""
    SILENCE = "silence"
    """Never say anything of it again."""
    LATE = "late"
    """Say everything, seconds late."""
    NEVER_FINISHED = "never finished"
    """Answer, and never say that the slot is free."""
    CUT_SHORT = "cut short"
    """Free the slot in the middle of the answer."""
    SPOIL = "spoil"
    """Change a bit of a record."""
    REPEAT = "repeat"
    """Send a record twice."""
    SKIP = "skip"
    """Leave a record out."""


TRICKS: Final = tuple(Trick)
_CODES: Final = tuple(WireCode)


@dataclass
class Character:
    """How a provider behaves; a scenario changes it while it runs. Shares are of its attempts, or of its messages."""

    tricks: float = 0.0
    kinds: Sequence[Trick] = TRICKS
    lies: bool = False
    """It reports capacity that it does not have, as far as a frame can say it."""
    forges: bool = False
    """It answers challenges with signatures that are none."""
    ignores_challenges: bool = False
    mute_heartbeats: float = 0.0
    babble: float = 0.0
    """Messages replaced by what no provider may say."""

    @property
    def is_honest(self) -> bool:
        return not (self.tricks or self.lies or self.forges or self.babble)


class TrickyWriter:
    """The `AttemptWriter` of an attempt that something is done to."""

    def __init__(self, writer: AttemptWriter, trick: Trick, chance: Random) -> None:
        self._writer = writer
        self._trick = trick
        self._chance = chance
        self._records = 0
        self._at = chance.randrange(6)
        self._delay_s = chance.uniform(0.5, 12.0)
        self._loop = asyncio.get_running_loop()

    def write(self, record: bytes) -> None:
        self._records += 1
        is_now = self._records - 1 == self._at
        match self._trick:
            case Trick.SILENCE:
                return
            case Trick.LATE:
                self._loop.call_later(self._delay_s, self._suppressed, self._writer.write, record)
                return
            case Trick.SKIP if is_now:
                return
            case Trick.SPOIL if is_now:
                place = self._chance.randrange(len(record))
                record = record[:place] + bytes([record[place] ^ 1 << self._chance.randrange(8)]) + record[place + 1 :]
            case Trick.REPEAT if is_now:
                self._suppressed(self._writer.write, record)
            case Trick.CUT_SHORT if is_now:
                self._suppressed(self._writer.finish)
                return
        self._suppressed(self._writer.write, record)

    async def ready(self) -> None:
        await self._writer.ready()

    def refuse(self, code: int) -> None:
        if self._trick is Trick.LATE:
            self._loop.call_later(self._delay_s, self._suppressed, self._writer.refuse, code)
        elif self._trick is not Trick.SILENCE:
            self._suppressed(self._writer.refuse, code)

    def finish(self) -> None:
        if self._trick is Trick.LATE:
            self._loop.call_later(self._delay_s, self._suppressed, self._writer.finish)
        elif self._trick not in (Trick.SILENCE, Trick.NEVER_FINISHED):
            self._suppressed(self._writer.finish)

    @staticmethod
    def _suppressed(what: Callable[..., None], *args: object) -> None:
        """The honest session below refuses what would break its own order; the trick has had its effect by then."""
        with contextlib.suppress(LocalProtocolError):
            what(*args)


class TrickyHandler:
    """The link's `AttemptHandler`: the real one, with a trick played on some attempts."""

    def __init__(self, handler: AttemptHandler, character: Character, chance: Random, watch: Watch) -> None:
        self._handler = handler
        self._character = character
        self._chance = chance
        self._watch = watch

    def attempt_arrived(self, attempt: AttemptId, envelope: bytes, deadline_ms: int, writer: AttemptWriter) -> None:
        if not often(self._chance, self._character.tricks):
            self._handler.attempt_arrived(attempt, envelope, deadline_ms, writer)
            return
        trick = self._chance.choice(self._character.kinds)
        self._watch.tricked(envelope, trick.value)
        if trick is Trick.REFUSE:
            writer.refuse(self._chance.choice(_CODES))
            return
        self._handler.attempt_arrived(attempt, envelope, deadline_ms, TrickyWriter(writer, trick, self._chance))

    def __getattr__(self, name: str) -> Any:
        """Pass on whatever else a handler hears."""
        return getattr(self._handler, name)

    def attempt_cancelled(self, attempt: AttemptId, code: int) -> None:
        self._handler.attempt_cancelled(attempt, code)

    def link_lost(self) -> None:
        self._handler.link_lost()

    def load_model_requested(self, model: ModelId) -> None:
        self._handler.load_model_requested(model)

    def drain_requested(self) -> None:
        self._handler.drain_requested()


@dataclass
class TrickyAgent:
    """The link's `AgentDescription`: the real one, with lies where its character has them."""

    agent: Agent
    character: Character
    chance: Random
    is_admitted: Callable[[], bool]
    agent_version: str = field(init=False)

    def __post_init__(self) -> None:
        self.agent_version = self.agent.agent_version
        self.statement_changed = self.agent.statement_changed

    def __getattr__(self, name: str) -> Any:
        """Tell whatever else an agent tells of itself as it is."""
        return getattr(self.agent, name)

    def network(self) -> str:
        return self.agent.network()

    def region(self) -> str:
        return self.agent.region()

    def statement(self) -> Statement:
        return self.agent.statement()

    def models(self) -> Sequence[ModelOffer]:
        return self.agent.models()

    def capacity(self) -> Capacity:
        honest = replace(
            self.agent.capacity(),  # what the machine that simulates is doing must not decide
            memory_bytes_free=2**33,
            memory_bytes_total=2**34,
            load=0.0,
        )
        return _lie(honest, self.chance) if self.character.lies else honest

    def sign(self, message: bytes) -> bytes:
        signature = self.agent.sign(message)
        if self.character.forges and self.is_admitted():
            return bytes(64)
        return signature


def _lie(honest: Capacity, chance: Random) -> Capacity:
    """Say anything that a frame can carry."""
    count, tokens = 2**20, 2**40
    per_model = tuple(
        ModelCapacity(
            model=part.model,
            slots=chance.choice((0, 1, count)),
            active=chance.choice((0, count)),
            queued=chance.choice((0, count)),
            decode_tokens_s=chance.choice((0.0, 1e-9, 1e7)),
            prefill_tokens_s=chance.choice((0.0, 1e-9, 1e7)),
        )
        for part in honest.per_model
    )
    return Capacity(
        slots=chance.choice((0, 1, 5, count)),
        active=chance.choice((0, 1, count)),
        queued=chance.choice((0, 0, count)),
        tokens_active=chance.choice((0, tokens)),
        tokens_queued=chance.choice((0, 0, tokens)),
        tokens_max=chance.choice((0, 0, 1, tokens)),
        decode_tokens_s=chance.choice((0.0, 1e-9, 1e7)),
        prefill_tokens_s=chance.choice((0.0, 1e-9, 1e7)),
        memory_bytes_free=chance.choice((0, 2**60)),
        memory_bytes_total=chance.choice((0, 2**60)),
        load=chance.choice((0.0, 1000.0)),
        cpu=chance.choice((0.0, 1.0)),
        gpu_memory_bytes_used=chance.choice((0, 2**60)),
        gpu_memory_bytes_total=chance.choice((0, 2**60)),
        thermal=chance.choice(("", "nominal", "critical")),
        per_model=chance.choice((per_model, ())),
    )


_NONSENSE: Final[tuple[bytes, ...]] = (
    b'{"type":"heartbeat","capacity":{"slots":-1,"active":0}}',
    b'{"type":"heartbeat","capacity":{"slots":1,"active":0,"load":1e999}}',
    b'{"type":"heartbeat","capacity":{"slots":NaN,"active":0}}',
    b'{"type":"finished","attempt":77}',
    b'{"type":"refused","attempt":1,"code":205}',
    b'{"type":"nonsense","optional":true}',
    b'{"type":"nonsense"}',
    b'{"type":"register"}',
    b"not JSON at all",
    b"",
)


def mangler(character: Character, chance: Random) -> Callable[[WSMsgType, bytes], list[Message]]:
    """Return what this character does to the messages that leave its machine."""

    def mangle(kind: WSMsgType, payload: bytes) -> list[Message]:
        message = (kind, payload)
        if kind == WSMsgType.TEXT:
            word = _type_of(payload)
            if word == "challenge_reply" and character.ignores_challenges:
                return []
            if word == "heartbeat" and often(chance, character.mute_heartbeats):
                return []
        if word_is_safe(kind, payload) or not often(chance, character.babble):
            return [message]
        return _babble(message, chance)

    return mangle


def word_is_safe(kind: WSMsgType, payload: bytes) -> bool:
    """A registration is left alone: a provider that never gets in tries nothing."""
    return kind == WSMsgType.TEXT and _type_of(payload) == "register"


def _babble(message: Message, chance: Random) -> list[Message]:
    kind, payload = message
    nonsense: Message = (WSMsgType.TEXT, chance.choice(_NONSENSE))
    match chance.randrange(4):
        case 0:
            return [message, message]
        case 1:
            return [nonsense, message]
        case 2 if kind == WSMsgType.BINARY:
            return [(kind, payload[: chance.randrange(len(payload) + 1)])]
        case _:
            return [nonsense]


def _type_of(payload: bytes) -> str:
    return str(msgspec.json.decode(payload).get("type"))
