"""The provider agent: loads the engine, makes keys, dials, serves, rotates, drains.

`run` is the whole life of a provider process; `Provider` is the part between a loaded configuration and the last drain.
Nothing is offered before it is loaded: the link is dialled once the engine has answered its probes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Final, TypeAlias

from hushnet.foundation.clock import Clock, SystemClock
from hushnet.foundation.ids import ModelId
from hushnet.foundation.stopping import stop_signals, unless
from hushnet.identity.keys import IdentityKey
from hushnet.provider import notices
from hushnet.provider.agent import Agent
from hushnet.provider.attempt import ServingLimits
from hushnet.provider.engines.base import Engine, ModelSpec
from hushnet.provider.engines.registry import load_engine
from hushnet.provider.hardening import harden
from hushnet.provider.hardware import probe_hardware
from hushnet.provider.identity import load_or_create_identity, sole_provider
from hushnet.provider.link import ProviderLink
from hushnet.provider.link.locate import Place, locate
from hushnet.provider.machine import MachineWatch
from hushnet.provider.models.source import resolve_model
from hushnet.provider.notices import Notify
from hushnet.provider.serving import Serving
from hushnet.provider.settings import ProviderSettings
from hushnet.provider.shelf import Shelf, ShelfLimits
from hushnet.provider.shelf.memory import budget_bytes
from hushnet.provider.supervision import SupervisionLimits
from hushnet.sealing.keyring import Keyring
from hushnet.wire.limits import LinkLimits

ShowProgress: TypeAlias = Callable[[], AbstractContextManager[Callable[[str, int, int], None] | None]]
GOODBYE_S_MAX: Final = 2.0
"""How long the last records and the goodbye may take once nothing runs any more."""
KEY_CHECK_S: Final = 15.0
"""How often the age of the keys is looked at: a machine that slept must notice soon after."""


class Provider:
    """One agent: identity, keys, engine, serving and link."""

    def __init__(
        self,
        settings: ProviderSettings,
        *,
        identity: IdentityKey,
        specs: Sequence[ModelSpec],
        place: Place,
        make_engine: Callable[[ModelSpec], Engine],
        clock: Clock | None = None,
        notify: Notify | None = None,
        link_limits: LinkLimits | None = None,
        supervision: SupervisionLimits | None = None,
        machine: MachineWatch | None = None,
    ) -> None:
        self._settings = settings
        self._place = place
        self._clock = clock or SystemClock()
        self._notify = notify or _silent
        self._identity = identity
        self._keyring = Keyring(identity, network=place.network, life=settings.statement_life_s)
        self._shelf = Shelf(
            specs,
            make_engine=make_engine,
            on_change=self._engine_changed,
            notify=self._notify,
            now_s=self._clock.monotonic_s,
            limits=ShelfLimits(settings.memory_budget, settings.idle_unload_s),
            supervision=supervision,
        )
        self.serving = Serving(
            provider_id=identity.id_bytes,
            keyring=self._keyring,
            engines=self._shelf,
            clock=self._clock,
            limits=ServingLimits(queue=settings.queue),
            on_ended=self._notify,
            on_link_lost=self._link_lost,
        )
        self._machine = machine or MachineWatch()
        self.agent = Agent(
            identity=identity,
            keyring=self._keyring,
            network=place.network,
            engines=self._shelf,
            serving=self.serving,
            machine=self._machine,
            region=settings.region,
        )
        self.link = ProviderLink(
            url=place.link_url,
            token=settings.token,
            agent=self.agent,
            handler=self.serving,
            clock=self._clock,
            limits=replace(link_limits or LinkLimits(), drain_s=settings.drain_s + GOODBYE_S_MAX),
        )
        self._shelf.is_used = self.serving.uses
        self._shelf.on_refused = self._load_refused
        self._is_stopping, self._is_hurried = asyncio.Event(), asyncio.Event()
        self._has_lost_link = asyncio.Event()

    def stop(self) -> None:
        """Drain and return from `run`; a second call no longer waits for running attempts."""
        if self._is_stopping.is_set():
            self._is_hurried.set()
        self._is_stopping.set()

    async def run(self) -> None:
        """Serve until `stop`; raises what ends a provider for good: a rejected token, a model that does not load."""
        try:
            if await unless(self._is_stopping, self._shelf.open()):
                self._rotate()
                await self._serve()
        finally:
            await self.serving.aclose()
            await self._shelf.aclose()
            self._keyring.destroy()
        served = self.serving.outcomes["served"]
        self._notify(notices.Stopped(served, self.serving.outcomes.total() - served))

    async def _serve(self) -> None:
        """Run link, rotation and supervision until one of them ends or a stop is asked for."""
        link = asyncio.create_task(self.link.run(), name="provider link")
        tasks = (
            link,
            asyncio.create_task(self._rotate_in_time(), name="key rotation"),
            asyncio.create_task(self._shelf.watch(), name="engine supervision"),
            asyncio.create_task(self._machine.run(), name="machine watch"),
            asyncio.create_task(self._tell_of_link(), name="link notices"),
        )
        stopping = asyncio.create_task(self._is_stopping.wait(), name="stop")
        try:
            await asyncio.wait((*tasks, stopping), return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                await self._drain(link)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            stopping.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, stopping, return_exceptions=True)

    async def _drain(self, link: asyncio.Task[None]) -> None:
        """Let running attempts finish for `drain_s`, then end the rest with a sealed error, then leave."""
        self._notify(notices.Draining(self.serving.running, self._settings.drain_s))
        self.serving.begin_drain()
        draining = asyncio.create_task(self.link.drain(), name="drain")
        hurried = asyncio.create_task(self._is_hurried.wait(), name="hurry")
        try:
            await asyncio.wait((draining, hurried), timeout=self._settings.drain_s, return_when=asyncio.FIRST_COMPLETED)
            if not draining.done():
                await self.serving.aclose()
            await draining
            await asyncio.wait((link,), timeout=GOODBYE_S_MAX)
        finally:  # also of a drain that is itself cancelled
            hurried.cancel()
            draining.cancel()

    def _rotate(self) -> None:
        now = self._clock.now_ms() // 1000
        self._keyring.rotate(now)
        self.agent.statement_changed.set()
        self._notify(notices.KeysRotated(now + self._settings.statement_life_s))

    async def _rotate_in_time(self) -> None:
        while True:
            now = self._clock.now_ms() // 1000
            await asyncio.sleep(min(max(self._keyring.rotates_at - now, 0.1), KEY_CHECK_S))
            now = self._clock.now_ms() // 1000
            if self._keyring.is_due(now):
                self._rotate()
            else:
                self._keyring.expire(now)

    async def _tell_of_link(self) -> None:
        """Say whenever the provider is registered; `_link_lost` says the other half."""
        while True:
            await self.link.registered.wait()
            self._has_lost_link.clear()
            first, *others = self._shelf.models
            place = self._place
            self._notify(
                notices.Registered(self._identity.provider_id, first, place.link_url, place.network, tuple(others))
            )
            await self._has_lost_link.wait()

    def _link_lost(self) -> None:
        self._has_lost_link.set()
        if not self._is_stopping.is_set():
            self._notify(notices.LinkDown(self._place.link_url))

    def _load_refused(self, model: ModelId, code: str) -> None:
        self.link.refuse_load(model, code)

    def _engine_changed(self) -> None:
        self.serving.engine_changed()
        self.link.announce()


async def run(
    settings: ProviderSettings, *, notify: Notify | None = None, show_progress: ShowProgress = nullcontext
) -> int:
    """Live as a provider until SIGTERM or SIGINT; returns the exit status.

    `show_progress` wraps the time in which model files are fetched and checked. Raises `ConfigurationError` for settings, files or a model that can't be used, `AccessError` for a token that the
    coordinator rejects for good.
    """
    settings.require_token()
    harden()
    with sole_provider(settings.state_folder), stop_signals() as signals:
        identity = load_or_create_identity(settings.state_folder)
        provider = await unless(signals.first, _prepare(settings, identity, notify or _silent, show_progress))
        if provider is not None:
            signals.then(provider.stop)
            await provider.run()
    return 0


async def _prepare(
    settings: ProviderSettings, identity: IdentityKey, notify: Notify, show_progress: ShowProgress
) -> Provider:
    """Find the models' files and the coordinator's link."""
    hardware = await probe_hardware()
    with show_progress() as progress:
        found = [await resolve_model(model, home=settings.home, progress=progress) for model in settings.models]
    specs = [
        replace(
            spec,
            slots=settings.slots,
            threads=settings.threads or hardware.threads_suggested,
            context_tokens=settings.context_tokens or spec.context_tokens,
            engine=settings.engine or spec.engine,
        )
        for spec in found
    ]
    if settings.memory_budget is None and len(specs) > 1:
        settings = replace(settings, memory_budget=budget_bytes(hardware))
    place = await locate(settings.coordinator, network=settings.network, notify=notify)
    return Provider(
        settings,
        identity=identity,
        specs=specs,
        place=place,
        make_engine=lambda spec: load_engine(spec.engine),
        notify=notify,
    )


def _silent(_: notices.Notice) -> None:
    """Tell nobody."""
