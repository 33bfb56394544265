"""Section 15, the stream: what a relay, another recipient or a provider does to an answer is noticed at that record."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from hushnet.sealing.envelope import parse_envelope
from hushnet.sealing.errors import RelayReportedError, SealingError
from hushnet.sealing.meters import Meter
from hushnet.sealing.opening import FrameOpener, OpenedRequest
from hushnet.sealing.records import (
    FINAL,
    SIGNED,
    FrameSealer,
    Head,
    Kind,
    keepalive_record,
    parse_record,
    relay_error_record,
)
from hushnet.sealing.suites import Suite
from support.sealing import BenchProvider, RecordForger, copy_of, frame_plaintext, open_all, seal_to

METER = Meter(input=3, cached=1, output=2, reasoning=0)
TEXT = (b'{"status":200}', b"role", b"Hello", b" there")


def answer(sealer: FrameSealer) -> list[bytes]:
    """Head, boilerplate, two contents, usage, end."""
    return [
        sealer.head(TEXT[0]),
        sealer.boilerplate(TEXT[1]),
        sealer.content(TEXT[2]),
        sealer.content(TEXT[3]),
        sealer.usage(METER),
        sealer.end(METER),
    ]


@dataclass
class Scene:
    """One request to Alice and Bob, and Alice's answer to it."""

    suite: Suite = Suite.NACL_BOX
    frame_pad: int = 1
    alice: BenchProvider = field(default_factory=BenchProvider)
    bob: BenchProvider = field(default_factory=BenchProvider)

    def __post_init__(self) -> None:
        self.sealed = seal_to(
            self.alice.recipient(self.suite), self.bob.recipient(self.suite), frame_pad=self.frame_pad
        )
        self.records = answer(self.opened_by(self.alice).frame_sealer())

    def opened_by(self, home: BenchProvider) -> OpenedRequest:
        """Open the request anew, as a provider that breaks the rule of one run would."""
        index = [self.alice, self.bob].index(home)
        home.cache.release(self.sealed.header.id)
        return home.open(parse_envelope(self.sealed.raw).select(index))

    def forger(self, index: int = 0, **changes: object) -> RecordForger:
        """Write records under the true keys of a recipient; `changes` are made to the head."""
        own = self.sealed.recipients[index]
        head = replace_head(Head(own.suite, own.provider_id, own.key_id, bytes(range(32))), **changes)
        home = (self.alice, self.bob)[index]
        live = home.keyring.find(own.suite, own.key_id, now=0)
        assert live is not None
        return RecordForger(own.secret, head, self.sealed.digest, receipt_key=live.receipt_key)

    def refusal(self, records: Sequence[bytes]) -> str | None:
        try:
            open_all(self.sealed, records)
        except SealingError as error:
            return error.error_code
        return None


def replace_head(head: Head, **changes: object) -> Head:
    values = {name: getattr(head, name) for name in head.__struct_fields__} | changes
    return Head(**values)


def edit(record: bytes, position: int, value: bytes) -> bytes:
    return record[:position] + value + record[position + len(value) :]


def with_seq(record: bytes, seq: int) -> bytes:
    return edit(record, 4, struct.pack(">I", seq))


def head_of(scene: Scene, home: BenchProvider) -> bytes:
    return scene.opened_by(home).frame_sealer().head(b"{}")


def spliced_from(scene: Scene, other: Sequence[bytes]) -> list[bytes]:
    return [*scene.records[:2], *other[2:]]


def insider_speaks_as_other(scene: Scene) -> list[bytes]:
    """Bob knows C and his own R; with the relay's help he answers under Alice's name."""
    alice = scene.sealed.recipients[0]
    head = Head(alice.suite, alice.provider_id, alice.key_id, bytes(32))
    forger = RecordForger(scene.sealed.recipients[1].secret, head, scene.sealed.digest)
    return [forger.begin()]


def head_names_other_recipient(scene: Scene) -> list[bytes]:
    bob = scene.sealed.recipients[1]
    return [edit(scene.records[0], 16, bob.provider_id + bob.key_id), *scene.records[1:]]


def other_request(scene: Scene) -> list[bytes]:
    return spliced_from(scene, Scene(alice=scene.alice, bob=scene.bob).records)


