"""`hush statement`: one's account as CSV, opening balances to closing balances."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from hushnet.cli import console
from hushnet.cli.money.sums import From, To, query
from hushnet.cli.options import ApiKey, BaseUrl, Home, client_of


def command(
    start: From = None,
    end: To = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write this file, which must not be there yet.")
    ] = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
) -> None:
    """Write a statement of your account as CSV: opening balances, every movement, closing balances, a column a bucket."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        pieces = client.download(query("/v1/statement", **{"from": start, "to": end}))
        if output is None:
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            sys.stdout.flush()
            return
        _write(output, pieces)
    console.err().print(f"{output} is written")


def _write(path: Path, pieces: Iterator[bytes]) -> None:
    """Write a file that has all of it, or none."""
    first = next(pieces, b"")  # a refusal comes before a file is made
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as sink:
            sink.write(first)
            sink.writelines(pieces)
    except BaseException:
        path.unlink()
        raise
