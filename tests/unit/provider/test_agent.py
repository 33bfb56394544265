"""What an agent says of its machine and its model: what was measured, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hushnet.foundation.ids import ModelId
from hushnet.identity.keys import IdentityKey
from hushnet.provider.agent import Agent
from hushnet.provider.engines.base import Capabilities, EngineCapacity, ModelSpec
from hushnet.provider.machine import MachineWatch, Strain
from hushnet.provider.shelf.offers import Activity, ShelvedModel, activity_of
from hushnet.provider.supervision import LoadedModel
from hushnet.sealing.keyring import Keyring
from hushnet.wire.codec import encode_checked
from hushnet.wire.frames import Heartbeat, ModelOffer, Models

GIB = 1 << 30
BUSY = Strain(cpu=0.75, gpu_memory_bytes_used=7 * GIB, gpu_memory_bytes_total=8 * GIB, thermal="fair")


class BusyEngine:
    name = "busy"

    def capacity(self) -> EngineCapacity:
        return EngineCapacity(
            slots=4, active=2, queued=1, tokens_active=300, decode_tokens_s=31.5, prefill_tokens_s=float("inf")
        )


@dataclass
class Slots:
    total: int = 4
    active: int = 2
    waiting: int = 1


@dataclass
class Supervisor:
    loaded: LoadedModel | None
    is_wanted: bool = True


class Host:
    """A shelf with one model, whose engine lives or is dead."""

    def __init__(self, spec: ModelSpec, loaded: LoadedModel | None) -> None:
        supervisor: Any = Supervisor(loaded)
        self.model = ShelvedModel(spec, supervisor, memory_bytes=0, load_s=1.0)

    def offers(self) -> list[ModelOffer]:
        offer = self.model.offer(is_managed=False)
        return [] if offer is None else [offer]

    def activity(self) -> Activity:
        return activity_of([self.model], slots=self.model.slots)


@dataclass
class Queue:
    tokens_queued: int = 128


def agent(*, is_loaded: bool = True, is_sound: bool | None = None) -> Agent:
    identity = IdentityKey.generate()
    machine = MachineWatch()
    machine.now = BUSY
    capabilities = Capabilities(frozenset({"tools"}), 4096, 4, is_sound)
    engine: Any = BusyEngine()
    slots: Any = Slots()
    spec = ModelSpec(ModelId("m"), path=Path("m.gguf"))
    loaded = LoadedModel(spec, engine, capabilities, slots)
    return Agent(
        identity=identity,
        keyring=Keyring(identity, network="n"),
        network="n",
        engines=Host(spec, loaded if is_loaded else None),
        serving=Queue(),
        machine=machine,
        region="de",
    )


def test_the_strain_of_the_machine_is_in_every_report_with_and_without_an_engine() -> None:
    for is_loaded in (True, False):
        capacity = agent(is_loaded=is_loaded).capacity()
        encode_checked(Heartbeat(capacity=capacity))
        shown = Strain(capacity.cpu, capacity.gpu_memory_bytes_used, capacity.gpu_memory_bytes_total, capacity.thermal)
        assert shown == BUSY
        assert capacity.memory_bytes_total > 0
        assert capacity.slots == (4 if is_loaded else 0)


def test_tokens_are_what_the_engine_and_the_queue_hold() -> None:
    capacity = agent().capacity()

    assert (capacity.tokens_active, capacity.tokens_queued) == (300, 128)
    assert (capacity.active, capacity.queued) == (2, 1)
    assert capacity.tokens_max == 0  # every slot has a context of its own: slots are the only limit


def test_each_model_has_rates_of_its_own_within_what_a_frame_carries() -> None:
    capacity = agent().capacity()
    (part,) = capacity.per_model

    assert (part.decode_tokens_s, part.prefill_tokens_s) == (31.5, 1e7)
    encode_checked(Heartbeat(capacity=capacity))


def test_what_the_template_check_found_is_in_the_offer_as_found() -> None:
    for found in (None, True, False):
        (offer,) = agent(is_sound=found).models()
        assert offer.is_template_sound is found
        encode_checked(Models(models=(offer,)))


def test_without_an_engine_nothing_is_offered() -> None:
    assert agent(is_loaded=False).models() == []


def test_the_region_is_the_operators() -> None:
    assert agent().region() == "de"
