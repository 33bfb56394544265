"""`hush ledger` where there are no books."""

from __future__ import annotations

from pathlib import Path

import pytest

from hushnet.cli.ledger import checked_books
from hushnet.foundation.errors import ConfigurationError


async def test_a_missing_database_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=str(tmp_path / "coordinator.db")):
        await checked_books(home=tmp_path, database=None)
    assert not list(tmp_path.iterdir())
