"""Instructions travel in the last message; events have exactly the size that was asked for."""

import json

import msgspec
import pytest
from bench.relay.instructions import BYTES_MIN, EventWriter, Instructions, completion, read_chat
from bench.relay.upstream import split_request


def test_instructions_come_back_as_they_were_sent() -> None:
    sent = Instructions(chunks=7, rate=40.0, bytes=300, delay_ms=5.0)
    assert read_chat(sent.chat(stream=True)) == (sent, True)
    assert read_chat(sent.chat(stream=False)) == (sent, False)


def test_instructions_are_found_in_content_parts() -> None:
    parts = [{"type": "text", "text": '{"chunks": 2}'}]
    body = json.dumps({"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": parts}]}).encode()
    assert read_chat(body) == (Instructions(chunks=2), False)


@pytest.mark.parametrize(
    "content", ["", "hello", "{}", '{"chunks": -1}', '{"chunks": 1, "rate": -1}', '{"chunks": 1, "bytes": 10}']
)
def test_anything_else_is_refused(content: str) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": content}]}).encode()
    with pytest.raises(msgspec.MsgspecError):
        read_chat(body)


@pytest.mark.parametrize("size", [BYTES_MIN, 288, 4096])
def test_an_event_is_as_long_as_asked_and_its_content_says_place_and_time(size: int) -> None:
    writer = EventWriter(size)
    for number in range(3):
        event = writer.next(123_456_789_012_345)
        assert len(event) == size
        content = json.loads(event.removeprefix(b"data: "))["choices"][0]["delta"]["content"]
        assert content.split()[:2] == [str(number), "123456789012345"]


def test_a_whole_answer_has_as_many_words_as_asked() -> None:
    answer = json.loads(completion(Instructions(chunks=8)))
    assert len(answer["choices"][0]["message"]["content"].split()) == 8
    assert answer["usage"]["completion_tokens"] == 8


@pytest.mark.parametrize(
    "raw",
    [
        b"POST /v1/x?y=1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
        b"POST /v1/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
    ],
)
def test_the_upstream_takes_a_request_once_it_is_whole(raw: bytes) -> None:
    assert all(split_request(raw[:end]) is None for end in range(len(raw)))
    assert split_request(raw + b"GET") == (b"/v1/x", b"abc", b"GET")
