"""The load client reads HTTP and events itself: what it calls whole must be whole."""

import pytest
from bench.relay.answers import EventReader, ResponseReader, verdict
from bench.relay.instructions import EventWriter, ending

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def events(*numbers: int) -> list[bytes]:
    found = []
    for number in numbers:
        writer = EventWriter(288)
        writer.seq = number
        found.append(writer.next(1_000))
    return found


def read(*bodies: bytes) -> EventReader:
    reader = EventReader()
    for body in bodies:
        reader.feed(body)
    return reader


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))


@pytest.mark.parametrize("step", [1, 7, 100, 289, 10_000])
def test_a_stream_is_read_alike_however_it_is_cut(step: int) -> None:
    data = HEAD + chunked(*events(0, 1, 2), ending())
    response, reader = ResponseReader(), EventReader()
    for at in range(0, len(data), step):
        assert not response.is_whole
        if body := response.feed(data[at : at + step]):
            reader.feed(body)
    assert response.status == 200
    assert response.is_whole
    assert len(reader.delays_ns) == 3
    assert verdict(reader, chunks=3, is_whole=response.is_whole) == "whole"


def test_a_body_with_a_length_ends_with_its_last_byte_and_the_connection_serves_on() -> None:
    response = ResponseReader()
    for _ in range(2):
        response.reset()
        assert response.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab") == b"ab"
        assert not response.is_whole
        assert response.feed(b"cd") == b"cd"
        assert response.is_whole


def test_a_body_without_an_end_of_its_own_ends_with_the_connection() -> None:
    response = ResponseReader()
    assert response.feed(b"HTTP/1.1 200 OK\r\n\r\nabc") == b"abc"
    assert not response.is_whole
    response.end()
    assert response.is_whole


def test_a_chunked_body_that_breaks_off_is_not_whole() -> None:
    response = ResponseReader()
    response.feed(HEAD + chunked(*events(0))[:-5])
    response.end()
    assert not response.is_whole


def test_events_of_a_server_with_other_json_are_read_too() -> None:
    reader = read(b'data: {"model": "m", "choices": [{"delta": {"role": "assistant", "content": "0 5 xx"}}]}\n\n')
    assert reader.count == 1
    assert reader.delays_ns[0] > 0


def test_an_event_counts_once_it_is_whole() -> None:
    [event] = events(0)
    reader = read(event[:200])
    assert reader.count == 0
    reader.feed(event[200:])
    assert reader.count == 1


@pytest.mark.parametrize(
    ("bodies", "chunks", "is_whole", "expected"),
    [
        ((*events(0, 1), ending()), 2, True, "whole"),
        ((*events(0, 2), ending()), 3, True, "reordered"),
        ((*events(1, 0), ending()), 2, True, "reordered"),
        ((*events(0, 0, 1), ending()), 3, True, "reordered"),
        ((*events(0), ending()), 2, True, "lost"),
        (events(0, 1), 2, True, "truncated"),
        (events(0), 2, False, "truncated"),
        ((*events(0, 1), ending()), 2, False, "truncated"),
        ((*events(0), ending(), *events(1)), 2, True, "reordered"),
    ],
)
def test_a_stream_is_whole_only_in_order_complete_and_ended(
    bodies: tuple[bytes, ...], chunks: int, is_whole: bool, expected: str
) -> None:
    assert verdict(read(*bodies), chunks=chunks, is_whole=is_whole) == expected
