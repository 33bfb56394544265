"""One coordinator process against two workers, both on Postgres: processor time for each chunk and request, and the pace.

Three networks get the same loads, in a shuffled order each round. `one`: one process. `two`: two workers and as many providers,
spread over both; the router prefers those of a request's own worker, so little crosses. `crossing`: two workers and one
provider, on one of them, so that the streams that land on the other all cross; what a crossed chunk costs follows from the
share of streams that did and from `single`, one process with that one provider. Supervisor and workers are counted together,
the database is not. On a machine whose cores the load and the providers fill, a second worker can't add pace.
"""

from __future__ import annotations

import random
import re
import sys
import threading
from contextlib import ExitStack
from typing import Any, Final

import msgspec

from bench.record import Figure
from bench.relay.client import Load, Measured, Order, run
from bench.relay.consumers import Target
from bench.relay.network import HushnetNetwork
from bench.relay.rounds import turn
from bench.relay.spread import spread

ROUNDS: Final = 3
STREAMS: Final = 200
ASKERS: Final = 32
LOADS: Final = {
    "chunks": Load(kind="paced", streams=STREAMS, window_s=6.0),
    "requests": Load(kind="requests", streams=ASKERS, window_s=3.0),
}
LOOK_S: Final = 4.0
"""When the crossing streams are counted: after the ramp, inside the window."""


class Taken(msgspec.Struct):
    """One load on one network, and the share of its streams that crossed."""

    measured: Measured
    crossed: float = 0.0


def crossing(network: HushnetNetwork) -> float:
    """Return how many attempts cross between workers now."""
    found = re.findall(r"^hush_attempts_crossing\S* (\S+)$", network.metrics(), re.MULTILINE)
    return sum(map(float, found))


def take(network: HushnetNetwork, load: Load) -> Taken:
    """Put one load on a network."""
    trees = {"coordinator": [network.coordinator_pid], "provider": network.provider_pids}
    counted: list[float] = []
    look = threading.Timer(LOOK_S, lambda: counted.append(crossing(network)))
    is_watched = load.kind == "paced" and network.workers > 1
    if is_watched:
        look.start()
    measured = run(Order(Target(network.base_url, network.api_key), load, trees))
    look.cancel()
    return Taken(measured, counted[0] / load.streams if counted else 0.0)


def figures(rounds: list[dict[str, dict[str, Taken]]]) -> dict[str, Figure]:
    """Return medians over rounds; raises `RuntimeError` when an answer was not whole."""
    every = [taken for each in rounds for loads in each.values() for taken in loads.values()]
    if faults := sum(taken.measured.faults for taken in every):
        raise RuntimeError(f"{faults} answers were not whole")

    def middle(network: str, load: str) -> float:
        return spread([each[network][load].measured.cpu_each_us("coordinator") for each in rounds]).middle

    def pace(network: str) -> float:
        asked = [each[network]["requests"].measured for each in rounds]
        return spread([taken.units / taken.window_s for taken in asked]).middle

    one, two = middle("one", "chunks"), middle("two", "chunks")
    crossed = spread([crossed_us(each) for each in rounds]).middle
    single = middle("single", "chunks")
    local = spread([each["two"]["chunks"].crossed for each in rounds]).middle
    return {
        "workers_1_chunk_cpu_us": Figure(round(one, 1), "us", None, None),
        "workers_2_chunk_cpu_us": Figure(round(two, 1), "us", "one process", round(two / one, 3)),
        "workers_2_crossed_share": Figure(round(local, 3), "of streams", None, None),
        "workers_crossed_chunk_cpu_us": Figure(round(crossed, 1), "us", "not crossed", round(crossed / single, 3)),
        "workers_1_request_cpu_us": Figure(round(middle("one", "requests"), 1), "us", None, None),
        "workers_2_request_cpu_us": Figure(round(middle("two", "requests"), 1), "us", None, None),
        "workers_1_requests_per_s": Figure(round(pace("one"), 1), "1/s", None, None),
        "workers_2_requests_per_s": Figure(
            round(pace("two"), 1), "1/s", "one process", round(pace("two") / pace("one"), 3)
        ),
    }


def crossed_us(each: dict[str, dict[str, Taken]]) -> float:
    """Return what a chunk cost that crossed: what the streams that did not cross cost is known from one process."""
    taken, single = each["crossing"]["chunks"], each["single"]["chunks"].measured.cpu_each_us("coordinator")
    if not taken.crossed:
        raise RuntimeError("no stream crossed")
    return (taken.measured.cpu_each_us("coordinator") - (1 - taken.crossed) * single) / taken.crossed


def measure(*, rounds: int = ROUNDS) -> tuple[dict[str, Figure], list[dict[str, Any]]]:
    """Run the rounds on networks of their own; return figures and raw rounds."""
    taken: list[dict[str, dict[str, Taken]]] = []
    with ExitStack() as stack:
        networks = {
            name: stack.enter_context(
                HushnetNetwork(links=links, slots=2 * STREAMS // links, workers=workers, database="postgres")
            )
            for name, links, workers in (("one", 16, 1), ("two", 16, 2), ("single", 1, 1), ("crossing", 1, 2))
        }
        for number in range(rounds):
            found: dict[str, dict[str, Taken]] = {}
            for name in random.sample(list(networks), len(networks)):
                with turn():
                    found[name] = {load: take(networks[name], LOADS[load]) for load in LOADS}
                print(f"round {number + 1}: {name}: {shown(found[name])}", flush=True)
            taken.append(found)
    return figures(taken), [msgspec.to_builtins(each) for each in taken]


def shown(loads: dict[str, Taken]) -> str:
    """Say in one line what the loads on one network gave."""
    chunks, asked = loads["chunks"], loads["requests"].measured
    return (
        f"{chunks.measured.cpu_each_us('coordinator'):.1f} us a chunk, {chunks.crossed:.0%} crossed, "
        f"{asked.units / asked.window_s:.0f} requests/s at {asked.cpu_each_us('coordinator'):.0f} us, "
        f"{chunks.measured.faults + asked.faults} faults"
    )


def main() -> int:
    """Measure and print."""
    for key, figure in measure()[0].items():
        print(f"{key}: {figure.value} {figure.unit}" + (f" ({figure.ratio} of {figure.peer})" if figure.peer else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
