"""The header `hushnet-route`: what it may say, and what is told to whoever says something else."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushnet.coordinator.api.preferences import (
    ENTRIES_MAX,
    PRICE_SORT_MS_PER_MICRO_USD,
    VALUE_BYTES_MAX,
    RouteHeaderError,
    read_preferences,
)
from hushnet.coordinator.api.problems import problem_of
from hushnet.coordinator.routing.model import NO_PREFERENCES, Preferences, SelfRoute
from hushnet.foundation.ids import AccountId, ProviderId
from hushnet.foundation.money import PRICE_MICRO_USD_MAX, Price

ME = AccountId(7)
HERE = [ProviderId(start.ljust(64, "0")) for start in ("abcdefabcdef1", "abcdefabcdef2", "123456123456")]
CANARY = "marmalade-canary"


class Names:
    def named(self, prefix: str) -> list[ProviderId]:
        return [each for each in HERE if each.startswith(prefix)]


def read(*values: bytes) -> Preferences:
    headers = [(b"accept", b"*/*"), *((b"hushnet-route", value) for value in values)]
    return read_preferences({"headers": headers}, ME, Names())


def read_json(document: Any) -> Preferences:
    return read(json.dumps(document).encode())


def refusal(*values: bytes) -> RouteHeaderError:
    with pytest.raises(RouteHeaderError) as refused:
        read(*values)
    return refused.value


def test_without_the_header_nothing_is_preferred() -> None:
    assert read() is NO_PREFERENCES
    assert read(b"{}") == NO_PREFERENCES


def test_every_member_is_understood() -> None:
    build = "ab" * 32
    said = read_json(
        {
            "only": [HERE[2][:12], "f" * 64],
            "ignore": [HERE[0]],
            "regions": ["eu-west"],
            "builds": [build],
            "price_max": {"input": "0.1", "output": "12.000001"},
            "own": "only",
            "sort": "price",
        }
    )

    assert said == Preferences(
        only=frozenset({HERE[2], ProviderId("f" * 64)}),
        ignore=frozenset({HERE[0]}),
        regions=frozenset({"eu-west"}),
        builds=frozenset({build}),
        price_max=Price(input=100_000, cached=0, output=12_000_001),
        ms_per_micro_usd=PRICE_SORT_MS_PER_MICRO_USD,
        own=SelfRoute(ME, is_only=True),
    )


def test_own_machines_may_come_first_without_being_the_only_ones() -> None:
    assert read_json({"own": "prefer"}).own == SelfRoute(ME, is_only=False)
    assert read_json({"sort": "latency"}).ms_per_micro_usd == 0.0


def test_a_price_that_is_not_bounded_is_not() -> None:
    assert read_json({"price_max": {"output": "3"}}).price_max == Price(PRICE_MICRO_USD_MAX, 0, 3_000_000)


@pytest.mark.parametrize(
    ("document", "param"),
    [
        ({"lonely": [CANARY]}, ""),
        ({"only": "abc"}, "only"),
        ({"only": []}, "only"),
        ({"only": [HERE[2], 7]}, "only[1]"),
        ({"only": ["abcdef"]}, "only[0]"),
        ({"only": [HERE[0], HERE[0].upper()]}, "only[1]"),
        ({"ignore": ["0" * 65]}, "ignore[0]"),
        ({"ignore": [7]}, "ignore[0]"),
        ({"ignore": ["0" * 12] * (ENTRIES_MAX + 1)}, "ignore"),
        ({"regions": []}, "regions"),
        ({"regions": [CANARY.upper()]}, "regions[0]"),
        ({"builds": ["ab"]}, "builds[0]"),
        ({"price_max": "1"}, "price_max"),
        ({"`$.EVIL SECRET`": 1}, ""),
        ({"price_max": {"input": 0.1}}, "price_max.input"),
        ({"price_max": {"input": "-1"}}, "price_max.input"),
        ({"price_max": {"output": "1e3"}}, "price_max.output"),
        ({"price_max": {"output": "0.0000001"}}, "price_max.output"),
        ({"price_max": {"output": "١"}}, "price_max.output"),
        ({"price_max": {"prompt": "1"}}, "price_max"),
        ({"own": "mine"}, "own"),
        ({"own": True}, "own"),
        ({"sort": "throughput"}, "sort"),
        ([], ""),
    ],
)
def test_each_mistake_is_a_400_that_names_the_member_and_shows_no_value(document: Any, param: str) -> None:
    error = refusal(json.dumps(document).encode())
    problem = problem_of(error)

    assert (problem.status, problem.code) == (400, "bad_route")
    assert problem.param == ("hushnet-route." + param if param else "hushnet-route")
    assert problem.hint
    assert CANARY not in (problem.message + problem.hint).lower()


@pytest.mark.parametrize(
    "values",
    [
        (b"",),
        (b"{",),
        (b"\xff\xfe",),
        (b'{"own":"only"}', b"{}"),
        (b'{"ignore":["' + b"0" * VALUE_BYTES_MAX + b'"]}',),
        (b"[" * 3000,),
    ],
)
def test_what_is_no_small_json_object_is_refused_whole(values: tuple[bytes, ...]) -> None:
    assert refusal(*values).error_code == "bad_route"


def test_a_prefix_of_two_providers_is_refused_with_what_to_do() -> None:
    error = refusal(json.dumps({"ignore": ["0" * 12, HERE[0][:12]]}).encode())
    assert (error.error_code, error.param) == ("ambiguous_provider", "hushnet-route.ignore[1]")
    assert "more digits" in error.hint()


@given(
    st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(repr).map(str.encode)
)
def test_whatever_is_sent_is_understood_or_refused(value: bytes) -> None:
    with contextlib.suppress(RouteHeaderError):
        assert isinstance(read(value), Preferences)
