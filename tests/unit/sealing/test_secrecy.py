"""What holds a key or a prompt shows neither, and cannot be copied or written down."""

from __future__ import annotations

import copy
import logging
import pickle
import traceback
from collections.abc import Iterator

import pytest

from hushnet.sealing.errors import CODES, Fault, RelayReportedError, SealingError, WireCode
from hushnet.sealing.meters import Meter
from hushnet.sealing.opening import FrameOpener
from hushnet.sealing.records import parse_record
from hushnet.sealing.suites import Suite, load_key_pair
from support.sealing import BenchProvider, copy_of, seal_to

CANARY = b"canary-7f3a-prompt"


def holders() -> Iterator[tuple[object, list[bytes]]]:
    """Yield each object that holds a secret, with the secrets."""
    home = BenchProvider()
    sealed = seal_to(home.recipient(), data=CANARY)
    secret = sealed.recipients[0].secret
    request = home.open(sealed.raw)
    live = home.keyring.find(sealed.recipients[0].suite, sealed.recipients[0].key_id, now=0)
    assert live is not None
    sealer = copy_of(sealed)
    yield sealed, [secret, CANARY]
    yield sealed.recipients[0], [secret]
    yield request, [secret, CANARY]
    yield home.keyring, [live.receipt_key.private_bytes_raw()]
    yield live, [live.receipt_key.private_bytes_raw()]
    yield load_key_pair(Suite.NACL_BOX, CANARY.ljust(32)), [CANARY]
    frames = request.frame_sealer()
    opener = FrameOpener(sealer)
    head = frames.head(CANARY)
    yield opener.open(head), [CANARY]
    yield frames, [secret]
    yield opener, [secret]
    yield parse_record(head), [head[-16:]]


@pytest.mark.parametrize(("holder", "secrets"), [pytest.param(*pair, id=type(pair[0]).__name__) for pair in holders()])
def test_no_holder_of_a_secret_shows_it(holder: object, secrets: list[bytes]) -> None:
    for text in (repr(holder), str(holder), f"{holder}"):
        for secret in secrets:
            for shown in (secret.hex(), repr(secret)[2:-1], secret.decode("latin-1")):
                assert shown not in text


@pytest.mark.parametrize("name", ["FrameSealer", "FrameOpener", "OpenedRequest", "SealingKeyPair"])
def test_what_owns_a_counter_or_key_is_neither_copied_nor_pickled(name: str) -> None:
    holder = next(holder for holder, _ in holders() if type(holder).__name__ == name)
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            duplicate(holder)


def test_an_error_carries_its_code_and_no_text_of_what_failed() -> None:
    home = BenchProvider()
    raw = bytearray(seal_to(home.recipient(), data=CANARY).raw)
    raw[-1] ^= 1
    with pytest.raises(SealingError) as caught:
        home.open(bytes(raw))
    text = "".join(traceback.format_exception(caught.value))
    assert CANARY.decode() not in text
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert str(caught.value) == "sealing check failed: open_failed"


def test_nothing_is_logged_while_sealing_and_opening(caplog: pytest.LogCaptureFixture) -> None:
    home = BenchProvider()
    with caplog.at_level(logging.DEBUG):
        sealed = seal_to(home.recipient(), data=CANARY)
        sealer = home.open(sealed.raw).frame_sealer()
        opener = FrameOpener(sealed)
        opener.open(sealer.head(b"{}"))
        opener.open(sealer.end(Meter(1, 0, 1, 0)))
    assert not caplog.records


def test_codes_are_closed() -> None:
    with pytest.raises(ValueError, match="code"):
        SealingError("prompt was: hello")
    assert all(SealingError(code).error_code == code for code in CODES)
    assert {code.label for code in WireCode} <= CODES
    assert RelayReportedError("queue_full").error_code == "relay_error"


def test_a_missed_floor_says_how_to_lower_it_and_what_that_means() -> None:
    hint = SealingError("trust_below_floor").hint()
    assert "self_signed" in hint
    assert "read" in hint


@pytest.mark.parametrize(
    ("code", "number", "fault"),
    [
        ("bad_envelope", 101, Fault.SEALER),
        ("unsupported_version", 102, Fault.SEALER),
        ("unsupported_suite", 103, Fault.SEALER),
        ("unknown_key", 104, Fault.NONE),
        ("not_for_me", 105, Fault.RELAY),
        ("expired", 106, Fault.SEALER),
        ("not_yet_valid", 107, Fault.SEALER),
        ("replayed", 108, Fault.SEALER),
        ("open_failed", 109, Fault.SEALER),
        ("bad_header", 110, Fault.SEALER),
        ("header_body_mismatch", 111, Fault.SEALER),
        ("bound_exceeded", 112, Fault.SEALER),
        ("bad_request", 113, Fault.SEALER),
        ("context_too_long", 114, Fault.SEALER),
        ("capacity", 201, Fault.PROVIDER),
        ("model_unavailable", 202, Fault.PROVIDER),
        ("draining", 203, Fault.PROVIDER),
        ("internal", 204, Fault.PROVIDER),
        ("engine_failed", 205, Fault.PROVIDER),
        ("timed_out", 206, Fault.PROVIDER),
        ("cancelled", 207, Fault.CALLER),
        ("backpressure", 208, Fault.PROVIDER),
    ],
)
def test_wire_codes_are_those_of_the_table(code: str, number: int, fault: Fault) -> None:
    wire_code = WireCode(number)
    assert (wire_code.label, wire_code.fault) == (code, fault)
    assert WireCode.of_label(code) is wire_code
    assert SealingError(code).wire_code is wire_code
    assert wire_code.is_id_released is (number in (201, 202, 203))


def test_codes_of_sealing_clients_do_not_cross_the_link() -> None:
    assert SealingError("frame_gap").wire_code is None
    assert SealingError("statement_expired").wire_code is None
