"""Key exchanges made ahead: each used once, few, young, for the key that a recipient has now."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushnet.foundation.clock import ManualClock
from hushnet.sealing.envelope import seal_request
from hushnet.sealing.prepared import PreparedKeys, PreparedLimits
from hushnet.sealing.suites import Suite
from support.sealing import DATA, FIELDS, NOW, BenchProvider

HOMES = [BenchProvider() for _ in range(4)]
LIMITS = PreparedLimits(each_max=3, recipients_max=2, age_s_max=60.0)


def filled(keys: PreparedKeys) -> int:
    """Prepare until nothing is wanting; return how many were made."""
    made = 0
    while keys.prepare():
        made += 1
        assert made < 100
    return made


def test_nothing_is_prepared_for_nobody() -> None:
    keys = PreparedKeys(ManualClock().monotonic_s, LIMITS)

    assert not keys.prepare()
    assert keys.take(HOMES[0].recipient()) is None


def test_a_request_sealed_with_a_prepared_exchange_opens_at_its_provider() -> None:
    keys = PreparedKeys(ManualClock().monotonic_s, LIMITS)
    home = HOMES[0]
    recipients = [home.recipient()]
    for expected_ready in (0, 3, 2):
        assert keys.ready == expected_ready
        sealed = seal_request(FIELDS, meta={}, data=DATA, recipients=recipients, now=NOW, prepared=keys.take)
        assert home.open(sealed.raw).data == DATA
        if expected_ready == 0:
            assert filled(keys) == LIMITS.each_max


def test_no_exchange_is_given_twice() -> None:
    keys = PreparedKeys(ManualClock().monotonic_s, LIMITS)
    recipient = HOMES[0].recipient()
    keys.take(recipient)
    filled(keys)

    taken = [keys.take(recipient) for _ in range(LIMITS.each_max + 1)]

    assert taken[-1] is None
    assert len({each.enc for each in taken if each is not None}) == LIMITS.each_max


def test_a_rotated_key_takes_its_exchanges_with_it() -> None:
    keys = PreparedKeys(ManualClock().monotonic_s, LIMITS)
    home = BenchProvider()
    keys.take(home.recipient())
    filled(keys)
    home.statement = home.keyring.rotate(NOW)

    assert keys.take(home.recipient()) is None
    assert keys.ready == 0
    filled(keys)
    sealed = seal_request(FIELDS, meta={}, data=DATA, recipients=[home.recipient()], now=NOW, prepared=keys.take)
    assert home.open(sealed.raw).data == DATA


def test_an_old_exchange_is_not_used() -> None:
    clock = ManualClock()
    keys = PreparedKeys(clock.monotonic_s, LIMITS)
    keys.take(HOMES[0].recipient())
    filled(keys)
    clock.advance(LIMITS.age_s_max)

    assert keys.take(HOMES[0].recipient()) is None


def test_a_recipient_that_nobody_seals_to_is_forgotten() -> None:
    clock = ManualClock()
    keys = PreparedKeys(clock.monotonic_s, LIMITS)
    keys.take(HOMES[0].recipient())
    clock.advance(LIMITS.age_s_max / 2)
    keys.take(HOMES[1].recipient())
    filled(keys)
    clock.advance(LIMITS.age_s_max / 2)

    assert not keys.prepare()
    assert keys.ready == LIMITS.each_max


def test_the_least_recently_used_recipient_makes_room() -> None:
    keys = PreparedKeys(ManualClock().monotonic_s, LIMITS)
    for home in HOMES[:3]:
        keys.take(home.recipient())
    filled(keys)

    assert keys.ready == LIMITS.recipients_max * LIMITS.each_max
    assert keys.take(HOMES[0].recipient()) is None
    assert keys.take(HOMES[2].recipient()) is not None


def test_a_key_that_nothing_can_be_sealed_to_is_left_to_the_request_that_tries() -> None:
    keys = PreparedKeys(ManualClock().monotonic_s, LIMITS)
    keys.take(replace(HOMES[0].recipient(Suite.HPKE_X25519), public_key=bytes(32)))

    assert filled(keys) == 1
    assert keys.ready == 0


def test_the_box_is_not_prepared_for() -> None:
    keys = PreparedKeys(ManualClock().monotonic_s, LIMITS)
    keys.take(HOMES[0].recipient(Suite.NACL_BOX))

    assert not keys.prepare()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.integers(0, 3), st.just("prepare"), st.floats(0, 40)), max_size=60))
def test_whatever_happens_it_stays_bounded_and_gives_nothing_twice(steps: list[object]) -> None:
    clock = ManualClock()
    keys = PreparedKeys(clock.monotonic_s, LIMITS)
    given_out: list[bytes] = []
    for step in steps:
        if isinstance(step, int):
            ready = keys.take(HOMES[step].recipient(Suite.HPKE_X25519))
            given_out += [] if ready is None else [ready.enc]
        elif isinstance(step, float):
            clock.advance(step)
        else:
            keys.prepare()
        assert keys.ready <= LIMITS.each_max * LIMITS.recipients_max
    assert len(set(given_out)) == len(given_out)


def test_they_are_neither_copied_nor_shown() -> None:
    keys = PreparedKeys(ManualClock().monotonic_s, LIMITS)
    keys.take(HOMES[0].recipient())
    filled(keys)

    with pytest.raises(TypeError, match="not copied"):
        pickle.dumps(keys)
    assert repr(keys) == "PreparedKeys(3 ready for 1 recipients)"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_starts_with_none() -> None:
    keys = PreparedKeys(ManualClock().monotonic_s, LIMITS)
    recipient = HOMES[0].recipient()
    keys.take(recipient)
    filled(keys)
    child = os.fork()
    if child == 0:
        os._exit(0 if keys.take(recipient) is None and keys.ready == 0 else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert keys.take(recipient) is not None
