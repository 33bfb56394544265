"""The memory of who has read what: bounded under any flood, forgetful in time, and each account's own."""

from __future__ import annotations

from typing import Final

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hushnet.coordinator.fleet.affinity import AffinityLimits, AffinityMemory
from hushnet.dialects.affinity import PrefixTag
from hushnet.foundation.ids import AccountId, ModelId, ProviderId

SMALL: Final = AffinityLimits(entries_max=40, entries_of_account_max=12, providers_max=2, life_s=100.0)
ACCOUNTS = [AccountId(number) for number in range(1, 7)]
PROVIDERS = [ProviderId(f"{number:064x}") for number in range(5)]
MODELS = [ModelId("m"), ModelId("n")]
A, B = ACCOUNTS[:2]
P, Q, R = PROVIDERS[:3]
M, N = MODELS


def tag(number: int, size: int = 4) -> PrefixTag:
    return PrefixTag(number.to_bytes(16, "big"), size)


def test_the_longest_prefix_that_a_provider_has_read_counts() -> None:
    memory = AffinityMemory()
    memory.note(A, M, [tag(1, 8), tag(2, 10)], P, now_s=0.0)
    memory.note(A, M, [tag(1, 8)], Q, now_s=1.0)

    assert memory.likely(A, M, [tag(1, 8), tag(2, 10), tag(3, 12)], now_s=2.0) == {P: 1024, Q: 256}
    assert memory.likely(A, M, [tag(3, 12)], now_s=2.0) == {}
    assert memory.likely(A, M, [], now_s=2.0) == {}


def test_another_account_or_model_finds_nothing_by_the_same_tag() -> None:
    memory = AffinityMemory()
    memory.note(A, M, [tag(1)], P, now_s=0.0)

    assert memory.likely(B, M, [tag(1)], now_s=0.0) == {}
    assert memory.likely(A, N, [tag(1)], now_s=0.0) == {}


def test_a_prefix_is_forgotten_when_its_time_is_over_and_kept_while_it_is_used() -> None:
    memory = AffinityMemory(SMALL)
    memory.note(A, M, [tag(1)], P, now_s=0.0)
    assert memory.likely(A, M, [tag(1)], now_s=99.0) == {P: 16}
    assert memory.likely(A, M, [tag(1)], now_s=100.0) == {}

    memory.note(A, M, [tag(1)], P, now_s=99.0)
    assert memory.likely(A, M, [tag(1)], now_s=198.0) == {P: 16}


def test_what_is_too_old_leaves_the_memory_when_something_new_comes() -> None:
    memory = AffinityMemory(SMALL)
    for number in range(10):
        memory.note(A, M, [tag(number)], P, now_s=0.0)

    memory.note(B, M, [tag(99)], P, now_s=1_000.0)

    assert len(memory) == 1


def test_a_provider_that_leaves_or_drops_the_model_is_forgotten_at_once_and_for_good() -> None:
    memory = AffinityMemory()
    memory.note(A, M, [tag(1)], P, now_s=0.0)
    memory.note(A, N, [tag(1)], P, now_s=0.0)
    memory.note(A, M, [tag(1)], Q, now_s=0.0)

    memory.offered(P, {N})
    assert memory.likely(A, M, [tag(1)], now_s=0.0) == {Q: 16}
    assert memory.likely(A, N, [tag(1)], now_s=0.0) == {P: 16}

    memory.offered(P, ())
    assert memory.likely(A, N, [tag(1)], now_s=0.0) == {}
    memory.note(A, M, [tag(2)], P, now_s=1.0)
    assert memory.likely(A, M, [tag(1)], now_s=1.0) == {Q: 16}


def test_only_the_latest_providers_of_a_prefix_are_kept() -> None:
    memory = AffinityMemory(SMALL)
    for at_s, provider in enumerate((P, Q, R)):
        memory.note(A, M, [tag(1)], provider, now_s=float(at_s))

    assert set(memory.likely(A, M, [tag(1)], now_s=3.0)) == {Q, R}


@given(st.integers(1, 200))
def test_one_account_cannot_push_another_out(count: int) -> None:
    memory = AffinityMemory(SMALL)
    memory.note(B, M, [tag(7)], P, now_s=0.0)
    for number in range(count):
        memory.note(A, M, [tag(1000 + number)], Q, now_s=1.0)

    assert memory.likely(B, M, [tag(7)], now_s=1.0) == {P: 16}
    assert len(memory) <= 1 + SMALL.entries_of_account_max


def test_of_many_accounts_those_with_more_than_their_share_give_way() -> None:
    memory = AffinityMemory(SMALL)
    memory.note(B, M, [tag(7)], P, now_s=0.0)
    for number in range(100):
        for account in ACCOUNTS[2:]:
            memory.note(account, M, [tag(number)], Q, now_s=1.0)

    assert len(memory) == SMALL.entries_max
    assert memory.likely(B, M, [tag(7)], now_s=1.0) == {P: 16}


class Flood(RuleBasedStateMachine):
    """Anybody notes, asks and leaves in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = AffinityMemory(SMALL)
        self.now_s = 0.0

    @rule(
        account=st.sampled_from(ACCOUNTS),
        model=st.sampled_from(MODELS),
        provider=st.sampled_from(PROVIDERS),
        numbers=st.lists(st.integers(0, 60), max_size=8, unique=True),
    )
    def note(self, account: AccountId, model: ModelId, provider: ProviderId, numbers: list[int]) -> None:
        tags = [tag(number, size=number % 24) for number in numbers]
        self.memory.note(account, model, tags, provider, now_s=self.now_s)
        longest = tags[-1:]
        likely = self.memory.likely(account, model, longest, now_s=self.now_s)
        assert not tags or likely[provider] == longest[0].tokens

    @rule(provider=st.sampled_from(PROVIDERS), models=st.sets(st.sampled_from(MODELS)))
    def leave(self, provider: ProviderId, models: set[ModelId]) -> None:
        self.memory.offered(provider, models)
        everything = [tag(number, size=1) for number in range(61)]
        for account in ACCOUNTS:
            for model in set(MODELS) - models:
                assert provider not in self.memory.likely(account, model, everything, now_s=self.now_s)

    @rule(seconds=st.floats(0, 150))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @invariant()
    def it_holds_what_it_may_and_counts_right(self) -> None:
        accounts = self.memory._accounts
        held = [len(entries) for entries in accounts.values()]
        assert len(self.memory) == sum(held) <= SMALL.entries_max
        assert all(0 < count <= SMALL.entries_of_account_max for count in held)
        assert all(len(each) <= SMALL.providers_max for entries in accounts.values() for each in entries.values())
        assert len(self.memory._epochs) <= len(PROVIDERS)


TestFlood = Flood.TestCase
