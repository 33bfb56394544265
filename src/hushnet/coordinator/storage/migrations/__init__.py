"""Schema revisions, applied in order by Alembic when a database is opened for writing.

A store adds a module to `versions/`: `NNNN_what.py`, whose `down_revision` is the newest there is. A revision is frozen
once it has been released: it states its own DDL and imports no table of today.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from hushnet.foundation.errors import ConfigurationError

_FOLDER: Final = Path(__file__).parent


def migrate(connection: Connection) -> None:
    """Bring the schema to the newest revision, inside the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    if _is_current(connection):
        return
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
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(_FOLDER))
    found = set(MigrationContext.configure(connection).get_current_heads())
    if not found <= {revision.revision for revision in script.walk_revisions()}:
        raise ConfigurationError(
            "the database was written by a newer release", hint="upgrade this program to that release"
        )
    return found == set(script.get_heads())
