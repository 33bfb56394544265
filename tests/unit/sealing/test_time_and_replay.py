"""Section 15, time and replay: an envelope runs once, while it is valid, at a provider whose keys still live."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

import pytest

from hushnet.sealing.errors import SealingError
from hushnet.sealing.replay import ReplayCache
from support.sealing import DATA, NOW, BenchProvider, RequestForger, seal_to


def refusal(home: BenchProvider, raw: bytes, *, now: int = NOW) -> str | None:
    try:
        home.open(raw, now=now)
    except SealingError as error:
        return error.error_code
    return None


def test_an_envelope_that_comes_again_is_replayed() -> None:
    case = "replay_same_provider"
    home = BenchProvider()
    raw = seal_to(home.recipient()).raw
    assert refusal(home, raw) is None
    assert refusal(home, raw) == "replayed", case


def test_a_replay_is_refused_before_any_cryptography() -> None:
    home = BenchProvider()
    raw = seal_to(home.recipient()).raw
    assert refusal(home, raw) is None
    assert refusal(home, raw[:-1] + bytes([raw[-1] ^ 1])) == "replayed"


def test_another_envelope_under_the_same_id_is_replayed() -> None:
    case = "id_reused_by_sealer"
    home = BenchProvider()
    first = RequestForger([home.recipient()])
    second = RequestForger([home.recipient()], content_key=bytes(32))
    assert first.header.id == second.header.id
    assert refusal(home, first.raw()) is None
    assert refusal(home, second.raw()) == "replayed", case


def test_a_broken_copy_does_not_burn_the_id() -> None:
    case = "broken_copy_does_not_burn_id"
    home = BenchProvider()
    raw = seal_to(home.recipient()).raw
    assert refusal(home, raw[:-1] + bytes([raw[-1] ^ 1])) == "open_failed"
    assert refusal(home, raw) is None, case


def test_a_released_id_opens_again() -> None:
    case = "released_id"
    home = BenchProvider()
    raw = seal_to(home.recipient()).raw
    request = home.open(raw)
    request.release()
    with pytest.raises(SealingError):
        request.frame_sealer()
    assert home.open(raw).data == DATA, case


def test_an_envelope_opens_in_the_last_valid_second_and_not_after() -> None:
    case = "last_valid_second"
    home = BenchProvider()
    sealed = seal_to(home.recipient())
    assert refusal(home, sealed.raw, now=sealed.header.exp + 119) is None, case


def test_an_envelope_is_expired_two_minutes_after_its_end() -> None:
    case = "expired"
    home = BenchProvider()
    sealed = seal_to(home.recipient())
    assert refusal(home, sealed.raw, now=sealed.header.exp + 120) == "expired", case


def test_an_envelope_from_more_than_two_minutes_ahead_is_not_yet_valid() -> None:
    case = "issued_in_future"
    home = BenchProvider()
    sealed = seal_to(home.recipient(), now=NOW + 121)
    assert refusal(home, sealed.raw) == "not_yet_valid", case
    assert refusal(home, sealed.raw, now=NOW + 1) is None


@pytest.mark.parametrize(("case", "life"), [("lifetime_too_long", 301), ("lifetime_zero", 0), ("lifetime_below", -1)])
def test_a_lifetime_outside_its_bounds_is_a_bad_header(case: str, life: int) -> None:
    home = BenchProvider()
    forger = RequestForger([home.recipient()])
    honest = forger.header_bytes
    edited = honest.replace(b'"exp":%d' % forger.header.exp, b'"exp":%d' % (NOW + life))
    assert edited != honest
    assert refusal(home, forger.raw().replace(honest, edited)) == "bad_header", case
    with pytest.raises(SealingError) as caught:
        seal_to(home.recipient(), life=life)
    assert caught.value.error_code == "bad_header"


def test_a_full_cache_refuses_and_keeps_every_live_id() -> None:
    case = "cache_full"
    home = BenchProvider(capacity=2)
    recipient = home.recipient()
    held = [seal_to(recipient).raw for _ in range(2)]
    assert [refusal(home, raw) for raw in held] == [None, None]
    fresh = seal_to(recipient)
    assert refusal(home, fresh.raw) == "capacity", case
    assert [refusal(home, raw) for raw in held] == ["replayed", "replayed"]
    later = seal_to(recipient, now=NOW + 300)
    assert refusal(home, later.raw, now=NOW + 300) is None


def test_after_a_restart_old_envelopes_fail_for_want_of_the_key() -> None:
    case = "replay_after_restart"
    home = BenchProvider()
    raw = seal_to(home.recipient()).raw
    assert refusal(home, raw) is None
    restarted = BenchProvider(home.signer)
    assert restarted.provider_id == home.provider_id
    assert refusal(restarted, raw) == "unknown_key", case


def test_an_id_stays_held_until_the_last_second_in_which_its_envelope_could_open() -> None:
    home = BenchProvider()
    sealed = seal_to(home.recipient())
    assert refusal(home, sealed.raw) is None
    assert refusal(home, sealed.raw, now=sealed.header.exp + 119) == "replayed"
    assert len(home.cache) == 1
    assert refusal(home, sealed.raw, now=sealed.header.exp + 120) == "expired"
    assert len(home.cache) == 0


def test_a_clock_that_steps_back_brings_no_expired_envelope_to_life() -> None:
    home = BenchProvider()
    sealed = seal_to(home.recipient())
    assert refusal(home, sealed.raw) is None
    home.cache.expire(sealed.header.exp + 120)
    assert len(home.cache) == 0
    assert refusal(home, sealed.raw) == "expired"


def test_a_clock_that_jumped_ahead_and_came_back_refuses_only_what_it_forgot() -> None:
    home = BenchProvider()
    recipient = home.recipient()
    held = seal_to(recipient)
    assert refusal(home, held.raw) is None
    home.cache.expire(NOW + 86400)
    assert refusal(home, held.raw) == "expired"
    assert refusal(home, seal_to(recipient, life=100).raw) == "expired"
    assert refusal(home, seal_to(recipient, now=NOW + 1).raw, now=NOW + 1) is None


def test_an_id_that_was_forgotten_while_its_envelope_was_opened_is_not_taken_again() -> None:
    cache = ReplayCache()
    cache.insert(b"id", until=100)
    cache.expire(100)
    with pytest.raises(SealingError) as caught:
        cache.insert(b"id", until=100)
    assert caught.value.error_code == "expired"
    cache.insert(b"id", until=101)


def test_checks_come_in_the_order_of_the_text() -> None:
    home = BenchProvider()
    forger = RequestForger([home.recipient()])
    header = forger.header_bytes
    unreadable = forger.raw().replace(header, header.replace(b'"v":1', b'"v":0'))
    elsewhere = replace(forger.recipients[0], provider_id=bytes(32))
    assert refusal(home, unreadable) == "unsupported_version"
    assert refusal(BenchProvider(), unreadable) == "not_for_me"
    assert refusal(home, RequestForger([elsewhere]).raw()) == "not_for_me"
    assert refusal(home, forger.raw(), now=NOW + 10_000) == "unknown_key"
    assert refusal(home, forger.raw(), now=NOW + 1_000) == "expired"


def test_one_of_many_threads_runs_an_envelope() -> None:
    cache = ReplayCache()
    outcomes: list[str] = []
    start = threading.Barrier(8)

    def insert() -> None:
        start.wait()
        try:
            cache.insert(b"id", until=NOW)
        except SealingError as error:
            outcomes.append(error.error_code)
        else:
            outcomes.append("ran")

    threads = [threading.Thread(target=insert) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["ran"] + ["replayed"] * 7


def test_releasing_an_id_that_is_not_held_is_no_error() -> None:
    cache = ReplayCache()
    cache.release(b"id")
    cache.insert(b"id", until=5)
    cache.release(b"id")
    cache.release(b"id")
    assert len(cache) == 0
    cache.expire(10)
    cache.insert(b"id", until=5)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_finds_no_keys_and_writes_no_records() -> None:
    home = BenchProvider()
    request = home.open(seal_to(home.recipient()).raw)
    sealer = request.frame_sealer()
    unopened = seal_to(home.recipient()).raw
    child = os.fork()
    if child == 0:
        code = 1
        try:
            sealer.head(b"{}")
        except SealingError as error:
            if error.error_code == "frame_out_of_state" and refusal(home, unopened) == "unknown_key":
                code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sealer.head(b"{}")
    assert refusal(home, unopened) is None
