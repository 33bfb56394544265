"""Laws of affinity tags: equal for equal prefixes under one key, unrelated otherwise, and nothing of the text in them."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hushnet.dialects import openai_chat
from hushnet.dialects.affinity import (
    SIZE_MAX,
    TAG_BYTES,
    TAGS_MAX,
    TAGS_SENT,
    Affinity,
    PrefixTag,
    affinity_of,
    decode_tags,
    encode_tags,
)
from hushnet.foundation.errors import RequestError

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
Messages = list[dict[str, Any]]
TEXTS = st.text(max_size=20)


def message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text}


def turns(texts: list[tuple[str, str]], question: str, system: str | None = None) -> Messages:
    messages = [] if system is None else [message("system", system)]
    for asked, answered in texts:
        messages += [message("user", asked), message("assistant", answered)]
    return [*messages, message("user", question)]


def carried(messages: Messages, *, key: bytes = KEY, model: str = "m", **members: Any) -> Affinity:
    body = json.dumps({"model": model, "messages": messages, **members}).encode()
    return affinity_of(openai_chat.decode_request(body), key)


def tags_of(messages: Messages, **choices: Any) -> set[bytes]:
    return {tag.tag for tag in carried(messages, **choices).tags}


CONVERSATIONS = st.builds(turns, st.lists(st.tuples(TEXTS, TEXTS), max_size=6), TEXTS, st.none() | TEXTS)


@given(CONVERSATIONS, TEXTS, TEXTS)
def test_a_follow_up_shares_the_tag_of_the_turn_before_and_the_salt(messages: Messages, answer: str, more: str) -> None:
    before, after = carried(messages), carried([*messages, message("assistant", answer), message("user", more)])

    assert before.tags[-1] in after.tags
    assert len(after.tags) <= TAGS_SENT
    assert after.salt == before.salt
    assert [tag.size for tag in after.tags] == sorted(tag.size for tag in after.tags)


@given(CONVERSATIONS)
def test_the_same_request_has_the_same_tags_and_another_key_none_of_them(messages: Messages) -> None:
    mine, others = carried(messages), carried(messages, key=OTHER_KEY)

    assert carried(messages) == mine
    assert not {tag.tag for tag in mine.tags} & {tag.tag for tag in others.tags}
    assert mine.salt != others.salt


@given(CONVERSATIONS, CONVERSATIONS)
def test_two_conversations_share_tags_only_as_far_as_their_messages_agree(one: Messages, other: Messages) -> None:
    common = sum(1 for _ in _agreeing(one, other))
    assume(common < min(len(one), len(other)))

    assert carried(one).tags[-1].tag not in tags_of(other)
    assert carried(other).tags[-1].tag not in tags_of(one)


def _agreeing(one: Messages, other: Messages) -> Any:
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            return
        yield mine


@given(CONVERSATIONS)
def test_another_model_or_other_tools_are_another_prefix(messages: Messages) -> None:
    tool = {"type": "function", "function": {"name": "f"}}

    assert not tags_of(messages) & tags_of(messages, model="n")
    assert not tags_of(messages) & tags_of(messages, tools=[tool])


@given(CONVERSATIONS)
def test_sampling_members_change_no_tag(messages: Messages) -> None:
    assert carried(messages) == carried(messages, temperature=1.5, max_tokens=7, stream=True, seed=3)


@given(st.text(alphabet="xyzäß漢", min_size=8, max_size=64))
def test_nothing_of_the_text_is_in_the_header_or_the_salt(text: str) -> None:
    affinity = carried([message("user", text)])
    header = encode_tags(affinity.tags)

    raw = b"".join(tag.tag for tag in affinity.tags) + bytes.fromhex(affinity.salt or "")
    assert text.encode() not in raw
    assert text not in header
    assert len(header) == len(encode_tags(carried([message("user", text[::-1])]).tags))


def test_the_size_is_a_power_of_two_below_the_tokens() -> None:
    small, large = (carried([message("user", "x" * count)]).tags[0].size for count in (3_100, 5_900))

    assert small == large == 10
    assert carried([message("user", "x" * 6_400)]).tags[0].size == 11


def test_a_conversation_in_which_only_the_model_spoke_has_no_prefix() -> None:
    assert carried([message("assistant", "hello")]) == Affinity()


def test_a_tool_s_answer_ends_a_prefix_too() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked: Messages = [message("user", "go"), {"role": "assistant", "content": None, "tool_calls": [call]}]
    told = [*asked, {"role": "tool", "tool_call_id": "1", "content": "4"}]

    assert carried(told).tags[-1] in carried([*told, message("assistant", "4"), message("user", "?")]).tags
    assert carried(asked).tags == carried(asked[:1]).tags


TAGS = st.builds(PrefixTag, st.binary(min_size=TAG_BYTES, max_size=TAG_BYTES), st.integers(0, SIZE_MAX))


@given(st.lists(TAGS, min_size=1, max_size=TAGS_MAX, unique_by=lambda tag: tag.tag).map(tuple))
def test_what_is_written_is_read_again(tags: tuple[PrefixTag, ...]) -> None:
    assert decode_tags(encode_tags(tags).encode()) == tags


@given(st.binary(max_size=300))
def test_whatever_is_sent_is_read_or_refused(value: bytes) -> None:
    with contextlib.suppress(RequestError):
        tags = decode_tags(value)
        assert 1 <= len(tags) <= TAGS_MAX
        assert decode_tags(encode_tags(tags).encode()) == tags


GOOD = encode_tags((PrefixTag(bytes(16), 10),))


@pytest.mark.parametrize(
    "value",
    [
        "",
        ",",
        GOOD + ",",
        GOOD.replace(".10", ""),
        GOOD.replace(".10", ".25"),
        GOOD.replace(".10", ".010"),
        GOOD.replace(".10", ".-1"),
        "B" + GOOD[1:21] + "B.10",
        GOOD[1:],
        "A" + GOOD,
        GOOD + "," + GOOD,
        ",".join(encode_tags((PrefixTag(bytes([number]) * 16, 1),)) for number in range(TAGS_MAX + 1)),
        GOOD + " " * 300,
        "é" * 22 + ".1",
    ],
)
def test_a_header_that_is_no_list_of_tags_is_refused_with_a_hint(value: str) -> None:
    with pytest.raises(RequestError) as refused:
        decode_tags(value.encode())
    assert refused.value.error_code == "bad_affinity"
    assert "docs/http.md" in refused.value.hint()
