"""A whole provider on a real listener: real link, real sealing, the engine of the test's choice, a scripted gate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hushnet.coordinator.fleet.link import ProviderLink
from hushnet.foundation.ids import AttemptId
from hushnet.foundation.redaction import Secret
from hushnet.identity.keys import IdentityKey
from hushnet.provider import notices
from hushnet.provider.daemon import Provider
from hushnet.provider.engines.base import Engine, ModelSpec
from hushnet.provider.link.locate import Place
from hushnet.provider.settings import ProviderSettings
from hushnet.provider.supervision import SupervisionLimits
from hushnet.sealing.envelope import RequestFields, SealedRequest, seal_request
from hushnet.sealing.opening import FrameOpener, OpenedFrame
from hushnet.sealing.statements import SerialMemory, Statement, VerifiedStatement, verify_statement
from hushnet.wire.frames import StatementDocument
from hushnet.wire.limits import LinkLimits
from support.links import NETWORK, QUICK, TOKEN, Chronicle, ScriptedGate, ScriptedSink, listening
from support.provider_bench import MODEL, body
from support.scripted_engine import ScriptedEngine

FAST = SupervisionLimits(
    health_interval_s=0.02, health_answer_s_max=0.5, unload_s_max=0.5, backoff_s_min=0.001, backoff_s_max=0.01
)


class Running:
    """A provider that runs, the coordinator's end of its link, and what it told its owner."""

    provider: Provider

    def __init__(self, identity: IdentityKey, gate: ScriptedGate) -> None:
        self.identity = identity
        self.gate = gate
        self.told = Chronicle()
        self.task: asyncio.Task[None] | None = None
        self.serials = SerialMemory()

    def start(self) -> None:
        self.task = asyncio.create_task(self.provider.run())

    def hear(self, notice: notices.Notice) -> None:
        self.told.note(type(notice).__name__, notice)

    async def link(self, *, times: int = 1) -> ProviderLink:
        """Wait until the provider is registered, for the `times`-th time."""
        link = await asyncio.wait_for(self.gate.link(times=times), 60)
        await asyncio.wait_for(self.told.saw("Registered", times=times), 60)
        return link

    def verified(self, document: StatementDocument | None = None) -> VerifiedStatement:
        """Verify a statement as the coordinator does; the registered one when none is given."""
        document = document or self.gate.all("asked")[-1][1].statement
        return verify_statement(
            Statement.from_json_object(document.to_json_object()),
            network=NETWORK,
            now=self.now,
            provider_id=self.identity.id_bytes,
            serials=self.serials,
        )

    @property
    def now(self) -> int:
        return self.provider.serving.clock.now_ms() // 1000

    def seal(
        self, data: bytes | None = None, *, document: StatementDocument | None = None, **fields: Any
    ) -> SealedRequest:
        """Seal a request to this provider."""
        header = RequestFields(**({
            "endpoint": "/v1/chat/completions", "model": str(MODEL), "stream": True,
            "max_output_tokens": 64, "max_prompt_tokens": 256,
        } | fields))  # fmt: skip
        return seal_request(
            header,
            meta={},
            data=data if data is not None else body(model=header.model, stream=header.stream),
            recipients=[self.verified(document).recipient()],
            now=self.now,
        )

    def dispatch(
        self, link: ProviderLink, sealed: SealedRequest, *, credit: int = 1 << 20
    ) -> tuple[AttemptId, ScriptedSink]:
        """Send one attempt down the link."""
        sink = ScriptedSink()
        return link.dispatch(sealed.raw, deadline_ms=20_000, credit_bytes=credit, sink=sink), sink

    async def stopped(self) -> None:
        """Stop the provider and wait until it has drained."""
        self.provider.stop()
        assert self.task is not None
        await asyncio.wait_for(self.task, 60)


def opened(sealed: SealedRequest, sink: ScriptedSink) -> list[OpenedFrame]:
    """Open every record as the consumer does."""
    opener = FrameOpener(sealed)
    frames = [frame for record in sink.records if (frame := opener.open(record.raw)) is not None]
    opener.finish()
    return frames


@asynccontextmanager
async def running(
    home: Path,
    *,
    make_engine: Callable[[], Engine] = ScriptedEngine,
    spec: ModelSpec | None = None,
    specs: Sequence[ModelSpec] = (),
    engine_of: Callable[[ModelSpec], Engine] | None = None,
    limits: LinkLimits = QUICK,
    token: str = TOKEN,
    network: str = NETWORK,
    url: str | None = None,
    **settings: Any,
) -> AsyncIterator[Running]:
    """Run a provider against a listener of its own; at the end it is stopped, twice if need be."""
    gate = ScriptedGate()
    async with listening(gate, limits=limits) as (_, link_url):
        agent = Running(IdentityKey.generate(), gate)
        provider = agent.provider = Provider(
            ProviderSettings(home=home, token=Secret(token), **settings),
            identity=agent.identity,
            specs=specs or [spec or ModelSpec(model=MODEL, engine="scripted")],
            place=Place(url or link_url, network),
            make_engine=engine_of or (lambda _: make_engine()),
            notify=agent.hear,
            link_limits=replace(limits),
            supervision=FAST,
        )
        agent.start()
        try:
            yield agent
        finally:
            provider.stop()
            provider.stop()
            assert agent.task is not None
            await asyncio.wait((agent.task,), timeout=60)
            if agent.task.done() and not agent.task.cancelled():
                agent.task.exception()
