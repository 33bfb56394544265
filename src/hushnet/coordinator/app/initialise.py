"""What comes before the first start: files that are their owner's alone, a schema, and the operator's key."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from hushnet.coordinator.accounts import Accounts, NewKey, Scope
from hushnet.coordinator.accounts.service import OPERATOR_ACCOUNT
from hushnet.coordinator.settings import CoordinatorSettings
from hushnet.coordinator.storage.accounts import SqlAccountStore
from hushnet.coordinator.storage.database import Database
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import ConfigurationError
from hushnet.foundation.home import make_private_folder


def prepare_files(settings: CoordinatorSettings) -> None:
    """Make the home folder (0700) and, for SQLite, the database file (0600) before anything else could make them wider.

    SQLite gives the files beside a database the database's own mode. Raises `ConfigurationError`.
    """
    make_private_folder(settings.home)
    try:
        url = make_url(settings.database.reveal())
    except ArgumentError:
        return
    if url.get_backend_name() != "sqlite" or not url.database:
        return
    path = Path(url.database).absolute()
    make_private_folder(path.parent)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise ConfigurationError(
            f"the database file {path} can't be opened for writing ({error.strerror})",
            hint="choose another with --database or --home",
        ) from None


async def initialise(settings: CoordinatorSettings, clock: Clock, *, is_new_key_wanted: bool = False) -> NewKey | None:
    """Bring the database up to date and make the operator's key; None when somebody holds one already.

    With `is_new_key_wanted` every operator key of the operator's account is revoked and a new one made.
    Raises `ConfigurationError` when another process writes this database.
    """
    prepare_files(settings)
    database = await Database.open(settings.database.reveal())
    try:
        accounts = Accounts(SqlAccountStore(database), clock, settings=settings.access)
        if await accounts.is_initialised() and not is_new_key_wanted:
            return None
        operator, _ = await accounts.create_account(OPERATOR_ACCOUNT)
        for key in await accounts.keys_of(operator.id):
            if key.scope is Scope.OPERATOR and key.revoked_ms is None:
                await accounts.revoke_key(key.id, account_id=operator.id)
        return await accounts.create_key(operator.id, Scope.OPERATOR, "init")
    finally:
        await database.aclose()
