"""Section 15, the routing header: one spelling, and nothing else is a header."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hushnet.sealing.envelope import parse_envelope
from hushnet.sealing.errors import SealingError
from hushnet.sealing.header import ENDPOINTS, TIERS, RoutingHeader, decode_header, encode_header
from support.sealing import BenchProvider, pack_entry, pack_envelope

HEADER = RoutingHeader(
    id=bytes(range(16)),
    iat=1_800_000_000,
    exp=1_800_000_180,
    commit=bytes(range(32)),
    endpoint="/v1/chat/completions",
    model="llama-3.1-8b",
    stream=True,
    max_output_tokens=16,
    max_prompt_tokens=256,
    features=("json_schema", "tools"),
    trust="none",
    cache=None,
)
RAW = encode_header(HEADER)
HOME = BenchProvider()
RECIPIENT = HOME.recipient()


def swap(old: bytes, new: bytes) -> bytes:
    assert RAW.count(old) == 1
    return RAW.replace(old, new)


BAD: dict[str, bytes] = {
    "whitespace": swap(b'"v":1', b'"v": 1'),
    "whitespace_after": RAW + b"\n",
    "unsorted": swap(b'"trust":"none","v":1', b'"v":1,"trust":"none"'),
    "duplicate_key": swap(b'"v":1', b'"v":1,"v":1'),
    "duplicate_key_at_start": swap(b'{"commit"', b'{"commit":"%b","commit"' % (b"00" * 32)),
    "escape": swap(b"/v1/chat/completions", b"\\/v1/chat/completions"),
    "unicode_escape": swap(b"llama", b"\\u006clama"),
    "float": swap(b'"v":1', b'"v":1.0'),
    "float_in_bound": swap(b'"max_output_tokens":16', b'"max_output_tokens":16.0'),
    "exponent": swap(b'"max_prompt_tokens":256', b'"max_prompt_tokens":256e0'),
    "negative_zero": swap(b'"max_output_tokens":16', b'"max_output_tokens":-0'),
    "leading_zero": swap(b'"max_output_tokens":16', b'"max_output_tokens":016'),
    "bool_as_int": swap(b'"max_output_tokens":16', b'"max_output_tokens":true'),
    "int_as_bool": swap(b'"stream":true', b'"stream":1'),
    "int_as_string": swap(b'"max_output_tokens":16', b'"max_output_tokens":"16"'),
    "huge_int": swap(b'"max_output_tokens":16', b'"max_output_tokens":' + b"9" * 400),
    "huge_times": swap(b'"iat":1800000000', b'"iat":9007199254740992').replace(b"1800000180", b"9007199254740993"),
    "negative_times": swap(b'"iat":1800000000', b'"iat":-9').replace(b"1800000180", b"9"),
    "unknown_member": swap(b'"v":1', b'"v":1,"w":1'),
    "missing_member": swap(b'"trust":"none",', b""),
    "missing_version": swap(b',"v":1', b""),
    "null": swap(b'"features":["json_schema","tools"]', b'"features":null'),
    "null_cache": swap(b'{"commit"', b'{"cache":null,"commit"'),
    "upper_hex": swap(b'000102030405060708090a0b0c0d0e0f"', b'000102030405060708090A0B0C0D0E0F"'),
    "short_hex": swap(b'"id":"00', b'"id":"'),
    "no_hex": swap(b'"id":"00', b'"id":"xx'),
    "short_commit": swap(b'"commit":"00', b'"commit":"'),
    "short_cache": swap(b'{"commit"', b'{"cache":"00","commit"'),
    "unsorted_features": swap(b'"json_schema","tools"', b'"tools","json_schema"'),
    "repeated_feature": swap(b'"json_schema","tools"', b'"tools","tools"'),
    "nine_features": swap(b'"json_schema","tools"', b",".join(b'"f%d"' % number for number in range(9))),
    "feature_with_capitals": swap(b'"json_schema","tools"', b'"Tools"'),
    "empty_feature": swap(b'"json_schema","tools"', b'""'),
    "long_feature": swap(b'"json_schema","tools"', b'"' + b"f" * 33 + b'"'),
    "unknown_endpoint": swap(b"/v1/chat/completions", b"/v1/chat"),
    "non_ascii": swap(b"llama", "llamä".encode()),
    "not_utf8": swap(b"llama", b"llam\xff"),
    "unknown_trust": swap(b'"trust":"none"', b'"trust":"full"'),
    "empty_model": swap(b"llama-3.1-8b", b""),
    "long_model": swap(b"llama-3.1-8b", b"m" * 129),
    "model_with_blank": swap(b"llama-3.1-8b", b"llama 3"),
    "model_with_newline": swap(b"llama-3.1-8b", b"llama\n"),
    "zero_bound": swap(b'"max_output_tokens":16', b'"max_output_tokens":0'),
    "zero_prompt_bound": swap(b'"max_prompt_tokens":256', b'"max_prompt_tokens":0'),
    "negative_bound": swap(b'"max_output_tokens":16', b'"max_output_tokens":-1'),
    "bound_above_maximum": swap(b'"max_output_tokens":16', b'"max_output_tokens":1048577'),
    "prompt_bound_above_maximum": swap(b'"max_prompt_tokens":256', b'"max_prompt_tokens":16777217'),
    "lifetime_zero": swap(b"1800000180", b"1800000000"),
    "lifetime_too_long": swap(b"1800000180", b"1800000301"),
    "array": b"[" + RAW + b"]",
    "array_of_nothing": b"[]",
    "empty_object": b"{}",
    "trailing_byte": RAW + b"\0",
    "two_objects": RAW + RAW,
    "oversize": swap(b'"v":1', b'"v":1' + b" " * 1024),
    "deep_nesting": b"[" * 1000,
    "deep_nesting_in_member": swap(b'["json_schema","tools"]', b"[" * 500),
    "deep_nesting_in_unknown_member": (b'{"a":' + b"[" * 900).ljust(1024, b"]"),
    "bom": b"\xef\xbb\xbf" + RAW,
    "utf16": RAW.decode().encode("utf-16"),
    "empty": b"",
    "two_zeros": b"\0\0",
}


@pytest.mark.parametrize("name", BAD)
def test_another_spelling_or_value_is_a_bad_header(name: str) -> None:
    with pytest.raises(SealingError) as caught:
        decode_header(BAD[name])
    assert caught.value.error_code == "bad_header"


@pytest.mark.parametrize(
    "raw",
    [
        swap(b'"v":1', b'"v":2'),
        swap(b'"v":1', b'"v":0'),
        swap(b'"v":1', b'"v":2,"w":[1]'),
        b'{"v":3}',
    ],
    ids=["other_version", "version_zero", "other_version_with_new_members", "other_version_alone"],
)
def test_a_header_of_other_version_is_unsupported_whatever_its_members(raw: bytes) -> None:
    case = "other_version"
    with pytest.raises(SealingError) as caught:
        decode_header(raw)
    assert caught.value.error_code == "unsupported_version", case


ACCEPTED = [
    HEADER,
    replace(HEADER, cache=bytes(16)),
    replace(HEADER, features=()),
    replace(HEADER, stream=False),
    replace(HEADER, max_output_tokens=2**20, max_prompt_tokens=2**24),
    replace(HEADER, max_output_tokens=1, max_prompt_tokens=1),
    replace(HEADER, exp=HEADER.iat + 1),
    replace(HEADER, exp=HEADER.iat + 300),
    replace(HEADER, iat=0, exp=1),
    replace(HEADER, model="m" * 128),
    replace(HEADER, model="hf:Org/Name@rev+q8_0.gguf-1"),
    *(replace(HEADER, endpoint=endpoint) for endpoint in sorted(ENDPOINTS)),
    *(replace(HEADER, trust=tier) for tier in TIERS),
]


@pytest.mark.parametrize("header", ACCEPTED)
def test_a_header_survives_the_round_trip(header: RoutingHeader) -> None:
    assert decode_header(encode_header(header)) == header


@pytest.mark.parametrize("header", ACCEPTED)
def test_the_spelling_is_what_json_writes_sorted_and_tight(header: RoutingHeader) -> None:
    raw = encode_header(header)
    assert json.dumps(json.loads(raw), sort_keys=True, separators=(",", ":")).encode() == raw


@pytest.mark.parametrize("name", [name for name, raw in BAD.items() if len(raw) >= 2])
def test_a_bad_header_in_an_envelope_is_refused_by_relay_and_provider(name: str) -> None:
    entry = pack_entry(RECIPIENT.suite, HOME.provider_id, RECIPIENT.key_id, bytes(1200))
    raw = pack_envelope(BAD[name], [entry], bytes(24))
    expected = "bad_envelope" if name == "oversize" else "bad_header"
    for read in (parse_envelope, HOME.open):
        with pytest.raises(SealingError) as caught:
            read(raw)
        assert caught.value.error_code == expected
