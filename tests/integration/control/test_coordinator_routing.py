"""What the operator sees of routing, over real sockets: explanations, the fleet, the command line, and the metrics."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from hushnet.coordinator.api.admin.routing import MODELS_MAX, SLICE
from hushnet.coordinator.routing.index import ModelIndex
from hushnet.coordinator.routing.model import Candidate
from hushnet.foundation.ids import ModelId, ProviderId
from support.control import MODEL, Network, network
from support.network import hush
from support.routing import candidate, numbered

EXPLAIN = "/v1/admin/route/explain"
FLEET = "/v1/admin/fleet"
CROWD = ModelId("org/crowd:1")
NOBODYS = "org/nobodys:1"


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def add(net: Network, model: ModelId, *candidates: Candidate) -> ModelIndex:
    """Show the router a fleet that no link stands behind: enough to look at, never dispatched to."""
    fleet = net.coordinator.serving.fleet
    index = fleet._by_model.setdefault(model, ModelIndex())
    fleet._seen[model] = None
    for each in candidates:
        index.put(each)
    return index


async def explained(net: Network, **wish: Any) -> dict[str, Any]:
    answer = await net.operator.post(EXPLAIN, json=wish)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_the_one_provider_that_is_there_is_explained_and_nothing_of_it_is_taken(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        owner = await net.account("owner", scope="provider")
        async with net.provider(tmp_path / "p", owner.key) as provider_id:
            await net.until(f"/v1/models/{MODEL}")
            for _ in range(10):
                told = await explained(net, model=MODEL, prompt_tokens=100, output_tokens_max=200)
            (chosen,) = told["candidates"]

            assert (told["outcome"], told["provider_id"]) == ("assigned", provider_id)
            assert (told["total"], told["examined"], told["next_ms"], told["lost"]) == (1, 1, None, {})
            assert (chosen["is_chosen"], chosen["reason"], chosen["cost_ms"]) == (True, None, told["cost_ms"])
            assert abs(sum(chosen["terms"].values()) - chosen["cost_ms"]) <= len(chosen["terms"]) + 1
            assert chosen["facts"]["account_id"] == owner.id
            assert chosen["facts"]["trust"] == "self_signed"
            assert chosen["facts"]["slots_left"] == chosen["facts"]["slots"]


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ({"trust": "hardware"}, "trust_unavailable"),
        ({"features": ["telepathy"]}, "features_unavailable"),
        ({"preferences": {"regions": ["mars"]}}, "region_unavailable"),
        ({"preferences": {"builds": ["0" * 64]}}, "build_unavailable"),
        ({"preferences": {"price_max": {"input": 0, "output": 0}}}, "price_unavailable"),
        ({"preferences": {"only": ["0" * 64]}}, "model_unavailable"),
        ({"preferences": {"only": ["00000000"]}}, "model_unavailable"),
        ({"preferences": {"own": {"account_id": 9, "only": True}}}, "model_unavailable"),
    ],
)
async def test_a_refusal_names_what_the_request_asks_for(tmp_path: Path, wish: dict[str, Any], reason: str) -> None:
    async with network(tmp_path) as net:
        add(net, CROWD, candidate(numbered(1 << 250)))
        told = await explained(net, model=CROWD, **wish)

        assert (told["outcome"], told["reason"]) == ("refused", reason)
        assert [each["is_chosen"] for each in told["candidates"]] == [False]
        assert told["candidates"][0]["reason"] is not None


async def test_a_provider_is_named_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    one, other = ProviderId("ab" * 32), ProviderId("cd" * 32)
    async with network(tmp_path) as net:
        add(net, CROWD, candidate(one), candidate(other, decode_tokens_s=1.0))

        assert (await explained(net, model=CROWD))["provider_id"] == one
        assert (await explained(net, model=CROWD, preferences={"only": [other[:8]]}))["provider_id"] == other
        assert (await explained(net, model=CROWD, excluded=[one[:12]]))["provider_id"] == other
        assert (await explained(net, model=CROWD, avoided=[one]))["provider_id"] == other
        assert (await explained(net, model=CROWD, preferences={"ignore": [one, other]}))["outcome"] == "refused"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "wrong_type"),
        ([], "wrong_type"),
        ({"model": ""}, "wrong_type"),
        ({"model": "m" * 129}, "wrong_type"),
        ({"model": "m", "prompt_tokens": 0}, "wrong_type"),
        ({"model": "m", "prompt_tokens": 2**40}, "wrong_type"),
        ({"model": "m", "output_tokens_max": -1}, "wrong_type"),
        ({"model": "m", "trust": "absolute"}, "wrong_type"),
        ({"model": "m", "features": ["x" * 65]}, "wrong_type"),
        ({"model": "m", "features": ["x"] * 65}, "wrong_type"),
        ({"model": "m", "excluded": ["short"]}, "wrong_type"),
        ({"model": "m", "excluded": ["0" * 64 + "\n"]}, "wrong_type"),
        ({"model": "m", "excluded": ["0" * 7]}, "wrong_type"),
        ({"model": "m", "seed": -1}, "wrong_type"),
        ({"model": "m", "seed": 2**70}, "wrong_type"),
        ({"model": "m", "limit": 0}, "wrong_type"),
        ({"model": "m", "limit": 201}, "wrong_type"),
        ({"model": "m", "preferences": {"ms_per_micro_usd": 1e300}}, "wrong_type"),
        ({"model": "m", "preferences": {"price_max": {"input": 1}}}, "wrong_type"),
        ({"model": "m", "preferences": {"price_max": {"input": 2**60, "output": 1}}}, "wrong_type"),
        ({"model": "m", "temperature": 1}, "wrong_type"),
    ],
)
async def test_a_malformed_question_names_its_field_and_asks_nothing(tmp_path: Path, body: object, code: str) -> None:
    async with network(tmp_path) as net:
        answer = await net.operator.post(EXPLAIN, json=body)
        assert code_of(answer) == (400, code)
        assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_bodies_that_are_no_json_or_too_large_are_refused(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        assert code_of(await net.operator.post(EXPLAIN, content=b"{")) == (400, "invalid_json")
        assert code_of(await net.operator.post(EXPLAIN, content=b'{"model":' * 9000)) == (413, "body_too_large")
        assert code_of(await net.operator.get(EXPLAIN)) == (405, "method_not_allowed")


async def test_only_the_operator_may_ask(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        add(net, CROWD, candidate())
        user, provider = await net.account("ann"), await net.account("bob", scope="provider")
        for client, refusal in (
            (net.public, (401, "invalid_api_key")),
            (user.http, (403, "wrong_scope")),
            (provider.http, (403, "wrong_scope")),
        ):
            assert code_of(await client.post(EXPLAIN, json={"model": CROWD})) == refusal
            assert code_of(await client.post(EXPLAIN, content=b"{")) == refusal
            assert code_of(await client.get(FLEET)) == refusal


async def test_a_model_that_nobody_ever_offered_is_not_found(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        assert code_of(await net.operator.post(EXPLAIN, json={"model": NOBODYS})) == (404, "model_not_found")
        assert code_of(await net.operator.get(FLEET, params={"model": NOBODYS})) == (404, "model_not_found")
        price = {"input": 1, "cached": 1, "output": 1}
        await net.operator.put(f"/v1/admin/models/{NOBODYS}/price", json=price)
        told = await explained(net, model=NOBODYS)
        assert (told["outcome"], told["reason"], told["total"]) == ("refused", "model_unavailable", 0)
        (empty,) = (await net.operator.get(FLEET, params={"model": NOBODYS})).json()["data"]
        assert (empty["candidates"], empty["ready"], empty["groups"]) == (0, 0, [])


async def test_a_large_fleet_is_counted_whole_and_listed_within_the_limit(tmp_path: Path) -> None:
    size = 4 * SLICE + 7
    fleet = [candidate(numbered(number), tokens_ahead=number, slots_left=min(number % 5, 4)) for number in range(size)]
    async with network(tmp_path) as net:
        add(net, CROWD, *fleet)
        asking = [asyncio.create_task(explained(net, model=CROWD, limit=200, seed=seed)) for seed in range(4)]
        alive = await net.public.get("/healthz")
        answers = await asyncio.gather(*asking)

        assert alive.status_code == 200
        for told in answers:
            assert told["total"] == size
            assert len(told["candidates"]) == 200
            assert 200 + sum(told["unlisted"].values()) == size
            assert sum(told["lost"].values()) == size - 1
            assert told["lost"]["busy"] == sum(not each.slots_left for each in fleet)
        assert len((await explained(net, model=CROWD, limit=1))["candidates"]) == 1


async def test_a_fleet_that_changes_under_a_look_is_told_as_it_stood(tmp_path: Path) -> None:
    size = 3 * SLICE
    async with network(tmp_path) as net:
        index = add(net, CROWD, *(candidate(numbered(number)) for number in range(size)))
        asked = asyncio.create_task(explained(net, model=CROWD))
        changed = 0
        while not asked.done():
            index.remove(numbered(changed))
            index.put(candidate(numbered(size + changed)))
            changed += 1
            await asyncio.sleep(0)
        told = await asked

        assert 1 + sum(told["lost"].values()) == told["total"]
        assert told["total"] == size


async def test_the_fleet_is_summed_up_model_by_model(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        owner = await net.account("owner", scope="provider")
        async with net.provider(tmp_path / "p", owner.key) as provider_id:
            await net.until(f"/v1/models/{MODEL}")
            add(net, CROWD, candidate(numbered(1), region="de"), candidate(numbered(2), slots_left=0, tokens_left=9))
            whole = (await net.operator.get(FLEET)).json()
            (crowd,) = (await net.operator.get(FLEET, params={"model": CROWD})).json()["data"]

            assert [each["model"] for each in whole["data"]] == [CROWD, MODEL]
            assert whole["has_more"] is False
            assert whole["data"][0] == crowd
            assert (crowd["candidates"], crowd["ready"], crowd["full"]) == (2, 1, 1)
            assert (crowd["slots"], crowd["slots_free"], crowd["tokens_free"], crowd["waiting"]) == (8, 4, 9, 0)
            assert {group["region"] for group in crowd["groups"]} == {"", "de"}

            live = net.coordinator.serving.fleet.get(ProviderId(provider_id))
            assert live is not None
            net.coordinator.serving.fleet.drained(live)
            (gone,) = (await net.operator.get(FLEET, params={"model": MODEL})).json()["data"]
            assert (gone["candidates"], gone["unroutable"]) == (0, {"draining": 1})
            told = await explained(net, model=MODEL)
            assert (told["outcome"], told["unroutable"]) == ("refused", {"draining": 1})


async def test_many_models_come_in_pages(tmp_path: Path) -> None:
    names = [f"org/m{number:03}" for number in range(MODELS_MAX * 2 + 3)]
    async with network(tmp_path) as net:
        for name in names:
            add(net, ModelId(name), candidate())
        found: list[str] = []
        while True:
            page = (await net.operator.get(FLEET, params={"after": found[-1] if found else ""})).json()
            assert len(page["data"]) <= MODELS_MAX
            found += [each["model"] for each in page["data"]]
            if not page["has_more"]:
                break
        assert found == names


async def test_decisions_show_in_the_metrics_by_outcome_and_reason_and_name_nobody(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        owner = await net.account("owner", scope="provider")
        ann = await net.account("ann", credit_usd="1")
        async with net.provider(tmp_path / "p", owner.key) as provider_id:
            await net.until(f"/v1/models/{MODEL}")
            before = (await net.public.get("/metrics")).text
            await explained(net, model=MODEL)
            chat: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
            assert (await ann.http.post("/v1/chat/completions", json=chat)).status_code == 200
            picture = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
            chat["messages"] = [{"role": "user", "content": picture}]
            refused = await ann.http.post("/v1/chat/completions", json=chat)
            assert refused.json()["error"]["code"] == "unsupported_feature", refused.text
            text = (await net.public.get("/metrics")).text

        assert "hush_route_decisions_total{" not in before
        assert 'hush_route_decisions_total{outcome="assigned"} 1.0' in text
        assert 'hush_route_decisions_total{outcome="refused"} 1.0' in text
        assert 'hush_route_refusals_total{reason="features_unavailable"} 1.0' in text
        assert 'hush_route_passed_total{reason="features_unavailable"} 1.0' in text
        assert "hush_route_seconds_count 2.0" in text
        assert "hush_route_examined_sum 1.0" in text
        ours = "\n".join(line for line in text.splitlines() if "hush_route" in line)
        for name in (MODEL, provider_id, ann.key, str(ann.id)):
            assert name not in ours


async def test_hush_route_explains_to_a_person_and_to_a_script(tmp_path: Path) -> None:
    crowd = [candidate(numbered((number + 1) << 240), tokens_ahead=100 * number) for number in range(100)]
    async with network(tmp_path) as net:
        add(net, CROWD, *crowd, candidate(numbered(1 << 190), slots_left=0))

        async def ask(*arguments: str, key: str = "") -> Any:
            base = ("--base-url", net.coordinator.base_url, "--api-key", key or net.operator_key)
            return await asyncio.to_thread(hush, tmp_path, "route", *arguments, *base)

        told = await ask("explain", CROWD, "--prompt-tokens", "100", "--max-tokens", "200")
        assert told.returncode == 0, told.stderr
        first, *rows = told.stdout.splitlines()
        assert first.startswith(f"{CROWD} goes to ")
        assert "examined" in first
        assert sum("chosen" in row for row in rows) == 1
        assert any("busy" in row for row in rows)
        assert any("80 cost" in row or "81 cost" in row for row in rows), told.stdout

        only = crowd[70].provider_id
        scripted = await ask("explain", CROWD, "--only", only[:12], "--json", "--limit", "3")
        assert json.loads(scripted.stdout)["provider_id"] == only

        refused = await ask("explain", CROWD, "--trust", "hardware")
        assert refused.stdout.startswith(f"{CROWD} is refused: trust unavailable; of 101 candidates: 101 trust")

        unknown = await ask("explain", NOBODYS)
        assert unknown.returncode == 1
        assert "model_not_found" in unknown.stderr
        assert "hush models" in unknown.stderr

        fleet = await ask("fleet", CROWD)
        assert fleet.returncode == 0, fleet.stderr
        assert "self_signed" in fleet.stdout
        listed = json.loads((await ask("fleet", "--json")).stdout)
        assert [(each["model"], each["candidates"]) for each in listed] == [(CROWD, 101)]

        user = await net.account("ann")
        denied = await ask("fleet", key=user.key)
        assert denied.returncode == 1
        assert "wrong_scope" in denied.stderr
        assert "hush coordinator init" in denied.stderr
        assert user.key not in denied.stderr


async def test_hush_route_without_providers_or_a_key_says_what_to_do(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        base = ("--base-url", net.coordinator.base_url)
        empty = await asyncio.to_thread(hush, tmp_path, "route", "fleet", *base, "--api-key", net.operator_key)
        assert empty.returncode == 0, empty.stderr
        assert "hush provider start" in empty.stderr
        keyless = await asyncio.to_thread(hush, tmp_path, "route", "fleet", *base)
        assert keyless.returncode == 2
        assert "HUSH_OPERATOR_KEY" in keyless.stderr
        down = net.coordinator.base_url
        key = net.operator_key
    gone = await asyncio.to_thread(hush, tmp_path, "route", "explain", "m", "--base-url", down, "--api-key", key)
    assert gone.returncode == 1
    assert "no coordinator answers" in gone.stderr
