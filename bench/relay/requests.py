"""What a request without streaming costs the coordinator: authentication, ledger and sealing on, in both modes.

The processor time of the coordinator's whole process tree over a window, divided by the requests answered in it;
moderate concurrency, rounds of both modes in a shuffled order.
"""

from __future__ import annotations

import random
import sys
from typing import Any, Final

import msgspec

from bench.record import Figure
from bench.relay.client import Load, Measured, Order, run
from bench.relay.consumers import Target
from bench.relay.network import HushnetNetwork
from bench.relay.rounds import turn
from bench.relay.spread import spread

ROUNDS: Final = 5
ASKERS: Final = 16
WINDOW_S: Final = 5.0
SUFFIXES: Final = {"standard": "", "sealed": "_sealed"}


def figures(rounds: list[dict[str, Measured]]) -> dict[str, Figure]:
    """Return the medians over rounds of processor time and pace; raises `RuntimeError` when a request was not answered."""
    if faults := sum(taken.faults for each in rounds for taken in each.values()):
        raise RuntimeError(f"{faults} requests were not answered whole")
    found: dict[str, Figure] = {}
    for mode, suffix in SUFFIXES.items():
        cpu = spread([each[mode].cpu_each_us("coordinator") for each in rounds])
        pace = spread([each[mode].units / each[mode].window_s for each in rounds])
        found[f"request{suffix}_cpu_us"] = Figure(round(cpu.middle, 1), "us", None, None)
        found[f"requests{suffix}_per_s"] = Figure(round(pace.middle, 1), "1/s", None, None)
    return found


def measure(*, rounds: int = ROUNDS, askers: int = ASKERS) -> tuple[dict[str, Figure], list[dict[str, Any]]]:
    """Run the rounds on a network of their own; return figures and raw rounds."""
    taken: list[dict[str, Measured]] = []
    with HushnetNetwork() as network:
        trees = {"coordinator": [network.coordinator_pid], "provider": network.provider_pids}
        for number in range(-1, rounds):
            found: dict[str, Measured] = {}
            for mode in random.sample(list(SUFFIXES), len(SUFFIXES)):
                sealed = {"sealed": True, "network": network.network} if mode == "sealed" else {}
                target = Target(network.base_url, network.api_key, **sealed)  # type: ignore[arg-type]
                load = Load(kind="requests", streams=askers, window_s=WINDOW_S if number >= 0 else 1.0)
                with turn():
                    found[mode] = run(Order(target, load, trees))
            if number >= 0:
                taken.append(found)
    return figures(taken), [msgspec.to_builtins(each) for each in taken]


def main() -> int:
    """Measure and print."""
    for key, figure in measure()[0].items():
        print(f"{key}: {figure.value} {figure.unit}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
