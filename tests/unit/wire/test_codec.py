"""Control frames and data records as bytes: rules that no session adds."""

from __future__ import annotations

import msgspec
import pytest

from hushnet.foundation.errors import LocalProtocolError, RemoteProtocolError
from hushnet.foundation.ids import AttemptId
from hushnet.wire import frames as fr
from hushnet.wire.challenge import challenge_message
from hushnet.wire.codec import (
    FROM_COORDINATOR,
    decode_provider_frame,
    encode_checked,
    encode_control,
    pack_header,
    split_data,
)
from hushnet.wire.errors import LinkFault, Reach, close_code_of, violation
from support.links import TOKEN, identity, register_frame


def test_the_token_is_read_into_a_secret_and_shown_nowhere() -> None:
    raw = msgspec.json.encode(register_frame(identity()))
    frame = decode_provider_frame(raw)
    assert isinstance(frame, fr.Register)
    assert frame.token.reveal() == TOKEN
    assert TOKEN not in repr(frame)
    assert TOKEN not in f"{frame}"
    assert msgspec.json.decode(encode_control(frame))["token"] == TOKEN


@pytest.mark.parametrize("token", ["x" * 257, 5, None, ["x"], {"a": 1}])
def test_a_token_that_is_no_short_string_is_refused_without_quoting_it(token: object) -> None:
    raw = msgspec.json.encode(register_frame(identity(), token=token))
    with pytest.raises(RemoteProtocolError) as caught:
        decode_provider_frame(raw)
    assert "xx" not in str(caught.value)


def test_errors_quote_nothing_of_the_peer() -> None:
    for raw in (b'{"type":"CANARY"}', b'{"type":"finished","attempt":"CANARY"}', b"CANARY"):
        with pytest.raises(RemoteProtocolError) as caught:
            decode_provider_frame(raw)
        assert "CANARY" not in str(caught.value)
        assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_the_last_of_two_equal_members_counts() -> None:
    assert decode_provider_frame(b'{"type":"finished","attempt":1,"attempt":2}') == fr.Finished(attempt=AttemptId(2))


def test_the_member_type_may_come_last() -> None:
    assert decode_provider_frame(b'{"attempt":3,"more":[{}],"type":"finished"}') == fr.Finished(attempt=AttemptId(3))


def test_a_frame_that_is_too_long_is_not_sent() -> None:
    offer = fr.ModelOffer(model="m" * 128, build="0" * 64, context_tokens=1, slots=1, features=("f" * 32,) * 32)
    with pytest.raises(LocalProtocolError):
        encode_control(fr.Models(models=(offer,) * 64))


def test_a_frame_that_breaks_its_own_bounds_is_not_sent() -> None:
    with pytest.raises(LocalProtocolError):
        encode_checked(fr.Finished(attempt=AttemptId(0)))
    with pytest.raises(LocalProtocolError):
        encode_checked(fr.Rejected(code="Not A Word"))


@pytest.mark.parametrize("result", [None, True, False])
def test_what_the_template_check_found_survives_the_wire_whichever_it_was(result: bool | None) -> None:
    offer = fr.ModelOffer(model="m", context_tokens=1, slots=1, is_template_sound=result)
    frame = decode_provider_frame(encode_control(fr.Models(models=(offer,))))
    assert isinstance(frame, fr.Models)
    assert frame.models[0].is_template_sound is result


def test_an_agent_that_says_less_is_taken_as_loaded_and_unknown() -> None:
    raw = b'{"type":"models","models":[{"model":"m","context_tokens":1,"slots":1}]}'
    frame = decode_provider_frame(raw)
    assert isinstance(frame, fr.Models)
    (offer,) = frame.models
    assert (offer.is_loaded, offer.load_s, offer.is_template_sound) == (True, 0.0, None)


@pytest.mark.parametrize(
    "member",
    [
        {"cpu": -0.1},
        {"cpu": 1.1},
        {"cpu": "0.5"},
        {"gpu_memory_bytes_used": -1},
        {"gpu_memory_bytes_total": 2**61},
        {"thermal": "Hot!"},
        {"thermal": "x" * 33},
        {"decode_tokens_s": -1.0},
        {"slots": -1},
        {"slots": 2**21},
        {"tokens_active": 2**41},
    ],
)
def test_a_report_beyond_its_bounds_is_no_report(member: dict[str, object]) -> None:
    raw = msgspec.json.encode({"type": "heartbeat", "capacity": {"slots": 1, "active": 0, **member}})
    with pytest.raises(RemoteProtocolError) as caught:
        decode_provider_frame(raw)
    assert caught.value.error_code == LinkFault.BAD_MESSAGE


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e-3"])
def test_a_rate_is_a_finite_number_and_none_below_zero(number: str) -> None:
    raw = f'{{"type":"heartbeat","capacity":{{"slots":1,"active":0,"decode_tokens_s":{number}}}}}'
    with pytest.raises(RemoteProtocolError):
        decode_provider_frame(raw.encode())


@pytest.mark.parametrize("region", ["DE", "-de", "a" * 33, "de\n", 4])
def test_a_region_is_a_short_word(region: object) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_provider_frame(msgspec.json.encode(register_frame(identity(), region=region)))
    frame = decode_provider_frame(msgspec.json.encode(register_frame(identity(), region="us-east")))
    assert isinstance(frame, fr.Register)
    assert frame.region == "us-east"


def test_payloads_are_cut_out_whole() -> None:
    message = pack_header(1, 7, 3) + b"abc" + pack_header(2, 2**32 - 1, 1) + b"d"
    assert split_data(message, FROM_COORDINATOR) == [(1, 7, b"abc"), (2, 2**32 - 1, b"d")]


def test_the_challenge_message_is_framed_and_binds_all_parts() -> None:
    parts = {"provider_id": b"p" * 32, "nonce": b"n" * 32, "statement_digest": b"s" * 32}
    message = challenge_message("net", **parts)
    body = b"net\x00" + b"p" * 32 + b"n" * 32 + b"s" * 32
    assert message == b"DSSEv1 36 application/vnd.hushnet.challenge.v1 100 " + body
    for name in parts:
        assert challenge_message("net", **{**parts, name: b"x" * 32}) != message
        with pytest.raises(ValueError, match="32 bytes"):
            challenge_message("net", **{**parts, name: b"x" * 31})


def test_faults_say_how_far_they_reach_and_how_the_socket_closes() -> None:
    assert {fault.reach for fault in LinkFault} == set(Reach)
    assert violation(LinkFault.BAD_DATA).error_code == "bad_data"
    assert close_code_of("message_too_big") == 1009
    assert close_code_of("bad_data") == 1002
    assert close_code_of("a word of the fleet") == 1008
