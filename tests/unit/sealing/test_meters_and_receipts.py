"""Section 15, meters and receipts: what is billed is bounded, never runs back, and is signed at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hushnet.sealing import derivations
from hushnet.sealing.envelope import SealedRequest
from hushnet.sealing.errors import SealingError
from hushnet.sealing.limits import RECORD_HEADER
from hushnet.sealing.meters import METER_SIZE, Meter, verify_receipt
from hushnet.sealing.records import FINAL, Head, Kind, meter_of, parse_head, parse_record
from support.sealing import BenchProvider, RecordForger, frame_plaintext, open_all, seal_to

GOOD = Meter(input=256, cached=256, output=16, reasoning=16)


class Scene:
    """A request for 256 prompt and 16 output tokens, and a provider that writes what it likes under its true keys."""

    def __init__(self) -> None:
        self.home = BenchProvider()
        self.sealed = seal_to(self.home.recipient())
        own = self.sealed.recipients[0]
        live = self.home.keyring.find(own.suite, own.key_id, now=0)
        assert live is not None
        assert own.receipt_key is not None
        self.receipt_public = own.receipt_key
        head = Head(own.suite, own.provider_id, own.key_id, bytes(range(32)))
        self.forger = RecordForger(own.secret, head, self.sealed.digest, receipt_key=live.receipt_key)

    def usage(self, seq: int, clear: bytes) -> bytes:
        return self.forger.record(Kind.USAGE, 0, seq, clear=clear, plaintext=frame_plaintext(b""))

    def refusal(self, *records: bytes, sealed: SealedRequest | None = None) -> str | None:
        try:
            open_all(sealed or self.sealed, [self.forger.begin(), *records])
        except SealingError as error:
            return error.error_code
        return None


BAD_METERS: dict[str, Meter] = {
    "over_output_bound": Meter(256, 0, 17, 0),
    "over_prompt_bound": Meter(257, 0, 0, 0),
    "cached_over_input": Meter(5, 6, 0, 0),
    "reasoning_over_output": Meter(5, 0, 6, 7),
    "usage_with_code": Meter(5, 0, 6, 0, code=205),
}


@pytest.mark.parametrize("name", BAD_METERS)
def test_a_meter_outside_its_bounds_is_refused_in_usage_and_end(name: str) -> None:
    scene = Scene()
    meter = BAD_METERS[name]
    assert scene.refusal(scene.usage(1, meter.pack())) == "meter_invalid"
    assert scene.refusal(scene.forger.final(Kind.END, 1, meter)) == "meter_invalid"


@pytest.mark.parametrize(
    "later",
    [Meter(199, 100, 10, 5), Meter(200, 99, 10, 5), Meter(200, 100, 9, 5), Meter(200, 100, 10, 4)],
    ids=["input", "cached", "output", "reasoning"],
)
def test_no_counter_runs_backwards(later: Meter) -> None:
    case = "runs_backwards"
    scene = Scene()
    earlier = Meter(200, 100, 10, 5)
    assert scene.refusal(scene.usage(1, earlier.pack()), scene.usage(2, later.pack())) == "meter_invalid", case
    assert scene.refusal(scene.usage(1, later.pack()), scene.usage(2, earlier.pack())) == "stream_truncated"


def test_an_end_with_a_code_is_refused() -> None:
    case = "end_with_code"
    scene = Scene()
    assert scene.refusal(scene.forger.final(Kind.END, 1, Meter(1, 0, 1, 0, code=204))) == "meter_invalid", case


def test_an_error_without_a_code_is_refused() -> None:
    case = "error_without_code"
    scene = Scene()
    assert scene.refusal(scene.forger.final(Kind.ERROR, 1, Meter(1, 0, 1, 0))) == "meter_invalid", case
    assert scene.refusal(scene.forger.final(Kind.ERROR, 1, Meter(1, 0, 1, 0, code=204))) is None


def test_set_reserved_bytes_are_refused() -> None:
    scene = Scene()
    assert scene.refusal(scene.usage(1, GOOD.pack()[:-1] + b"\1")) == "meter_invalid"


def test_a_meter_that_reaches_every_bound_is_accepted() -> None:
    scene = Scene()
    assert scene.refusal(scene.usage(1, GOOD.pack()), scene.forger.final(Kind.END, 2, GOOD)) is None


def test_a_meter_that_the_relay_edits_breaks_the_record() -> None:
    case = "edited_by_relay"
    scene = Scene()
    usage = scene.usage(1, Meter(5, 0, 1, 0).pack())
    edited = usage[:12] + Meter(5, 0, 2, 0).pack() + usage[32:]
    assert scene.refusal(edited) == "frame_open_failed", case


def test_an_unsigned_end_is_refused_where_receipts_were_promised() -> None:
    case = "receipt_missing"
    scene = Scene()
    end = scene.forger.record(Kind.END, FINAL, 1, clear=GOOD.pack(), plaintext=frame_plaintext(b""))
    assert scene.refusal(end) == "receipt_missing", case
    assert scene.refusal(end, sealed=without_receipts(scene)) is None


def test_a_signed_end_is_refused_where_no_receipts_were_promised() -> None:
    scene = Scene()
    end = scene.forger.final(Kind.END, 1, GOOD)
    assert scene.refusal(end, sealed=without_receipts(scene)) == "receipt_invalid"


def without_receipts(scene: Scene) -> SealedRequest:
    return SealedRequest(
        raw=scene.sealed.raw,
        header=scene.sealed.header,
        digest=scene.sealed.digest,
        recipients=tuple(replace(own, receipt_key=None) for own in scene.sealed.recipients),
        frame_pad=1,
    )


WRONG_RECEIPTS: dict[str, dict[str, Any]] = {
    "by_other_key": {"receipt_key": Ed25519PrivateKey.generate()},
    "of_other_attempt": {"nonce": bytes(32)},
    "of_other_provider": {"provider_id": bytes(32)},
    "of_other_sealing_key": {"key_id": bytes(16)},
    "other_digest": {"digest": bytes(32)},
    "other_kind": {"kind": Kind.ERROR},
    "other_seq": {"seq": 2},
    "other_meter": {"meter": Meter(256, 256, 15, 15)},
}


@pytest.mark.parametrize("name", WRONG_RECEIPTS)
def test_a_receipt_of_something_else_is_refused_by_consumer_and_relay(name: str) -> None:
    case = "other_digest_kind_or_seq"
    scene = Scene()
    end = scene.forger.final(Kind.END, 1, GOOD, **WRONG_RECEIPTS[name])
    assert scene.refusal(end) == "receipt_invalid", case
    assert relay_refusal(scene, end) == "receipt_invalid"


def relay_refusal(scene: Scene, raw: bytes, receipt_key: bytes | None = None) -> str | None:
    head = parse_head(parse_record(scene.forger.begin()))
    try:
        verify_receipt(
            receipt_key or scene.receipt_public,
            parse_record(raw),
            digest=scene.sealed.digest,
            provider_id=head.provider_id,
            key_id=head.key_id,
            nonce=head.nonce,
        )
    except SealingError as error:
        return error.error_code
    return None


def test_the_relay_accepts_a_true_receipt_and_misses_an_absent_one() -> None:
    scene = Scene()
    assert relay_refusal(scene, scene.forger.final(Kind.END, 1, GOOD)) is None
    assert relay_refusal(scene, scene.usage(1, GOOD.pack())) == "receipt_missing"
    assert relay_refusal(scene, scene.forger.final(Kind.END, 1, GOOD), receipt_key=b"\xff" * 32) == "receipt_invalid"


def test_a_receipt_key_of_small_order_proves_nothing() -> None:
    """Under the neutral point the signature (neutral point, 0) would fit every message."""
    scene = Scene()
    neutral = b"\x01" + bytes(31)
    end = scene.forger.final(Kind.END, 1, GOOD)
    signature_at = RECORD_HEADER + METER_SIZE
    forged = end[:signature_at] + neutral + bytes(32) + end[signature_at + 64 :]

    assert relay_refusal(scene, forged, receipt_key=neutral) == "receipt_invalid"


def test_meters_survive_the_round_trip_and_refuse_what_no_meter_is() -> None:
    assert Meter.unpack(Meter(1, 2, 3, 4, 5).pack()) == Meter(1, 2, 3, 4, 5)
    for raw in (b"", bytes(19)):
        with pytest.raises(SealingError):
            Meter.unpack(raw)
    for meter in (Meter(-1, 0, 0, 0), Meter(2**32, 0, 0, 0), Meter(0, 0, 0, 0, 65536)):
        with pytest.raises(SealingError):
            meter.pack()


def test_the_relay_reads_meters_of_metered_records_alone() -> None:
    scene = Scene()
    assert meter_of(parse_record(scene.usage(1, GOOD.pack()))) == GOOD
    assert meter_of(parse_record(scene.forger.final(Kind.END, 1, GOOD))) == GOOD
    content = scene.forger.record(Kind.CONTENT, 0, 1, plaintext=frame_plaintext(b"x"))
    for raw in (scene.forger.begin(), content):
        with pytest.raises(SealingError):
            meter_of(parse_record(raw))


def test_the_relay_reads_heads_alone_as_heads() -> None:
    scene = Scene()
    with pytest.raises(SealingError) as caught:
        parse_head(parse_record(scene.usage(1, GOOD.pack())))
    assert caught.value.error_code == "frame_out_of_state"


KEY_INPUTS: dict[str, Any] = {
    "secret": bytes(64),
    "nonce": bytes(32),
    "suite": 1,
    "provider_id": bytes(32),
    "key_id": bytes(16),
    "digest": bytes(32),
}
CHANGED: dict[str, Callable[[], dict[str, Any]]] = {
    "content key": lambda: {"secret": b"\1" + bytes(63)},
    "reply key": lambda: {"secret": bytes(63) + b"\1"},
    "nonce": lambda: {"nonce": b"\1" + bytes(31)},
    "suite": lambda: {"suite": 2},
    "provider": lambda: {"provider_id": b"\1" + bytes(31)},
    "key id": lambda: {"key_id": b"\1" + bytes(15)},
    "digest": lambda: {"digest": b"\1" + bytes(31)},
}


@pytest.mark.parametrize("name", CHANGED)
def test_response_keys_depend_on_every_field(name: str) -> None:
    case = "response_keys_depend_on_every_field"
    inputs = dict(KEY_INPUTS)
    key, iv = derivations.response_keys(inputs.pop("secret"), **inputs)
    inputs = KEY_INPUTS | CHANGED[name]()
    other_key, other_iv = derivations.response_keys(inputs.pop("secret"), **inputs)
    assert key != other_key, case
    assert iv != other_iv, case
