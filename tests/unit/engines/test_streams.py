"""Chunks and event lines on their way in, and the body on its way out."""

import json

import pytest

from hushnet.dialects.openai_chat import ChatRequest, Delta, Usage
from hushnet.provider.engines.base import EngineFailed, Finished
from hushnet.provider.engines.bodies import engine_seed, plain_messages, request_body
from hushnet.provider.engines.chunks import AnswerReader
from hushnet.provider.engines.slots import Lease, Slot, SlotPool
from hushnet.provider.engines.sse import DataLines
from support.openai_peer import chunk, usage


def reader(*, top_logprobs: int = 0) -> tuple[AnswerReader, Lease]:
    lease = Lease(Slot(0), may_reuse_prefix=False)
    return AnswerReader(SlotPool(1, queue_max=1), lease, top_logprobs=top_logprobs), lease


def raw(*values) -> list[bytes]:
    return [json.dumps(value).encode() for value in values]


def test_pieces_that_come_together_are_one_delta() -> None:
    answer, lease = reader()

    deltas = list(answer.read(raw(chunk("a"), chunk(""), chunk("b"), chunk("c"))))

    assert deltas == [Delta("abc", 3)]
    assert lease.output_tokens == 3


def test_logprobs_keep_their_pieces_apart_and_lose_what_the_api_does_not_have() -> None:
    answer, _ = reader(top_logprobs=1)
    entry = {
        "id": 7,
        "token": "a",
        "logprob": -1.0,
        "bytes": [97],
        "top_logprobs": [{"id": 7, "token": "a", "logprob": -1.0}],
    }

    first, second = answer.read(raw(chunk("x"), chunk("ab", logprobs={"content": [entry, entry]})))

    assert first == Delta("x", 1)
    assert second.tokens == 2
    top = {"token": "a", "logprob": -1.0, "bytes": None}
    assert second.logprobs[0] == {"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": [top]}


def test_alternatives_that_nobody_asked_for_are_dropped() -> None:
    top = {"token": "a", "logprob": -1.0, "bytes": None}
    entry = {"token": "a", "logprob": -1.0, "bytes": None, "top_logprobs": [top] * 5}
    for wanted in (0, 2, 5):
        answer, _ = reader(top_logprobs=wanted)
        (delta,) = answer.read(raw(chunk("a", logprobs={"content": [entry]})))
        assert delta.logprobs[0]["top_logprobs"] == [top] * wanted


def test_a_prompt_s_count_comes_with_the_first_piece_where_the_engine_tells_it() -> None:
    answer, _ = reader()

    (delta,) = answer.read(raw({"prompt_progress": {"total": 17}}, chunk("a")))

    assert delta == Delta("a", 1, prompt_tokens=17)


def test_the_end_has_the_engine_s_own_counts() -> None:
    answer, lease = reader()
    end = usage(20, 5)
    end["usage"]["prompt_tokens_details"] = {"cached_tokens": 12}

    assert list(answer.read(raw(chunk("a"), chunk(finish_reason="length"), end))) == [Delta("a", 1, prompt_tokens=20)]

    assert answer.finish() == Finished("length", Usage(input=20, cached=12, output=5))
    assert lease.prompt_tokens == 20


@pytest.mark.parametrize("values", [[], [chunk("a")], [chunk(finish_reason="stop")], [usage(1, 1)]])
def test_an_answer_without_reason_or_usage_is_broken_off(values: list) -> None:
    answer, _ = reader()
    list(answer.read(raw(*values)))

    with pytest.raises(EngineFailed):
        answer.finish()


def test_lines_are_cut_wherever_the_bytes_were_cut() -> None:
    stream = b': ping\n\ndata: {"a":1}\r\n\r\nevent: x\ndata:{"b":2}\n\ndata: [DONE]\n\n'
    for size in (1, 2, 7, len(stream)):
        lines = DataLines()
        payloads = [payload for at in range(0, len(stream), size) for payload in lines.feed(stream[at : at + size])]
        assert payloads == [b'{"a":1}', b'{"b":2}']


def test_the_smaller_of_two_bounds_is_sent() -> None:
    request = ChatRequest("m", [{"role": "user", "content": "x"}], max_output_tokens=5)

    assert request_body(request, max_output_tokens=9)["max_tokens"] == 5
    assert request_body(request, max_output_tokens=3)["max_tokens"] == 3


def test_messages_keep_known_members_only() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:"}}
    messages = [
        {"role": "developer", "content": "be brief", "audio": None},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "extra": 1},
        {"role": "assistant", "content": None, "refusal": None, "tool_calls": [{"id": "1"}]},
        {"role": "user", "content": [picture], "name": "n"},
    ]

    assert plain_messages(ChatRequest("m", messages)) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "a\nb"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]},
        {"role": "user", "content": [picture], "name": "n"},
    ]


@pytest.mark.parametrize("seed", [0, 1, -1, -(2**63), 2**63 - 1, 0xFFFFFFFF, 0xFFFFFFFE])
def test_a_seed_fits_32_bits_and_is_never_the_random_one(seed: int) -> None:
    assert 0 <= engine_seed(seed) < 0xFFFFFFFF
