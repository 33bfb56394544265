"""A client's own key for a request: sent again, at any moment and in any number, it never makes a second hold or dispatch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hushnet.coordinator.budgets import CapScope, Period
from hushnet.coordinator.serving.store import KEYED_MS
from hushnet.coordinator.storage.money import request_keys
from support.fleet import KEYS_MAX, LIMITS, MODEL, Exchange, Network, says
from support.postgres import fresh_database

RUNS_S_MAX = LIMITS.total_s_max + LIMITS.hold_margin_s


@pytest.fixture(params=["sqlite", "postgresql"])
async def keyed(request: pytest.FixtureRequest, database_path: Path) -> AsyncIterator[Network]:
    if request.param == "sqlite":
        async with Network.open(database_path, is_bounded=True) as network:
            yield network
        return
    with fresh_database() as url:
        async with Network.open(url, is_bounded=True) as network:
            yield network


def ask(network: Network, key: str, name: str, words: str = "hello", **members: Any) -> Exchange:
    """Send a request under a key of its own; the same words are the same body."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": words}], "max_tokens": 100, **members}
    return network.post(json.dumps(body).encode(), key=key, headers={"idempotency-key": name})


def told(answer: Exchange) -> tuple[int, str, str]:
    return answer.status, answer.json["error"]["code"], answer.headers.get("hushnet-request-id", "")


async def test_a_retry_while_it_runs_and_after_it_ended_is_told_so_with_the_requests_id(keyed: Network) -> None:
    key = await keyed.consumer()
    provider = await keyed.provider()
    first = ask(keyed, key, "order 7", stream=True)
    attempt = await provider.attempt()

    early = await ask(keyed, key, "order 7", stream=True).finished()
    says("x")(attempt)
    await first.finished()
    await keyed.settled()
    late = await ask(keyed, key, "order 7", stream=True).finished()

    id_ = first.headers["hushnet-request-id"]
    assert told(early) == (409, "request_in_progress", id_)
    assert told(late) == (409, "request_already_done", id_)
    assert f"/v1/generations/{id_}" in late.json["error"]["hint"]
    assert len(provider.served) == len(await keyed.usage(key)) == 1


async def test_the_same_key_with_another_body_is_a_conflict(keyed: Network) -> None:
    key = await keyed.consumer()
    await keyed.provider(part=says("x"))
    first = await ask(keyed, key, "order 7").finished()

    other = await ask(keyed, key, "order 7", "something else").finished()

    assert told(other) == (409, "idempotency_conflict", first.headers["hushnet-request-id"])


async def test_another_owner_and_another_key_are_other_requests(keyed: Network) -> None:
    await keyed.provider(part=says("x"))
    ann, bob = await keyed.consumer(), await keyed.consumer()

    answers = [await ask(keyed, *who).finished() for who in ((ann, "1"), (bob, "1"), (ann, "2"))]

    assert [answer.status for answer in answers] == [200] * 3
    assert len({answer.headers["hushnet-request-id"] for answer in answers}) == 3


async def test_fifty_at_once_are_one_request(keyed: Network) -> None:
    key = await keyed.consumer()
    provider = await keyed.provider(slots=8)
    exchanges = [ask(keyed, key, "once") for _ in range(50)]
    says("x")(await provider.attempt())

    await asyncio.gather(*(exchange.finished() for exchange in exchanges))

    (served,) = [exchange for exchange in exchanges if exchange.status == 200]
    refused = [told(exchange) for exchange in exchanges if exchange is not served]
    assert {id_ for _, _, id_ in refused} == {served.headers["hushnet-request-id"]}
    assert {(status, code) for status, code, _ in refused} <= {
        (409, "request_in_progress"),
        (409, "request_already_done"),
    }
    assert len(provider.served) == len(await keyed.usage(key)) == 1


async def test_what_was_refused_before_its_hold_may_be_tried_again_under_its_key(keyed: Network) -> None:
    key = await keyed.consumer(0)
    early = await ask(keyed, key, "later").finished()
    await keyed.provider(part=says("x"))

    poor = await ask(keyed, key, "later").finished()
    await keyed.ledger.grant_promo(keyed.account_of(key), 1_000_000, grant_id="more", actor="test")
    account, key_id = keyed.account_of(key), keyed.desk.callers[key].key_id
    await keyed.budgets.put(account, CapScope.KEY, key_id, {Period.REQUEST: 1})
    capped = await ask(keyed, key, "later").finished()
    await keyed.budgets.remove(account, CapScope.KEY, key_id, Period.REQUEST)
    served = await ask(keyed, key, "later").finished()

    assert [(each.status, each.json["error"]["code"]) for each in (early, poor, capped)] == [
        (404, "model_not_found"),
        (402, "insufficient_funds"),
        (402, "insufficient_quota"),
    ]
    assert served.status == 200


