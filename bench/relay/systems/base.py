"""What every measured system is."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from bench.relay.consumers import Target
from bench.relay.environments import HOME
from bench.relay.processes import spawn, stop, wait_for_port
from bench.relay.stopping import held


class System(ABC):
    """One relay in front of an upstream. `install` may raise `UnavailableError`; `start` fills `target` and `roots`.

    `roots` are the processes whose trees are charged; `streams` how many paced streams it carries without queueing.
    """

    name: ClassVar[str]
    streams: ClassVar[int] = 400
    askers: ClassVar[int] = 16
    start_s_max: ClassVar[float] = 30.0

    def __init__(self) -> None:
        self.target = Target("")
        self.roots: list[int] = []
        self.version = ""
        self._process: subprocess.Popen[bytes] | None = None

    def install(self) -> None:  # noqa: B027 (most need nothing)
        """Get what it needs from package registries."""

    @abstractmethod
    def start(self, upstream_url: str) -> None:
        """Start it in front of `upstream_url` and return once it serves."""

    def stop(self) -> None:
        """End its processes."""
        with held():
            if self._process is not None:
                stop(self._process)
                self._process = None

    def _launch(self, arguments: list[str | Path], port: int, **environment: str) -> None:
        log = self.folder() / "log.txt"
        log.unlink(missing_ok=True)
        with held():
            self._process = spawn(arguments, log=log, environment=environment, cwd=self.folder())
        self.roots = [self._process.pid]
        self.target = Target(f"http://127.0.0.1:{port}")
        wait_for_port(port, self._process, log=log, wait_s_max=self.start_s_max)

    def folder(self) -> Path:
        """Return the folder of its configuration and log."""
        folder = HOME / "run" / self.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder
