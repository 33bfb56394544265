"""A simulated provider: the real agent (`provider.daemon.Provider`) on a simulated machine, behind a simulated link."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import AccessError
from hushnet.foundation.ids import AccountId, ModelId
from hushnet.foundation.redaction import Secret
from hushnet.identity.keys import IdentityKey
from hushnet.provider.daemon import Provider
from hushnet.provider.engines.base import ModelSpec
from hushnet.provider.link import ProviderLink
from hushnet.provider.link.locate import Place
from hushnet.provider.settings import ProviderSettings
from hushnet.provider.supervision import SupervisionLimits
from hushnet.wire.limits import LinkLimits
from simulation.door import Doorway
from simulation.machine import ConditionWatch, Machine, MachineCondition
from simulation.network import Link
from simulation.tricks import Character, TrickyAgent, TrickyHandler, mangler
from simulation.watching import Watch

NETWORK = "hushnet-simulated"


@dataclass
class ProviderPlan:
    """What a provider is from the beginning."""

    number: int
    account: AccountId
    model: ModelId
    slots: int = 2
    queue: int = 4
    features: frozenset[str] = frozenset({"tools"})
    context_tokens: int = 8192
    drain_s: float = 5.0
    statement_life_s: int = 3600
    condition: MachineCondition = field(default_factory=MachineCondition)
    character: Character = field(default_factory=Character)


class SimulatedProvider:
    """One machine with one identity. It can crash and boot again: the identity stays, keys and memory do not."""

    def __init__(self, plan: ProviderPlan, *, chance: Random, clock: Clock, doorway: Doorway, watch: Watch) -> None:
        self.plan = plan
        self.identity = IdentityKey(Ed25519PrivateKey.from_private_bytes(chance.randbytes(32)))
        self.agent: Provider | None = None
        self._chance = chance
        self._clock = clock
        self._doorway = doorway
        self._watch = watch
        self._running: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"provider {self.plan.number}"

    @property
    def is_up(self) -> bool:
        return self._running is not None and not self._running.done()

    @property
    def link(self) -> Link | None:
        """The link that it dialled last."""
        return self._doorway.links.get(self.plan.number)

    def boot(self) -> None:
        """Start the agent; it loads, dials and serves by itself."""
        self.agent = agent = self._agent()
        self._running = asyncio.create_task(self._run(agent), name=f"provider-{self.plan.number}")

    def drain(self) -> None:
        """Ask the agent to finish what it does and to leave."""
        if self.agent is not None and self.is_up:
            self.agent.stop()

    async def crash(self) -> None:
        """End the agent without a word to anybody."""
        if (link := self.link) is not None and link.is_up:
            link.reset()
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def stopped(self) -> None:
        """Wait until the agent has ended."""
        if self._running is not None:
            await asyncio.gather(self._running, return_exceptions=True)

    def dress(self, link: Link) -> None:
        """Put this provider's hand on what it sends over a new link."""
        link.provider.mangle = mangler(self.plan.character, self._chance)

    async def _run(self, agent: Provider) -> None:
        with contextlib.suppress(AccessError):
            await agent.run()

    def _agent(self) -> Provider:
        plan, limits = self.plan, LinkLimits(drain_s=self.plan.drain_s)
        settings = ProviderSettings(
            home=Path("/nonexistent"),
            token=Secret(f"provider-{plan.account}"),
            slots=plan.slots,
            queue=plan.queue,
            drain_s=plan.drain_s,
            statement_life_s=plan.statement_life_s,
        )
        url = self._doorway.address(plan.number)
        agent = Provider(
            settings,
            identity=self.identity,
            specs=(ModelSpec(plan.model, slots=plan.slots),),
            place=Place(url, NETWORK),
            make_engine=lambda _: Machine(
                self._chance, plan.condition, plan.slots, context_tokens=plan.context_tokens, features=plan.features
            ),
            clock=self._clock,
            link_limits=limits,
            supervision=SupervisionLimits(health_interval_s=5.0),
            machine=ConditionWatch(plan.condition),
        )
        agent.link = ProviderLink(
            url=url,
            token=settings.token,
            agent=TrickyAgent(agent.agent, plan.character, self._chance, lambda: agent.link.is_registered),
            handler=TrickyHandler(agent.serving, plan.character, self._chance, self._watch),
            clock=self._clock,
            limits=limits,
            jitter=self._chance.random,
        )
        return agent
