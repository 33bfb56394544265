"""Synthetic providers over the real link: K identities, each with its own link, statement and keys, in one process.

`python -m bench.relay.provider --link-url URL --network NAME --token-file FILE --links K --slots S [--report FILE]`
prints one line of JSON when every link is registered, and another with its counts when SIGTERM or SIGINT ends it.
What the link, the records, the meters and the receipts do is the product's own code; only the engine is made up.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import msgspec
import uvloop

from bench.relay.instructions import MODEL, read_chat
from bench.relay.synthetic import Answer, Ending
from bench.relay.upstream import Pace
from hushnet.foundation.clock import SystemClock
from hushnet.foundation.ids import AttemptId, ModelId
from hushnet.foundation.redaction import Secret
from hushnet.identity.keys import IdentityKey
from hushnet.provider.link import ProviderLink
from hushnet.sealing.errors import SealingError, WireCode
from hushnet.sealing.keyring import Keyring
from hushnet.sealing.opening import open_request
from hushnet.sealing.replay import ReplayCache
from hushnet.wire.frames import Capacity, ModelCapacity, ModelOffer

if TYPE_CHECKING:
    from hushnet.provider.link import AttemptWriter
    from hushnet.sealing.statements import Statement

CONTEXT_TOKENS: Final = 2**20
DIALS_MAX: Final = 8
"""Links that register at the same time: half of what the listener allows one address."""
KEY_CHECK_S: Final = 15.0


class Journal:
    """Counts how answers ended; those with a tag are written down, one line of JSON each."""

    def __init__(self, sink: IO[bytes] | None) -> None:
        self._sink = sink
        self.outcomes: Counter[str] = Counter()
        self.chunks = 0

    def note(self, ending: Ending) -> None:
        self.outcomes[ending.outcome] += 1
        self.chunks += ending.chunks
        if ending.tag and self._sink is not None:
            self._sink.write(msgspec.json.encode(ending) + b"\n")
            self._sink.flush()


class SyntheticProvider:
    """One provider: what the link asks of an agent and of a handler of attempts."""

    def __init__(self, network: str, *, slots: int, pace: Pace, journal: Journal) -> None:
        self.agent_version = version("hushnet")
        self.statement_changed = asyncio.Event()
        self._network = network
        self._slots = slots
        self._pace = pace
        self._journal = journal
        self._identity = IdentityKey.generate()
        self._keyring = Keyring(self._identity, network=network)
        self._replay = ReplayCache()
        self._answers: dict[AttemptId, Answer] = {}
        self.rotate()

    def rotate(self) -> None:
        """Make the first keys, or new ones where they are due."""
        now = int(time.time())
        if self._keyring.is_due(now):
            self._keyring.rotate(now)
            self.statement_changed.set()
        self._keyring.expire(now)

    # What the link asks of an agent.

    def network(self) -> str:
        return self._network

    def region(self) -> str:
        return ""

    def statement(self) -> Statement:
        assert self._keyring.statement is not None
        return self._keyring.statement

    def sign(self, message: bytes) -> bytes:
        return self._identity.sign(message)

    def models(self) -> Sequence[ModelOffer]:
        return (ModelOffer(model=ModelId(MODEL), context_tokens=CONTEXT_TOKENS, slots=self._slots),)

    def capacity(self) -> Capacity:
        active = len(self._answers)
        part = ModelCapacity(model=ModelId(MODEL), slots=self._slots, active=active, queued=0, decode_tokens_s=40.0)
        return Capacity(slots=self._slots, active=active, decode_tokens_s=40.0, per_model=(part,))

    # What the link asks of a handler.

    def attempt_arrived(self, attempt: AttemptId, envelope: bytes, deadline_ms: int, writer: AttemptWriter) -> None:
        del deadline_ms
        try:
            opened = open_request(
                envelope,
                provider_id=self._identity.id_bytes,
                keyring=self._keyring,
                cache=self._replay,
                now=int(time.time()),
            )
            asked, _ = read_chat(opened.data)
        except SealingError as error:
            writer.refuse(error.wire_code or WireCode.INTERNAL)
        except (msgspec.MsgspecError, ValueError):
            writer.refuse(WireCode.BAD_REQUEST)
        else:
            self._answers[attempt] = answer = Answer(
                asked,
                opened.header,
                sealer=opened.frame_sealer(),
                writer=writer,
                pace=self._pace,
                on_ended=partial(self._ended, attempt),
            )
            answer.start()

    def attempt_cancelled(self, attempt: AttemptId, code: int) -> None:
        del code
        if (answer := self._answers.get(attempt)) is not None:
            answer.cancel()

    def link_lost(self) -> None:
        for answer in tuple(self._answers.values()):
            answer.drop()

    def unload_model_requested(self, model: ModelId) -> None:
        """Keep the model: this provider has no other."""

    def load_model_requested(self, model: ModelId) -> None:
        """Nothing to load."""

    def drain_requested(self) -> None:
        """Running answers go on."""

    def _ended(self, attempt: AttemptId, ending: Ending) -> None:
        self._answers.pop(attempt, None)
        self._journal.note(ending)


async def serve(arguments: argparse.Namespace, sink: IO[bytes] | None) -> Journal:
    """Keep every link alive until a signal; raises what a link raises."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    pace, journal = Pace(asyncio.get_running_loop()), Journal(sink)
    token = Secret(arguments.token_file.read_text().strip())
    providers = [
        SyntheticProvider(arguments.network, slots=arguments.slots, pace=pace, journal=journal)
        for _ in range(arguments.links)
    ]
    async with asyncio.TaskGroup() as group:
        links = [
            ProviderLink(url=arguments.link_url, token=token, agent=each, handler=each, clock=SystemClock())
            for each in providers
        ]
        door = asyncio.Semaphore(DIALS_MAX)
        await asyncio.gather(*(_dial(link, door, group) for link in links))
        gc.freeze()
        gc.set_threshold(50_000)
        print(json.dumps({"links": len(links)}), flush=True)
        rotating = group.create_task(_rotate_in_time(providers))
        await stopping.wait()
        rotating.cancel()
        await asyncio.gather(*(link.drain() for link in links))
    return journal


async def _dial(link: ProviderLink, door: asyncio.Semaphore, group: asyncio.TaskGroup) -> None:
    """Start a link in its turn, and wait until it is registered."""
    async with door:
        group.create_task(link.run())
        await link.registered.wait()


async def _rotate_in_time(providers: Sequence[SyntheticProvider]) -> None:
    """Rotate keys as they fall due, not all providers at one moment."""
    while True:
        await asyncio.sleep(KEY_CHECK_S)
        for each in random.sample(providers, len(providers)):
            each.rotate()
            await asyncio.sleep(0)


def main() -> int:
    """Run until a signal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--link-url", required=True)
    parser.add_argument("--network", required=True)
    parser.add_argument("--token-file", required=True, type=Path)
    parser.add_argument("--links", type=int, default=1)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--report", type=Path)
    arguments = parser.parse_args()
    sink = arguments.report.open("ab") if arguments.report else None
    journal = uvloop.run(serve(arguments, sink))
    print(json.dumps({"outcomes": journal.outcomes, "chunks": journal.chunks}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
