"""The coordinator's own choice: its router over its fleet, slots taken and given back, heartbeats applied, as in serving."""

from __future__ import annotations

from typing import Final

from bench.routing.affinity import Affinity, Nothing
from bench.routing.machines import Asked, Engine, Machine
from hushnet.coordinator.fleet.fleet import Fleet, Slot
from hushnet.coordinator.routing.model import Assignment, RouteRequest
from hushnet.coordinator.routing.router import route
from hushnet.foundation.clock import Clock
from hushnet.foundation.ids import ModelId, ProviderId
from hushnet.wire.frames import ModelOffer
from support.live_fleet import id_of, live, report

MODEL: Final = ModelId("bench")
CONTEXT_TOKENS: Final = 32_768
BYTES_A_TOKEN: Final = 4
"""English; the router is told a prompt's bytes and counts a token for three."""
_SPREAD: Final = 0x9E3779B97F4A7C15


class Hushnet:
    """Everything but the link and the queue is what a coordinator runs."""

    def __init__(self, clock: Clock, affinity: Affinity | None = None) -> None:
        self._clock = clock
        self._fleet = Fleet(clock)
        self._affinity = affinity or Nothing()
        self._numbers: dict[ProviderId, int] = {}
        self._slots: dict[int, Slot] = {}
        self._asked: RouteRequest | None = None

    def join(self, machine: Machine) -> None:
        offer = ModelOffer(model=MODEL, context_tokens=CONTEXT_TOKENS, slots=machine.slots)
        capacity = report(
            (MODEL,),
            slots=machine.slots,
            active=0,
            decode_tokens_s=machine.decode_tokens_s,
            prefill_tokens_s=machine.prefill_tokens_s,
        )
        self._numbers[id_of(machine.number)] = machine.number
        self._fleet.join(live(machine.number, (offer,), capacity))

    def choose(self, asked: Asked) -> int | None:
        self._asked = RouteRequest(
            model=MODEL,
            prompt_tokens_max=asked.prompt * BYTES_A_TOKEN,
            output_tokens_max=asked.output_max,
            cached=self._affinity.likely(asked, self._clock.monotonic_s()),
        )
        # The seed is made of the request's number as serving makes it.
        seed = (asked.number * _SPREAD & 0xFFFFFFFFFFFFFFFF) >> 32
        decision = route(self._fleet.view(MODEL), self._asked, seed=seed)
        return self._numbers[decision.provider_id] if isinstance(decision, Assignment) else None

    def opened(self, number: int, asked: Asked) -> None:
        assert self._asked is not None
        self._slots[asked.number] = self._fleet.take(id_of(number), self._asked)

    def closed(self, number: int, asked: Asked) -> None:
        self._slots.pop(asked.number).release()
        if asked.conversation >= 0:
            self._affinity.served(asked, id_of(number), self._clock.monotonic_s())

    def reported(self, engine: Engine) -> None:
        provider = self._fleet.get(id_of(engine.machine.number))
        assert provider is not None
        capacity = report(
            (MODEL,),
            slots=engine.machine.slots,
            active=engine.occupied,
            decode_tokens_s=engine.decode_seen,
            prefill_tokens_s=engine.prefill_seen,
            tokens_active=engine.tokens_active,
        )
        self._fleet.reported(provider, capacity)
