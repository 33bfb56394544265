"""What is measured, a module a system: how it is got, started in front of the synthetic provider, and stopped."""

from __future__ import annotations

from bench.relay.systems.base import System
from bench.relay.systems.direct import Direct
from bench.relay.systems.hushnet import HushnetSealed, HushnetStandard
from bench.relay.systems.litellm import LiteLlm
from bench.relay.systems.nginx import Nginx
from bench.relay.systems.routers import SglangRouter, VllmRouter

SYSTEMS: dict[str, type[System]] = {
    system.name: system for system in (Direct, Nginx, HushnetStandard, HushnetSealed, SglangRouter, VllmRouter, LiteLlm)
}

__all__ = ["SYSTEMS", "System"]
