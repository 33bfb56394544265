"""The stores of accounts, tariffs and providers: one suite, on SQLite and on Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hushnet.coordinator.accounts import Account, ApiKey, ProviderRecord, Scope, rules
from hushnet.coordinator.catalog import EVERY_MODEL, Discount, Tariff
from hushnet.coordinator.storage.accounts import SqlAccountStore
from hushnet.coordinator.storage.catalog import SqlDiscountStore, SqlTariffStore
from hushnet.coordinator.storage.database import Database
from hushnet.coordinator.storage.providers import SqlProviderStore
from hushnet.foundation.errors import StorageError
from hushnet.foundation.ids import AccountId, ApiKeyId, ModelId, ProviderId
from hushnet.foundation.money import Price
from support.postgres import fresh_database

ANN, BOB = AccountId(2**16 + 1), AccountId(2**16 + 2)
MODEL = ModelId("org/model:q8")
PROVIDER = ProviderId("ab" * 32)


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        opened = await Database.open(f"sqlite:///{tmp_path}/c.db")
        yield opened
        await opened.aclose()
        return
    with fresh_database() as url:
        opened = await Database.open(url)
        yield opened
        await opened.aclose()


@pytest.fixture
async def accounts(database: Database) -> SqlAccountStore:
    store = SqlAccountStore(database)
    await store.add_account(Account(ANN, "ann", 1))
    await store.add_account(Account(BOB, "bob", 2))
    return store


def key(number: int, account: AccountId = ANN, scope: Scope = Scope.USER) -> ApiKey:
    digest = rules.digest_of(rules.new_secret())
    return ApiKey(ApiKeyId(number), account, scope, f"key {number}", digest, 1000 + number)


async def test_an_account_reads_back_and_its_name_is_its_own(accounts: SqlAccountStore) -> None:
    assert await accounts.account(ANN) == Account(ANN, "ann", 1)
    assert await accounts.account(AccountId(99_999_999)) is None
    assert await accounts.add_account(Account(AccountId(2**16 + 3), "ann", 5)) == Account(ANN, "ann", 1)


async def test_an_account_id_that_is_taken_is_a_storage_error(accounts: SqlAccountStore) -> None:
    with pytest.raises(StorageError):
        await accounts.add_account(Account(ANN, "carol", 5))


async def test_many_at_once_make_one_account(accounts: SqlAccountStore) -> None:
    wishes = [Account(AccountId(2**17 + number), "dora", number) for number in range(8)]
    made = await asyncio.gather(*(accounts.add_account(wish) for wish in wishes))
    assert len({account.id for account in made}) == 1


async def test_barring_and_reopening_an_account_shows_in_the_standing_of_its_keys(accounts: SqlAccountStore) -> None:
    await accounts.add_key(key(1), live_max=10)
    assert await accounts.bar_account(ANN, 7)
    standing = await accounts.key(ApiKeyId(1))
    assert standing is not None
    assert standing.is_account_closed
    assert await accounts.bar_account(ANN, None)
    standing = await accounts.key(ApiKeyId(1))
    assert standing is not None
    assert not standing.is_account_closed
    assert not await accounts.bar_account(AccountId(99_999_999), 7)


async def test_a_key_reads_back_whole(accounts: SqlAccountStore) -> None:
    made = key(2**44, scope=Scope.PROVIDER)
    assert await accounts.add_key(made, live_max=10)
    standing = await accounts.key(made.id)
    assert standing is not None
    assert standing.key == made
    assert standing.key.digest == made.digest
    assert await accounts.key(ApiKeyId(404)) is None


async def test_only_live_keys_count_towards_the_limit(accounts: SqlAccountStore) -> None:
    assert await accounts.add_key(key(1), live_max=2)
    assert await accounts.add_key(key(2), live_max=2)
    assert not await accounts.add_key(key(3), live_max=2)
    assert await accounts.add_key(key(4, BOB), live_max=2)
    assert await accounts.revoke_key(ApiKeyId(1), account_id=ANN, at_ms=50)
    assert await accounts.add_key(key(5), live_max=2)


async def test_the_limit_of_keys_holds_when_many_come_at_once(accounts: SqlAccountStore) -> None:
    added = await asyncio.gather(*(accounts.add_key(key(number), live_max=3) for number in range(1, 9)))
    assert sum(added) == 3


async def test_a_revocation_keeps_its_first_time_and_its_owner(accounts: SqlAccountStore) -> None:
    await accounts.add_key(key(1), live_max=10)
    assert not await accounts.revoke_key(ApiKeyId(1), account_id=BOB, at_ms=40)
    assert await accounts.revoke_key(ApiKeyId(1), account_id=ANN, at_ms=50)
    assert await accounts.revoke_key(ApiKeyId(1), account_id=ANN, at_ms=60)
    standing = await accounts.key(ApiKeyId(1))
    assert standing is not None
    assert standing.key.revoked_ms == 50


async def test_keys_are_listed_oldest_first_and_only_the_accounts_own(accounts: SqlAccountStore) -> None:
    for made in (key(3), key(1), key(2), key(4, BOB)):
        await accounts.add_key(made, live_max=10)
    assert [one.id for one in await accounts.keys_of(ANN)] == [1, 2, 3]


async def test_keys_of_a_scope_are_listed_whosever_they_are(accounts: SqlAccountStore) -> None:
    for made in (key(3, scope=Scope.OPERATOR), key(1), key(2, BOB, scope=Scope.OPERATOR)):
        await accounts.add_key(made, live_max=10)
    await accounts.revoke_key(ApiKeyId(3), account_id=ANN, at_ms=1)
    assert {one.id for one in await accounts.keys_of_scope("operator")} == {2, 3}


async def test_tariffs_are_added_once_a_moment_and_kept_for_ever(database: Database) -> None:
    store = SqlTariffStore(database)
    price = Price(input=10**10, cached=5, output=7, minimum=1)
    first, second = Tariff(2**53 - 1, MODEL, price, 100), Tariff(2, MODEL, price, 200)
    assert await store.add_tariff(first)
    assert await store.add_tariff(second)
    assert not await store.add_tariff(Tariff(3, MODEL, price, 200))
    assert await store.add_tariff(Tariff(4, ModelId("other"), price, 200))
    assert list(await store.tariffs_of(MODEL)) == [second, first]
    assert len(await store.tariffs()) == 3


async def test_discounts_are_added_once_a_moment_and_only_those_that_count_are_read(database: Database) -> None:
    store = SqlDiscountStore(database)
    rows = {at: Discount(ANN, MODEL, at, at) for at in (100, 200, 300, 400)}
    others, every = Discount(BOB, MODEL, 10_000, 150), Discount(ANN, EVERY_MODEL, 0, 50)

    async def add(row: Discount, changes_max: int = 9) -> bool | None:
        return await store.add_discount(row, since_ms=0, changes_max=changes_max)

    assert [await add(row) for row in (*rows.values(), others, every)] == [True] * 6
    assert await add(Discount(ANN, MODEL, 7, 200)) is False
    assert await add(Discount(ANN, MODEL, 7, 500), changes_max=5) is None
    assert set(await store.discounts(now_ms=250)) == {rows[200], rows[300], rows[400], others, every}
    assert set(await store.discounts(now_ms=250, owner=ANN)) == {rows[200], rows[300], rows[400], every}
    assert set(await store.discounts(now_ms=400, owner=BOB)) == {others}


async def test_a_provider_is_noted_again_and_its_first_time_stays(
    database: Database, accounts: SqlAccountStore
) -> None:
    store = SqlProviderStore(database)
    await store.note(_record(account=ANN, first_ms=1, last_ms=1))
    await store.note(_record(account=BOB, first_ms=9, last_ms=9, trust=2))
    (found,) = await store.providers(after="", limit=10)
    assert (found.account, found.first_ms, found.last_ms, found.trust) == (BOB, 1, 9, 2)


async def test_a_suspension_outlives_another_registration(database: Database, accounts: SqlAccountStore) -> None:
    store = SqlProviderStore(database)
    assert not await store.set_suspended(PROVIDER, at_ms=5, reason="lies")
    await store.note(_record(account=ANN, first_ms=1, last_ms=1))
    assert await store.set_suspended(PROVIDER, at_ms=5, reason="lies")
    await store.note(_record(account=ANN, first_ms=2, last_ms=2))
    assert await store.suspended() == {PROVIDER: "lies"}
    assert await store.set_suspended(PROVIDER, at_ms=None, reason="")
    assert await store.suspended() == {}


async def test_providers_are_paged_by_id(database: Database, accounts: SqlAccountStore) -> None:
    store = SqlProviderStore(database)
    ids = [ProviderId(f"{number:064x}") for number in range(5)]
    for provider_id in reversed(ids):
        await store.note(_record(account=ANN, first_ms=1, last_ms=1, provider_id=provider_id))
    page = await store.providers(after="", limit=3)
    rest = await store.providers(after=page[-1].id, limit=3)
    assert [record.id for record in (*page, *rest)] == ids


async def test_a_failing_database_is_a_storage_error_without_its_text(database: Database) -> None:
    store = SqlAccountStore(database)
    stranger = key(1, AccountId(2**40))
    with pytest.raises(StorageError) as caught:
        await store.add_key(stranger, live_max=10)
    assert "IntegrityError" in str(caught.value)
    assert "key 1" not in str(caught.value)
    assert caught.value.__cause__ is None


def _record(
    *, account: AccountId, first_ms: int, last_ms: int, trust: int = 1, provider_id: ProviderId = PROVIDER
) -> ProviderRecord:
    return ProviderRecord(
        id=provider_id, account=account, agent_version="0.1.0", trust=trust, first_ms=first_ms, last_ms=last_ms
    )
