"""A provider's serving on a bench: real keys and real sealing, a consumer that opens, a writer that grants credit."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from hushnet.foundation.clock import Clock, SystemClock
from hushnet.foundation.errors import LocalProtocolError
from hushnet.foundation.ids import AttemptId, ModelId
from hushnet.identity.keys import IdentityKey
from hushnet.provider.attempt import AttemptReport, ServingLimits
from hushnet.provider.engines.base import Engine, ModelSpec
from hushnet.provider.generation import Slots
from hushnet.provider.serving import Serving
from hushnet.provider.supervision import LoadedModel
from hushnet.sealing.envelope import RequestFields, SealedRequest, seal_request
from hushnet.sealing.errors import WireCode
from hushnet.sealing.keyring import Keyring
from hushnet.sealing.opening import FrameOpener, OpenedFrame
from hushnet.sealing.records import Kind, Record, parse_record
from hushnet.sealing.statements import SerialMemory, verify_statement
from hushnet.wire.errors import LinkLost

NETWORK = "hushnet-local"
MODEL = ModelId("tiny")


@dataclass
class RecordingWriter:
    """The coordinator's end of one attempt: keeps records, grants credit, and watches the rules of the link."""

    credit: int = 1 << 30
    records: list[Record] = field(default_factory=list)
    refusals: list[WireCode] = field(default_factory=list)
    is_finished: bool = False
    is_lost: bool = False
    is_cancelled: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)
    breaches: list[str] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    held_back: asyncio.Event = field(default_factory=asyncio.Event)
    _granted: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, record: bytes) -> None:
        if self.is_lost:
            return
        if self.is_finished or self.refusals or (self.records and self.records[-1].is_final):
            self._breach("a record after the end")
        self.records.append(parse_record(record))
        self.credit -= len(record)
        self.arrived.set()

    async def ready(self) -> None:
        while self.credit <= 0 and not self.is_cancelled:
            if self.is_lost:
                raise LinkLost("the link is gone")
            self._granted.clear()
            self.held_back.set()
            await self._granted.wait()

    def refuse(self, code: int) -> None:
        if self.is_lost:
            return
        if self.is_finished or self.records or self.refusals:
            self._breach("a refusal after something else")
        self.refusals.append(WireCode(code))
        self.over.set()

    def finish(self) -> None:
        if self.is_lost:
            return
        if self.refusals or not self.records or not self.records[-1].is_final:
            self._breach("finished without a terminal record")
        self.is_finished = True
        self.over.set()

    def _breach(self, what: str) -> None:
        self.breaches.append(what)
        raise LocalProtocolError(what)

    def grant(self, more: int) -> None:
        self.credit += more
        self._granted.set()

    def lose(self) -> None:
        self.is_lost = True
        self._granted.set()

    @property
    def kinds(self) -> list[Kind]:
        return [record.kind for record in self.records]

    async def have(self, kind: Kind, count: int = 1) -> None:
        """Wait until so many records of a kind have arrived."""
        while self.kinds.count(kind) < count:
            self.arrived.clear()
            await asyncio.wait_for(self.arrived.wait(), 60)


@dataclass
class Host:
    """Who has the engine, without supervision."""

    loaded: LoadedModel | None
    suspicions: list[bool] = field(default_factory=list)

    @property
    def slots(self) -> int:
        return 0 if self.loaded is None else self.loaded.slots.total

    @property
    def sole(self) -> LoadedModel | None:
        return self.loaded

    def serves(self, loaded: LoadedModel) -> bool:
        return loaded is self.loaded

    async def obtain(self, model_id: ModelId) -> LoadedModel | None:
        raise AssertionError(f"an attempt is bound to the only model, not to {model_id}")

    def suspect(self, loaded: LoadedModel | None, *, is_stuck: bool = False) -> None:
        del loaded
        self.suspicions.append(is_stuck)

    def load_requested(self, model_id: ModelId) -> None:
        self.suspicions.append(False)

    def unload_requested(self, model_id: ModelId) -> None: ...


