"""Long lists read as they come, however they are cut into pieces."""

from __future__ import annotations

import json

import pytest

from hushnet.coordinator.payments.coins.gateways.listing import ListReader, TooLongError

ROWS = [{"id": n, "name": "ü]},[{" * n, "in": {"x": [1, 2.50]}} for n in range(5)]


def picked(text: bytes, size: int, *, bytes_max: int = 10_000) -> list[object]:
    reader = ListReader(lambda one: one["id"] in ("1", "4"), bytes_max=bytes_max)
    for at in range(0, len(text), size):
        reader.feed(text[at : at + size])
    return reader.finish()


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_what_is_wanted_is_picked_wherever_the_pieces_end(size: int, indent: int | None) -> None:
    text = json.dumps(ROWS, indent=indent, ensure_ascii=False).encode()
    assert picked(text, size) == [row | {"id": str(row["id"]), "in": {"x": ["1", "2.5"]}} for row in (ROWS[1], ROWS[4])]


def test_an_empty_list_has_nothing() -> None:
    assert picked(b" [ ] ", 1) == []


@pytest.mark.parametrize("text", [b"", b"[", b"{}", b"[{]", b"[1]", b"[]]", b"[][", b'[{"id":"1"}]x', b"\xff", b"nul"])
def test_what_is_no_whole_list_of_objects_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"list|decode"):
        picked(text, 1)


def test_a_list_is_read_no_further_than_its_bound() -> None:
    with pytest.raises(TooLongError):
        picked(json.dumps(ROWS).encode(), 7, bytes_max=100)


def test_one_object_is_held_at_a_time_and_no_longer_one() -> None:
    with pytest.raises(TooLongError):
        picked(b'[{"id": "' + b"x" * 300_000, 10_000, bytes_max=1_000_000)
