"""The Rust routers of SGLang and vLLM from PyPI, round robin over one worker, logging only errors."""

from __future__ import annotations

from typing import ClassVar

from bench.relay import environments
from bench.relay.processes import free_port
from bench.relay.systems.base import System


class _Router(System):
    package: ClassVar[str]
    arguments: ClassVar[list[str]]
    start_s_max = 60.0

    def install(self) -> None:
        self._programs = environments.virtual_environment(self.package, [self.package])
        self.version = environments.version(self._programs, self.package)

    def start(self, upstream_url: str) -> None:
        port, metrics = free_port(), free_port()
        common = ["--host", "127.0.0.1", "--port", str(port), "--worker-urls", upstream_url, "--policy", "round_robin"]
        common += ["--prometheus-port", str(metrics), "--log-level", "error", "--max-concurrent-requests", "4096"]
        self._launch([self._programs / "python", *self.arguments, *common], port)


class SglangRouter(_Router):
    """sglang-router."""

    name = "sglang_router"
    package = "sglang-router"
    arguments: ClassVar[list[str]] = ["-m", "sglang_router.launch_router"]


class VllmRouter(_Router):
    """vllm-router."""

    name = "vllm_router"
    package = "vllm-router"
    arguments: ClassVar[list[str]] = ["-m", "vllm_router.launch_router"]
