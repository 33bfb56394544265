"""Who calls: answered from memory, revoked at once, bounded whatever comes in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from hushnet.coordinator.accounts import Account, Accounts, ApiKey, NewKey, Scope, rules
from hushnet.coordinator.accounts.model import KeyStanding
from hushnet.coordinator.settings import AccessSettings
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.errors import AccessError, CapacityError, RequestError
from hushnet.foundation.ids import AccountId, ApiKeyId
from support.control import secret_of


class MemoryStore:
    """The store's contract in memory, with a gate to hold a look-up at its most delicate moment."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.keys: dict[ApiKeyId, ApiKey] = {}
        self.reads = 0
        self.gate: asyncio.Event | None = None
        self.reached = asyncio.Event()

    async def add_account(self, account: Account) -> Account:
        return self.accounts.setdefault(account.name, account)

    async def account(self, account_id: AccountId) -> Account | None:
        return next((account for account in self.accounts.values() if account.id == account_id), None)

    async def bar_account(self, account_id: AccountId, at_ms: int | None) -> bool:
        account = await self.account(account_id)
        if account is None:
            return False
        self.accounts[account.name] = Account(account.id, account.name, account.created_ms, at_ms)
        return True

    async def add_key(self, key: ApiKey, *, live_max: int) -> bool:
        if sum(one.account == key.account and one.revoked_ms is None for one in self.keys.values()) >= live_max:
            return False
        self.keys[key.id] = key
        return True

    async def key(self, key_id: ApiKeyId) -> KeyStanding | None:
        self.reads += 1
        found = self.keys.get(key_id)
        if self.gate is not None:
            self.reached.set()
            await self.gate.wait()
        if found is None:
            return None
        account = await self.account(found.account)
        return KeyStanding(found, account is not None and account.closed_ms is not None)

    async def keys_of(self, account_id: AccountId) -> Sequence[ApiKey]:
        return [key for key in self.keys.values() if key.account == account_id]

    async def keys_of_scope(self, scope: str) -> Sequence[ApiKey]:
        return [key for key in self.keys.values() if key.scope.value == scope]

    async def revoke_key(self, key_id: ApiKeyId, *, account_id: AccountId, at_ms: int) -> bool:
        key = self.keys.get(key_id)
        if key is None or key.account != account_id:
            return False
        self.keys[key_id] = ApiKey(key.id, key.account, key.scope, key.name, key.digest, key.created_ms, at_ms)
        return True


class Bench:
    def __init__(self, settings: AccessSettings | None = None) -> None:
        self.store = MemoryStore()
        self.clock = ManualClock()
        self.accounts = Accounts(self.store, self.clock, settings=settings)

    async def key(self, scope: Scope = Scope.USER, account: str = "ann") -> NewKey:
        owner, _ = await self.accounts.create_account(account)
        return await self.accounts.create_key(owner.id, scope, "laptop")


def bearer(made: NewKey) -> str:
    return f"Bearer {made.text.reveal()}"


async def test_a_key_opens_its_scope_and_is_remembered() -> None:
    bench = Bench()
    made = await bench.key()
    for _ in range(3):
        caller = await bench.accounts.authenticate(bearer(made), Scope.USER)
        assert (caller.account_id, caller.key_id) == (made.key.account, made.key.id)
    assert bench.store.reads == 1


async def test_a_key_opens_no_other_scope() -> None:
    bench = Bench()
    made = await bench.key(Scope.PROVIDER)
    with pytest.raises(AccessError) as caught:
        await bench.accounts.authenticate(bearer(made), Scope.USER)
    assert caught.value.error_code == "wrong_scope"


async def test_a_scope_word_that_is_not_the_keys_own_is_an_unknown_key() -> None:
    bench = Bench()
    made = await bench.key(Scope.USER)
    forged = bearer(made).replace("hk_user_", "hk_operator_")
    with pytest.raises(AccessError) as caught:
        await bench.accounts.authenticate(forged, Scope.OPERATOR)
    assert caught.value.error_code == "invalid_api_key"


async def test_missing_malformed_unknown_and_wrong_keys_get_one_answer() -> None:
    bench = Bench()
    made = await bench.key()
    wrong_secret = rules.write_key(Scope.USER, made.key.id, rules.new_secret()).reveal()
    unknown = rules.write_key(Scope.USER, rules.new_key_id(), rules.new_secret()).reveal()
    headers = [None, "", "Bearer", "Bearer nonsense", f"Bearer {wrong_secret}", f"Bearer {unknown}"]
    errors = []
    for header in headers:
        with pytest.raises(AccessError) as caught:
            await bench.accounts.authenticate(header, Scope.USER)
        errors.append((caught.value.error_code, str(caught.value)))
    assert set(errors) == {errors[0]}
    assert errors[0][0] == "invalid_api_key"


async def test_a_revocation_acts_at_once_although_the_key_was_remembered() -> None:
    bench = Bench()
    made = await bench.key()
    await bench.accounts.authenticate(bearer(made), Scope.USER)
    assert await bench.accounts.revoke_key(made.key.id, account_id=made.key.account)
    with pytest.raises(AccessError):
        await bench.accounts.authenticate(bearer(made), Scope.USER)


