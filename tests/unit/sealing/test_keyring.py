"""Short-lived keys: rotation, grace, and the receipt key that belongs to each statement."""

from __future__ import annotations

import pytest

from hushnet.sealing.keyring import Keyring
from hushnet.sealing.meters import Meter
from hushnet.sealing.statements import SerialMemory, verify_statement
from hushnet.sealing.suites import PREFERENCE, Suite
from support.sealing import NETWORK, NOW, BenchProvider, Ed25519Signer, open_all, seal_to


def test_a_rotation_endorses_new_keys_of_all_suites_for_an_hour() -> None:
    keyring = Keyring(Ed25519Signer(), network=NETWORK)
    serials = SerialMemory()
    seen: set[bytes] = set()
    for now in (NOW, NOW + 1800):
        statement = keyring.rotate(now)
        verified = verify_statement(statement, network=NETWORK, now=now, provider_id=None, serials=serials)
        assert keyring.statement is statement
        assert {key.suite for key in verified.keys} == set(PREFERENCE)
        assert verified.expires_at == now + 3600
        assert not seen & {key.key_id for key in verified.keys}
        seen |= {key.key_id for key in verified.keys}


def test_a_rotation_is_due_at_half_life() -> None:
    keyring = Keyring(Ed25519Signer(), network=NETWORK, life=600)
    assert keyring.is_due(NOW)
    assert keyring.statement is None
    keyring.rotate(NOW)
    assert keyring.rotates_at == NOW + 300
    assert not keyring.is_due(NOW + 299)
    assert keyring.is_due(NOW + 300)


def test_serials_rise_even_within_one_second() -> None:
    keyring = Keyring(Ed25519Signer(), network=NETWORK)
    serials = [
        verify_statement(keyring.rotate(NOW), network=NETWORK, now=NOW, provider_id=None, serials=SerialMemory()).serial
        for _ in range(3)
    ]
    assert serials == [NOW * 1000, NOW * 1000 + 1, NOW * 1000 + 2]


def test_a_private_key_lives_until_its_grace_is_over_and_is_then_forgotten() -> None:
    keyring = Keyring(Ed25519Signer(), network=NETWORK, suites=[Suite.NACL_BOX])
    statement = keyring.rotate(NOW)
    verified = verify_statement(statement, network=NETWORK, now=NOW, provider_id=None, serials=SerialMemory())
    key_id = verified.keys[0].key_id
    destroyed_at = NOW + 3600 + 420
    assert keyring.find(Suite.NACL_BOX, key_id, now=destroyed_at - 1) is not None
    assert keyring.find(Suite.NACL_BOX, key_id, now=destroyed_at) is None
    assert keyring.find(Suite.HPKE_X25519, key_id, now=NOW) is None
    keyring.expire(destroyed_at - 1)
    assert "1 live" in repr(keyring)
    keyring.expire(destroyed_at)
    assert "0 live" in repr(keyring)


def test_rotation_forgets_what_is_over() -> None:
    keyring = Keyring(Ed25519Signer(), network=NETWORK, suites=[Suite.NACL_BOX], life=10)
    for now in range(NOW, NOW + 2000, 5):
        keyring.rotate(now)
    assert "86 live" in repr(keyring)


def test_destroyed_keys_open_nothing() -> None:
    home = BenchProvider()
    recipient = home.recipient()
    home.keyring.destroy()
    assert home.keyring.find(recipient.suite, recipient.key_id, now=NOW) is None


def test_an_answer_to_a_request_under_old_keys_is_signed_by_their_receipt_key() -> None:
    home = BenchProvider()
    sealed = seal_to(home.recipient())
    home.keyring.rotate(NOW + 1)
    sealer = home.open(sealed.raw).frame_sealer()
    frames = open_all(sealed, [sealer.head(b"{}"), sealer.end(Meter(1, 0, 1, 0))])
    assert len(frames) == 2


@pytest.mark.parametrize("life", [0, 1, 86401])
def test_a_life_outside_its_bounds_is_refused(life: int) -> None:
    with pytest.raises(ValueError, match="lives"):
        Keyring(Ed25519Signer(), network=NETWORK, life=life)