class Bench:
    """A serving with one engine, and the consumer on the other side."""

    def __init__(
        self,
        engine: Engine,
        loaded: LoadedModel,
        *,
        limits: ServingLimits | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.identity = IdentityKey.generate()
        self.keyring = Keyring(self.identity, network=NETWORK)
        self.statement = self.keyring.rotate(self.now)
        self.engine = engine
        self.host = Host(loaded)
        self.reports: list[AttemptReport] = []
        self.writers: list[RecordingWriter] = []
        self.serving = Serving(
            provider_id=self.identity.id_bytes,
            keyring=self.keyring,
            engines=self.host,
            clock=self.clock,
            limits=limits,
            on_ended=self.reports.append,
        )
        self._next = 1

    @classmethod
    async def open(cls, engine: Engine, spec: ModelSpec | None = None, *, limits: ServingLimits | None = None) -> Bench:
        """Load `engine` and put it on the bench."""
        spec = spec or ModelSpec(model=MODEL)
        capabilities = await engine.load(spec)
        return cls(engine, LoadedModel(spec, engine, capabilities, Slots(capabilities.slots)), limits=limits)

    @property
    def now(self) -> int:
        return self.clock.now_ms() // 1000

    def seal(self, data: bytes | None = None, *, meta: dict[str, Any] | None = None, **fields: Any) -> SealedRequest:
        """Seal a request to this provider; `fields` change the header, `data` the body."""
        verified = verify_statement(
            self.statement, network=NETWORK, now=self.now, provider_id=None, serials=SerialMemory()
        )
        header = RequestFields(**({
            "endpoint": "/v1/chat/completions", "model": str(MODEL), "stream": True,
            "max_output_tokens": 64, "max_prompt_tokens": 256,
        } | fields))  # fmt: skip
        return seal_request(
            header,
            meta=meta or {},
            data=data if data is not None else body(model=header.model, stream=header.stream),
            recipients=[verified.recipient()],
            now=self.now,
        )

    def send(
        self, sealed: SealedRequest | bytes, *, deadline_ms: int = 20_000, credit: int = 1 << 30
    ) -> tuple[AttemptId, RecordingWriter]:
        """Let one attempt arrive."""
        number = AttemptId(self._next)
        self._next += 1
        writer = RecordingWriter(credit=credit)
        self.writers.append(writer)
        raw = sealed if isinstance(sealed, bytes) else sealed.raw
        self.serving.attempt_arrived(number, raw, deadline_ms, writer)
        return number, writer

    async def exchange(self, sealed: SealedRequest | bytes, **how: Any) -> RecordingWriter:
        """Let one attempt arrive and wait for its end."""
        _, writer = self.send(sealed, **how)
        await asyncio.wait_for(writer.over.wait(), 60)
        return writer

    async def queued(self, count: int) -> None:
        """Wait until so many attempts wait for a slot."""
        async with asyncio.timeout(60):
            while self.host.loaded is not None and self.host.loaded.slots.waiting < count:  # noqa: ASYNC110 - a number
                await asyncio.sleep(0)

    def cancel(self, number: AttemptId, writer: RecordingWriter) -> None:
        """Cancel as the link does: the writer no longer holds anybody back."""
        writer.is_cancelled = True
        writer.grant(1 << 20)
        self.serving.attempt_cancelled(number, WireCode.CANCELLED)

    async def aclose(self) -> None:
        """Close, and check what holds for every attempt: one end, no rule of the link broken."""
        await self.serving.aclose()
        await self.engine.unload()
        assert [breach for writer in self.writers for breach in writer.breaches] == []
        assert all(writer.over.is_set() or writer.is_lost for writer in self.writers)
        assert len(self.reports) == len(self.writers)


def body(*, model: str = MODEL, text: str = "What is Hushnet?", **members: Any) -> bytes:
    """Write a chat request's body."""
    request = {"model": model, "messages": [{"role": "user", "content": text}]} | members
    return json.dumps(request).encode()


def opened(sealed: SealedRequest, writer: RecordingWriter) -> list[OpenedFrame]:
    """Open every record as the consumer does: every check of the sealing protocol, receipt included."""
    opener = FrameOpener(sealed)
    frames = [frame for record in writer.records if (frame := opener.open(record.raw)) is not None]
    opener.finish()
    return frames


def answer_bytes(frames: list[OpenedFrame]) -> bytes:
    """Return the HTTP response body that the frames carry."""
    return b"".join(frame.data for frame in frames if frame.kind in (Kind.BOILERPLATE, Kind.CONTENT))


def events_of(stream: bytes) -> list[Any]:
    """Parse server-sent events; the last one is the string `[DONE]`."""
    lines = [line.removeprefix(b"data: ") for line in stream.split(b"\n\n") if line]
    return [line.decode() if line == b"[DONE]" else json.loads(line) for line in lines]


def text_of(stream: bytes) -> str:
    """Return the text that a stream says."""
    return "".join(
        choice["delta"].get("content") or ""
        for event in events_of(stream)
        if isinstance(event, dict)
        for choice in event["choices"]
    )


def error_code(writer: RecordingWriter) -> WireCode:
    """Return the wire code of the clear meter in the terminal error record."""
    record = writer.records[-1]
    assert record.kind is Kind.ERROR
    return WireCode(int.from_bytes(record.clear[16:18], "big"))


async def settled(bench: Bench) -> None:
    """Wait until nothing runs, and check that every slot is free."""
    await asyncio.wait_for(bench.serving.idle(), 60)
    assert bench.host.loaded is not None
    assert bench.host.loaded.slots.active == bench.host.loaded.slots.waiting == 0


async def held_back_after(writer: RecordingWriter, kind: Kind) -> None:
    """Grant one record at a time until the attempt waits for credit right after a record of that kind."""
    await asyncio.wait_for(writer.held_back.wait(), 60)
    while writer.kinds[-1] is not kind:
        writer.held_back.clear()
        writer.grant(1 - writer.credit)
        await asyncio.wait_for(writer.held_back.wait(), 60)
