"""What is done on the coordinator's own machine: private files, a schema, and operators' keys.

Operators' keys are made and revoked in the database, and never made by a request. Whatever needs two of them
(`incentives/corrections.py`) rests on this: a key that could make another would be both.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from hushnet.coordinator.accounts import Accounts, ApiKey, NewKey, Scope
from hushnet.coordinator.accounts.rules import parse_key_id
from hushnet.coordinator.accounts.service import OPERATOR_ACCOUNT
from hushnet.coordinator.settings import CoordinatorSettings
from hushnet.coordinator.storage.accounts import SqlAccountStore
from hushnet.coordinator.storage.database import Database
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import ConfigurationError, RequestError
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

    With `is_new_key_wanted` every operator's key, of whatever account, is revoked and a new one made.
    Raises `ConfigurationError` when another process writes this database.
    """
    async with _accounts_of(settings, clock) as accounts:
        if await accounts.is_initialised() and not is_new_key_wanted:
            return None
        for key in await accounts.operator_keys():
            await accounts.revoke_key(key.id, account_id=key.account)
        return await _made(accounts, "init")


async def create_operator_key(settings: CoordinatorSettings, clock: Clock, name: str) -> NewKey:
    """Make one more operator's key, for one more operator.

    Raises `ConfigurationError` when another process writes this database, `RequestError` for a bad name.
    """
    async with _accounts_of(settings, clock) as accounts:
        return await _made(accounts, name)


async def operator_keys(settings: CoordinatorSettings, clock: Clock) -> Sequence[ApiKey]:
    """Return every operator's key, oldest first, revoked ones too; also beside a live coordinator."""
    database = await Database.open_reader(settings.database.reveal())
    try:
        return await Accounts(SqlAccountStore(database), clock).operator_keys(is_revoked_too=True)
    finally:
        await database.aclose()


async def revoke_operator_key(settings: CoordinatorSettings, clock: Clock, key_id: str) -> None:
    """Revoke an operator's key; one that was revoked before stays so.

    Processes that serve the same database follow within `access.key_cache_s`. Raises `RequestError` `key_not_found`,
    `ConfigurationError` when another process writes this database.
    """
    async with _accounts_of(settings, clock) as accounts:
        wanted = parse_key_id(key_id)
        found = [key for key in await accounts.operator_keys(is_revoked_too=True) if key.id == wanted]
        if not found:
            raise RequestError(
                "no operator has such a key", code="key_not_found", hint="`hush coordinator keys list` shows the ids"
            )
        await accounts.revoke_key(found[0].id, account_id=found[0].account)


async def _made(accounts: Accounts, name: str) -> NewKey:
    operator, _ = await accounts.create_account(OPERATOR_ACCOUNT)
    return await accounts.create_key(operator.id, Scope.OPERATOR, name)


@asynccontextmanager
async def _accounts_of(settings: CoordinatorSettings, clock: Clock) -> AsyncIterator[Accounts]:
    prepare_files(settings)
    database = await Database.open(settings.database.reveal())
    try:
        yield Accounts(SqlAccountStore(database), clock, settings=settings.access)
    finally:
        await database.aclose()
