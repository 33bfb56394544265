"""What a store lets out when the database fails: a `StorageError` without the driver's text, which may quote values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from hushnet.foundation.errors import StorageError


@contextmanager
def storage_faults() -> Iterator[None]:
    """Turn what the driver or SQLAlchemy raises into a `StorageError` that names its type."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        raise StorageError(f"the database failed ({type(error).__name__})") from None
