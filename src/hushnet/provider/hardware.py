"""What this machine is: processor, memory, accelerators, probed once; memory and load, read at every heartbeat."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

GPU_PROBE_S_MAX: Final = 5.0
_GPU_FIELDS = "name,memory.total,memory.free,driver_version"
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Gpu:
    """One accelerator as its driver names it."""

    name: str
    memory_bytes_total: int
    memory_bytes_free: int
    driver: str


@dataclass(frozen=True, slots=True)
class Hardware:
    """The machine as probed. `gpus` is empty where no driver answered: nothing is assumed."""

    system: str
    cpu_model: str
    cores_physical: int
    cores_usable: int
    memory_bytes_total: int
    gpus: tuple[Gpu, ...] = ()

    @property
    def threads_suggested(self) -> int:
        """One core stays free for the link: engines that spin collapse when they own every core."""
        return max(1, min(self.cores_physical, self.cores_usable) - 1)


@dataclass(frozen=True, slots=True)
class Load:
    """The machine at one moment; `load` is the one-minute load average per core (0 idle, 1 busy)."""

    memory_bytes_free: int
    memory_bytes_total: int
    load: float


async def probe_hardware(root: Path = Path("/")) -> Hardware:
    """Probe processor, memory and NVIDIA accelerators; takes at most `GPU_PROBE_S_MAX` seconds."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count() or 1
    return Hardware(
        system=f"{platform.system()} {platform.machine()}",
        cpu_model=_cpu_model(root),
        cores_physical=psutil.cpu_count(logical=False) or usable,
        cores_usable=usable,
        memory_bytes_total=read_load().memory_bytes_total,
        gpus=await _probe_nvidia(),
    )


def read_load() -> Load:
    """Read free memory and load now; cheap enough for every heartbeat (about 0.1 ms)."""
    memory = psutil.virtual_memory()
    one_minute, _, _ = psutil.getloadavg()
    return Load(
        memory_bytes_free=memory.available,
        memory_bytes_total=memory.total,
        load=max(0.0, one_minute / (psutil.cpu_count() or 1)),
    )


def parse_nvidia_report(text: str) -> tuple[Gpu, ...]:
    """Read the rows of `nvidia-smi --format=csv,noheader,nounits`; a row of another shape is skipped."""
    gpus = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == _GPU_FIELDS.count(",") + 1 and fields[1].isdigit() and fields[2].isdigit():
            name, total, free, driver = fields
            gpus.append(Gpu(name, int(total) * _MIB, int(free) * _MIB, driver))
    return tuple(gpus)


async def _probe_nvidia() -> tuple[Gpu, ...]:
    arguments = (f"--query-gpu={_GPU_FIELDS}", "--format=csv,noheader,nounits")
    return parse_nvidia_report(await run_tool("nvidia-smi", *arguments, seconds_max=GPU_PROBE_S_MAX))


async def run_tool(name: str, *arguments: str, seconds_max: float) -> str:
    """Return what a tool of the system prints; empty where there is none, it fails, or it takes too long."""
    program = shutil.which(name)
    if program is None:
        return ""
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return ""
    try:
        async with asyncio.timeout(seconds_max):
            output, _ = await process.communicate()
    except BaseException as error:
        process.kill()
        await process.wait()
        if isinstance(error, TimeoutError):
            return ""
        raise
    return output.decode("utf-8", "replace") if process.returncode == 0 else ""


def _cpu_model(root: Path) -> str:
    try:
        lines = (root / "proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
