"""Two attempts at once, in any order of what can happen to them: one answer, one finaliser, true books, no slot left."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hushnet.foundation.ids import RequestId
from hushnet.sealing.errors import SealingError, WireCode
from hushnet.sealing.opening import FrameOpener
from hushnet.sealing.streaming import BinaryRecordReader
from support.exchange import Exchange
from support.fleet import LIMITS, Network, ScriptedProvider, ServedAttempt, body_of, until
from support.races import HALF_S, passes
from support.scripted_provider import refuses

Step: TypeAlias = tuple[str, int]
"""What happens, and to which of the two."""


def _begin(attempt: ServedAttempt) -> None:
    if attempt.output == 0 and not attempt.sent_bytes:
        attempt.head()


def _content(attempt: ServedAttempt) -> None:
    _begin(attempt)
    attempt.say(f"[{attempt.provider.provider_id}]")
    attempt.usage()


def _end(attempt: ServedAttempt) -> None:
    _begin(attempt)
    attempt.end()


def _error(attempt: ServedAttempt) -> None:
    _begin(attempt)
    attempt.error(WireCode.ENGINE_FAILED)


def _own(attempt: ServedAttempt) -> None:
    _begin(attempt)
    attempt.error(WireCode.CONTEXT_TOO_LONG)


def _garbage(attempt: ServedAttempt) -> None:
    _begin(attempt)
    attempt.sealer.boilerplate(b"never sent")
    attempt.send(attempt.sealer.boilerplate(b"next"))


def _lose(attempt: ServedAttempt) -> None:
    attempt.provider.close("connection_lost")


STEPS = {
    "begin": _begin,
    "content": _content,
    "end": _end,
    "error": _error,
    "own": _own,
    "garbage": _garbage,
    "refuse": lambda attempt: attempt.refuse(WireCode.INTERNAL),
    "full": lambda attempt: attempt.refuse(WireCode.CAPACITY),
    "finish": lambda attempt: attempt.finish(),
    "lose": _lose,
}
OTHERS = ("pass", "pass", "hang up", "second", "late")
HISTORIES = st.lists(st.tuples(st.sampled_from([*STEPS, *OTHERS]), st.integers(0, 1)), max_size=8)


class Stage:
    """One coordinator on which every history is played with providers of its own."""

    def __init__(self, network: Network, key: str) -> None:
        self.network = network
        self.key = key
        self.closes: Counter[int] = Counter()
        close = network.ledger.close

        async def counted(wanted: Any) -> Any:
            self.closes[wanted.id] += 1
            return await close(wanted)

        network.ledger.close = counted  # type: ignore[method-assign]

    async def play(self, history: list[Step], *, mode: str, ignores_cancel: bool) -> None:
        """Play `history` on a request whose backup has just been sent, then end whatever is still open."""
        network = self.network
        providers = [await network.provider(decode_tokens_s=400.0 / (1 + number)) for number in range(2)]
        third = await network.provider(decode_tokens_s=1.0, part=refuses(WireCode.INTERNAL))
        for provider in providers:
            provider.ignores_cancel = ignores_cancel
        sealed = network.seal(*providers, third) if mode == "sealed" else None
        exchange = (
            network.send_sealed(sealed, key=self.key)
            if sealed is not None
            else network.chat(key=self.key, stream=mode == "stream")
        )
        attempts = [await providers[0].attempt()]
        (life,) = network.serving.service._lives
        network.advance(HALF_S)
        attempts.append(await providers[1].attempt())

        for step, which in history:
            await self._step(step, attempts[which], exchange)
            if step == "pass":
                await self._look(exchange, [*providers, third])
        await self._look(exchange, [*providers, third])
        await self._close_down(exchange, providers)

        assert life.state.value == "settled"
        assert self.closes.pop(life.id) == 1
        assert all(provider.load.open_total == 0 for provider in network.serving.fleet.providers())
        await self._check_answer(life.id, exchange, sealed, providers)
        for provider in (*providers, third):
            provider.close("played")

    async def _look(self, exchange: Exchange, providers: list[ScriptedProvider]) -> None:
        """Whatever has happened: never more than two are out, and nobody once the consumer has been answered."""
        await passes()
        served = [attempt for provider in providers for attempt in provider.served]
        out = [attempt for attempt in served if not attempt.is_over and attempt.cancelled is None]
        assert len(out) <= (0 if exchange.task.done() else 2)

    async def _step(self, step: str, attempt: ServedAttempt, exchange: Exchange) -> None:
        match step:
            case "pass":
                pass
            case "second":
                self.network.advance(1.0)
            case "late":
                self.network.advance(HALF_S)
            case "hang up":
                exchange.hang_up()
            case _ if not attempt.is_over and not attempt.provider.closed:
                with contextlib.suppress(SealingError):  # what an honest sealer does not say any more
                    STEPS[step](attempt)

    async def _close_down(self, exchange: Exchange, providers: list[ScriptedProvider]) -> None:
        """End what is open, like agents that shut down, until the request has settled and every slot is free."""

        def is_over() -> bool:
            for provider in providers:
                for attempt in list(provider.attempts_open.values()):
                    attempt.finish()
            if self.network.serving.service.waiting:
                exchange.hang_up()  # nobody would ever have room
            return exchange.task.done() and not self.network.serving.service.running

        await until(is_over)
        await exchange.finished()

    async def _check_answer(
        self, request_id: RequestId, exchange: Exchange, sealed: Any, providers: list[ScriptedProvider]
    ) -> None:
        """The consumer saw one provider's words and no other's, and that provider alone was paid."""
        record = await self.network.ledger.usage_record(request_id)
        assert record is not None
        usage, cost = record.usage, record.cost
        shown = exchange.body if sealed is None else _opened(sealed, exchange.body)
        seen = {provider.provider_id for provider in providers if f"[{provider.provider_id}]".encode() in shown}
        assert len(seen) <= 1
        if seen and usage.machine is not None:
            assert seen == {usage.machine}
        earned = [await self.network.earned(provider) for provider in providers]
        assert sum(earned) == cost
        assert all(
            amount == 0 or provider.provider_id == usage.machine
            for provider, amount in zip(providers, earned, strict=True)
        )
        assert (await self.network.ledger.balance(self.network.account_of(self.key))).held == 0


def _opened(sealed: Any, body: bytes) -> bytes:
    """Open as much of an answer as came."""
    opener, frames = FrameOpener(sealed), []
    if not body.startswith(b"{"):
        for raw in BinaryRecordReader().feed(body):
            try:
                frame = opener.open(raw)
            except SealingError:
                break  # the relay's own word on how it ended
            if frame is not None:
                frames.append(frame)
    return body_of(frames)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, Stage]]:
    path: Path = tmp_path_factory.mktemp("races") / "coordinator.db"
    limits = replace(LIMITS, linger_s_max=0.0, last_word_s_max=0.0)
    with asyncio.Runner() as runner:
        opened = Network.open(path, limits=limits)
        network = runner.run(opened.__aenter__())
        try:
            yield runner, Stage(network, runner.run(network.consumer(1_000_000_000)))
        finally:
            runner.run(opened.__aexit__(None, None, None))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=HISTORIES, mode=st.sampled_from(["stream", "whole", "sealed"]), ignores_cancel=st.booleans())
@example(history=[("error", 0), ("content", 1)], mode="stream", ignores_cancel=False)
@example(history=[("content", 1), ("error", 0)], mode="sealed", ignores_cancel=True)
@example(history=[("begin", 0), ("lose", 0), ("end", 1)], mode="whole", ignores_cancel=False)
@example(history=[("content", 0), ("hang up", 0), ("content", 1)], mode="stream", ignores_cancel=True)
def test_any_order_of_events_ends_once(
    stage: tuple[asyncio.Runner, Stage], history: list[Step], mode: str, ignores_cancel: bool
) -> None:
    runner, it = stage
    runner.run(it.play(history, mode=mode, ignores_cancel=ignores_cancel))
