"""Providers by the beginnings of their ids, and by whose they are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hushnet.coordinator.fleet.roll import PREFIX_DIGITS, Roll
from hushnet.coordinator.fleet.store import Owner
from hushnet.foundation.ids import AccountId, ApiKeyId, ProviderId

ONE, TWO = AccountId(1), AccountId(2)
LIKE, ALIKE, OTHER = (ProviderId(start.ljust(64, "0")) for start in ("abcdefabcdef1", "abcdefabcdef2", "123456123456"))


class Fleet:
    """A fleet that tells the roll of every change, as the real one does."""

    def __init__(self) -> None:
        self.live: dict[ProviderId, Any] = {}
        self.roll = Roll(self)

    def get(self, provider_id: ProviderId) -> Any:
        return self.live.get(provider_id)

    def join(self, provider_id: ProviderId, account: AccountId) -> None:
        provider = SimpleNamespace(provider_id=provider_id, owner=Owner(account, ApiKeyId(1)))
        self.live[provider_id] = provider
        self.roll.changed(provider)  # type: ignore[arg-type]

    def leave(self, provider_id: ProviderId) -> None:
        self.roll.changed(self.live.pop(provider_id))


def test_a_prefix_stands_for_every_provider_whose_id_begins_so() -> None:
    fleet = Fleet()
    for provider_id in (LIKE, ALIKE, OTHER):
        fleet.join(provider_id, ONE)

    assert set(fleet.roll.named(LIKE[:PREFIX_DIGITS])) == {LIKE, ALIKE}
    assert list(fleet.roll.named(LIKE[: PREFIX_DIGITS + 1])) == [LIKE]
    assert list(fleet.roll.named(OTHER)) == [OTHER]
    assert list(fleet.roll.named("0" * 12)) == []


def test_an_account_owns_what_is_connected_with_its_tokens_now() -> None:
    fleet = Fleet()
    fleet.join(LIKE, ONE)
    fleet.join(OTHER, TWO)
    assert (fleet.roll.owned_by(ONE), fleet.roll.owned_by(TWO)) == ({LIKE}, {OTHER})

    fleet.join(OTHER, ONE)
    fleet.leave(LIKE)

    assert (fleet.roll.owned_by(ONE), fleet.roll.owned_by(TWO)) == ({OTHER}, frozenset())
    assert list(fleet.roll.named(LIKE)) == []


def test_nothing_is_kept_of_those_that_have_left() -> None:
    fleet = Fleet()
    for _ in range(3):
        fleet.join(LIKE, ONE)
        fleet.leave(LIKE)

    assert not fleet.roll._owners
    assert not fleet.roll._owned
    assert not fleet.roll._named
