"""`hush provider start` as a process of its own: ready line, real answer, one a home, clean stop, and the same identity after a kill."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hushnet.coordinator.fleet.link import ProviderLink
from hushnet.foundation.clock import SystemClock
from hushnet.provider.models.builtin import builtin_model
from hushnet.sealing.envelope import RequestFields, SealedRequest, seal_request
from hushnet.sealing.records import Kind
from hushnet.sealing.statements import SerialMemory, Statement, verify_statement
from support.agents import opened
from support.links import NETWORK, QUICK, TOKEN, ScriptedGate, ScriptedSink, listening
from support.provider_bench import answer_bytes, body, text_of

CANARY = "Please repeat: zebra canary 7319"
READY_S = 30.0


class Process:
    """A provider process and what it printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def ready(self) -> dict[str, str]:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), READY_S)
        ready: dict[str, str] = json.loads(line)
        return ready

    async def ended(self, *, by: signal.Signals | None = None) -> tuple[int, str, str]:
        """Wait for the end; returns the exit status, the rest of stdout, and stderr."""
        if by is not None:
            self.process.send_signal(by)
        out, err = await asyncio.wait_for(self.process.communicate(), READY_S)
        assert self.process.returncode is not None
        return self.process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def provider(home: Path, url: str, *options: str) -> AsyncIterator[Process]:
    """Start a provider process; whatever happens, it is gone afterwards."""
    token_file = home / "token"
    token_file.write_text(TOKEN + "\n")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HUSH_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hushnet", "provider", "start", "--home", str(home), "--coordinator", url),
        *("--token-file", str(token_file), "--network", NETWORK, "--threads", "1", "--slots", "2", *options),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environ,
    )
    try:
        yield Process(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def seal(gate: ScriptedGate, data: bytes, *, model: str = "hush-tiny") -> SealedRequest:
    statement = Statement.from_json_object(gate.all("asked")[-1][1].statement.to_json_object())
    now = SystemClock().now_ms() // 1000
    verified = verify_statement(statement, network=NETWORK, now=now, provider_id=None, serials=SerialMemory())
    fields = RequestFields("/v1/chat/completions", model, True, 64, 256)
    return seal_request(fields, meta={}, data=data, recipients=[verified.recipient()], now=now)


async def ask(gate: ScriptedGate, link: ProviderLink, text: str, *, model: str = "hush-tiny") -> str:
    sealed = seal(gate, body(model=model, stream=True, text=text, temperature=0), model=model)
    sink = ScriptedSink()
    link.dispatch(sealed.raw, deadline_ms=20_000, credit_bytes=1 << 20, sink=sink)
    await asyncio.wait_for(sink.saw("finished"), 60)
    frames = opened(sealed, sink)
    assert frames[-1].kind is Kind.END
    return text_of(answer_bytes(frames))


async def test_a_provider_process_from_start_to_stop(tmp_path: Path) -> None:
    gate = ScriptedGate()
    async with listening(gate, limits=QUICK) as (_, url), provider(tmp_path, url, "--json") as process:
        ready = await process.ready()
        link = await gate.link()
        assert ready == {"provider_id": link.provider_id, "model": "hush-tiny", "link": url}
        assert "hushnet" in (await ask(gate, link, "What is Hushnet?")).lower()
        await ask(gate, link, CANARY)

        async with provider(tmp_path, url) as second:
            status, _, said = await second.ended()
            assert status == 2
            assert "another provider already runs" in said

        status, out, err = await process.ended(by=signal.SIGTERM)
        assert (status, out) == (0, "")
        assert "served 2" in err
        assert "zebra" not in err
        assert TOKEN not in err
        assert gate.all("draining")


async def test_a_killed_provider_comes_back_as_the_same_one(tmp_path: Path) -> None:
    gate = ScriptedGate()
    async with listening(gate, limits=QUICK) as (_, url):
        async with provider(tmp_path, url, "--json") as process:
            first = await process.ready()
            await process.ended(by=signal.SIGKILL)
        async with provider(tmp_path, url) as process:
            link = await gate.link(times=2)
            assert link.provider_id == first["provider_id"]
            status, out, err = await process.ended(by=signal.SIGINT)
            assert (status, out) == (0, "")
            assert "registered as" in err


async def test_two_models_on_the_command_line_are_offered_and_the_second_is_loaded_when_it_is_asked_for(
    tmp_path: Path,
) -> None:
    path, _ = builtin_model()
    files = [tmp_path / f"{name}.gguf" for name in ("one", "two")]
    for file in files:
        shutil.copyfile(path, file)
    options = [part for file in files for part in ("--model", str(file))]
    budget = str(int(path.stat().st_size * 1.5))
    gate = ScriptedGate()
    async with (
        listening(gate, limits=QUICK) as (_, url),
        provider(tmp_path, url, "--json", *options, "--memory-budget", budget) as process,
    ):
        assert (await process.ready())["model"] == "one"
        link = await gate.link()
        offers = gate.all("asked")[0][1].models
        assert [(offer.model, offer.is_loaded) for offer in offers] == [("one", True), ("two", False)]
        assert await ask(gate, link, "What is Hushnet?", model="two")
        await gate.until(
            lambda: (
                [(each.model, each.is_loaded) for each in gate.all("models")[-1][2]] == [("one", False), ("two", True)]
            )
        )

        status, _, err = await process.ended(by=signal.SIGTERM)
        assert status == 0
        assert "serving one, two" in err
        assert "unloaded one" in err


async def test_a_wrong_token_ends_the_process_with_the_reason(tmp_path: Path) -> None:
    gate = ScriptedGate()
    async with (
        listening(gate, limits=QUICK) as (_, url),
        provider(tmp_path, url, "--token", "hk_provider_1_no") as process,
    ):
        status, out, err = await process.ended()

        assert (status, out) == (1, "")
        assert "invalid_api_key" in err
        assert "make a provider token" in err
        assert "Traceback" not in err
