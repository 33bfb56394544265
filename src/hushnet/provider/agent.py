"""What this provider says about itself on the link: keys, models, capacity, signatures. Read anew for every frame."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Protocol

from msgspec.structs import replace

from hushnet.foundation.errors import LocalProtocolError
from hushnet.identity.keys import IdentityKey
from hushnet.provider.hardware import read_load
from hushnet.provider.machine import MachineWatch
from hushnet.provider.shelf.offers import Activity
from hushnet.sealing.keyring import Keyring
from hushnet.sealing.statements import Statement
from hushnet.wire.frames import Capacity, ModelOffer

_LOAD_MAX = 1000.0


class ModelHost(Protocol):
    """Who knows the models; implemented by `shelf.Shelf`."""

    def offers(self) -> list[ModelOffer]: ...

    def activity(self) -> Activity: ...


class QueuedTokens(Protocol):
    """Who knows what waits."""

    @property
    def tokens_queued(self) -> int: ...


class Agent:
    """The link's `AgentDescription`."""

    def __init__(
        self,
        *,
        identity: IdentityKey,
        keyring: Keyring,
        network: str,
        engines: ModelHost,
        serving: QueuedTokens,
        machine: MachineWatch | None = None,
        region: str = "",
    ) -> None:
        self.agent_version = version("hushnet")
        self.statement_changed = asyncio.Event()
        self._identity = identity
        self._keyring = keyring
        self._network = network
        self._engines = engines
        self._serving = serving
        self._machine = machine or MachineWatch()
        self._region = region

    def network(self) -> str:
        """Return the network that the statements name."""
        return self._network

    def region(self) -> str:
        """Return where this machine stands, as its operator says."""
        return self._region

    def statement(self) -> Statement:
        """Return the statement of the present keys; raises `LocalProtocolError` before the first rotation."""
        if self._keyring.statement is None:
            raise LocalProtocolError("a provider makes its keys before it dials")
        return self._keyring.statement

    def sign(self, message: bytes) -> bytes:
        """Sign a challenge with the identity key."""
        return self._identity.sign(message)

    def models(self) -> list[ModelOffer]:
        """Return what is on offer now: of a sole model nothing while its engine is dead."""
        return self._engines.offers()

    def capacity(self) -> Capacity:
        """Return the load now, from memory and two cheap system calls; what takes longer was sampled before.

        `tokens_max` stays 0: every slot brings a context of its own, so slots are the only limit.
        """
        machine, busy = self._idle_capacity(), self._engines.activity()
        if not busy.slots:
            return machine
        return replace(
            machine,
            slots=busy.slots,
            active=busy.active,
            queued=busy.waiting,
            tokens_active=busy.tokens_active,
            tokens_queued=self._serving.tokens_queued,
            decode_tokens_s=busy.decode_tokens_s,
            prefill_tokens_s=busy.prefill_tokens_s,
            load=min(max((busy.active + busy.waiting) / busy.slots, machine.load), _LOAD_MAX),
            per_model=busy.per_model,
        )

    def _idle_capacity(self) -> Capacity:
        """Return the machine alone, without an engine."""
        load, strain = read_load(), self._machine.now
        return Capacity(
            slots=0,
            active=0,
            memory_bytes_free=load.memory_bytes_free,
            memory_bytes_total=load.memory_bytes_total,
            load=min(load.load, _LOAD_MAX),
            cpu=strain.cpu,
            gpu_memory_bytes_used=strain.gpu_memory_bytes_used,
            gpu_memory_bytes_total=strain.gpu_memory_bytes_total,
            thermal=strain.thermal,
        )
