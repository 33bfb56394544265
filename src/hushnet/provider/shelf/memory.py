"""How much memory models may take, and what one will take and how long it will load, before anybody has tried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hushnet.provider.engines.base import ModelSpec

if TYPE_CHECKING:
    from hushnet.provider.hardware import Hardware

RAM_SHARE: Final = 0.75
"""The rest is the system's and the owner's."""
GPU_SHARE: Final = 0.9
CONTEXT_SHARE: Final = 0.25
"""What contexts and buffers take beside the weights, at four slots of 8,192 tokens of a usual model."""
DISK_BYTES_S: Final = 500_000_000
"""Reading weights that the system has not cached: an ordinary SSD."""
LOAD_S_MIN: Final = 1.0
"""Probing takes this much of however small a model."""


def budget_bytes(hardware: Hardware) -> int:
    """Return what models may take together when nobody says: most of the accelerators' memory, else of the machine's."""
    if hardware.gpus:
        return int(GPU_SHARE * sum(gpu.memory_bytes_total for gpu in hardware.gpus))
    return int(RAM_SHARE * hardware.memory_bytes_total)


def footprint_bytes(spec: ModelSpec) -> int:
    """Estimate what a model takes once it is loaded; one at an attached server takes nothing here."""
    return int(_file_bytes(spec) * (1.0 + CONTEXT_SHARE))


def load_s_estimate(spec: ModelSpec) -> float:
    """Estimate how long a model takes to load that was never loaded."""
    return LOAD_S_MIN + _file_bytes(spec) / DISK_BYTES_S


def _file_bytes(spec: ModelSpec) -> int:
    if spec.path is None:
        return 0
    try:
        return spec.path.stat().st_size
    except OSError:  # loading it will say so
        return 0