CASES: dict[str, tuple[Callable[[Scene], list[bytes]], str]] = {
    "dropped": (lambda scene: scene.records[:2] + scene.records[3:], "frame_gap"),
    "reordered": (
        lambda scene: [*scene.records[:2], scene.records[3], scene.records[2], *scene.records[4:]],
        "frame_gap",
    ),
    "duplicated": (lambda scene: scene.records[:3] + scene.records[2:], "frame_replayed"),
    "truncated": (lambda scene: scene.records[:-1], "stream_truncated"),
    "truncated_after_head": (lambda scene: scene.records[:1], "stream_truncated"),
    "empty": (lambda _: [], "no_response"),
    "only_keepalives": (lambda _: [keepalive_record()] * 3, "no_response"),
    "without_head": (lambda scene: scene.records[1:], "frame_out_of_state"),
    "second_head": (lambda scene: [scene.records[0], *scene.records], "frame_out_of_state"),
    "second_head_of_other_recipient": (
        lambda scene: [scene.records[0], head_of(scene, scene.bob)],
        "frame_out_of_state",
    ),
    "after_end": (lambda scene: [*scene.records, scene.records[2]], "frame_after_final"),
    "after_end_again": (lambda scene: [*scene.records, scene.records[-1]], "frame_after_final"),
    "seq_rewritten": (
        lambda scene: [*scene.records[:2], with_seq(scene.records[3], 2), with_seq(scene.records[2], 3)],
        "frame_open_failed",
    ),
    "kind_rewritten": (
        lambda scene: [scene.records[0], edit(scene.records[1], 0, b"\3")],
        "frame_open_failed",
    ),
    "head_nonce_rewritten": (
        lambda scene: [edit(scene.records[0], 12 + 52, bytes(32)), *scene.records[1:]],
        "frame_open_failed",
    ),
    "other_attempt_same_provider": (
        lambda scene: spliced_from(scene, answer(scene.opened_by(scene.alice).frame_sealer())),
        "frame_open_failed",
    ),
    "other_provider_same_request": (
        lambda scene: spliced_from(scene, answer(scene.opened_by(scene.bob).frame_sealer())),
        "frame_open_failed",
    ),
    "other_request": (other_request, "frame_open_failed"),
    "insider_speaks_as_other": (insider_speaks_as_other, "frame_open_failed"),
    "head_names_other_recipient": (head_names_other_recipient, "frame_open_failed"),
    "content_relabelled_as_end": (
        lambda scene: [*scene.records[:2], edit(scene.records[2], 0, bytes((Kind.END, FINAL)))],
        "frame_bad_length",
    ),
    "clear_part_on_content": (
        lambda scene: [
            scene.forger().begin(),
            scene.forger().record(Kind.CONTENT, 0, 1, clear=bytes(20), plaintext=frame_plaintext(b"x")),
        ],
        "frame_bad_length",
    ),
    "clear_part_missing_on_usage": (
        lambda scene: [
            scene.forger().begin(),
            scene.forger().record(Kind.USAGE, 0, 1, plaintext=frame_plaintext(b"")),
        ],
        "frame_bad_length",
    ),
    "oversize_before_allocation": (
        lambda scene: [
            scene.forger().begin(),
            scene.forger().record(Kind.CONTENT, 0, 1, plaintext=frame_plaintext(bytes(65533))),
        ],
        "frame_bad_length",
    ),
    "ciphertext_too_short": (
        lambda scene: [scene.records[0], struct.pack(">BBHII", 3, 0, 0, 1, 19) + bytes(19)],
        "frame_bad_length",
    ),
    "relay_error_too_long": (
        lambda _: [struct.pack(">BBHII", 127, 0, 257, 0, 0) + bytes(257)],
        "frame_bad_length",
    ),
    "final_on_content": (
        lambda scene: [*scene.records[:2], edit(scene.records[2], 1, bytes((FINAL,)))],
        "frame_bad_flags",
    ),
    "final_cleared_on_end": (
        lambda scene: [*scene.records[:5], edit(scene.records[5], 1, b"\0")],
        "frame_bad_flags",
    ),
    "signed_on_usage": (
        lambda scene: [*scene.records[:4], edit(scene.records[4], 1, bytes((SIGNED,)))],
        "frame_bad_flags",
    ),
    "unknown_flag": (lambda scene: [*scene.records[:2], edit(scene.records[2], 1, b"\4")], "frame_bad_flags"),
    "unknown_kind": (
        lambda scene: [*scene.records[:2], edit(scene.records[2], 0, b"\7")],
        "frame_unknown_kind",
    ),
    "too_short": (lambda scene: [scene.records[0][:-1]], "frame_malformed"),
    "shorter_than_its_header": (lambda scene: [scene.records[0][:11]], "frame_malformed"),
    "too_long": (lambda scene: [scene.records[0] + b"\0"], "frame_malformed"),
    "keepalive_with_payload": (
        lambda _: [struct.pack(">BBHII", 0, 0, 0, 0, 20) + bytes(20)],
        "frame_malformed",
    ),
    "keepalive_with_number": (lambda _: [struct.pack(">BBHII", 0, 0, 0, 1, 0)], "frame_malformed"),
    "keepalive_with_clear_part": (lambda _: [struct.pack(">BBHII", 0, 0, 5, 0, 0) + bytes(5)], "frame_malformed"),
    "keepalive_with_flag": (lambda _: [struct.pack(">BBHII", 0, 1, 0, 0, 0)], "frame_malformed"),
    "relay_error_with_payload": (
        lambda _: [struct.pack(">BBHII", 127, 0, 0, 0, 1) + b"x"],
        "frame_malformed",
    ),
    "head_names_stranger": (
        lambda scene: [edit(scene.records[0], 16, bytes(32)), *scene.records[1:]],
        "head_unknown_recipient",
    ),
    "head_names_stranger_key": (
        lambda scene: [edit(scene.records[0], 48, bytes(16)), *scene.records[1:]],
        "head_unknown_recipient",
    ),
    "head_suite_rewritten": (
        lambda scene: [edit(scene.records[0], 13, b"\2"), *scene.records[1:]],
        "head_unknown_recipient",
    ),
    "head_other_version": (
        lambda scene: [edit(scene.records[0], 12, b"\2"), *scene.records[1:]],
        "head_unsupported_version",
    ),
    "head_reserved_set": (
        lambda scene: [edit(scene.records[0], 14, b"\0\1"), *scene.records[1:]],
        "frame_malformed",
    ),
    "padding_not_zero": (
        lambda scene: [
            scene.forger().begin(),
            scene.forger().record(Kind.CONTENT, 0, 1, plaintext=frame_plaintext(b"x", b"\0\1\0")),
        ],
        "frame_bad_padding",
    ),
    "inner_overrun": (
        lambda scene: [
            scene.forger().begin(),
            scene.forger().record(Kind.CONTENT, 0, 1, plaintext=struct.pack(">I", 2) + b"x"),
        ],
        "frame_bad_padding",
    ),
    "relay_error_instead_of_end": (
        lambda scene: [*scene.records[:5], relay_error_record("recipients_unavailable")],
        "relay_error",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_meddled_stream_fails_with_the_code_of_what_was_done(name: str) -> None:
    build, code = CASES[name]
    scene = Scene()
    assert scene.refusal(build(scene)) == code


@pytest.mark.parametrize("suite", Suite, ids=[suite.label for suite in Suite])
def test_an_honest_stream_opens_whole_and_names_its_provider(suite: Suite) -> None:
    scene = Scene(suite)
    opener = FrameOpener(copy_of(scene.sealed))
    frames = [opener.open(record) for record in scene.records]
    opener.finish()
    assert tuple(frame.data for frame in frames if frame is not None) == (*TEXT, b"", b"")
    assert [frame.kind for frame in frames if frame is not None] == [1, 2, 3, 3, 4, 6]
    assert opener.provider_id == scene.alice.provider_id
    assert opener.meter == METER
    assert opener.is_final
    assert opener.receipt == parse_record(scene.records[-1])


def test_either_recipient_may_answer() -> None:
    scene = Scene()
    frames = open_all(scene.sealed, answer(scene.opened_by(scene.bob).frame_sealer()))
    assert len(frames) == 6


def test_keepalives_are_skipped_wherever_the_relay_puts_them() -> None:
    scene = Scene()
    woven = [keepalive_record()]
    for record in scene.records:
        woven += [record, keepalive_record()]
    assert len(open_all(scene.sealed, woven)) == 6


def test_records_that_were_parsed_before_open_too() -> None:
    scene = Scene()
    assert len(open_all(scene.sealed, [parse_record(record) for record in scene.records])) == 6


@pytest.mark.parametrize("frame_pad", [1, 16, 64, 4096])
def test_records_are_padded_as_asked(frame_pad: int) -> None:
    scene = Scene(frame_pad=frame_pad)
    for record in scene.records:
        parsed = parse_record(record)
        assert (len(record) - 12 - len(parsed.clear) - 16) % frame_pad == 0
    assert scene.refusal(scene.records) is None


def test_records_that_are_not_padded_as_asked_are_refused() -> None:
    case = "not_padded_as_asked"
    scene = Scene(frame_pad=64)
    forger = scene.forger()
    padded = forger.record(1, 0, 0, clear=forger.head.pack(), plaintext=frame_plaintext(b"{}", bytes(58)))
    assert scene.refusal([padded]) == "stream_truncated"
    assert scene.refusal([forger.begin()]) == "frame_bad_padding", case


def test_a_stream_with_any_byte_changed_fails_or_ends_early() -> None:
    case = "every_record_byte_flipped"
    scene = Scene()
    for index, record in enumerate(scene.records):
        for position in range(len(record)):
            changed = edit(record, position, bytes((record[position] ^ 1 << position % 8,)))
            records = [*scene.records[:index], changed, *scene.records[index + 1 :]]
            assert scene.refusal(records) is not None, (case, index, position)


@pytest.mark.parametrize("name", ["dropped", "kind_rewritten", "unknown_kind", "relay_error_instead_of_end"])
def test_an_opener_is_dead_after_any_error(name: str) -> None:
    case = "used_after_error"
    build, code = CASES[name]
    scene = Scene()
    opener = FrameOpener(copy_of(scene.sealed))
    with pytest.raises(SealingError) as caught:
        list(map(opener.open, build(scene)))
    assert caught.value.error_code == code
    for use in (lambda: opener.open(scene.records[0]), lambda: opener.open(keepalive_record()), opener.finish):
        with pytest.raises(SealingError) as dead:
            use()
        assert dead.value.error_code == "opener_dead", case


def test_the_relays_own_failure_carries_its_code() -> None:
    with pytest.raises(RelayReportedError) as caught:
        open_all(Scene().sealed, [relay_error_record("recipients_unavailable")])
    assert caught.value.relay_code == "recipients_unavailable"


@pytest.mark.parametrize(
    "clear",
    [b"", b"{}", b"[]", b'{"code":1}', b'{"code":"Not A Code"}', b'{"code":"%b"}' % (b"a" * 65), b"[" * 256],
)
def test_a_relay_failure_whose_code_is_not_one_reads_as_unknown(clear: bytes) -> None:
    record = struct.pack(">BBHII", 127, 0, len(clear), 0, 0) + clear
    with pytest.raises(RelayReportedError) as caught:
        open_all(Scene().sealed, [record])
    assert caught.value.relay_code == "unknown"


def test_the_relay_writes_no_free_text() -> None:
    with pytest.raises(ValueError, match="a-z0-9_"):
        relay_error_record("the prompt was")


def test_an_answer_of_one_error_opens() -> None:
    scene = Scene()
    sealer = scene.opened_by(scene.alice).frame_sealer()
    failed = Meter(3, 0, 0, 0, code=205)
    frames = open_all(scene.sealed, [sealer.head(b"{}"), sealer.error(failed, b'{"error":{}}')])
    assert (frames[-1].kind, frames[-1].data, frames[-1].meter) == (Kind.ERROR, b'{"error":{}}', failed)


SEALER_MISUSE: dict[str, tuple[Callable[[FrameSealer], object], str]] = {
    "content before head": (lambda sealer: sealer.content(b"x"), "frame_out_of_state"),
    "end before head": (lambda sealer: sealer.end(METER), "frame_out_of_state"),
    "second head": (lambda sealer: [sealer.head(b"{}"), sealer.head(b"{}")], "frame_out_of_state"),
    "content after end": (
        lambda sealer: [sealer.head(b"{}"), sealer.end(METER), sealer.content(b"x")],
        "frame_after_final",
    ),
    "end after error": (
        lambda sealer: [sealer.head(b"{}"), sealer.error(Meter(0, 0, 0, 0, 204)), sealer.end(METER)],
        "frame_after_final",
    ),
    "content after drop": (
        lambda sealer: [sealer.head(b"{}"), sealer.drop(), sealer.content(b"x")],
        "frame_after_final",
    ),
    "too much data": (lambda sealer: [sealer.head(b"{}"), sealer.content(bytes(65533))], "frame_bad_length"),
    "more output than promised": (
        lambda sealer: [sealer.head(b"{}"), sealer.usage(Meter(0, 0, 17, 0))],
        "meter_invalid",
    ),
    "end with a code": (lambda sealer: [sealer.head(b"{}"), sealer.end(Meter(0, 0, 0, 0, 1))], "meter_invalid"),
    "error without a code": (lambda sealer: [sealer.head(b"{}"), sealer.error(METER)], "meter_invalid"),
}


@pytest.mark.parametrize("name", SEALER_MISUSE)
def test_a_sealer_refuses_what_no_opener_would_accept(name: str) -> None:
    use, code = SEALER_MISUSE[name]
    scene = Scene()
    with pytest.raises(SealingError) as caught:
        use(scene.opened_by(scene.alice).frame_sealer())
    assert caught.value.error_code == code


def test_a_refused_write_uses_up_no_number() -> None:
    scene = Scene()
    sealer = scene.opened_by(scene.alice).frame_sealer()
    head = sealer.head(b"{}")
    with pytest.raises(SealingError):
        sealer.content(bytes(65533))
    with pytest.raises(SealingError):
        sealer.end(Meter(0, 0, 17, 0))
    assert len(open_all(scene.sealed, [head, sealer.content(b"x"), sealer.end(METER)])) == 3


@pytest.mark.parametrize(("size", "count"), [(0, 0), (1, 1), (65532, 1), (65533, 2), (200_000, 4)])
def test_long_bodies_are_cut_into_as_few_records_as_hold_them(size: int, count: int) -> None:
    scene = Scene(frame_pad=4096)
    sealer = scene.opened_by(scene.alice).frame_sealer()
    head, contents = sealer.head(b"{}"), sealer.contents(bytes(size))
    frames = open_all(scene.sealed, [head, *contents, sealer.end(METER)])
    assert len(contents) == count
    assert sum(len(frame.data) for frame in frames if frame.kind is Kind.CONTENT) == size


def test_numbers_end_before_they_wrap() -> None:
    scene = Scene()
    sealer = scene.opened_by(scene.alice).frame_sealer()
    sealer.head(b"{}")
    sealer._seq = 2**32 - 2
    assert parse_record(sealer.content(b"x")).seq == 2**32 - 2
    with pytest.raises(SealingError) as caught:
        sealer.content(b"x")
    assert caught.value.error_code == "frame_out_of_state"


def test_an_opened_request_starts_one_answer() -> None:
    scene = Scene()
    request = scene.opened_by(scene.alice)
    request.frame_sealer()
    with pytest.raises(SealingError) as caught:
        request.frame_sealer()
    assert caught.value.error_code == "frame_out_of_state"


def test_a_dropped_request_opens_no_answer() -> None:
    scene = Scene()
    opener = FrameOpener(scene.sealed)
    scene.sealed.drop()
    with pytest.raises(SealingError) as caught:
        opener.open(scene.records[0])
    assert caught.value.error_code == "head_unknown_recipient"


@pytest.mark.parametrize("last", ["end", "error"])
def test_secrets_are_forgotten_with_the_terminal_record(last: str) -> None:
    scene = Scene()
    sealer = scene.opened_by(scene.alice).frame_sealer()
    records = [
        sealer.head(b"{}"),
        sealer.end(METER) if last == "end" else sealer.error(replace_meter(METER, code=204)),
    ]
    opener = FrameOpener(scene.sealed)
    opener.open(records[0])
    assert scene.sealed.recipients
    opener.open(records[1])
    assert scene.sealed.recipients == ()
    assert not sealer.is_open


def replace_meter(meter: Meter, *, code: int) -> Meter:
    return Meter(meter.input, meter.cached, meter.output, meter.reasoning, code)
