"""Ethereum accounts for tests. What signs for them raises Python's recursion limit as it is imported, for good and for
every test of the process; it is put back here, so it is imported here first."""

from __future__ import annotations

import sys

_LIMIT = sys.getrecursionlimit()

from eth_account import Account  # noqa: E402

sys.setrecursionlimit(_LIMIT)

__all__ = ["Account"]