async def test_a_hang_up_after_the_hold_keeps_the_key(keyed: Network) -> None:
    key = await keyed.consumer()
    provider = await keyed.provider()
    first = ask(keyed, key, "left")
    attempt = await provider.attempt()
    first.hang_up()
    await first.finished()
    attempt.finish()
    await keyed.settled()

    assert told(await ask(keyed, key, "left").finished())[:2] == (409, "request_already_done")
    assert len(provider.served) == 1


async def test_a_sealed_request_that_is_sent_again_is_told_of_its_request(keyed: Network) -> None:
    key = await keyed.consumer()
    provider = await keyed.provider(part=says("x"))
    sealed = keyed.seal(provider)
    first = await keyed.send_sealed(sealed, key=key, **{"idempotency-key": "s"}).finished()
    await keyed.settled()

    again = await keyed.send_sealed(sealed, key=key, **{"idempotency-key": "s"}).finished()

    assert first.status == 200
    assert (again.status, again.json["code"]) == (409, "request_already_done")
    assert again.headers["hushnet-request-id"] == first.headers["hushnet-request-id"]


async def test_a_process_that_died_before_the_hold_leaves_a_key_that_is_never_done_twice(keyed: Network) -> None:
    key = await keyed.consumer()
    provider = await keyed.provider(part=says("x"))
    submit = keyed.serving.service.submit

    def dies(*_: object, **__: object) -> None:
        raise RuntimeError("the process ends here, as far as the database can tell")

    keyed.serving.service.submit = dies  # type: ignore[method-assign, assignment]
    assert (await ask(keyed, key, "died").finished()).status == 500
    keyed.serving.service.submit = submit  # type: ignore[method-assign]

    assert told(await ask(keyed, key, "died").finished())[:2] == (409, "request_in_progress")
    keyed.advance(RUNS_S_MAX)
    await keyed.ledger.renew()
    assert told(await ask(keyed, key, "died").finished())[:2] == (409, "request_already_done")
    assert provider.served == []


async def test_a_key_may_be_used_for_something_else_after_a_day(keyed: Network) -> None:
    key = await keyed.consumer()
    await keyed.provider(part=says("x"))
    assert (await ask(keyed, key, "daily").finished()).status == 200
    await keyed.settled()
    keyed.clock.advance(KEYED_MS / 1000 - 1)
    await keyed.ledger.renew()
    assert told(await ask(keyed, key, "daily", "other").finished())[:2] == (409, "idempotency_conflict")
    keyed.clock.advance(1)
    await keyed.ledger.renew()
    await keyed.provider(part=says("y"))

    assert (await ask(keyed, key, "daily", "other").finished()).status == 200


async def test_an_account_has_so_many_keys_and_no_more(keyed: Network) -> None:
    key, other = await keyed.consumer(), await keyed.consumer()
    await keyed.provider(part=says("x"))
    for number in range(KEYS_MAX):
        assert (await ask(keyed, key, str(number)).finished()).status == 200

    refused = await ask(keyed, key, "one more").finished()

    assert (refused.status, refused.json["error"]["code"]) == (429, "too_many_request_keys")
    assert "retry-after" in refused.headers
    assert (await ask(keyed, other, "one more").finished()).status == 200
    assert (await keyed.chat(key=key).finished()).status == 200


@pytest.mark.parametrize("name", ["", "x" * 256, "tab\tbed", "caf\xe9"])
async def test_what_is_no_key_is_refused(network: Network, name: str) -> None:
    key = await network.consumer()
    await network.provider(part=says("x"))

    refused = await ask(network, key, name).finished()

    assert (refused.status, refused.json["error"]["code"]) == (400, "bad_idempotency_key")


async def test_a_count_that_is_crowded_out_fails_nobody(keyed: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_keys, "OWNERS_COUNTED_MAX", 1)
    await keyed.provider(part=says("hi"), slots=8)
    keys = [await keyed.consumer() for _ in range(4)]
    answers = await asyncio.gather(*(ask(keyed, key, "order 7").finished() for key in keys))
    assert [answer.status for answer in answers] == [200] * 4