async def test_a_revocation_beats_a_lookup_that_had_read_the_key_before() -> None:
    bench = Bench()
    made = await bench.key()
    bench.store.gate = asyncio.Event()
    asking = asyncio.create_task(bench.accounts.authenticate(bearer(made), Scope.USER))
    await bench.store.reached.wait()
    assert await bench.accounts.revoke_key(made.key.id, account_id=made.key.account)
    bench.store.gate.set()
    with pytest.raises(AccessError):
        await asking


async def test_nobody_revokes_somebody_elses_key() -> None:
    bench = Bench()
    made, other = await bench.key(account="ann"), await bench.key(account="bob")
    assert not await bench.accounts.revoke_key(made.key.id, account_id=other.key.account)
    await bench.accounts.authenticate(bearer(made), Scope.USER)


async def test_a_remembered_key_is_read_again_after_its_time() -> None:
    bench = Bench(AccessSettings(key_cache_s=30.0))
    made = await bench.key()
    await bench.accounts.authenticate(bearer(made), Scope.USER)
    # Another process revokes it: this one hears of it when its memory runs out.
    await bench.store.revoke_key(made.key.id, account_id=made.key.account, at_ms=1)
    await bench.accounts.authenticate(bearer(made), Scope.USER)
    bench.clock.advance(31)
    with pytest.raises(AccessError):
        await bench.accounts.authenticate(bearer(made), Scope.USER)


async def test_a_barred_account_is_refused_at_once_and_works_again_when_reopened() -> None:
    bench = Bench()
    made = await bench.key()
    await bench.accounts.authenticate(bearer(made), Scope.USER)
    await bench.accounts.bar_account(made.key.account)
    with pytest.raises(AccessError) as caught:
        await bench.accounts.authenticate(bearer(made), Scope.USER)
    assert caught.value.error_code == "account_closed"
    await bench.store.bar_account(made.key.account, None)
    await bench.accounts.refresh(made.key.account)
    await bench.accounts.authenticate(bearer(made), Scope.USER)


async def test_a_key_that_calls_too_fast_is_told_when_to_come_back() -> None:
    bench = Bench(AccessSettings(requests_per_s=1.0, burst=2))
    made = await bench.key()
    for _ in range(2):
        await bench.accounts.authenticate(bearer(made), Scope.USER)
    with pytest.raises(CapacityError) as caught:
        await bench.accounts.authenticate(bearer(made), Scope.USER)
    assert caught.value.error_code == "rate_limited"
    assert caught.value.retry_after_s == pytest.approx(1.0)
    bench.clock.advance(1.0)
    await bench.accounts.authenticate(bearer(made), Scope.USER)


async def test_the_same_name_is_the_same_account() -> None:
    bench = Bench()
    first, is_new = await bench.accounts.create_account("ann")
    again, is_new_again = await bench.accounts.create_account(" ann ")
    assert (is_new, is_new_again) == (True, False)
    assert first == again


async def test_an_account_has_a_bounded_number_of_live_keys() -> None:
    bench = Bench()
    owner, _ = await bench.accounts.create_account("ann")
    made = [await bench.accounts.create_key(owner.id, Scope.USER, "") for _ in range(rules.KEYS_LIVE_MAX)]
    with pytest.raises(RequestError) as caught:
        await bench.accounts.create_key(owner.id, Scope.USER, "")
    assert caught.value.error_code == "too_many_keys"
    await bench.accounts.revoke_key(made[0].key.id, account_id=owner.id)
    await bench.accounts.create_key(owner.id, Scope.USER, "")


async def test_a_key_for_no_account_is_refused() -> None:
    with pytest.raises(RequestError) as caught:
        await Bench().accounts.create_key(AccountId(2**17), Scope.USER, "")
    assert caught.value.error_code == "account_not_found"


async def test_what_is_stored_and_shown_of_a_key_is_not_the_key() -> None:
    bench = Bench()
    made = await bench.key()
    secret = secret_of(made.text.reveal())
    assert secret not in repr(made) + repr(bench.store.keys)
    assert bench.store.keys[made.key.id].digest != secret.encode()


async def test_memory_of_keys_is_bounded() -> None:
    bench = Bench(AccessSettings(keys_cached_max=16))
    owner, _ = await bench.accounts.create_account("ann")
    made = [await bench.accounts.create_key(owner.id, Scope.USER, "") for _ in range(40)]
    for key in made:
        await bench.accounts.authenticate(bearer(key), Scope.USER)
    assert bench.store.reads == 40
    await bench.accounts.authenticate(bearer(made[-1]), Scope.USER)
    assert bench.store.reads == 40
    await bench.accounts.authenticate(bearer(made[0]), Scope.USER)
    assert bench.store.reads == 41


async def test_the_coordinator_is_initialised_once_the_operator_has_a_key() -> None:
    bench = Bench()
    assert not await bench.accounts.is_initialised()
    await bench.key(Scope.USER, account="operator")
    assert not await bench.accounts.is_initialised()
    await bench.key(Scope.OPERATOR, account="operator")
    assert await bench.accounts.is_initialised()
