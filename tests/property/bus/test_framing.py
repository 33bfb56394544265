"""The framing of the mesh: whatever pieces a socket delivers, the same payloads come out, and never more is kept."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushnet.coordinator.bus.framing import LENGTH, FrameReader, framed
from hushnet.foundation.errors import RemoteProtocolError

FRAME_MAX = 64
PAYLOADS = st.lists(st.binary(min_size=1, max_size=FRAME_MAX), max_size=12)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(PAYLOADS, st.lists(st.integers(0, 2000), max_size=20))
def test_payloads_survive_any_cutting_in_order(payloads: list[bytes], cuts: list[int]) -> None:
    reader = FrameReader(FRAME_MAX)
    found = []
    for piece in pieces_of(b"".join(framed(payload) for payload in payloads), cuts):
        found += [bytes(payload) for payload in reader.feed(piece)]
        assert reader.kept <= FRAME_MAX + LENGTH.size
    assert found == payloads
    assert reader.kept == 0


@given(PAYLOADS, st.integers(FRAME_MAX + 1, 2**32 - 1) | st.just(0), st.binary(max_size=8))
def test_a_length_out_of_bounds_is_refused_before_anything_of_it_is_kept(
    payloads: list[bytes], size: int, rest: bytes
) -> None:
    reader = FrameReader(FRAME_MAX)
    data = b"".join(framed(payload) for payload in payloads)
    assert [bytes(payload) for payload in reader.feed(data)] == payloads
    with pytest.raises(RemoteProtocolError) as caught:
        reader.feed(LENGTH.pack(size) + rest)
    assert caught.value.error_code == "bad_frame"
    assert reader.kept == 0


@given(st.binary(min_size=1, max_size=FRAME_MAX), st.integers(0, FRAME_MAX + 3))
def test_an_unfinished_frame_yields_nothing(payload: bytes, cut: int) -> None:
    reader = FrameReader(FRAME_MAX)
    whole = framed(payload)
    assert reader.feed(whole[: min(cut, len(whole) - 1)]) == []
