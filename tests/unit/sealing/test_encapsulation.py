"""HPKE's sender in two halves: what it seals the library opens, and an encapsulation seals one message."""

from __future__ import annotations

import copy
import os
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushnet.sealing.encapsulation import Encapsulation, encapsulate
from hushnet.sealing.errors import SealingError
from hushnet.sealing.suites import HPKE_SUITES, Suite, generate_key_pair, kem_of, wrap

PAIRS = {suite: generate_key_pair(suite) for suite in HPKE_SUITES}
EACH = pytest.mark.parametrize("suite", list(HPKE_SUITES))


def made(suite: Suite) -> Encapsulation:
    kem = kem_of(suite)
    assert kem is not None
    return encapsulate(kem, PAIRS[suite].public_key)


@EACH
@settings(max_examples=25, deadline=None)
@given(plaintext=st.binary(max_size=300), info=st.binary(max_size=300))
def test_the_library_opens_what_is_sealed_in_two_halves(suite: Suite, plaintext: bytes, info: bytes) -> None:
    sealed = made(suite).seal(plaintext, info=info)

    private = PAIRS[suite].private
    assert not isinstance(private, bytes)
    assert HPKE_SUITES[suite].decrypt(sealed, private, info) == plaintext


@EACH
def test_a_wrap_is_as_long_as_the_registry_says_with_and_without_preparation(suite: Suite) -> None:
    public_key = PAIRS[suite].public_key
    ready = made(suite)

    prepared = wrap(suite, public_key, bytes(64), context=b"c", prepared=ready)
    inline = wrap(suite, public_key, bytes(64), context=b"c")

    assert len(prepared) == len(inline) == suite.wrap_size
    assert prepared.startswith(ready.enc)
    assert not ready.is_usable


@EACH
def test_an_encapsulation_seals_one_message(suite: Suite) -> None:
    ready = made(suite)
    ready.seal(b"first", info=b"")

    with pytest.raises(SealingError, match="frame_out_of_state"):
        ready.seal(b"second", info=b"")


@EACH
def test_no_two_encapsulations_are_alike(suite: Suite) -> None:
    assert len({made(suite).enc for _ in range(20)}) == 20


def test_the_box_has_no_encapsulation() -> None:
    assert kem_of(Suite.NACL_BOX) is None


@EACH
def test_a_key_of_low_order_yields_no_secret(suite: Suite) -> None:
    kem = kem_of(suite)
    assert kem is not None
    with pytest.raises(SealingError, match="key_low_order"):
        encapsulate(kem, PAIRS[suite].public_key[:-32] + bytes(32))


def test_a_post_quantum_key_that_does_not_parse_is_malformed() -> None:
    kem = kem_of(Suite.HPKE_MLKEM768_X25519)
    assert kem is not None
    with pytest.raises(SealingError, match="key_malformed"):
        encapsulate(kem, b"\xff" * 1184 + PAIRS[Suite.HPKE_X25519].public_key)


def test_it_is_neither_copied_nor_shown() -> None:
    ready = made(Suite.HPKE_X25519)

    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="not copied"):
            attempt(ready)
    assert ready.enc.hex() not in repr(ready)
    assert repr(ready) == "Encapsulation(0x0020, ready)"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_cannot_use_it() -> None:
    ready = made(Suite.HPKE_X25519)
    child = os.fork()
    if child == 0:
        try:
            ready.seal(b"twice", info=b"")
        except SealingError as error:
            os._exit(0 if error.error_code == "frame_out_of_state" and not ready.is_usable else 1)
        os._exit(2)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert ready.is_usable
