"""The machine under its work: busy processors, memory of its GPUs, heat. Sampled beside the event loop, read at any time.

Whatever a machine does not tell stays unknown; nothing is guessed. Heat is one word of `wire.frames.THERMAL_WORDS`: from the
sensors of the processor on Linux, from NVIDIA's driver, from the system's own thermal pressure on macOS; the worst counts.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import psutil

from hushnet.provider.hardware import GPU_PROBE_S_MAX, run_tool
from hushnet.wire.frames import THERMAL_WORDS

_LOG = logging.getLogger(__name__)

SAMPLE_S: Final = 10.0
"""Every other heartbeat; the driver's tool takes tens of milliseconds of another process."""
_MIB = 1024 * 1024

PROCESSOR_SENSORS: Final = frozenset({"coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal"})
"""Names of the kernel's drivers for processors; a hot disk slows no answer."""
FAIR_C: Final = 10.0
"""So near to its own limit a processor is warm."""
LIMITS_C: Final = (40.0, 130.0)
"""Limits outside are what firmware says that knows none."""

_NVIDIA_FIELDS: Final = (
    "memory.used",
    "memory.total",
    "clocks_throttle_reasons.sw_thermal_slowdown",
    "clocks_throttle_reasons.hw_thermal_slowdown",
)
_MACOS_WORDS: Final = ("nominal", "fair", "serious", "critical", "critical")
"""By the system's level: nominal, moderate, heavy, trapping, sleeping."""
_MACOS_KEY: Final = "com.apple.system.thermalpressurelevel"


@dataclass(frozen=True, slots=True)
class Strain:
    """One sample; `cpu` is a share of 0..1, a total of 0 bytes and an empty word are unknown."""

    cpu: float = 0.0
    gpu_memory_bytes_used: int = 0
    gpu_memory_bytes_total: int = 0
    thermal: str = ""


class MachineWatch:
    """Samples until it is cancelled; `now` is the last sample."""

    def __init__(self) -> None:
        self.now = Strain()
        self._busy_s, self._all_s = _processor_times()
        self._has_nvidia = shutil.which("nvidia-smi") is not None

    async def run(self) -> None:
        """Sample for ever. What fails once is unknown until it works again."""
        while True:
            try:
                self.now = await self.sample()
            except Exception as error:  # a driver's odd answer must not end a provider
                _LOG.warning("the machine could not be sampled", extra={"error": type(error).__name__})
                self.now = Strain()
            await asyncio.sleep(SAMPLE_S)

    async def sample(self) -> Strain:
        """Look at the machine once; `cpu` is the busy share since the last look."""
        gpu = parse_nvidia_strain(await self._ask_nvidia())
        words = [
            gpu.thermal,
            await _macos_word() if sys.platform == "darwin" else await asyncio.to_thread(_sensor_word),
        ]
        return replace(gpu, cpu=self._cpu(), thermal=worst(words))

    async def _ask_nvidia(self) -> str:
        if not self._has_nvidia:
            return ""
        arguments = (f"--query-gpu={','.join(_NVIDIA_FIELDS)}", "--format=csv,noheader,nounits")
        return await run_tool("nvidia-smi", *arguments, seconds_max=GPU_PROBE_S_MAX)

    def _cpu(self) -> float:
        busy_s, all_s = _processor_times()
        busy, total = busy_s - self._busy_s, all_s - self._all_s
        self._busy_s, self._all_s = busy_s, all_s
        return min(max(busy / total, 0.0), 1.0) if total > 0 else 0.0


def parse_nvidia_strain(text: str) -> Strain:
    """Read the rows of the driver's tool: memory is added up, the hottest GPU counts; an odd row is skipped."""
    used = total = 0
    words = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != len(_NVIDIA_FIELDS) or not (fields[0].isdigit() and fields[1].isdigit()):
            continue
        used += int(fields[0]) * _MIB
        total += int(fields[1]) * _MIB
        words.append(_nvidia_word(software=fields[2], hardware=fields[3]))
    return Strain(gpu_memory_bytes_used=min(used, total), gpu_memory_bytes_total=total, thermal=worst(words))


def sensor_word(readings: Mapping[str, Iterable[Any]]) -> str:
    """Return the word for what `psutil.sensors_temperatures` read; empty where no processor tells its own limits."""
    words = []
    for name, entries in readings.items():
        if name in PROCESSOR_SENSORS:
            words += [_heat_word(entry.current, entry.high, entry.critical) for entry in entries]
    return worst(words)


def parse_macos_level(text: str) -> str:
    """Read the answer of `notifyutil -g`: the key, then the level."""
    level = text.split()[-1:]
    known = level and level[0].isdigit() and text.startswith(_MACOS_KEY) and int(level[0]) < len(_MACOS_WORDS)
    return _MACOS_WORDS[int(level[0])] if known else ""


def worst(words: Sequence[str]) -> str:
    """Return the hottest of `words`; an unknown one says nothing."""
    return max((word for word in words if word), key=THERMAL_WORDS.index, default="")


def _nvidia_word(*, software: str, hardware: str) -> str:
    """The driver lowers clocks a little to hold a temperature; the hardware halves them when that was not enough."""
    if hardware == "Active":
        return "serious"
    if software == "Active":
        return "fair"
    return "nominal" if hardware == software == "Not Active" else ""


def _heat_word(now: float, high: float | None, critical: float | None) -> str:
    limits = [limit for limit in (high, critical) if limit is not None and LIMITS_C[0] <= limit <= LIMITS_C[1]]
    if not limits:
        return ""
    if critical in limits and now >= max(limits):
        return "critical"
    if now >= min(limits):
        return "serious"
    return "fair" if now >= min(limits) - FAIR_C else "nominal"


def _sensor_word() -> str:
    read = getattr(psutil, "sensors_temperatures", None)
    return sensor_word(read()) if read is not None else ""


async def _macos_word() -> str:
    return parse_macos_level(await run_tool("notifyutil", "-g", _MACOS_KEY, seconds_max=1.0))


def _processor_times() -> tuple[float, float]:
    """Return the seconds that all processors were busy, and all seconds, since the machine started."""
    times = psutil.cpu_times()
    idle_s = times.idle + getattr(times, "iowait", 0.0)
    # The kernel counts a guest's time twice, as a guest's and as a user's.
    all_s = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return all_s - idle_s, all_s
