"""Schema revisions, applied in order by Alembic when a database is opened for writing.

A store adds a module to `versions/`: `NNNN_what.py`, whose `revision` is its own file name and whose `down_revision` is
the newest there is: history is one line. A revision is frozen once it has been released: it states its own DDL and
imports no table of today.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, column, inspect, select, table

from hushnet.foundation.errors import ConfigurationError

_FOLDER: Final = Path(__file__).parent
_VERSIONS: Final = table("alembic_version", column("version_num"))


def migrate(connection: Connection) -> None:
    """Bring the schema to the newest revision, inside the caller's transaction."""
    if _is_current(connection):
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "heads")


def require_current(connection: Connection) -> None:
    """Raise `ConfigurationError` when the schema is not of this release."""
    if not _is_current(connection):
        raise ConfigurationError(
            "the database's schema is not of this release", hint="start the coordinator of this release once"
        )


def _is_current(connection: Connection) -> bool:
    """Compare the database's revision with the newest file; Alembic is not imported for that."""
    known = {file.stem for file in (_FOLDER / "versions").glob("[0-9]*.py")}
    if not inspect(connection).has_table(_VERSIONS.name):
        return False
    found = set(connection.execute(select(_VERSIONS.c.version_num)).scalars())
    if not found <= known:
        raise ConfigurationError(
            "the database was written by a newer release", hint="upgrade this program to that release"
        )
    return found == {max(known)}
