"""What version 1 of the link looks like on the wire, byte for byte: old captures stay readable, new code writes the same.

The files are append-only: a changed line is a new version of the link (docs/guides/how-to-add-a-frame.md). A frame that got a
member has a younger line, which is written byte for byte; of the older ones nothing is lost and nothing changes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from hushnet.sealing.records import parse_record
from hushnet.wire.codec import (
    COORDINATOR_TAGS,
    FROM_COORDINATOR,
    FROM_PROVIDER,
    PROVIDER_TAGS,
    decode_coordinator_frame,
    decode_provider_frame,
    encode_control,
    split_data,
)
from hushnet.wire.lanes import Lanes

GOLDEN = Path(__file__).parent / "golden"
COORDINATOR_LINES = (GOLDEN / "coordinator_frames.jsonl").read_bytes().splitlines()
PROVIDER_LINES = (GOLDEN / "provider_frames.jsonl").read_bytes().splitlines()
YOUNGEST = {
    raw
    for lines in (COORDINATOR_LINES, PROVIDER_LINES)
    for raw in {msgspec.json.decode(raw)["type"]: raw for raw in lines}.values()
}
MESSAGES = [line.split() for line in (GOLDEN / "data_messages.txt").read_text().splitlines() if line[0] != "#"]


@pytest.mark.parametrize("raw", COORDINATOR_LINES, ids=lambda raw: msgspec.json.decode(raw)["type"])
def test_a_coordinators_frame_is_read_and_written_byte_for_byte(raw: bytes) -> None:
    frame = decode_coordinator_frame(raw)
    assert frame is not None
    assert_written(encode_control(frame), raw)


@pytest.mark.parametrize("raw", PROVIDER_LINES, ids=lambda raw: msgspec.json.decode(raw)["type"])
def test_a_providers_frame_is_read_and_written_byte_for_byte(raw: bytes) -> None:
    frame = decode_provider_frame(raw)
    assert frame is not None
    assert_written(encode_control(frame), raw)


def assert_written(written: bytes, raw: bytes) -> None:
    if raw in YOUNGEST:
        assert written == raw
    else:
        assert is_within(msgspec.json.decode(raw), msgspec.json.decode(written))


def is_within(old: Any, new: Any) -> bool:
    """Whether `new` says everything that `old` says, and only adds members."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(name in new and is_within(old[name], new[name]) for name in old)
    if isinstance(old, list):
        return isinstance(new, list) and len(old) == len(new) and all(map(is_within, old, new))
    return bool(old == new)


@pytest.mark.parametrize(("lines", "tags"), [(COORDINATOR_LINES, COORDINATOR_TAGS), (PROVIDER_LINES, PROVIDER_TAGS)])
def test_every_frame_has_a_golden_line(lines: list[bytes], tags: frozenset[str]) -> None:
    assert {msgspec.json.decode(raw)["type"] for raw in lines} == tags


@pytest.mark.parametrize(
    "raw", [*COORDINATOR_LINES, *PROVIDER_LINES], ids=range(len(COORDINATOR_LINES + PROVIDER_LINES))
)
def test_members_that_a_later_version_adds_are_ignored(raw: bytes) -> None:
    decode: Any = decode_coordinator_frame if raw in COORDINATOR_LINES else decode_provider_frame
    later = raw[:-1] + b',"added_later":{"deep":[1,null,{"x":"y"}]}}'
    assert encode_control(decode(later)) == encode_control(decode(raw))


@pytest.mark.parametrize(("_", "direction", "text"), MESSAGES, ids=[name for name, _, _ in MESSAGES])
def test_a_data_message_is_cut_and_joined_byte_for_byte(_: str, direction: str, text: str) -> None:
    message = bytes.fromhex(text)
    records = split_data(message, FROM_PROVIDER if direction == "up" else FROM_COORDINATOR)
    if direction == "up":
        assert all(parse_record(payload).raw == payload for _, _, payload in records)
    lanes = Lanes()
    for kind, attempt, payload in records:
        lanes.push_data(kind, attempt, payload)
    assert lanes.next_message() == message
    assert lanes.next_message() is None
