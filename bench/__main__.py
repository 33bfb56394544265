"""`python -m bench [NAME ...]`: run benches in turn, then render docs/performance.md from every committed result."""

from __future__ import annotations

import importlib
import sys
import time

from bench import report

BENCHES = ("first_minute", "cancel", "sealing")


def main() -> int:
    """Run what was named, or everything; return the exit status."""
    wanted = sys.argv[1:] or list(BENCHES)
    if unknown := [name for name in wanted if name not in (*BENCHES, "report")]:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(BENCHES)}, and report")
        return 2
    for name in (name for name in wanted if name != "report"):
        started = time.perf_counter()
        print(f"bench {name} ...", flush=True)
        importlib.import_module(f"bench.{name}").main()
        print(f"bench {name}: {time.perf_counter() - started:.0f} s", flush=True)
    report.render()
    return 0


if __name__ == "__main__":
    sys.exit(main())
